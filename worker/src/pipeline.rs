//! The running job: a reader, an applier, a raw writer and a publisher, with bounded queues between.
//!
//! ```text
//!                  batches ─▶ applier ─▶ state ─▶ publisher ─▶ tips/
//!   source ─▶ reader
//!                  rows ────▶ raw writer ───────────────────▶ rides/ fares/ invalid/
//! ```
//!
//! The reader is a thread: parsing is work for a processor, and a Kafka client wants to be polled whatever
//! happens. The others are tasks. A full queue makes the reader read less, never wait.

pub mod applier;
mod left;
pub mod locate;
pub mod reader;
pub mod run;
