//! `spec.query.limits`: what queries may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    rule::{Rule, Ruled},
    size::ByteSize,
};

/// What clients may take of a query pod. Past a limit a query ends with an error that says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct QueryLimits {
    /// Connections at once, 1 or more. Default 100.
    pub connections: i32,
    /// Queries at once, 1 or more; others wait their turn, within their timeout. Default 32.
    pub queries: i32,
    /// How long a query may take, from 1s; waiting its turn and reading its rows included. Default 60s.
    pub timeout: Duration,
    /// Rows of an answer, 1 or more. Default 1000000.
    pub rows: i64,
    /// Memory of all queries together, from 16Mi; sorts, joins and aggregates beyond a query's part go to disk. The
    /// pod needs about 512Mi more, so raise its resources with it. Default 256Mi.
    pub memory: ByteSize,
    /// Disk of all queries together for what does not fit into memory, from 1Mi. Default 1Gi.
    pub spill: ByteSize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            connections: 100,
            queries: 32,
            timeout: Duration::seconds(60),
            rows: 1_000_000,
            memory: ByteSize::mebibytes(256),
            spill: ByteSize::mebibytes(1024),
        }
    }
}

impl Ruled for QueryLimits {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".connections",
            cel: "self.connections >= 1",
            message: "must be 1 or more; write for example 100",
            holds: |limits| limits.connections >= 1,
        },
        Rule {
            field: ".queries",
            cel: "self.queries >= 1",
            message: "must be 1 or more; write for example 32",
            holds: |limits| limits.queries >= 1,
        },
        Rule {
            field: ".timeout",
            cel: "self.timeout >= duration('1s')",
            message: "must be 1s or more; write for example 60s",
            holds: |limits| limits.timeout >= Duration::seconds(1),
        },
        Rule {
            field: ".rows",
            cel: "self.rows >= 1",
            message: "must be 1 or more; write for example 1000000",
            holds: |limits| limits.rows >= 1,
        },
        Rule {
            field: ".memory",
            cel: "quantity(string(self.memory)).compareTo(quantity('16Mi')) >= 0",
            message: "must be 16Mi or more; write for example 256Mi",
            holds: |limits| limits.memory >= ByteSize::mebibytes(16),
        },
        Rule {
            field: ".spill",
            cel: "quantity(string(self.spill)).compareTo(quantity('1Mi')) >= 0",
            message: "must be 1Mi or more; write for example 1Gi",
            holds: |limits| limits.spill >= ByteSize::mebibytes(1),
        },
    ];
}
