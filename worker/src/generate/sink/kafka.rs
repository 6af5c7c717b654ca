//! Sends to two topics, idempotently, each record to the partition that the generator chose.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::{Record, Sink};
use crate::generate::answer::Topic;
use crate::generate::args::GenerateArgs;
use crate::generate::error::GenerateError;
use crate::generate::lines::Flaw;

const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const FLUSH_WITHIN: Duration = Duration::from_secs(120);
/// A run that feeds a live pipeline for hours should not learn of a lost record at its end.
const SENT_A_CHECK: u64 = 1_024;
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

pub(in crate::generate) struct Kafka {
    rides: String,
    fares: String,
    sent: u64,
    producer: ThreadedProducer<Reasons>,
    cluster: Cluster,
}

impl Kafka {
    pub(in crate::generate) fn connect(brokers: &str, args: &GenerateArgs) -> Result<Self, GenerateError> {
        if args.rides_topic == args.fares_topic {
            let reason = "is the topic of the rides too: rides and fares need one each";
            return Err(GenerateError::setting("--fares-topic", reason));
        }
        let cluster = Cluster { brokers: brokers.to_owned(), reasons: Reasons::default() };
        let config = config(brokers, &args.properties);
        let producer = ThreadedProducer::from_config_and_context(&config, cluster.reasons.clone())
            .map_err(|error| cluster.failed("making a producer", &error))?;
        let kafka = Self {
            rides: args.rides_topic.clone(),
            fares: args.fares_topic.clone(),
            sent: 0,
            producer,
            cluster,
        };
        for topic in [&kafka.rides, &kafka.fares] {
            kafka.prepare(topic, args, &config)?;
        }
        Ok(kafka)
    }

    /// Makes sure that the topic is there with the partitions that lines will be sent to.
    fn prepare(&self, topic: &str, args: &GenerateArgs, config: &ClientConfig) -> Result<(), GenerateError> {
        let failed = |reason: String| GenerateError::Topic { topic: topic.to_owned(), reason };
        match self.partitions(topic)? {
            0 if args.no_create_topics => {
                Err(failed("is not there, and --no-create-topics says not to create it".to_owned()))
            }
            0 => self.create(topic, args.partitions, config),
            count if count == args.partitions as usize => Ok(()),
            count => Err(failed(format!(
                "has {count} partitions, not {}: give --partitions {count}, or another topic",
                args.partitions
            ))),
        }
    }

    /// 0 if the topic is not there.
    fn partitions(&self, topic: &str) -> Result<usize, GenerateError> {
        let metadata = self
            .producer
            .client()
            .fetch_metadata(Some(topic), ANSWER_WITHIN)
            .map_err(|error| self.cluster.failed("reading the topics", &error))?;
        Ok(metadata.topics().first().map_or(0, |found| found.partitions().len()))
    }

    fn create(&self, topic: &str, partitions: u32, config: &ClientConfig) -> Result<(), GenerateError> {
        let action = "creating a topic";
        let failed = |error: KafkaError| self.cluster.failed(action, &error);
        let admin: AdminClient<Reasons> =
            AdminClient::from_config_and_context(config, self.cluster.reasons.clone()).map_err(failed)?;
        // -1: as many replicas as the cluster's default.
        let new = NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
        let results = block_on(admin.create_topics([&new], &options)).map_err(failed)?;
        match results.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                Err(failed(KafkaError::AdminOp(code)))
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), GenerateError> {
        match self.cluster.reasons.lost() {
            None => Ok(()),
            Some(error) => Err(self.cluster.failed("sending", &error)),
        }
    }
}

impl Sink for Kafka {
    const LEFT: &'static str = "the lines that were sent stay in the topics";

    fn flaws(&self) -> &'static [Flaw] {
        &Flaw::IN_KAFKA
    }

    fn send(&mut self, record: Record<'_>) -> Result<(), GenerateError> {
        self.sent += 1;
        if self.sent.is_multiple_of(SENT_A_CHECK) {
            self.check()?;
        }
        let topic = match record.topic {
            Topic::Rides => &self.rides,
            Topic::Fares => &self.fares,
        };
        let mut next = BaseRecord::<[u8], [u8]>::to(topic).partition(record.partition as i32);
        next.key = record.key;
        next.payload = record.value;
        loop {
            next = match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => again,
                Err((error, _)) => return Err(self.cluster.failed("sending", &error)),
            };
            self.check()?;
            std::thread::sleep(QUEUE_FULL_PAUSE);
        }
    }

    fn finish(self) -> Result<(), GenerateError> {
        self.producer
            .flush(FLUSH_WITHIN)
            .map_err(|error| self.cluster.failed("waiting for the last records to be stored", &error))?;
        self.check()
    }
}

fn config(brokers: &str, properties: &[(String, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "tips-generate")
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "200000");
    for (key, value) in properties {
        config.set(key, value);
    }
    config
}

struct Cluster {
    brokers: String,
    reasons: Reasons,
}

impl Cluster {
    fn failed(&self, action: &'static str, error: &KafkaError) -> GenerateError {
        let reason = match self.reasons.connection() {
            None => error.to_string(),
            Some(why) => format!("{error} ({why})"),
        };
        GenerateError::Kafka { brokers: self.brokers.clone(), action, reason }
    }
}

/// What librdkafka says on its own threads. A wrong password or a missing CA looks like a mere
/// transport failure to the caller; only this tells them apart.
#[derive(Clone, Default)]
struct Reasons(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    connection: Option<String>,
    lost: Option<KafkaError>,
}

impl Reasons {
    fn connection(&self) -> Option<String> {
        self.heard(|heard| heard.connection.clone())
    }

    /// Why the first record that could not be delivered was lost.
    fn lost(&self) -> Option<KafkaError> {
        self.heard(|heard| heard.lost.clone())
    }

    fn heard<T>(&self, act: impl FnOnce(&mut Heard) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Reasons {
    fn error(&self, error: KafkaError, reason: &str) {
        // It follows the errors of the single brokers, which say why.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        self.heard(|heard| heard.connection = Some(reason.to_owned()));
    }
}

impl ProducerContext for Reasons {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.heard(|heard| _ = heard.lost.get_or_insert_with(|| error.clone()));
        }
    }
}
