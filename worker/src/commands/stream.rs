//! `tips-worker stream`: the job on Kafka and Redis, one worker of the group.

mod status_line;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::MultiProgress;
use tipstream_crds::StartFrom;
use tokio_util::sync::CancellationToken;

use self::status_line::StatusLine;
use crate::allocator;
use crate::core::shard::Topic;
use crate::core::time::Span;
use crate::failure::Failure;
use crate::http::{self, Board};
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::pipeline::reader::{Ended, ReaderSettings};
use crate::pipeline::run::Pipeline;
use crate::raw::latest;
use crate::raw::writer::Limits;
use crate::settings::{self, Setup};
use crate::sink::{Sink, owner};
use crate::source::Source;
use crate::source::kafka::{KafkaSource, OpenError};
use crate::state::{RedisState, State};

/// A full batch: large enough that most pairs meet in one and a call to a shard is worth its while.
const BATCH_RECORDS: usize = 131_072;
/// How long a record waits for its batch.
const LINGER: Duration = Duration::from_millis(100);
/// How long a row waits for its chunk, before it counts for the flush interval.
const CHUNK_LINGER: Duration = Duration::from_secs(1);
/// Bytes of raw files, open and on their way: a worker stays below 256 MiB in all.
const RAW_BUDGET: usize = 64 << 20;
/// Temporary files of writers that have been dead for so long are swept.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);

/// Flags of `stream`.
#[derive(Args, Debug)]
pub struct StreamArgs {
    /// Manifest: the YAML of a TipsPipeline, `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// GeoJSON of the neighbourhoods [default: the file that TIPS_NEIGHBOURHOODS names, or Manhattan, built in].
    #[arg(long, value_name = "FILE")]
    pub neighbourhoods: Option<PathBuf>,
    /// End once all that Kafka held at the start is processed, with everything published that can be. Windows that
    /// have not closed stay open.
    #[arg(long)]
    pub until_caught_up: bool,
    /// How long publishing what was read may take at the end, after SIGTERM as well. What is not published then is
    /// read again by the next worker, and the exit code is 5.
    #[arg(long, value_name = "DURATION", default_value = "25s")]
    pub drain_timeout: tipstream_crds::Duration,
    /// Address of /metrics, /healthz, /readyz and /status.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

/// Works until it is told to stop, or has caught up where that is asked for.
///
/// # Errors
/// Where the manifest cannot be used, a server refuses, or the state belongs to other settings.
pub async fn run(args: StreamArgs, stop: CancellationToken, terminal: &MultiProgress) -> Result<(), Failure> {
    allocator::map_large_blocks();
    let manifest = Manifest::read(&args.file)?;
    let setup = Setup::new(&manifest, args.neighbourhoods.as_deref())?;
    let metrics = Metrics::new()?;
    let sink = Sink::open(&settings::sink(&manifest)?).await?;
    let shards = manifest.redis.shards.get();
    let redis =
        RedisState::open(&settings::redis(&manifest)?, &setup.identity, setup.job.rules, shards).await?;
    let state = State::Redis(redis);
    let mut source = open_source(manifest.clone()).await?;
    claim(&sink, &manifest).await?;
    if manifest.kafka.start_from == StartFrom::Latest {
        for topic in Topic::ALL {
            let ends = source.ends_of(topic);
            let starts = latest::fixed(&sink, source.topic(topic), ends).await?;
            source.begin_at(topic, starts);
        }
    }
    tracing::info!(
        pipeline = setup.identity.pipeline,
        epoch = setup.identity.epoch,
        fingerprint = setup.identity.fingerprint,
        sink = sink.location(),
        "started"
    );
    let board = Board::new(setup.identity.clone(), state.clone(), sink.clone(), metrics.clone());
    let server = http::serve(args.listen, board.clone()).await?;
    let sweeper = tokio::spawn(sweep(sink.clone()));
    let status_line = StatusLine::start(terminal, metrics.clone());
    let pipeline = Pipeline {
        job: setup.job.clone(),
        state,
        sink,
        provenance: setup.provenance(),
        reader: reader_settings(&manifest, &setup, args.until_caught_up),
        limits: limits(&manifest),
        drain_timeout: Some(args.drain_timeout.into()),
        metrics,
        board: Some(board),
    };
    let finished = pipeline.run(source, stop).await;
    if let Some(status_line) = status_line {
        status_line.finish();
    }
    sweeper.abort();
    server.abort();
    let finished = finished?;
    tracing::info!(caught_up = finished.ended == Ended::CaughtUp, drained = finished.drained, "ended");
    if finished.drained { Ok(()) } else { Err(Failure::NotDrained) }
}

/// What is wrong with the settings is said before: a manifest that cannot work takes no sink.
async fn claim(sink: &Sink, manifest: &Manifest) -> Result<(), Failure> {
    let pipeline = owner::pipeline(&manifest.namespace, &manifest.name);
    let Some(there) = owner::claim(sink, &pipeline).await? else { return Ok(()) };
    let owner = owner::described(&there);
    Err(Failure::Usage(format!(
        "{} belongs to {owner}, and this is {}: give each a path of its own in spec.sink; or, where this one is to \
         take over the files and {owner} never runs again, delete {} there",
        sink.location(),
        pipeline.trim_end(),
        owner::PATH,
    )))
}

/// Connecting waits for brokers.
async fn open_source(manifest: Manifest) -> Result<KafkaSource, Failure> {
    match tokio::task::spawn_blocking(move || KafkaSource::open(&manifest)).await? {
        Ok(source) => Ok(source),
        Err(OpenError::Settings(error)) => Err(error.into()),
        Err(OpenError::Source(error)) => Err(error.into()),
    }
}

fn reader_settings(manifest: &Manifest, setup: &Setup, until_caught_up: bool) -> ReaderSettings {
    ReaderSettings {
        batch_records: BATCH_RECORDS,
        linger: LINGER,
        chunk_linger: Some(CHUNK_LINGER),
        idle_timeout: manifest.job.idle_timeout,
        max_drift: Some(Span::from(manifest.job.max_drift)),
        raw: manifest.raw.is_some(),
        until_caught_up,
        fingerprint: setup.identity.fingerprint.clone(),
    }
}

fn limits(manifest: &Manifest) -> Limits {
    Limits {
        file_bytes: manifest.raw.map_or(RAW_BUDGET, |raw| raw.max_file_bytes as usize),
        flush_interval: manifest.raw.map(|raw| raw.flush_interval),
        budget: Some(RAW_BUDGET),
        tries: None,
    }
}

async fn sweep(sink: Sink) {
    loop {
        match sink.sweep(SWEEP_AFTER).await {
            Ok(swept) => tracing::debug!(?swept, "swept"),
            Err(error) => tracing::warn!(%error, "cannot sweep what dead writers have left"),
        }
        tokio::time::sleep(SWEEP_AFTER).await;
    }
}
