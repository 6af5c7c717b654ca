//! `tips-worker local`: the whole job on this machine, files in, Parquet out, nothing else needed.

mod behind;
mod guard;
mod progress;
mod serve;
mod summary;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::MultiProgress;
use tokio_util::sync::CancellationToken;

pub use self::guard::OWNER;
use self::progress::Progress;
use self::serve::{LocalWindows, Served};
use crate::core::books::Outcome;
use crate::core::shard::Topic;
use crate::core::time::Span;
use crate::failure::Failure;
use crate::http;
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::pipeline::reader::{Ended, ReaderSettings};
use crate::pipeline::run::Pipeline;
use crate::raw::writer::Limits;
use crate::settings::Setup;
use crate::sink::{Sink, SinkConfig};
use crate::source::files::FileSource;
use crate::state::{MemoryState, State};

/// One process needs no more than one shard.
const SHARDS: u16 = 1;
/// Large, so that nearly all pairs meet in a batch: no record waits for its effect.
const BATCH_RECORDS: usize = 262_144;
/// Files are as large as the manifest says; where raw rows are not kept, none are written.
const DEFAULT_FILE_BYTES: usize = 32 << 20;
/// Of so many records more than one is late: something is wrong.
const NOTABLY_LATE: i64 = 100;
/// A sink that fails this often in a row, over about a minute, ends the run.
const TRIES: u32 = 8;

/// Flags of `local`.
#[derive(Args, Debug)]
pub struct LocalArgs {
    /// Manifest: the YAML of a TipsPipeline, `-` for standard input. Of its settings `job` and `raw` count here.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Ride lines, plain or gzip, `-` for standard input; each file is a partition, read in its order.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub rides: Vec<PathBuf>,
    /// Fare lines, likewise.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub fares: Vec<PathBuf>,
    /// Directory for rides/, fares/, invalid/ and tips/. A run that was interrupted is finished by the same
    /// command again, unless it read a pipe; a directory with the results of other input is refused.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// GeoJSON FeatureCollection of polygons with a property `name` [default: Manhattan, built in, approximate].
    #[arg(long, value_name = "FILE")]
    pub neighbourhoods: Option<PathBuf>,
    /// Show the map of the neighbourhoods in a browser, while it runs and afterwards until Ctrl-C
    /// [default address: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = serve::ADDRESS)]
    pub serve: Option<SocketAddr>,
    /// Show no progress bar.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs the job and prints what came out of it.
///
/// # Errors
/// Where the manifest or the input cannot be used, or a file cannot be written.
pub async fn run(
    args: LocalArgs,
    stop: CancellationToken,
    terminal: &MultiProgress,
    out: &mut impl Write,
) -> Result<(), Failure> {
    guard::check_stdin(&args)?;
    let manifest = Manifest::read(&args.file)?;
    let setup = Setup::new(&manifest, args.neighbourhoods.as_deref())?;
    let source = FileSource::open(&args.rides, &args.fares)?;
    let listener = match args.serve {
        Some(address) => Some(http::bind(address, "--serve").await?),
        None => None,
    };
    let sink = Sink::open(&SinkConfig::Fs { root: args.output.clone() }).await?;
    guard::check(&sink, &args, &setup.identity.fingerprint).await?;
    sink.sweep(Duration::ZERO).await?;

    let state = MemoryState::new(setup.job.rules, SHARDS);
    let metrics = Metrics::new()?;
    let pipeline = Pipeline {
        job: setup.job.clone(),
        state: State::Memory(state.clone()),
        sink: sink.clone(),
        provenance: setup.provenance(),
        reader: reader_settings(&manifest, &setup),
        limits: limits(&manifest),
        drain_timeout: None,
        metrics: metrics.clone(),
        board: None,
    };
    let delay = setup.job.rules.delay;
    let windows = LocalWindows::new(setup.job.clone(), state.clone(), sink.clone(), metrics.clone());
    let served = listener.map(|listener| Served::start(listener, windows, setup, out)).transpose()?;
    let progress = Progress::start(terminal, source.progress(), metrics, args.quiet);
    let begun = Instant::now();
    let finished = pipeline.run(source, stop.clone()).await;
    progress.finish();
    if finished?.ended == Ended::Stopped {
        return Err(Failure::Interrupted);
    }
    summary::print(out, &sink, &state, begun.elapsed()).await?;
    warn_of_lateness(args, &state, delay, out).await?;
    match served {
        Some(served) => served.until(stop, out).await,
        None => Ok(()),
    }
}

/// Says which lines the late records are behind. One line with a wrong date can make all that follow it late, and a
/// table that says so is easily overlooked. That takes a second reading, which a few late records are not worth.
async fn warn_of_lateness(
    args: LocalArgs,
    state: &MemoryState,
    delay: Span,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let books = State::Memory(state.clone()).view(0).await?.books;
    let late = Topic::ALL.map(|topic| books.of(topic).get(Outcome::Late));
    let consumed: i64 = Topic::ALL.iter().map(|topic| books.of(*topic).consumed).sum();
    if late.iter().sum::<i64>() <= consumed / NOTABLY_LATE {
        return Ok(());
    }
    let search = move || behind::of_files(&args.rides, &args.fares, delay);
    summary::print_late(out, late, &tokio::task::spawn_blocking(search).await??)
}

/// Nothing depends on the clock, so the same input makes the same files. No drift has a limit: the partition that is
/// behind is read first, so one that has jumped ahead waits until all others have come to it or have ended.
fn reader_settings(manifest: &Manifest, setup: &Setup) -> ReaderSettings {
    ReaderSettings {
        batch_records: BATCH_RECORDS,
        linger: Duration::MAX,
        chunk_linger: None,
        idle_timeout: Duration::ZERO,
        max_drift: None,
        raw: manifest.raw.is_some(),
        until_caught_up: true,
        fingerprint: setup.identity.fingerprint.clone(),
    }
}

fn limits(manifest: &Manifest) -> Limits {
    let file_bytes = manifest.raw.map_or(DEFAULT_FILE_BYTES, |raw| raw.max_file_bytes as usize);
    Limits { file_bytes, flush_interval: None, budget: None, tries: Some(TRIES) }
}
