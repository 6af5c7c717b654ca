//! The two topics: whether they are there, and how many partitions they have.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use super::context::Context;
use super::{REQUEST_TIMEOUT, unusable};
use crate::core::shard::PartitionCounts;
use crate::source::SourceError;

/// How long the reason of a failed connection may take: it is there with the failure.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// How many partitions the topics have, asked by a client of its own, which knows why it cannot connect.
pub(super) fn known(
    config: &ClientConfig,
    brokers: &str,
    names: &[String; 2],
) -> Result<PartitionCounts, SourceError> {
    let client: BaseConsumer<Context> =
        config.create_with_context(Context::default()).map_err(|error| unusable(&error))?;
    counts(&client, names, REQUEST_TIMEOUT).map_err(|error| match error {
        CountError::Missing(topic) => SourceError::Kafka(format!(
            "Kafka at {brokers} has no topic {topic}: create it, or name another in spec.kafka"
        )),
        CountError::Kafka(error) => {
            // The reason of a failed connection is told only to those who poll, after what is for the log.
            _ = client.poll(REASON_TIMEOUT);
            let reason = client.client().context().reason(&error);
            let advice = advice(&reason).map(|advice| format!("; {advice}")).unwrap_or_default();
            SourceError::Kafka(format!("cannot reach Kafka at {brokers}: {reason}{advice}"))
        }
    })
}

/// What to do about a connection that the broker or we have refused.
fn advice(reason: &str) -> Option<&'static str> {
    let advices = [
        ("certificate verify failed", "check TIPS_KAFKA_CA"),
        (
            " alert ",
            "check TIPS_KAFKA_CLIENT_CERT and TIPS_KAFKA_CLIENT_KEY: the broker asks for a certificate",
        ),
        ("Authentication failed", "check TIPS_KAFKA_USERNAME and TIPS_KAFKA_PASSWORD"),
    ];
    advices.into_iter().find(|(sign, _)| reason.contains(sign)).map(|(_, advice)| advice)
}

/// Why the partitions cannot be counted.
#[derive(Debug, thiserror::Error)]
pub(super) enum CountError {
    #[error("there is no topic {0}")]
    Missing(String),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// How many partitions the topics have.
pub(super) fn counts(
    client: &BaseConsumer<Context>,
    names: &[String; 2],
    timeout: Duration,
) -> Result<PartitionCounts, CountError> {
    let count = |name: &String| -> Result<i32, CountError> {
        let metadata = client.fetch_metadata(Some(name), timeout)?;
        let partitions = metadata.topics().iter().find(|topic| topic.name() == name);
        match partitions.map_or(0, |topic| topic.partitions().len()) {
            0 => Err(CountError::Missing(name.clone())),
            partitions => Ok(partitions as i32),
        }
    };
    Ok(PartitionCounts { rides: count(&names[0])?, fares: count(&names[1])? })
}
