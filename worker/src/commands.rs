//! The commands of `tips-worker`: each wires the parts for one way to use them.

pub mod local;
pub mod stream;
pub mod verify;
