//! `spec.kafka`: where the two topics are and how to read them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    reference::{ClientTls, SecretRef},
    rule::{Rule, Ruled},
};

/// The Kafka cluster and the two topics that are consumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Kafka {
    /// Brokers to ask first for the cluster's metadata, as a comma separated list of host:port.
    #[schemars(length(max = 4096))]
    pub bootstrap_servers: String,
    /// Topic of the ride events. Decides results: it changes only together with a raised epoch.
    #[schemars(length(max = 249))]
    pub rides_topic: String,
    /// Topic of the fares. Decides results: it changes only together with a raised epoch.
    #[schemars(length(max = 249))]
    pub fares_topic: String,
    /// Consumer group. Default: `<namespace>.<name>` of the pipeline. What has been read is known
    /// from the state and the files; the group's committed offsets are hints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    pub group_id: Option<String>,
    /// Where a pipeline that has no state yet begins to read: Earliest (the default, every record
    /// that the topics still hold) or Latest (only what is written from now on).
    #[serde(default)]
    pub start_from: StartFrom,
    /// TLS towards the brokers. Default: none, plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// User and password towards the brokers. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Further settings of librdkafka, as its CONFIGURATION.md names them, such as
    /// `fetch.max.bytes`. What has a field of its own, and every credential, is refused here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub properties: BTreeMap<String, String>,
}

/// Where a pipeline without state begins to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartFrom {
    /// The first record that the topics still hold.
    #[default]
    Earliest,
    /// Records written from now on.
    Latest,
}

/// SASL authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sasl {
    /// PLAIN (use it with TLS only: the password is sent as it is), SCRAM-SHA-256 or
    /// SCRAM-SHA-512.
    pub mechanism: SaslMechanism,
    /// A Secret with the keys `username` and `password`.
    pub secret_ref: SecretRef,
}

/// How user and password are shown to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of the password, by SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of the password, by SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// The name in Kafka's protocol and in librdkafka's `sasl.mechanism`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

const TOPIC_MESSAGE: &str =
    "must be the name of a topic: 1 to 249 letters, digits, dots, underscores and dashes";

impl Ruled for Kafka {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".bootstrapServers",
            cel: r"self.bootstrapServers.matches('^[^,\\s]+:[0-9]{1,5}(,[^,\\s]+:[0-9]{1,5})*$')",
            message: "must be a comma separated list of host:port without spaces; write for example kafka-0.kafka:9092,kafka-1.kafka:9092",
            holds: |kafka| kafka.bootstrap_servers.split(',').all(is_host_and_port),
        },
        Rule {
            field: ".ridesTopic",
            cel: "self.ridesTopic.matches('^[a-zA-Z0-9._-]{1,249}$')",
            message: TOPIC_MESSAGE,
            holds: |kafka| is_topic(&kafka.rides_topic),
        },
        Rule {
            field: ".faresTopic",
            cel: "self.faresTopic.matches('^[a-zA-Z0-9._-]{1,249}$')",
            message: TOPIC_MESSAGE,
            holds: |kafka| is_topic(&kafka.fares_topic),
        },
        Rule {
            field: ".faresTopic",
            cel: "self.ridesTopic != self.faresTopic",
            message: "must differ from ridesTopic; rides and fares are lines of different columns and need a topic each",
            holds: |kafka| kafka.rides_topic != kafka.fares_topic,
        },
        Rule {
            field: ".properties",
            cel: "!has(self.properties) || self.properties.all(name, !(name.startsWith('sasl.') || \
                  (name.startsWith('ssl.') && name != 'ssl.endpoint.identification.algorithm') || name in \
                  ['auto.offset.reset', 'bootstrap.servers', 'enable.auto.commit', 'enable.auto.offset.store', \
                  'group.id', 'group.instance.id', 'metadata.broker.list', 'security.protocol']))",
            message: "must not set what has a field of its own: use bootstrapServers, groupId, startFrom, tls and sasl for brokers, group, first offset, TLS and credentials; offsets are committed by the worker, and each worker is a member of its own",
            holds: |kafka| !kafka.properties.keys().any(|name| is_reserved(name)),
        },
    ];
}

fn is_host_and_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(|c: char| c.is_ascii_whitespace())
            && (1..=5).contains(&port.len())
            && port.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// What the worker sets itself from other fields, or needs for exactly-once.
fn is_reserved(property: &str) -> bool {
    const NAMES: [&str; 8] = [
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "group.id",
        // Static membership: all workers would be the one member.
        "group.instance.id",
        "metadata.broker.list",
        "security.protocol",
    ];
    NAMES.contains(&property)
        || property.starts_with("sasl.")
        || property.starts_with("ssl.") && property != "ssl.endpoint.identification.algorithm"
}
