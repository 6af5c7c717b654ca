//! The worker under test: the real binary, its manifest, and what a test wants to know of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;

use crate::books::{Books, GENERATED};
use crate::built::built;
use crate::data::RealData;
use crate::hdfs::Files;
use crate::kafka::Kafka;
use crate::oracle::Oracle;
use crate::process::run;
use crate::s3::S3;
use crate::sender::{Lines, send};
use crate::{Folder, Process, http};

/// How long a worker may take to see that it cannot work: longer than its longest try to connect.
const REFUSAL: Duration = Duration::from_secs(60);

/// The worker's binary: `TIPS_WORKER`, or the one that was built last.
pub fn binary() -> Result<PathBuf> {
    built("TIPS_WORKER", "tips-worker")
}

/// Where a pipeline under test writes.
pub enum Target {
    /// A folder.
    Fs(PathBuf),
    /// A bucket.
    S3(Bucket),
    /// A directory of HDFS.
    Hdfs(Files),
}

/// A bucket of the gateway, which may be down at times.
#[derive(Clone)]
pub struct Bucket {
    environment: [(&'static str, &'static str); 2],
    manifest: String,
    dir: PathBuf,
}

impl Bucket {
    /// That of `s3`.
    pub fn of(s3: &S3) -> Self {
        Bucket {
            environment: [("AWS_ACCESS_KEY_ID", s3.access_key()), ("AWS_SECRET_ACCESS_KEY", s3.secret_key())],
            manifest: format!(
                "bucket: {}, endpoint: \"{}\", region: {}",
                s3.bucket(),
                s3.endpoint(),
                s3.region()
            ),
            dir: s3.bucket_dir(),
        }
    }
}

/// A pipeline under test.
pub struct Pipeline<'a> {
    name: String,
    folder: &'a Folder,
    target: Target,
    manifest: PathBuf,
    environment: BTreeMap<String, String>,
    started: usize,
}

/// What a manifest says that is not the same for every test.
pub struct Settings {
    /// `host:port` of a broker.
    pub kafka: String,
    /// The `redis:` part, as YAML in flow style.
    pub redis: String,
    /// More parts of the spec, as YAML lines.
    pub more: Vec<String>,
}

impl<'a> Pipeline<'a> {
    /// Writes the manifest of the pipeline `name`, whose topics are `<name>-rides` and `<name>-fares`.
    pub fn new(folder: &'a Folder, name: &str, settings: &Settings, target: Target) -> Result<Self> {
        let mut environment = BTreeMap::new();
        let sink = match &target {
            Target::Fs(root) => {
                environment.insert("TIPS_VOLUME".to_owned(), root.display().to_string());
                "volume: {claimName: data, path: out}".to_owned()
            }
            Target::S3(bucket) => {
                let variables = bucket.environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
                environment.extend(variables);
                format!("s3: {{{}, prefix: {name}}}", bucket.manifest)
            }
            Target::Hdfs(files) => format!("hdfs: {{nameNode: \"{}\", path: /{name}}}", files.uri()),
        };
        let Settings { kafka, redis, more } = settings;
        let mut yaml = format!(
            "apiVersion: tipstream.dev/v1alpha1\nkind: TipsPipeline\nmetadata: {{name: {name}}}\nspec:\n  \
             kafka: {{bootstrapServers: \"{kafka}\", ridesTopic: {name}-rides, faresTopic: {name}-fares}}\n  \
             redis: {redis}\n  sink: {{{sink}}}\n"
        );
        for line in more {
            writeln!(yaml, "  {line}")?;
        }
        let manifest = folder.file(&format!("{name}.yaml"), yaml)?;
        Ok(Pipeline { name: name.to_owned(), folder, target, manifest, environment, started: 0 })
    }

    /// Sets a variable for the workers that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// The variables of its workers.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// The manifest.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// Changes the manifest for the commands that are started from now on.
    pub fn change(&self, from: &str, to: &str) -> Result<()> {
        let yaml = std::fs::read_to_string(&self.manifest).context("reading the manifest")?;
        ensure!(yaml.contains(from), "{from:?} is not in the manifest:\n{yaml}");
        std::fs::write(&self.manifest, yaml.replace(from, to)).context("writing the manifest")
    }

