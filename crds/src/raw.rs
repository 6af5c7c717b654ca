//! `spec.raw`: every line kept as Parquet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    rule::{Rule, Ruled},
    size::ByteSize,
};

/// Every ride and fare line kept as Parquet, whatever becomes of it in the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Raw {
    /// Whether raw files are written. Default true.
    pub enabled: bool,
    /// A file is closed at about this size, 1Mi to 4Gi. Default 64Mi. A worker of `stream` holds
    /// 64Mi of files at most and closes the largest earlier, so its files are below 32Mi.
    pub max_file_bytes: ByteSize,
    /// A file is closed at the latest this long after its first record was read: the longest that
    /// a record stays invisible. Shorter makes more and smaller files. Default 5m.
    pub flush_interval: Duration,
}

impl Default for Raw {
    fn default() -> Self {
        Self { enabled: true, max_file_bytes: ByteSize::mebibytes(64), flush_interval: Duration::minutes(5) }
    }
}

impl Ruled for Raw {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".maxFileBytes",
            cel: "quantity(string(self.maxFileBytes)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self.maxFileBytes)).compareTo(quantity('4Gi')) <= 0",
            message: "must be from 1Mi to 4Gi; write for example 64Mi",
            holds: |raw| (ByteSize::mebibytes(1)..=ByteSize::mebibytes(4096)).contains(&raw.max_file_bytes),
        },
        Rule {
            field: ".flushInterval",
            cel: "self.flushInterval.getSeconds() > 0",
            message: "must be more than 0s; write for example 5m",
            holds: |raw| raw.flush_interval.as_secs() > 0,
        },
    ];
}
