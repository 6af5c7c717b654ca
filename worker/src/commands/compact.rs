//! `tips-worker compact`: the many small files of closed days merged into few.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use tipstream_crds::{ByteSize, Duration};
use tokio_util::sync::CancellationToken;

use crate::allocator;
use crate::compact::folder::{Dataset, parse_day};
use crate::compact::run::{CompactError, Compactor, Options};
use crate::compact::select::Days;
use crate::core::time::{Day, Span};
use crate::failure::Failure;
use crate::http::metrics_only;
use crate::manifest::Manifest;
use crate::metrics::compact::CompactMetrics;
use crate::settings;
use crate::sink::{Sink, owner};

/// Flags of `compact`.
#[derive(Args, Debug)]
pub struct CompactArgs {
    /// Manifest: the YAML of a TipsPipeline, `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Only these [default: all].
    #[arg(long, value_enum, value_name = "DATASET")]
    pub only: Vec<Dataset>,
    /// This day (yyyy-mm-dd, of event time, UTC), whether it has closed or not; may be given several times.
    #[arg(long, value_name = "DAY", value_parser = day, conflicts_with_all = ["since", "until"])]
    pub day: Vec<Day>,
    /// No day before this one.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub since: Option<Day>,
    /// No day after this one.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub until: Option<Day>,
    /// A day has closed when windows are published that end so long after it, in event time.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub settle: Duration,
    /// Size of a raw file to aim at [default: spec.compaction.targetFileBytes].
    #[arg(long, value_name = "SIZE")]
    pub target_file_bytes: Option<ByteSize>,
    /// Bytes a second to read and write at most, such as 20Mi [default: as fast as it goes].
    #[arg(long, value_name = "SIZE")]
    pub rate: Option<ByteSize>,
    /// Decoded rows to hold at once. What a merged file takes comes on top of it, about the size that is aimed at.
    #[arg(long, value_name = "SIZE", default_value = "128Mi")]
    pub memory: ByteSize,
    /// Address of /metrics and /healthz [default: none].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Compacts what has closed, and prints a report.
///
/// # Errors
/// Where the manifest cannot be used, the sink fails, or a day could not be compacted.
pub async fn run(args: CompactArgs, stop: CancellationToken, out: &mut impl Write) -> Result<(), Failure> {
    allocator::map_large_blocks();
    let manifest = Manifest::read(&args.file)?;
    let sink = Sink::open(&settings::sink(&manifest)?).await?;
    check_owner(&sink, &manifest).await?;
    let metrics = CompactMetrics::new()?;
    let server = match args.listen {
        Some(address) => {
            let metrics = metrics.clone();
            Some(metrics_only::serve(address, move || metrics.render()).await?)
        }
        None => None,
    };
    let report = Compactor::new(sink, options(&args, &manifest), metrics, stop).run(now()).await;
    if let Some(server) = server {
        server.abort();
    }
    let report = match report {
        Err(CompactError::Interrupted) => return Err(Failure::Interrupted),
        report => report?,
    };
    if args.json {
        report.print_json(out)?;
    } else {
        report.print(out)?;
    }
    match report.failure() {
        Some((folder, why)) => Err(Failure::Compaction { folder: folder.to_owned(), why: why.to_owned() }),
        None => Ok(()),
    }
}

fn options(args: &CompactArgs, manifest: &Manifest) -> Options {
    let target = args.target_file_bytes.unwrap_or(manifest.spec().compaction.target_file_bytes);
    let all = || Dataset::ALL.into_iter().collect();
    Options {
        datasets: if args.only.is_empty() { all() } else { args.only.iter().copied().collect() },
        days: Days {
            only: args.day.clone(),
            since: args.since,
            until: args.until,
            settle: Span::from(std::time::Duration::from(args.settle)),
        },
        target_bytes: target.as_bytes(),
        memory: args.memory.as_bytes(),
        rate: args.rate.map(ByteSize::as_bytes),
        window: manifest.job.window.into(),
        epoch: manifest.epoch,
        dry_run: args.dry_run,
    }
}

/// Merging files of another pipeline, or of a run of `local`, is not asked for.
async fn check_owner(sink: &Sink, manifest: &Manifest) -> Result<(), Failure> {
    let ours = owner::pipeline(&manifest.namespace, &manifest.name);
    let Some(there) = owner::read(sink).await? else {
        return Err(Failure::Usage(format!(
            "{} holds no files of a pipeline: has {} run yet, and is spec.sink right?",
            sink.location(),
            manifest.name
        )));
    };
    if there != ours {
        return Err(Failure::Usage(format!(
            "{} belongs to {}, and this is {}: name the manifest of that one",
            sink.location(),
            owner::described(&there),
            ours.trim_end()
        )));
    }
    Ok(())
}

fn day(text: &str) -> Result<Day, String> {
    parse_day(text).ok_or_else(|| "not a day; write for example 2013-01-31".to_owned())
}

/// By this machine's clock.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