    /// A command of the worker with this pipeline's environment.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(arguments).envs(&self.environment).env("RUST_LOG", "info");
        Ok(command)
    }

    /// Starts a worker of the group.
    pub fn start(&mut self, more: &[&str]) -> Result<Process> {
        self.start_with(more, &[])
    }

    /// Starts a worker of the group with variables of its own.
    pub fn start_with(&mut self, more: &[&str], variables: &[(&str, &str)]) -> Result<Process> {
        self.started += 1;
        let name = format!("{}-{}", self.name, self.started);
        let manifest = self.manifest.display().to_string();
        let mut command = self.command(&["stream", "-f", &manifest, "--listen", "127.0.0.1:0"])?;
        command.args(more).envs(variables.iter().copied());
        let log = self.folder.path().join(format!("{name}.log"));
        Process::start(&name, command, &log)
    }

    /// Runs `workers` workers until all that Kafka holds is processed.
    pub fn catch_up(&mut self, workers: usize, patience: Duration) -> Result<()> {
        let mut running =
            (0..workers).map(|_| self.start(&["--until-caught-up"])).collect::<Result<Vec<_>>>()?;
        for worker in &mut running {
            let Some(status) = worker.wait(patience)? else {
                bail!("a worker has not caught up within {patience:?}; {}", worker.last_lines());
            };
            ensure!(status.success(), "a worker ended with {status}; {}", worker.last_lines());
        }
        Ok(())
    }

    /// Runs a worker that has to end by itself, with the exit code `code`, and to say each of `texts` as the reason.
    pub fn refused(&mut self, code: i32, texts: &[&str]) -> Result<()> {
        let mut worker = self.start(&["--until-caught-up"])?;
        let Some(status) = worker.wait(REFUSAL)? else {
            bail!("a worker that cannot work still tries; {}", worker.last_lines());
        };
        let said = worker.output()?;
        ensure!(status.code() == Some(code), "it ended with {status} in place of {code}:\n{said}");
        ensure!(said.contains("\"message\":\"failed\""), "the log does not say it:\n{said}");
        let reason = said.rsplit_once("tips-worker: ").map_or("", |(_, reason)| reason);
        for text in texts {
            ensure!(reason.contains(text), "it does not say {text:?} as the reason:\n{said}");
        }
        Ok(())
    }

    /// The output as a local folder.
    pub fn output(&self) -> Result<PathBuf> {
        Ok(match &self.target {
            Target::Fs(root) => root.join("out"),
            Target::S3(bucket) => bucket.dir.join(&self.name),
            Target::Hdfs(files) => {
                let copy = self.folder.dir(&format!("{}-output", self.name))?;
                files.fetch(&format!("/{}", self.name), &copy)?;
                copy
            }
        })
    }

    /// Runs `verify`, which has to find nothing.
    pub fn verify(&self) -> Result<String> {
        let manifest = self.manifest.display().to_string();
        run(&mut self.command(&["verify", "-f", &manifest])?)
    }
}

/// The same lines in files, for the oracle, and in the topics of a pipeline.
pub struct Data {
    /// Ride files.
    pub rides: Vec<PathBuf>,
    /// Fare files.
    pub fares: Vec<PathBuf>,
    /// The GeoJSON that they are counted by.
    pub neighbourhoods: PathBuf,
}

/// Flags of `generate`: everything that may be in real data but lateness, which depends on the order of reading.
pub const MIXED: [&str; 10] = [
    "--disorder",
    "10m",
    "--invalid",
    "0.01",
    "--unmatched",
    "0.02",
    "--out-of-area",
    "0.03",
    "--duplicates",
    "0.02",
];

/// Partitions of each topic and files of each kind.
pub const PARTITIONS: usize = 4;

impl Data {
    /// Generates files in the folder `input` of `folder`; `arguments` are those of `generate`.
    pub fn generate(folder: &Folder, arguments: &[&str]) -> Result<Self> {
        Self::generate_in(&folder.path().join("input"), arguments)
    }

