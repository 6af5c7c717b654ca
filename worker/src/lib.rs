//! The tipstream worker: consumes taxi rides and fares, joins them, sums tips by window and neighbourhood, and
//! writes Parquet, exactly once as any reader sees it.

pub mod core;
pub mod generate;
pub mod manifest;
pub mod state;
