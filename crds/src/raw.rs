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
    /// A file is closed at about this size, 1Mi to 32Mi. Default 32Mi. A worker keeps what is open
    /// and what is on its way in memory, 64Mi in all: where it reads many partitions at once, it
    /// closes the largest file earlier.
    pub max_file_bytes: ByteSize,
    /// A file is closed at the latest this long after its first record was read: the longest that
    /// a record stays invisible. Shorter makes more and smaller files. Default 5m.
    pub flush_interval: Duration,
}

impl Default for Raw {
    fn default() -> Self {
        Self { enabled: true, max_file_bytes: ByteSize::mebibytes(32), flush_interval: Duration::minutes(5) }
    }
}

impl Ruled for Raw {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".maxFileBytes",
            cel: "quantity(string(self.maxFileBytes)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self.maxFileBytes)).compareTo(quantity('32Mi')) <= 0",
            message: "must be from 1Mi to 32Mi, since a worker keeps open files in memory; write for example 32Mi",
            holds: |raw| (ByteSize::mebibytes(1)..=ByteSize::mebibytes(32)).contains(&raw.max_file_bytes),
        },
        Rule {
            field: ".flushInterval",
            cel: "self.flushInterval.getSeconds() > 0",
            message: "must be more than 0s; write for example 5m",
            holds: |raw| raw.flush_interval.as_secs() > 0,
        },
    ];
}