    /// Generates files in `dir`, and the books and tips that they must lead to.
    pub fn generate_in(dir: &Path, arguments: &[&str]) -> Result<Self> {
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        all.extend(["--partitions".to_owned(), PARTITIONS.to_string()]);
        run(Command::new(binary()?).arg("generate").args(&all).arg("--output").arg(dir))?;
        let files = |kind: &str| (0..PARTITIONS).map(|i| dir.join(format!("{kind}-{i}.csv"))).collect();
        Ok(Data { rides: files("rides"), fares: files("fares"), neighbourhoods: polygons() })
    }

    /// Splits the real data by ride id, as a producer that keys its records would.
    pub fn real(folder: &Folder, real: &RealData) -> Result<Self> {
        let split = |kind: &str, lines: &Path| -> Result<Vec<PathBuf>> {
            let mut files = vec![String::new(); PARTITIONS];
            let mut text = String::new();
            GzDecoder::new(File::open(lines)?).read_to_string(&mut text)?;
            for line in text.lines() {
                let id = line.split(',').next().and_then(|id| id.parse::<usize>().ok());
                let file = &mut files[id.context("a line without an id")? % PARTITIONS];
                file.push_str(line);
                file.push('\n');
            }
            let name = |index: usize| format!("real-{kind}-{index}.csv");
            files.iter().enumerate().map(|(index, lines)| folder.file(&name(index), lines)).collect()
        };
        Ok(Data {
            rides: split("rides", &real.rides)?,
            fares: split("fares", &real.fares)?,
            neighbourhoods: real.neighbourhoods.clone(),
        })
    }

    /// Creates the topics of the pipeline `name`; what is to be sent to them.
    pub fn topics(&self, kafka: &Kafka, name: &str) -> Result<[Lines; 2]> {
        self.topics_named(kafka, [&format!("{name}-rides"), &format!("{name}-fares")])
    }

    /// Creates the topics of rides and of fares under these names; what is to be sent to them.
    pub fn topics_named(&self, kafka: &Kafka, [rides, fares]: [&str; 2]) -> Result<[Lines; 2]> {
        let topics = [(rides, &self.rides), (fares, &self.fares)]
            .map(|(topic, files)| Lines { topic: topic.to_owned(), files: files.clone() });
        for lines in &topics {
            kafka.create_topic(&lines.topic, PARTITIONS as i32)?;
        }
        Ok(topics)
    }

    /// What has to become of the lines, where they are the generator's.
    pub fn books(&self) -> Result<Option<Books>> {
        let dir = self.rides.first().and_then(|file| file.parent());
        dir.filter(|dir| dir.join(GENERATED).exists()).map(Books::generated).transpose()
    }

    /// The results that the generator expects.
    pub fn answer(&self) -> Result<PathBuf> {
        let dir = self.rides.first().and_then(|file| file.parent()).context("there are no rides")?;
        Ok(dir.join("expected/tips.csv"))
    }

    /// All lines.
    pub fn records(&self) -> Result<usize> {
        let count = |file: &PathBuf| {
            let lines = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            Ok(lines.iter().filter(|byte| **byte == b'\n').count())
        };
        self.rides.iter().chain(&self.fares).map(count).sum()
    }

    /// Sends all lines to the topics of the pipeline `name`.
    pub fn produce(&self, kafka: &Kafka, name: &str) -> Result<()> {
        send(&kafka.client(), &self.topics(kafka, name)?, None)
    }

    /// Runs `local` over all lines, with the manifest of the demo; what it prints.
    pub fn local(&self, output: &Path) -> Result<String> {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo.yaml");
        let mut command = Command::new(binary()?);
        command.args(["local", "--quiet", "-f", manifest, "--rides"]).args(&self.rides);
        command.arg("--fares").args(&self.fares).arg("--output").arg(output);
        run(command.arg("--neighbourhoods").arg(&self.neighbourhoods))
    }

