//! The job itself, pure: no I/O, no clock, no async, no logging.
//!
//! A line becomes a record ([`parse`]), a record is cleaned ([`clean`]) and located ([`locate`]), rides and
//! fares that meet in one batch are joined ([`join`]), and what is left is a [`delta::Delta`]: all that a
//! shard of the state has to know of a batch. [`fold`] applies deltas; its rules of time are in [`window`] and
//! [`watermark`].

pub mod amount;
pub mod batch;
pub mod books;
pub mod clean;
pub mod delta;
mod digits;
pub mod fold;
pub mod join;
pub mod locate;
pub mod mark;
pub mod parse;
pub mod record;
pub mod shard;
pub mod time;
pub mod watermark;
pub mod window;
