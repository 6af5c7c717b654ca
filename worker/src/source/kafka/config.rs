//! The settings of librdkafka.

use rdkafka::ClientConfig;
use tipstream_crds::env;

use crate::core::shard::PartitionCounts;
use crate::manifest::Manifest;
use crate::settings::{SettingsError, client_certificate, variable};

/// What librdkafka may hold of records that are not read yet, all partitions together. Beside its bytes a
/// record of this job costs librdkafka about three times as much again.
const QUEUE_BYTES: usize = 8 << 20;
const MIN_QUEUE_KBYTES: usize = 64;

/// How to reach the brokers: addresses, TLS, login, and the properties of the manifest.
///
/// # Errors
/// Where the manifest wants a login and the environment has none, or has a certificate without its key.
pub fn client_config(manifest: &Manifest) -> Result<ClientConfig, SettingsError> {
    let kafka = &manifest.kafka;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("group.id", &kafka.group_id)
        .set("client.id", format!("tipstream.{}.{}", manifest.namespace, manifest.name));
    config.set(
        "security.protocol",
        match (kafka.tls, kafka.sasl.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        },
    );
    if kafka.tls {
        if let Some(path) = variable(env::KAFKA_CA) {
            config.set("ssl.ca.location", path);
        }
        let variables = [env::KAFKA_CLIENT_CERT, env::KAFKA_CLIENT_KEY];
        if let Some([certificate, key]) = client_certificate("spec.kafka.tls.clientCertificate", variables)? {
            config.set("ssl.certificate.location", certificate).set("ssl.key.location", key);
        }
    }
    if let Some(mechanism) = kafka.sasl {
        let login = |name| {
            variable(name).ok_or(SettingsError::Missing { setting: "spec.kafka.sasl", variable: name })
        };
        config
            .set("sasl.mechanisms", mechanism.as_str())
            .set("sasl.username", login(env::KAFKA_USERNAME)?)
            .set("sasl.password", login(env::KAFKA_PASSWORD)?);
    }
    for (property, value) in &kafka.properties {
        config.set(property, value);
    }
    Ok(config)
}

/// The settings of the consumer. What the manifest sets is left as it is, but for what the worker relies on.
pub(super) fn consumer(mut config: ClientConfig, known: PartitionCounts) -> ClientConfig {
    let partitions = (known.rides + known.fares).max(1) as usize;
    let queue = (QUEUE_BYTES / partitions / 1024).max(MIN_QUEUE_KBYTES);
    let mut preferred = vec![
        ("group.protocol", "consumer".to_owned()),
        ("fetch.wait.max.ms", "100".to_owned()),
        ("queued.max.messages.kbytes", queue.to_string()),
        // A queue that was full is filled again before it runs dry, not a second later.
        ("fetch.queue.backoff.ms", "5".to_owned()),
        ("queued.min.messages", (queue * 1024 / 64).to_string()),
        ("max.partition.fetch.bytes", (queue * 1024).max(1 << 17).to_string()),
        ("statistics.interval.ms", "2000".to_owned()),
    ];
    if config.get("group.protocol").is_none_or(|protocol| protocol == "consumer") {
        preferred.push(("group.remote.assignor", "range".to_owned()));
    }
    for (property, value) in preferred {
        if config.get(property).is_none() {
            config.set(property, value);
        }
    }
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // Every partition is started at an offset of our own; this is for what it does before, and where retention
        // passes it.
        .set("auto.offset.reset", "earliest");
    config
}