    /// The oracle for the pipeline `name` whose windows have closed up to `closed_until`.
    pub fn oracle(&self, name: &str, closed_until: Option<String>) -> Oracle {
        Oracle {
            rides: self.rides.clone(),
            fares: self.fares.clone(),
            neighbourhoods: self.neighbourhoods.clone(),
            closed_until,
            coordinates: true,
            settings: vec![format!("--ride-topic={name}-rides"), format!("--fare-topic={name}-fares")],
            ..Oracle::default()
        }
    }
}

/// The polygons that are built into the worker.
pub fn polygons() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker/assets/manhattan.geojson")
}

/// Where a worker listens.
pub fn address(worker: &Process) -> Result<String> {
    let log = worker.output()?;
    let address = log.split_once("\"address\":\"").and_then(|(_, rest)| rest.split('"').next());
    Ok(address.context("the worker does not listen yet")?.to_owned())
}

/// What a worker answers to GET of `path`.
pub fn page(worker: &Process, path: &str) -> Result<String> {
    let text = http::get(&address(worker)?, path)?;
    String::from_utf8(text).context("a page that is no text")
}

/// A metric of a worker, by its labels.
pub fn metrics(worker: &Process, name: &str) -> Result<Vec<f64>> {
    let text = page(worker, "/metrics")?;
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let values = text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().with_context(|| format!("{name} is {value}"))).collect()
}

/// A metric of a worker, its labels added up.
pub fn metric(worker: &Process, name: &str) -> Result<f64> {
    Ok(metrics(worker, name)?.into_iter().sum())
}

/// Waits until a metric of a worker has come to `value`.
pub fn until_metric(worker: &mut Process, name: &str, value: f64, timeout: Duration) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let mut seen = None;
    while seen.is_none_or(|seen| seen < value) {
        ensure!(worker.is_running(), "it has ended before {name} was {value}; {}", worker.last_lines());
        ensure!(Instant::now() < deadline, "{name} is {seen:?} in place of {value}; {}", worker.last_lines());
        std::thread::sleep(Duration::from_millis(100));
        // It may not listen yet.
        seen = metric(worker, name).ok();
    }
    Ok(())
}

/// Who `said` this has died at `point` with what it is for in hand: a point of the sink is one of a kind of file, and all
/// that people read is Parquet.
pub fn died_with_its_kind(said: &str, point: &str) -> Result<()> {
    let Some((_, kind)) = point.strip_prefix("sink::").and_then(|step| step.split_once('/')) else {
        return Ok(());
    };
    let path = said.rsplit_once("\"path\":\"").and_then(|(_, path)| path.split('"').next());
    let path = path.with_context(|| format!("it does not say with what it died at {point}:\n{said}"))?;
    let is_data = path.ends_with(".parquet");
    ensure!(path.starts_with(kind) && is_data != kind.starts_with('_'), "it died with {path} at {point}");
    Ok(())
}

/// The keys that hold `part` of the shards of a pipeline in `redis`, of the newest epoch there: one that ended before its
/// partitions were idle stands where it stood.
pub fn shards(redis: &mut redis::Connection, name: &str, part: &str) -> Result<Vec<String>> {
    let pattern = format!("tipstream:{{default.{name}/*/*}}:{part}");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(pattern).query(redis).context("asking Redis for the shards")?;
    let mut by_epoch: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for key in keys {
        let epoch = key.split('/').nth(1).with_context(|| format!("no epoch in {key}"))?.parse()?;
        by_epoch.entry(epoch).or_default().push(key);
    }
    Ok(by_epoch.into_values().next_back().unwrap_or_default())
}

/// The least watermark of the shards of the newest epoch of a pipeline in `redis`, as the oracle wants it.
pub fn watermark(redis: &mut redis::Connection, name: &str) -> Result<String> {
    let mut least: Option<i64> = None;
    for key in shards(redis, name, "meta")? {
        let seconds: Option<i64> = redis::cmd("HGET").arg(key).arg("watermark").query(redis)?;
        let seconds = seconds.context("a shard has no watermark")?;
        least = Some(least.map_or(seconds, |least| least.min(seconds)));
    }
    let seconds = least.context("the pipeline has no state")?;
    Ok(jiff::Timestamp::from_second(seconds)?.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
