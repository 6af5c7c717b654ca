//! `spec.query`, `spec.compaction` and `spec.scaling`: what runs beside the stream.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cron,
    duration::Duration,
    query_limits::QueryLimits,
    reference::SecretRef,
    resources,
    rule::{Rule, Ruled},
    size::ByteSize,
};

/// The query service: SQL over the files and the windows that are still open. It only reads, and so
/// runs on while the pipeline is suspended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Query {
    /// Whether the query service runs. Default false.
    pub enabled: bool,
    /// Number of query pods, 1 or more. Default 1.
    pub replicas: i32,
    /// Who may ask. It must be given where the service is enabled, unless insecure is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<QueryAuth>,
    /// The service's certificate. It must be given where the service is enabled, unless insecure is
    /// true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Whether auth and tls may be left out: without auth nobody has to log in, without tls passwords
    /// and answers go in plain text, and the NetworkPolicy is the only fence. Default false.
    pub insecure: bool,
    /// Whether the map of the tips is served too, at port 8081. It has neither login nor encryption: the NetworkPolicy is
    /// its only fence. Default false.
    pub map: bool,
    /// What clients may take.
    pub limits: QueryLimits,
    /// CPU and memory of a query pod. Default: requests of 250m and 512Mi, a limit of 1Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            enabled: false,
            replicas: 1,
            auth: None,
            tls: None,
            insecure: false,
            map: false,
            limits: QueryLimits::default(),
            resources: None,
        }
    }
}

/// Users of the query service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryAuth {
    /// A Secret in which each key is a user and each value that user's password. It is read at each
    /// login: a changed password holds within a minute or two, and no pod is restarted for it.
    pub secret_ref: SecretRef,
}

/// The certificate of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// A Secret of type kubernetes.io/tls, with the keys `tls.crt` and `tls.key` in PEM.
    pub secret_ref: SecretRef,
}

/// A CronJob that merges the many small files of a day into few large ones. It pauses while the
/// pipeline is suspended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Compaction {
    /// Whether files are compacted. Default false.
    pub enabled: bool,
    /// Whether no further run is begun, until it is false again. Default false.
    pub suspend: bool,
    /// When, in cron's notation and UTC. Default `0 3 * * *`, at 03:00.
    #[schemars(length(max = 100))]
    pub schedule: String,
    /// Size to aim at for a file, 16Mi to 4Gi. Default 256Mi.
    pub target_file_bytes: ByteSize,
    /// Bytes a second of data files to read and write at most, from 1Mi. Default: as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<ByteSize>,
    /// Decoded rows to hold at once, 16Mi to 4Gi; less of it takes longer. Default 128Mi.
    pub memory: ByteSize,
    /// A day has closed when windows are published that end so long after it, in event time. Default 1h.
    pub settle: Duration,
    /// Runs that ended well to keep for a person to look at, 1 or more. Default 3.
    pub successful_jobs_history_limit: i32,
    /// Failed runs to keep for a person to look at, 1 or more. Default 3.
    pub failed_jobs_history_limit: i32,
    /// CPU and memory of a run. Default: requests of 250m and 512Mi, a limit of targetFileBytes, twice memory and 512Mi:
    /// of 1Gi, where those are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            enabled: false,
            suspend: false,
            schedule: "0 3 * * *".to_owned(),
            target_file_bytes: ByteSize::mebibytes(256),
            rate: None,
            memory: ByteSize::mebibytes(128),
            settle: Duration::hours(1),
            successful_jobs_history_limit: 3,
            failed_jobs_history_limit: 3,
            resources: None,
        }
    }
}

/// Workers added and removed by lag. The operator then writes spec.replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Scaling {
    /// Fewest workers, 1 or more. Default 1.
    #[serde(default = "Scaling::default_min_replicas")]
    pub min_replicas: i32,
    /// Most workers. No more are added than the topics have partitions.
    pub max_replicas: i32,
    /// Records waiting in the topics for each worker. With a tenth more, workers are added at once;
    /// with less for 5 minutes, they are removed.
    pub target_lag: i64,
}

impl Scaling {
    fn default_min_replicas() -> i32 {
        1
    }
}

impl Compaction {
    /// The most memory that a run takes: a merged file is held as a whole, and the rows that it is made of twice while they
    /// are sorted. Beyond that are footers, what is being encoded, and the program.
    pub const fn peak_memory(&self) -> ByteSize {
        self.target_file_bytes.plus(self.memory).plus(self.memory).plus(ByteSize::mebibytes(512))
    }
}

impl Query {
    /// The Secret of the users, where there is one.
    pub fn users(&self) -> Option<&str> {
        self.auth.as_ref().map(|auth| auth.secret_ref.name.as_str())
    }

