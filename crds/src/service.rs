//! `spec.query`, `spec.compaction` and `spec.scaling`: what runs beside the stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    reference::SecretRef,
    rule::{Rule, Ruled},
    size::ByteSize,
};

/// The query service: SQL over the files and the windows that are still open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Query {
    /// Whether the query service runs. Default false.
    pub enabled: bool,
    /// Number of query pods, 1 or more. Default 1.
    pub replicas: i32,
    /// Who may ask. Default: nobody has to log in; the NetworkPolicy is then the only fence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<QueryAuth>,
    /// The service's certificate. Default: none, plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

impl Default for Query {
    fn default() -> Self {
        Self { enabled: false, replicas: 1, auth: None, tls: None }
    }
}

/// Users of the query service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryAuth {
    /// A Secret in which each key is a user and each value that user's password.
    pub secret_ref: SecretRef,
}

/// The certificate of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// A Secret of type kubernetes.io/tls, with the keys `tls.crt` and `tls.key` in PEM.
    pub secret_ref: SecretRef,
}

/// A CronJob that merges the many small raw files of a day into few large ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Compaction {
    /// Whether raw files are compacted. Default false.
    pub enabled: bool,
    /// When, in cron's notation and UTC. Default `0 3 * * *`, at 03:00.
    #[schemars(length(max = 100))]
    pub schedule: String,
    /// Size to aim at for a file, 16Mi to 4Gi. Default 256Mi.
    pub target_file_bytes: ByteSize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { enabled: false, schedule: "0 3 * * *".to_owned(), target_file_bytes: ByteSize::mebibytes(256) }
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
    /// Most workers. More than the topics have partitions stand idle.
    pub max_replicas: i32,
    /// Records waiting in the topics for each worker, above which workers are added.
    pub target_lag: i64,
}

impl Scaling {
    fn default_min_replicas() -> i32 {
        1
    }
}

impl Ruled for Query {
    const RULES: &'static [Rule<Self>] = &[Rule {
        field: ".replicas",
        cel: "self.replicas >= 1",
        message: "must be 1 or more; to stop the query service write enabled: false",
        holds: |query| query.replicas >= 1,
    }];
}

impl Ruled for Compaction {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".schedule",
            cel: r"self.schedule.matches('^[0-9A-Za-z*/,-]+( [0-9A-Za-z*/,-]+){4}$')",
            message: "must be the five fields of cron: minute, hour, day of month, month, day of week; write for example 0 3 * * *",
            holds: |compaction| is_cron(&compaction.schedule),
        },
        Rule {
            field: ".targetFileBytes",
            cel: "quantity(string(self.targetFileBytes)).compareTo(quantity('16Mi')) >= 0 && quantity(string(self.targetFileBytes)).compareTo(quantity('4Gi')) <= 0",
            message: "must be from 16Mi to 4Gi; write for example 256Mi",
            holds: |compaction| {
                (ByteSize::mebibytes(16)..=ByteSize::mebibytes(4096)).contains(&compaction.target_file_bytes)
            },
        },
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

fn is_cron(schedule: &str) -> bool {
    let field = |field: &str| {
        !field.is_empty() && field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*/,-".contains(&b))
    };
    schedule.split(' ').count() == 5 && schedule.split(' ').all(field)
}
