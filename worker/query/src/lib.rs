//! The query service: live windows and the archive as SQL tables, over the PostgreSQL protocol.
//!
//! A client's statement becomes a plan of DataFusion; the tables below it read the state of the pipeline in Redis
//! ([`live`]) and the files of its sink ([`archive`]), both as of one moment ([`snapshot`]). Nothing is written,
//! neither to Redis nor to the sink.
//!
//! It is a program of its own, so that the engine stays out of the worker's build.

pub mod archive;
pub mod args;
pub mod bounded;
pub mod bounds;
pub mod catalog;
pub mod connection;
pub mod cursors;
pub mod dense;
pub mod dialect;
pub mod ends;
pub mod engine;
pub mod error;
pub mod functions;
pub mod http;
pub mod kept;
pub mod live;
pub mod login;
pub mod map;
pub mod metrics;
pub mod own_sink;
pub mod planner;
pub mod presence;
pub mod reader;
pub mod readonly;
pub mod run;
pub mod server;
pub mod snapshot;
pub mod source;
pub mod statement;
pub mod store;
pub mod subqueries;
pub mod tables;
pub mod tls;
pub mod turns;
pub mod types;
