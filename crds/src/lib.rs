//! The TipsPipeline custom resource: its types, its schema, and the rules that a valid one keeps.
//!
//! Operator and worker both build on this crate and on nothing else of each other's: the operator
//! reads TipsPipelines from the API server, the worker reads one from a file, and what a setting
//! is called, means and defaults to is said here once.

pub mod env;

mod crd;
mod cron;
mod duration;
mod fingerprint;
mod job;
mod kafka;
mod manifest_doc;
mod name;
mod query_limits;
mod raw;
mod redis;
mod reference;
mod resources;
mod rule;
mod service;
mod sink;
mod size;
mod spec;
mod status;
mod workload;

pub use crd::{crd, crd_yaml, schema};
pub use duration::{Duration, ParseDurationError};
pub use fingerprint::{Difference, Fingerprint, hex};
pub use job::{Area, Job, Neighbourhoods};
pub use kafka::{Kafka, Sasl, SaslMechanism, StartFrom};
pub use manifest_doc::manifest_doc;
pub use name::is_dns_label;
pub use query_limits::QueryLimits;
pub use raw::Raw;
pub use redis::{Redis, RedisAuth, RedisMode, Sentinel};
pub use reference::{ClientCertificate, ClientTls, ConfigMapKeyRef, ConfigMapRef, SecretKeyRef, SecretRef};
pub use rule::Violation;
pub use service::{Compaction, Query, QueryAuth, Scaling, ServerTls};
pub use sink::{Hdfs, Kerberos, S3, S3Credentials, Sink, SinkKind, Volume};
pub use size::{ByteSize, ParseByteSizeError};
pub use spec::{DeletionPolicy, TipsPipeline, TipsPipelineSpec};
pub use status::{
    Books, CompactionStatus, ConditionType, Lag, QueryStatus, TipsPipelineStatus, TopicBooks, WindowSpan,
};
pub use workload::Workload;
