//! `status`: what the operator saw.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw of a pipeline. Watermark, lag and books are the workers' figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TipsPipelineStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Workers that exist.
    pub replicas: i32,
    /// Workers that are ready.
    pub ready_replicas: i32,
    /// Label selector of the workers, for kubectl scale and autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Ready, Progressing, Degraded and StateCompatible; with spec.scaling, ScalingActive, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"]
    ))]
    pub conditions: Vec<Condition>,
    /// Event time up to which the result is complete: every window that ends by it is closed. Of
    /// the shard that is furthest behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Time>,
    /// What is still to be read. Not there while it is not known of all partitions: no worker is
    /// ready, one does not answer, or a partition is between two workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// The latest window that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_window: Option<WindowSpan>,
    /// What became of every record that was consumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub books: Option<Books>,
    /// The query service, where it is enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryStatus>,
    /// The compaction, where it is enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction: Option<CompactionStatus>,
    /// Fingerprint of the settings that the state in Redis was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_fingerprint: Option<String>,
    /// Epoch of that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_epoch: Option<i64>,
}

/// The query service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryStatus {
    /// Query pods that exist.
    pub replicas: i32,
    /// Query pods that are ready.
    pub ready_replicas: i32,
}

/// The compaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CompactionStatus {
    /// When a run was last begun by the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// When a run last came to a good end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
}

/// What is still to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Lag {
    /// Records in the topics that have not been read.
    pub records: i64,
    /// Seconds of event time from the watermark to the latest event read: how far the results are
    /// behind the reading. In normal work a little more than watermarkDelay.
    pub seconds: i64,
}

/// A window, its start included and its end not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowSpan {
    /// Start of the window.
    pub start: Time,
    /// End of the window.
    pub end: Time,
}

/// The books of both topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Books {
    /// The rides topic.
    pub rides: TopicBooks,
    /// The fares topic.
    pub fares: TopicBooks,
}

/// The outcomes of one topic's records. At rest they add up to `consumed` (I5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicBooks {
    /// Records consumed.
    pub consumed: i64,
    /// Joined with their counterpart and counted.
    pub joined: i64,
    /// Waiting for their counterpart.
    pub pending: i64,
    /// Left without a counterpart: no window that they could count in is open any more.
    pub unmatched: i64,
    /// Copies of a pending ride or fare.
    pub duplicate: i64,
    /// Came when no window that they could count in was open.
    pub late: i64,
    /// Rides that start or end outside of the area.
    pub out_of_area: i64,
    /// Events of a ride's start, which are kept raw only.
    pub start: i64,
    /// Lines that could not be read; they are in quarantine.
    pub invalid: i64,
}

/// The types of [`TipsPipelineStatus::conditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// All wanted workers run and read.
    Ready,
    /// The operator is bringing about a change.
    Progressing,
    /// Something needs a person.
    Degraded,
    /// The state was made with the settings of the spec (I8).
    StateCompatible,
    /// The lag decides how many workers there are.
    ScalingActive,
}

impl ConditionType {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ready, Self::Progressing, Self::Degraded, Self::StateCompatible, Self::ScalingActive];

    /// The value of a condition's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::StateCompatible => "StateCompatible",
            Self::ScalingActive => "ScalingActive",
        }
    }
}
