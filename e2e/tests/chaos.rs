//! Fifty faults at random, and then the oracle (I6): workers are killed, stopped past their session and woken,
//! added and taken away; Redis loses its last second or everything; the broker restarts; the sink refuses. A
//! reader looks on all the time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::kafka::KafkaOptions;
use tips_e2e::oracle::{Oracle, Watermark};
use tips_e2e::s3::S3;
use tips_e2e::sender::Paced;
use tips_e2e::wait::until;
use tips_e2e::watcher::{Merging, Watcher};
use tips_e2e::worker::{Bucket, Data, MIXED, PARTITIONS, Pipeline, Target, metric};
use tips_e2e::{Process, Servers, scenario};

const MOST_WORKERS: usize = 4;
const SESSION: Duration = Duration::from_secs(2);
/// Long enough for others to have the partitions of whoever is stopped, and to publish of them.
const PAST_SESSION: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(240);
/// One partition of each topic is behind the others by more than they may be ahead of it (`job.maxDrift`).
const DATA: [&str; 8] = ["--seed", "13", "--rate", "30", "--span", "3h", "--behind", "90m"];
/// Records a second of wall time while there are faults: the data outlasts them.
const PACE: usize = 2000;
/// Up to how many workers the pipeline is scaled, one by one.
const SCALES: [usize; 8] = [3, 4, 3, 2, 1, 2, 3, 4];
const ASSIGNED: &str = "tipstream_assigned_partitions";

/// Numbers without a pattern from a seed that is told, so that a run can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Stop,
    Scale,
    RedisLosesASecond,
    RedisLosesAll,
    Kafka,
    KafkaDies,
    Sink,
}

/// Fifty, and some scaling between them.
const FAULTS: [(Fault, usize); 8] = [
    (Fault::Kill, 20),
    (Fault::Stop, 8),
    (Fault::RedisLosesASecond, 6),
    (Fault::RedisLosesAll, 6),
    (Fault::Kafka, 3),
    (Fault::KafkaDies, 2),
    (Fault::Sink, 5),
    (Fault::Scale, SCALES.len()),
];

/// All of them, in the order of the dice.
fn faults(dice: &mut Dice) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        FAULTS.iter().flat_map(|(fault, times)| std::iter::repeat_n(*fault, *times)).collect();
    for last in (1..faults.len()).rev() {
        faults.swap(last, dice.roll(last + 1));
    }
    faults
}

/// `TIPSTREAM_CHAOS_SEED`, or another for each run; it is the first line of `faults.log`.
fn seed() -> Result<u64> {
    match std::env::var("TIPSTREAM_CHAOS_SEED") {
        Ok(seed) => seed.parse().context("TIPSTREAM_CHAOS_SEED is no number"),
        Err(_) => Ok(std::process::id().into()),
    }
}

struct Chaos<'a> {
    dice: Dice,
    pipeline: Pipeline<'a>,
    workers: Vec<Process>,
    scales: std::array::IntoIter<usize, { SCALES.len() }>,
    servers: Servers<'a>,
}

