//! The commands of `tips-worker`: each wires the parts for one way to use them.

pub mod compact;
pub mod local;
pub mod purge;
pub mod query;
pub mod stream;
pub mod verify;
