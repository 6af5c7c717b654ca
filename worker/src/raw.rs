//! Raw rows: every line, parsed, as Parquet, exactly once and without Redis (I4).
//!
//! Rows of a partition gather in [`columns`], go in chunks to the [`lane`] of the partition, which encodes them
//! by day ([`encode`]) until a file is due; then the range is fixed in the [`range_log`] and its files are
//! published ([`publish`]).

pub mod columns;
pub mod encode;
pub mod lane;
pub mod latest;
pub mod publish;
pub mod range_log;
pub mod remote;
pub mod writer;
