//! Results: the windows that have closed on every shard, as Parquet, once (I2, I3).

pub mod day_file;
pub mod publisher;
pub mod shelf;
pub mod window_file;
