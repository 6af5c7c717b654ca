//! `spec`: the settings of a pipeline, and what must hold from one version of them to the next.

// The lint takes `type_ = "string"` in two printer columns for one attribute written twice.
#![allow(clippy::duplicated_attributes)]

use kube::CustomResource;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::{
    job::Job,
    kafka::Kafka,
    raw::Raw,
    redis::Redis,
    rule::{Rule, Ruled, Transition, Violation, Violations, attach},
    service::{Compaction, Query, Scaling},
    sink::Sink,
    status::TipsPipelineStatus,
    workload::Workload,
};

/// Consumes the taxi topics of Kafka, keeps its state in Redis and writes Parquet exactly once.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tipstream.dev",
    version = "v1alpha1",
    kind = "TipsPipeline",
    plural = "tipspipelines",
    shortname = "tips",
    category = "streaming",
    namespaced,
    doc = "A TipsPipeline consumes the ride and fare topics of Kafka, keeps its state in Redis, and writes every line and the tips by window and neighbourhood as Parquet, exactly once.",
    status = "TipsPipelineStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether all wanted workers run"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready, or why not"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Workers that are wanted"
    ),
    printcolumn(
        name = "Available",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Workers that are ready"
    ),
    printcolumn(
        name = "Watermark",
        type_ = "string",
        json_path = ".status.watermark",
        description = "Event time up to which the result is complete"
    ),
    printcolumn(
        name = "Lag",
        type_ = "integer",
        json_path = ".status.lag.records",
        description = "Records still to be read"
    ),
    printcolumn(
        name = "Behind",
        type_ = "integer",
        json_path = ".status.lag.seconds",
        description = "Seconds of event time from the watermark to the latest event read",
        priority = 1
    ),
    printcolumn(
        name = "Last Window",
        type_ = "string",
        json_path = ".status.lastWindow.start",
        description = "Start of the latest window that was written",
        priority = 1
    ),
    printcolumn(
        name = "Degraded",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Degraded\")].reason",
        description = "What needs a person, if anything",
        priority = 1
    ),
    printcolumn(
        name = "Query",
        type_ = "integer",
        json_path = ".status.query.readyReplicas",
        description = "Query pods that are ready",
        priority = 1
    ),
    printcolumn(
        name = "Compacted",
        type_ = "date",
        json_path = ".status.compaction.lastSuccessfulTime",
        description = "Since when a compaction last came to a good end",
        priority = 1
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        json_path = ".spec.suspend",
        description = "Whether it is stopped on purpose",
        priority = 1
    ),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".spec.epoch",
        description = "How often it was started anew with other settings",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules)]
pub struct TipsPipelineSpec {
    /// Number of workers; 0 stops the pipeline and keeps its state. kubectl scale and autoscalers
    /// write it. More than the topics have partitions stand idle. Default 1.
    #[serde(default = "TipsPipelineSpec::default_replicas")]
    pub replicas: i32,
    /// Stops the workers, whatever replicas says, and the compaction, and keeps the state; queries are
    /// answered on. Default false.
    #[serde(default)]
    pub suspend: bool,
    /// Raised on purpose to start anew from the topics with other settings: a new state is begun,
    /// and the files of the windows are written again under their names. It never goes down.
    /// Default 0.
    #[serde(default)]
    pub epoch: i64,
    /// The Kafka cluster and the two topics that are consumed.
    pub kafka: Kafka,
    /// The Redis that keeps the state.
    pub redis: Redis,
    /// Where the Parquet files go: exactly one of s3, hdfs and volume.
    pub sink: Sink,
    /// What is computed: tips by window and neighbourhood.
    #[serde(default)]
    pub job: Job,
    /// Every ride and fare line kept as Parquet.
    #[serde(default)]
    pub raw: Raw,
    /// The query service: SQL over the files and the windows that are still open.
    #[serde(default)]
    pub query: Query,
    /// A CronJob that merges small files into large ones.
    #[serde(default)]
    pub compaction: Compaction,
    /// Workers added and removed by lag: the operator then writes replicas, and nobody else should.
    /// Default: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// How the pods are made.
    #[serde(default)]
    pub workload: Workload,
    /// What becomes of the state in Redis when the pipeline is deleted: Retain (the default) or
    /// Delete. Files and topics are never deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl TipsPipelineSpec {
    fn default_replicas() -> i32 {
        1
    }

    /// Every broken rule, in the order of the fields; the same rules, with the same messages, as
    /// the API server enforces.
    pub fn validate(&self) -> Vec<Violation> {
        let mut found = Violations::default();
        found.check("spec", self);
        found.check("spec.kafka", &self.kafka);
        found.check("spec.redis", &self.redis);
        found.check("spec.sink", &self.sink);
        found.check_optional("spec.sink.s3", self.sink.s3.as_ref());
        found.check_optional("spec.sink.hdfs", self.sink.hdfs.as_ref());
        found.check_optional("spec.sink.volume", self.sink.volume.as_ref());
        found.check("spec.job", &self.job);
        found.check("spec.job.area", &self.job.area);
        found.check("spec.raw", &self.raw);
        found.check("spec.query", &self.query);
        found.check("spec.query.limits", &self.query.limits);
        found.check("spec.compaction", &self.compaction);
        found.check_optional("spec.scaling", self.scaling.as_ref());
        found.check("spec.workload", &self.workload);
        found.0
    }

    /// Every rule that the change from `old` to `self` breaks, beyond what [`Self::validate`] says
    /// of `self` alone.
    pub fn validate_update(&self, old: &Self) -> Vec<Violation> {
        let mut found = Violations::default();
        for rule in TRANSITIONS.iter().filter(|rule| !(rule.holds)(old, self)) {
            found.push("spec", rule.field, rule.message);
        }
        found.0
    }
}

