//! A pipeline, a query service and an operator at work, under a Prometheus: what alerts and dashboards are tried on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kafka::{Kafka, KafkaOptions};
use crate::kubernetes::ControlPlane;
use crate::operator::{self, Operator};
use crate::ports::Port;
use crate::prometheus::{Prometheus, alerts};
use crate::query::Query;
use crate::redis::{Redis, RedisOptions};
use crate::wait::until;
use crate::worker::{self, PARTITIONS, metric, until_metric};
use crate::{Folder, Process, Servers};

/// What Prometheus calls the workers, as the PodMonitor of a pipeline would.
pub const WORKERS: &str = "taxi/nyc-worker";
/// And the query service.
pub const QUERY: &str = "taxi/nyc-query";
/// And the operator.
pub const OPERATOR: &str = "tips-system/tips-tipstream";

const PATIENCE: Duration = Duration::from_secs(120);
const NAME: &str = "nyc";
const RESOURCE: &str = "
apiVersion: tipstream.dev/v1alpha1
kind: TipsPipeline
metadata: {name: nyc, namespace: default}
spec:
  kafka: {bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}
  redis: {urls: ['redis://redis:6379']}
  sink: {volume: {claimName: lake}}
";

/// Everything that runs; it ends when this is dropped.
pub struct Monitored<'a> {
    /// Scrapes the rest.
    pub prometheus: Prometheus,
    workers: Vec<Process>,
    query: Query,
    map: Port,
    _feed: Process,
    _operator: Operator,
    _control_plane: ControlPlane,
    servers: Servers<'a>,
}

impl<'a> Monitored<'a> {
    /// Starts it all, and has rides come: `rate` of them in a second of event time, over the hours before now, sent
    /// at `pace` lines a second. With the project's alerts.
    pub fn start(folder: &'a Folder, rate: u32, hours: u32, pace: u32) -> Result<Self> {
        Self::start_with(folder, &alerts(), rate, hours, pace)
    }

    /// The same with the alerts of `rules`.
    pub fn start_with(folder: &'a Folder, rules: &Path, rate: u32, hours: u32, pace: u32) -> Result<Self> {
        let redis = RedisOptions { maxmemory: Some("64mb".to_owned()), ..RedisOptions::default() };
        let redis = Redis::start(folder, redis)?;
        let kafka = Kafka::start_with(folder, &KafkaOptions::default())?;
        let servers = Servers { folder, kafka, redis };
        servers.kafka.create_topics(NAME, PARTITIONS as i32)?;
        let mut pipeline = servers.pipeline(NAME, &["raw: {flushInterval: 2s}"])?;
        let mut workers = vec![pipeline.start(&[])?, pipeline.start(&[])?];
        for worker in &mut workers {
            until_metric(worker, "tipstream_assigned_partitions", 1.0, PATIENCE)?;
        }
        let feed = feed(folder, &servers.kafka, rate, hours, pace)?;
        let map = Port::reserve()?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &["--map", &map.address()])?;

        let control_plane = ControlPlane::start(folder)?;
        let rights = operator::install(control_plane.cluster())?;
        let operator = Operator::start(folder, &rights, "operator")?;
        let addresses = workers.iter().map(worker::address).collect::<Result<_>>()?;
        let of_query = vec![worker::address(&query.process)?];
        let jobs = [(WORKERS, addresses), (QUERY, of_query), (OPERATOR, vec![operator.address()])];
        let prometheus = Prometheus::start(folder, rules, &jobs)?;
        // A counter rises only for who has seen it before.
        until("scraped", PATIENCE, || Ok(prometheus.query("up == 1")?.len() == 4))?;
        control_plane.cluster().apply(RESOURCE)?;
        Ok(Monitored {
            prometheus,
            workers,
            query,
            map,
            _feed: feed,
            _operator: operator,
            _control_plane: control_plane,
            servers,
        })
    }

    /// Asks for windows, by SQL and as the map does.
    pub fn ask(&self) -> Result<()> {
        // Without Redis psql prints a warning, too.
        self.query.psql("SELECT count(*) FROM tips")?;
        let list = self.query.map(&self.map, "windows")?;
        let last = list["windows"].as_array().and_then(|windows| windows.last());
        if let Some(start) = last.and_then(|window| window["start"].as_str()) {
            self.query.map(&self.map, &format!("windows/{start}"))?;
        }
        self.query.map(&self.map, "history?neighbourhood=Chelsea").map(drop)
    }

    /// Ends Redis, and starts it again when a worker and a query have missed it.
    pub fn interrupt_redis(&mut self) -> Result<()> {
        self.lose_redis()?;
        self.ask()?;
        self.start_redis()
    }

    /// Ends the query service without a word.
    pub fn lose_query(&mut self) -> Result<()> {
        self.query.process.kill9()
    }

    /// Starts Redis again.
    pub fn start_redis(&mut self) -> Result<()> {
        self.servers.redis.up()
    }

    /// Ends a worker without a word.
    pub fn lose_worker(&mut self) -> Result<()> {
        self.workers.pop().context("no worker is left")?.kill9()
    }

    /// Ends Redis, which a worker has missed then.
    pub fn lose_redis(&mut self) -> Result<()> {
        let failed = |workers: &[Process]| -> Result<f64> {
            workers.iter().map(|worker| metric(worker, "tipstream_state_errors_total")).sum()
        };
        let before = failed(&self.workers)?;
        self.servers.redis.kill9()?;
        until("missed by a worker", PATIENCE, || Ok(failed(&self.workers)? > before))
    }
}

/// Sends the rides of the last hours, some of them wrong in each of the ways.
fn feed(folder: &Folder, kafka: &Kafka, rate: u32, hours: u32, pace: u32) -> Result<Process> {
    let span = jiff::SignedDuration::from_hours(i64::from(hours));
    let start = (jiff::Timestamp::now() - span).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let mut generate = Command::new(worker::binary()?);
    generate.args(["generate", "--seed", "6", "--kafka", &kafka.bootstrap(), "--start", &start]);
    generate.args([format!("--rate={rate}"), format!("--span={hours}h"), format!("--pace={pace}")]);
    generate.args([format!("--partitions={PARTITIONS}"), format!("--rides-topic={NAME}-rides")]);
    generate.args([format!("--fares-topic={NAME}-fares"), "--late-slack=30m".to_owned()]);
    generate.args(["--invalid=0.01", "--unmatched=0.02", "--out-of-area=0.03", "--late=0.002"]);
    Process::start("feed", generate, &folder.path().join("feed.log"))
}
