//! The tipstream worker.

pub mod generate;
