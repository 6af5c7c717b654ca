//! The tipstream worker: consumes taxi rides and fares, joins them, sums tips by window and neighbourhood, and
//! writes Parquet, exactly once as any reader sees it.

mod allocator;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod compact;
pub mod core;
pub mod crash;
pub mod failure;
pub mod generate;
pub mod http;
pub mod manifest;
pub mod map;
pub mod metrics;
pub mod pipeline;
pub mod raw;
pub mod results;
pub mod settings;
pub mod sink;
pub mod source;
pub mod state;
pub mod verify;