    /// The Secret of the certificate, where there is one.
    pub fn certificate(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.secret_ref.name.as_str())
    }
}

impl Ruled for Query {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".replicas",
            cel: "self.replicas >= 1",
            message: "must be 1 or more; to stop the query service write enabled: false",
            holds: |query| query.replicas >= 1,
        },
        Rule {
            field: ".auth",
            cel: "!self.enabled || self.insecure || has(self.auth)",
            message: "must be given for a query service that is enabled; write auth: {secretRef: {name: query-users}}, a Secret with a key for each user, or insecure: true to let everybody ask who reaches it",
            holds: |query| !query.enabled || query.insecure || query.auth.is_some(),
        },
        Rule {
            field: ".tls",
            cel: "!self.enabled || self.insecure || has(self.tls)",
            message: "must be given for a query service that is enabled; write tls: {secretRef: {name: query-tls}}, a Secret of type kubernetes.io/tls, or insecure: true to answer in plain text",
            holds: |query| !query.enabled || query.insecure || query.tls.is_some(),
        },
        Rule {
            field: ".auth.secretRef.name",
            cel: "!has(self.auth) || !has(self.tls) || self.auth.secretRef.name != self.tls.secretRef.name",
            message: "must be another Secret than that of tls, whose keys would be users; write for example query-users",
            holds: |query| query.users().is_none() || query.users() != query.certificate(),
        },
        resources::amounts(|query| resources::are_amounts(query.resources.as_ref())),
        resources::fitting(|query| resources::fit(query.resources.as_ref())),
    ];
}

impl Ruled for Compaction {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".schedule",
            cel: cron::CEL,
            message: cron::MESSAGE,
            holds: |compaction| cron::is_cron(&compaction.schedule),
        },
        Rule {
            field: ".targetFileBytes",
            cel: "quantity(string(self.targetFileBytes)).compareTo(quantity('16Mi')) >= 0 && quantity(string(self.targetFileBytes)).compareTo(quantity('4Gi')) <= 0",
            message: "must be from 16Mi to 4Gi; write for example 256Mi",
            holds: |compaction| {
                (ByteSize::mebibytes(16)..=ByteSize::mebibytes(4096)).contains(&compaction.target_file_bytes)
            },
        },
        Rule {
            field: ".rate",
            cel: "!has(self.rate) || quantity(string(self.rate)).compareTo(quantity('1Mi')) >= 0",
            message: "must be 1Mi a second or more; write for example 20Mi, or leave it out to go as fast as it can",
            holds: |compaction| compaction.rate.is_none_or(|rate| rate >= ByteSize::mebibytes(1)),
        },
        Rule {
            field: ".memory",
            cel: "quantity(string(self.memory)).compareTo(quantity('16Mi')) >= 0 && quantity(string(self.memory)).compareTo(quantity('4Gi')) <= 0",
            message: "must be from 16Mi to 4Gi; write for example 128Mi",
            holds: |compaction| {
                (ByteSize::mebibytes(16)..=ByteSize::mebibytes(4096)).contains(&compaction.memory)
            },
        },
        Rule {
            field: ".successfulJobsHistoryLimit",
            cel: "self.successfulJobsHistoryLimit >= 1",
            message: "must be 1 or more: by the runs that are kept the operator tells whether the last one failed; write for example 3",
            holds: |compaction| compaction.successful_jobs_history_limit >= 1,
        },
        Rule {
            field: ".failedJobsHistoryLimit",
            cel: "self.failedJobsHistoryLimit >= 1",
            message: "must be 1 or more: by the runs that are kept the operator tells whether the last one failed; write for example 3",
            holds: |compaction| compaction.failed_jobs_history_limit >= 1,
        },
        resources::amounts(|compaction| resources::are_amounts(compaction.resources.as_ref())),
        resources::fitting(|compaction| resources::fit(compaction.resources.as_ref())),
    ];
}

impl Ruled for Scaling {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".minReplicas",
            cel: "self.minReplicas >= 1",
            message: "must be 1 or more; to stop the pipeline write suspend: true",
            holds: |scaling| scaling.min_replicas >= 1,
        },
        Rule {
            field: ".maxReplicas",
            cel: "self.maxReplicas >= self.minReplicas",
            message: "must not be less than minReplicas",
            holds: |scaling| scaling.max_replicas >= scaling.min_replicas,
        },
        Rule {
            field: ".targetLag",
            cel: "self.targetLag >= 1",
            message: "must be 1 record or more; write for example 500000",
            holds: |scaling| scaling.target_lag >= 1,
        },
    ];
}
