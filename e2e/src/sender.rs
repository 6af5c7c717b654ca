//! Sends files of lines to topics: line *n* of file *i* becomes offset *n* of partition *i*, whatever happens to
//! the broker meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

/// Lines of the longest file between two looks at the pace.
const STEP: usize = 500;
const PATIENCE: Duration = Duration::from_secs(120);

/// Files of one topic.
pub struct Lines {
    /// The topic; it is there already.
    pub topic: String,
    /// A file a partition.
    pub files: Vec<PathBuf>,
}

#[derive(Clone, Default)]
struct Lost(Arc<AtomicUsize>);

impl ClientContext for Lost {}

impl ProducerContext for Lost {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
    }
}

/// Sends all lines, the files keeping step; `pace` is in records a second of wall time.
pub fn send(client: &ClientConfig, topics: &[Lines], pace: Option<usize>) -> Result<()> {
    send_at(client, topics, || pace)
}

/// A sender in the background, at a pace that it gives up when it is told to finish.
pub struct Paced {
    hurry: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Paced {
    /// Begins to send all lines, `pace` of them a second of wall time.
    pub fn start(client: ClientConfig, topics: [Lines; 2], pace: usize) -> Self {
        let hurry = Arc::new(AtomicBool::new(false));
        let told = hurry.clone();
        let pace = move || (!told.load(Ordering::Relaxed)).then_some(pace);
        Self { hurry, thread: std::thread::spawn(move || send_at(&client, &topics, pace)) }
    }

    /// Whether all is sent.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends what is left at once.
    pub fn finish(self) -> Result<()> {
        self.hurry.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the sender panicked"))?
    }
}

/// What [`send`] does, at a pace that may change meanwhile.
fn send_at(client: &ClientConfig, topics: &[Lines], pace: impl Fn() -> Option<usize>) -> Result<()> {
    let mut config = client.clone();
    // Neither twice nor out of order, though a broker goes and comes back.
    config.set("enable.idempotence", "true").set("linger.ms", "20");
    let lost = Lost::default();
    let producer: BaseProducer<Lost> =
        config.create_with_context(lost.clone()).context("creating a producer")?;
    let mut lanes = Vec::new();
    for Lines { topic, files } in topics {
        for (partition, file) in files.iter().enumerate() {
            lanes.push((topic, partition as i32, read(file)?));
        }
    }
    let longest = lanes.iter().map(|(_, _, file)| file.split.len()).max().unwrap_or(0);
    let steps = longest.div_ceil(STEP).max(1);
    for step in 0..steps {
        let begun = Instant::now();
        let mut sent = 0;
        for (topic, partition, file) in &lanes {
            let all = file.split.len();
            for line in &file.split[all * step / steps..all * (step + 1) / steps] {
                put(&producer, topic, *partition, &file.bytes[line.clone()])?;
                sent += 1;
            }
        }
        let due = pace().map_or(Duration::ZERO, |pace| Duration::from_secs_f64(sent as f64 / pace as f64));
        producer.poll(due.saturating_sub(begun.elapsed()));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    producer.flush(PATIENCE).context("waiting for the broker to take all records")?;
    ensure!(lost.0.load(Ordering::Relaxed) == 0, "the broker did not take {:?} records", lost.0);
    Ok(())
}

fn put(producer: &BaseProducer<Lost>, topic: &str, partition: i32, line: &[u8]) -> Result<()> {
    loop {
        let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(line);
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(50));
            }
            Err((error, _)) => return Err(error).context("producing"),
        }
    }
}

struct Split {
    bytes: Vec<u8>,
    split: Vec<std::ops::Range<usize>>,
}

fn read(file: &Path) -> Result<Split> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut split = Vec::new();
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        split.push(start..end - usize::from(line.ends_with(b"\n")));
        start = end;
    }
    Ok(Split { bytes, split })
}