impl Chaos<'_> {
    fn strike(&mut self, fault: Fault, s3: &mut S3) -> Result<()> {
        match fault {
            Fault::Kill => self.kill_one(),
            Fault::Stop => self.stop_one_past_its_session(),
            Fault::Scale => self.scale(),
            Fault::RedisLosesASecond => self.redis_loses_its_last_second(),
            Fault::RedisLosesAll => self.redis_loses_everything(),
            Fault::Kafka => self.servers.kafka.restart(),
            Fault::KafkaDies => {
                self.servers.kafka.kill9()?;
                self.servers.kafka.up()
            }
            Fault::Sink => sink_refuses(s3),
        }
    }

    /// As a Deployment would: a worker that comes while a server is away ends by itself.
    fn restart_those_that_could_not_begin(&mut self) -> Result<()> {
        for worker in &mut self.workers {
            if !worker.is_running() {
                let has_begun = worker.output()?.contains("\"started\"");
                ensure!(!has_begun, "it ended at work; {}", worker.last_lines());
                *worker = self.pipeline.start(&[])?;
            }
        }
        Ok(())
    }

    fn one(&mut self) -> usize {
        self.dice.roll(self.workers.len())
    }

    fn kill_one(&mut self) -> Result<()> {
        let one = self.one();
        self.workers[one].kill9()?;
        self.workers[one] = self.pipeline.start(&[])?;
        Ok(())
    }

    fn stop_one_past_its_session(&mut self) -> Result<()> {
        let one = self.one();
        self.workers[one].stop()?;
        std::thread::sleep(PAST_SESSION);
        self.workers[one].cont()
    }

    /// Up or down. One worker has to get all partitions, and of many each some.
    fn scale(&mut self) -> Result<()> {
        let workers = self.scales.next().context("scaled too often")?;
        if workers > self.workers.len() {
            self.workers.push(self.pipeline.start(&[])?);
        } else {
            let one = self.one();
            self.workers.swap_remove(one).end()?;
        }
        ensure!(workers == self.workers.len(), "{} workers in place of {workers}", self.workers.len());
        if workers != 1 && workers != MOST_WORKERS {
            return Ok(());
        }
        until(&format!("shared out to {workers}"), PATIENCE, || {
            self.restart_those_that_could_not_begin()?;
            // One that was just started does not listen yet.
            let assigned: Vec<f64> =
                self.workers.iter().map(|worker| metric(worker, ASSIGNED).unwrap_or_default()).collect();
            let all = 2.0 * PARTITIONS as f64;
            Ok(assigned.iter().sum::<f64>() == all && assigned.iter().all(|partitions| *partitions > 0.0))
        })
    }

    fn redis_loses_its_last_second(&mut self) -> Result<()> {
        let copy = self.servers.redis.copy()?;
        std::thread::sleep(Duration::from_secs(1));
        self.servers.redis.kill9()?;
        self.servers.redis.restart_from(&copy)
    }

    fn redis_loses_everything(&mut self) -> Result<()> {
        self.servers.redis.flushall()
    }
}

fn sink_refuses(s3: &mut S3) -> Result<()> {
    s3.kill9()?;
    std::thread::sleep(Duration::from_secs(3));
    s3.up()
}

#[test]
fn fifty_faults_change_nothing() {
    scenario("chaos", |folder| {
        let mut s3 = S3::start(folder)?;
        let bucket = Bucket::of(&s3);
        let servers = Servers::start_with(
            folder,
            &KafkaOptions { session_timeout: SESSION, ..KafkaOptions::default() },
        )?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let settings =
            servers.settings(&["raw: {flushInterval: 3s}", "job: {idleTimeout: 1h, maxDrift: 1h}"]);
        let topics = data.topics(&servers.kafka, "chaos")?;
        let sender = Paced::start(servers.kafka.client(), topics, PACE);

        let mut dice = Dice(seed()?);
        let log = folder.path().join("faults.log");
        let seed = dice.0;
        let faults = faults(&mut dice);
        std::fs::write(&log, format!("seed {seed}\n{faults:?}\n"))?;
        let pipeline = Pipeline::new(folder, "chaos", &settings, Target::S3(bucket))?;
        let watcher = Watcher::start(folder, &pipeline.output()?, Merging::None)?;
        let scales = SCALES.into_iter();
        let mut chaos = Chaos { dice, pipeline, workers: Vec::new(), scales, servers };
        for _ in 0..2 {
            chaos.workers.push(chaos.pipeline.start(&[])?);
        }
        for fault in faults {
            std::thread::sleep(Duration::from_millis(300 + 100 * chaos.dice.roll(13) as u64));
            chaos.restart_those_that_could_not_begin()?;
            chaos.strike(fault, &mut s3).with_context(|| format!("{fault:?}, seed {seed}"))?;
        }
        ensure!(!sender.is_finished(), "the data has not outlasted the faults");
        sender.finish()?;
        // Those that are ahead stay so: the one behind them ends before they may go on.
        until("some partitions are paused", PATIENCE, || {
            chaos.restart_those_that_could_not_begin()?;
            let paused = |worker| metric(worker, "tipstream_paused_partitions").unwrap_or_default();
            Ok(chaos.workers.iter().map(paused).sum::<f64>() > 0.0)
        })?;
        for worker in std::mem::take(&mut chaos.workers) {
            drop(worker);
        }
        // The partitions that are ahead go on when the one behind them has ended.
        chaos.pipeline.change("idleTimeout: 1h", "idleTimeout: 3s")?;
        chaos.pipeline.catch_up(1, PATIENCE)?;
        watcher.finish()?;
        let watermark = Watermark::AtLeastOfAll;
        let more = |oracle| Oracle { watermark, ..oracle };
        chaos.servers.check_with_books(&data, "chaos", &chaos.pipeline, more)
    });
}
