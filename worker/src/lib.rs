//! The tipstream worker.

pub mod manifest;
