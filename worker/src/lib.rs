//! The tipstream worker.

pub mod sink;
