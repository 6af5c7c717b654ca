//! `spec.redis`: where the state is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    reference::{ClientTls, SecretRef},
    rule::{Rule, Ruled},
};

/// The Redis that keeps the state: pending rides and fares, sums, offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Redis {
    /// Servers, as redis://host:port or, with TLS, rediss://host:port; a trailing /N chooses a
    /// database. One for Standalone; some or all of the nodes for Cluster; the sentinels for
    /// Sentinel.
    #[schemars(
        length(max = 64),
        inner(length(max = 512)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub urls: Vec<String>,
    /// Standalone (the default), Cluster or Sentinel.
    #[serde(default)]
    pub mode: RedisMode,
    /// The monitored master. Needed for, and only for, the mode Sentinel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// Number of parts that the state is split into, 1 to 1024, and so the most nodes of a Redis
    /// Cluster that can share it. Every batch of a worker is a call to each. Default 16. It
    /// belongs to the state: it changes only together with a raised epoch.
    #[serde(default = "Redis::default_shards")]
    pub shards: i32,
    /// Certificates for TLS. Default: none. With rediss:// URLs TLS is on without it too, trusting
    /// the public authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// Password, and user where Redis has ACLs. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RedisAuth>,
}

impl Redis {
    fn default_shards() -> i32 {
        16
    }
}

/// How the Redis servers work together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedisMode {
    /// One server.
    #[default]
    Standalone,
    /// Redis Cluster.
    Cluster,
    /// A master and replicas watched by sentinels.
    Sentinel,
}

/// What the sentinels are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sentinel {
    /// Name under which the sentinels monitor the master, such as mymaster.
    #[schemars(length(min = 1, max = 253))]
    pub master_name: String,
    /// Password of the sentinels themselves, and user where they have ACLs. Default: none; that of
    /// the master is `spec.redis.auth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RedisAuth>,
}

/// Authentication towards Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisAuth {
    /// A Secret with the key `password` and, where Redis has ACLs, `username`.
    pub secret_ref: SecretRef,
}

impl Ruled for Redis {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".urls",
            cel: "size(self.urls) > 0",
            message: "must name at least one server; write for example [redis://redis:6379]",
            holds: |redis| !redis.urls.is_empty(),
        },
        Rule {
            field: ".urls",
            cel: "self.urls.all(url, url.matches('^rediss?://[^/?#@]+(/[0-9]*)?$'))",
            message: "must be URLs redis://host:port or rediss://host:port (TLS), with nothing but an optional /database behind; user and password belong in a Secret named by auth.secretRef",
            holds: |redis| redis.urls.iter().all(|url| is_redis_url(url)),
        },
        Rule {
            field: ".urls",
            cel: "self.mode != 'Standalone' || size(self.urls) <= 1",
            message: "must be one URL for the mode Standalone; for several servers write mode: Cluster or mode: Sentinel",
            holds: |redis| redis.mode != RedisMode::Standalone || redis.urls.len() <= 1,
        },
        Rule {
            field: ".urls",
            cel: "!has(self.tls) || self.urls.all(url, url.startsWith('rediss://'))",
            message: "must begin with rediss:// where tls is given",
            holds: |redis| redis.tls.is_none() || redis.urls.iter().all(|url| url.starts_with("rediss://")),
        },
        Rule {
            field: ".sentinel",
            cel: "(self.mode == 'Sentinel') == has(self.sentinel)",
            message: "must be given for the mode Sentinel and for no other; write sentinel: {masterName: mymaster} or leave it out",
            holds: |redis| (redis.mode == RedisMode::Sentinel) == redis.sentinel.is_some(),
        },
        Rule {
            field: ".shards",
            cel: "self.shards >= 1 && self.shards <= 1024",
            message: "must be from 1 to 1024; 16 serves a few hundred thousand records a second",
            holds: |redis| (1..=1024).contains(&redis.shards),
        },
    ];
}

fn is_redis_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("redis://").or_else(|| url.strip_prefix("rediss://")) else {
        return false;
    };
    let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
    !server.is_empty() && !server.contains(['?', '#', '@']) && database.bytes().all(|b| b.is_ascii_digit())
}
