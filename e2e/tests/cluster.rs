//! A whole cluster: the operator installed by Helm and workers in pods on a real node, real Kafka, Redis and S3, data
//! that flows, and what people and faults do meanwhile.

#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/query.rs"]
mod query;
#[path = "cluster/readme.rs"]
mod readme;
#[path = "cluster/transcript.rs"]
mod transcript;
