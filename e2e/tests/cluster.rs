//! A whole cluster: the operator and workers in pods on a real node, real Kafka, Redis, S3 and HDFS, data that flows,
//! and what people and faults do meanwhile.

mod compaction;
mod faults;
mod query;
mod readme;
mod secured;
mod sql;
mod transcript;
mod volume;
