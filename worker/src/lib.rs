//! The tipstream worker.
