//! The two servers that nearly every scenario has, and what is done with them.

use anyhow::{Context, Result};

use crate::Folder;
use crate::books::Books;
use crate::kafka::{Kafka, KafkaOptions};
use crate::oracle::Oracle;
use crate::redis::{Redis, RedisOptions};
use crate::worker::{Data, Pipeline, Settings, Target, watermark};

/// A Kafka and a Redis.
pub struct Servers<'a> {
    /// Of the scenario.
    pub folder: &'a Folder,
    /// The broker.
    pub kafka: Kafka,
    /// The state.
    pub redis: Redis,
}

impl<'a> Servers<'a> {
    /// Starts both.
    pub fn start(folder: &'a Folder) -> Result<Self> {
        Self::start_with(folder, &KafkaOptions::default())
    }

    /// Starts both, the broker with these options.
    pub fn start_with(folder: &'a Folder, options: &KafkaOptions) -> Result<Self> {
        let redis = Redis::start(folder, RedisOptions::default())?;
        Ok(Servers { folder, kafka: Kafka::start_with(folder, options)?, redis })
    }

    /// The settings of a pipeline on them, with `more` lines of its spec.
    pub fn settings(&self, more: &[&str]) -> Settings {
        Settings {
            kafka: self.kafka.bootstrap(),
            redis: format!("{{urls: [\"{}\"]}}", self.redis.url()),
            more: more.iter().map(ToString::to_string).collect(),
        }
    }

    /// A pipeline that writes to a folder of its own.
    pub fn pipeline(&self, name: &str, more: &[&str]) -> Result<Pipeline<'a>> {
        let output = self.folder.path().join("output").join(name);
        Pipeline::new(self.folder, name, &self.settings(more), Target::Fs(output))
    }

    /// The time up to which the pipeline has closed windows.
    pub fn closed(&self, name: &str) -> Result<String> {
        watermark(&mut self.redis.connection()?, name)
    }

    /// The output is the oracle's answer to `data`, and the proof holds.
    pub fn check(&self, data: &Data, name: &str, pipeline: &Pipeline<'_>) -> Result<()> {
        agrees(&self.oracle(data, name)?, pipeline)
    }

    /// The same, by an oracle that looks at `more`, and the books in Redis are the generator's.
    pub fn check_with_books(
        &self,
        data: &Data,
        name: &str,
        pipeline: &Pipeline<'_>,
        more: impl FnOnce(Oracle) -> Oracle,
    ) -> Result<()> {
        agrees(&more(self.oracle(data, name)?), pipeline)?;
        let Some(books) = data.books()? else { return Ok(()) };
        let told = Books::of_redis(&mut [self.redis.connection()?], name)?;
        books.check(&told).context("the books in Redis")
    }

    fn oracle(&self, data: &Data, name: &str) -> Result<Oracle> {
        Ok(data.oracle(name, Some(self.closed(name)?)))
    }
}

/// Where the answer is another, the proof tells what has become of the records.
fn agrees(oracle: &Oracle, pipeline: &Pipeline<'_>) -> Result<()> {
    let checked = oracle.check(&pipeline.output()?);
    let proof = pipeline.verify();
    checked.with_context(|| match &proof {
        Ok(table) => format!("the proof holds:\n{table}"),
        Err(error) => format!("the proof does not hold: {error:#}"),
    })?;
    proof.map(drop)
}
