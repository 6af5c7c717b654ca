//! A whole cluster: the operator installed by Helm and workers in pods on a real node, real Kafka, Redis and S3, data
//! that flows, and what people and faults do meanwhile.

mod faults;
mod query;
mod readme;
mod transcript;
