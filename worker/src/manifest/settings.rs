//! The settings as the worker uses them: parsed, bounded, with every default in place.
//!
//! They are made from a validated spec only; where that fixes a range, `expect` names the rule.

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use tipstream_crds::{Area, Hdfs, RedisMode, S3, SaslMechanism, SinkKind, StartFrom, Volume};

/// The Kafka cluster and the two topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// Comma separated host:port.
    pub bootstrap_servers: String,
    /// Topic of the ride events.
    pub rides_topic: String,
    /// Topic of the fares.
    pub fares_topic: String,
    /// Consumer group; `<namespace>.<name>` where it is not given.
    pub group_id: String,
    /// Where a pipeline without state begins to read.
    pub start_from: StartFrom,
    /// Whether to speak TLS; certificates are in the environment ([`tipstream_crds::env`]).
    pub tls: bool,
    /// How to log in; user and password are in the environment.
    pub sasl: Option<SaslMechanism>,
    /// Further settings of librdkafka.
    pub properties: BTreeMap<String, String>,
}

impl Kafka {
    pub(super) fn new(kafka: &tipstream_crds::Kafka, group_id: String) -> Self {
        Self {
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            rides_topic: kafka.rides_topic.clone(),
            fares_topic: kafka.fares_topic.clone(),
            group_id,
            start_from: kafka.start_from,
            tls: kafka.tls.is_some(),
            sasl: kafka.sasl.as_ref().map(|sasl| sasl.mechanism),
            properties: kafka.properties.clone(),
        }
    }
}

/// The Redis that keeps the state. User, password and certificates are in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Which servers there are.
    pub servers: RedisServers,
    /// Number of parts that the state is split into, at most 1024.
    pub shards: NonZeroU16,
}

/// How the Redis servers work together. URLs that begin with `rediss://` speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    /// One server.
    Standalone {
        /// Its URL.
        url: String,
    },
    /// Redis Cluster.
    Cluster {
        /// Some or all of its nodes, at least one.
        urls: Vec<String>,
    },
    /// A master that sentinels know.
    Sentinel {
        /// The sentinels, at least one.
        urls: Vec<String>,
        /// The name by which they know the master.
        master_name: String,
    },
}

impl Redis {
    pub(super) fn new(redis: &tipstream_crds::Redis) -> Self {
        let urls = redis.urls.clone();
        let servers = match redis.mode {
            RedisMode::Standalone => RedisServers::Standalone {
                url: urls.into_iter().next().expect("a valid spec names a server"),
            },
            RedisMode::Cluster => RedisServers::Cluster { urls },
            RedisMode::Sentinel => RedisServers::Sentinel {
                urls,
                master_name: redis
                    .sentinel
                    .as_ref()
                    .map(|sentinel| sentinel.master_name.clone())
                    .expect("a valid spec of mode Sentinel names the master"),
            },
        };
        let shards = u16::try_from(redis.shards).ok().and_then(NonZeroU16::new);
        Self { servers, shards: shards.expect("valid shards are from 1 to 1024") }
    }
}

/// Where files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A bucket of S3; access keys are in the environment.
    S3(S3),
    /// A folder of HDFS; configuration and keytab are in the environment.
    Hdfs(Hdfs),
    /// A folder of a volume, which is mounted at the path in [`tipstream_crds::env::VOLUME`].
    Volume(Volume),
}

impl Sink {
    pub(super) fn new(sink: &tipstream_crds::Sink) -> Self {
        match sink.kind().expect("a valid spec has exactly one sink") {
            SinkKind::S3(s3) => Self::S3(s3.clone()),
            SinkKind::Hdfs(hdfs) => Self::Hdfs(hdfs.clone()),
            SinkKind::Volume(volume) => Self::Volume(volume.clone()),
        }
    }
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// Length of a window: whole minutes, a multiple of `slide`.
    pub window: Duration,
    /// From one window to the next: whole minutes, a divisor of 24 hours.
    pub slide: Duration,
    /// How far the watermark stays behind.
    pub watermark_delay: Duration,
    /// How long after its start a fare's ride may end.
    pub join_within: Duration,
    /// After how long without records a partition is idle.
    pub idle_timeout: Duration,
    /// How far a partition may run ahead of the watermark; longer than `watermark_delay`.
    pub max_drift: Duration,
    /// Where rides count.
    pub area: Area,
}

impl Job {
    pub(super) fn new(job: &tipstream_crds::Job) -> Self {
        Self {
            window: job.window.into(),
            slide: job.slide.into(),
            watermark_delay: job.watermark_delay.into(),
            join_within: job.join_within.into(),
            idle_timeout: job.idle_timeout.into(),
            max_drift: job.max_drift.into(),
            area: job.area,
        }
    }
}

/// How raw lines are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw {
    /// A file is closed at about this size, in bytes.
    pub max_file_bytes: u64,
    /// A file is closed at the latest this long after its first record was read.
    pub flush_interval: Duration,
}

impl Raw {
    pub(super) fn new(raw: &tipstream_crds::Raw) -> Option<Self> {
        raw.enabled.then(|| Self {
            max_file_bytes: raw.max_file_bytes.as_bytes(),
            flush_interval: raw.flush_interval.into(),
        })
    }
}