impl TipsPipeline {
    /// Every broken rule of the object as a whole: its name, then [`TipsPipelineSpec::validate`].
    pub fn validate(&self) -> Vec<Violation> {
        let mut found = Violations::default();
        for rule in NAMED.iter().filter(|rule| !(rule.holds)(self)) {
            found.push("", rule.field, rule.message);
        }
        found.0.extend(self.spec.validate());
        found.0
    }

    /// The consumer group: `spec.kafka.groupId`, or `<namespace>.<name>`.
    pub fn group_id(&self) -> String {
        self.spec.kafka.group_id.clone().unwrap_or_else(|| {
            let namespace = self.metadata.namespace.as_deref().unwrap_or("default");
            let name = self.metadata.name.as_deref().unwrap_or_default();
            format!("{namespace}.{name}")
        })
    }
}

/// What becomes of the state in Redis when a pipeline is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays, and a pipeline of the same name takes it up again.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}

fn rules(schema: &mut Schema) {
    TipsPipelineSpec::rules(schema);
    for rule in TRANSITIONS {
        attach(schema, rule.field, rule.cel, rule.message);
    }
}

impl Ruled for TipsPipelineSpec {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".replicas",
            cel: "self.replicas >= 0",
            message: "must be 0 or more; 0 stops the pipeline and keeps its state",
            holds: |spec| spec.replicas >= 0,
        },
        Rule {
            field: ".epoch",
            cel: "self.epoch >= 0",
            message: "must be 0 or more",
            holds: |spec| spec.epoch >= 0,
        },
        Rule {
            field: ".workload.env",
            cel: "!has(self.workload.env) || self.workload.env.all(variable, \
                  !(variable.name in ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] && has(self.sink.s3) && has(self.sink.s3.credentials)) && \
                  !(variable.name == 'HADOOP_CONF_DIR' && has(self.sink.hdfs) && has(self.sink.hdfs.configMapRef)) && \
                  !(variable.name == 'KRB5_CLIENT_KTNAME' && has(self.sink.hdfs) && has(self.sink.hdfs.kerberos)) && \
                  !(variable.name == 'KRB5_CONFIG' && has(self.sink.hdfs) && has(self.sink.hdfs.kerberos) && has(self.sink.hdfs.kerberos.configMapRef)))",
            message: "must not set what the sink sets: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY beside s3.credentials, HADOOP_CONF_DIR beside hdfs.configMapRef, KRB5_CLIENT_KTNAME and KRB5_CONFIG beside hdfs.kerberos; leave out the variable, or the field of the sink",
            holds: |spec| !spec.workload.env.iter().any(|variable| spec.sink.sets(&variable.name)),
        },
    ];
}

/// Rules of the object as a whole.
pub(crate) const NAMED: &[Rule<TipsPipeline>] = &[Rule {
    field: "metadata.name",
    cel: "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
    message: "must be at most 40 lower-case letters, digits and dashes, beginning with a letter and ending with a letter or digit, since Services and labels are named after it; write for example nyc-taxi",
    holds: |pipeline| pipeline.metadata.name.as_deref().is_some_and(is_label),
}];

fn is_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let end = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 40
        && bytes.iter().all(|b| end(b) || *b == b'-')
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(end)
}

const DECIDES_RESULTS: &str = "decides results and cannot change within an epoch; leave it as it is, or raise spec.epoch in the same edit to start anew with it";

/// One setting that decides results (I8): `$path` in CEL and the same in Rust.
macro_rules! fixed_within_epoch {
    ($path:literal, $value:expr) => {
        Transition {
            field: concat!(".", $path),
            cel: concat!("self.epoch > oldSelf.epoch || self.", $path, " == oldSelf.", $path),
            message: DECIDES_RESULTS,
            holds: |old, new| {
                let value: fn(&TipsPipelineSpec) -> _ = $value;
                new.epoch > old.epoch || value(new) == value(old)
            },
        }
    };
}

const TRANSITIONS: &[Transition<TipsPipelineSpec>] = &[
    Transition {
        field: ".epoch",
        cel: "self.epoch >= oldSelf.epoch",
        message: "must not go down; to start anew write a greater number than the present one",
        holds: |old, new| new.epoch >= old.epoch,
    },
    fixed_within_epoch!("kafka.ridesTopic", |spec| spec.kafka.rides_topic.clone()),
    fixed_within_epoch!("kafka.faresTopic", |spec| spec.kafka.fares_topic.clone()),
    fixed_within_epoch!("redis.shards", |spec| spec.redis.shards),
    fixed_within_epoch!("job.window", |spec| spec.job.window),
    fixed_within_epoch!("job.slide", |spec| spec.job.slide),
    fixed_within_epoch!("job.watermarkDelay", |spec| spec.job.watermark_delay),
    fixed_within_epoch!("job.joinWithin", |spec| spec.job.join_within),
    fixed_within_epoch!("job.area", |spec| spec.job.area),
    Transition {
        field: ".job.neighbourhoods",
        cel: "self.epoch > oldSelf.epoch || (has(self.job.neighbourhoods) == has(oldSelf.job.neighbourhoods) && \
              (!has(self.job.neighbourhoods) || self.job.neighbourhoods == oldSelf.job.neighbourhoods))",
        message: DECIDES_RESULTS,
        holds: |old, new| new.epoch > old.epoch || new.job.neighbourhoods == old.job.neighbourhoods,
    },
];
