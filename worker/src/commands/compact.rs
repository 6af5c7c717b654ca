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
    /// A day has closed when windows are published that end so long after it, in event time [default:
    /// spec.compaction.settle].
    #[arg(long, value_name = "DURATION")]
    pub settle: Option<Duration>,
    /// Size of a raw file to aim at [default: spec.compaction.targetFileBytes].
    #[arg(long, value_name = "SIZE")]
    pub target_file_bytes: Option<ByteSize>,
    /// Bytes a second of data files to read and write at most, such as 20Mi [default: spec.compaction.rate].
    #[arg(long, value_name = "SIZE")]
    pub rate: Option<ByteSize>,
    /// Decoded rows to hold at once [default: spec.compaction.memory]. What a merged file takes comes on top of it, about
    /// the size that is aimed at.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
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
    let spec = &manifest.spec().compaction;
    let all = || Dataset::ALL.into_iter().collect();
    Options {
        datasets: if args.only.is_empty() { all() } else { args.only.iter().copied().collect() },
        days: Days {
            only: args.day.clone(),
            since: args.since,
            until: args.until,
            settle: Span::from(std::time::Duration::from(args.settle.unwrap_or(spec.settle))),
        },
        target_bytes: args.target_file_bytes.unwrap_or(spec.target_file_bytes).as_bytes(),
        memory: args.memory.unwrap_or(spec.memory).as_bytes(),
        rate: args.rate.or(spec.rate).map(ByteSize::as_bytes),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: CompactArgs,
    }

    /// Target, memory, rate and settling.
    fn chosen(compaction: &str, flags: &[&str]) -> (u64, u64, Option<u64>, i64) {
        let yaml = format!(
            "apiVersion: tipstream.dev/v1alpha1\nkind: TipsPipeline\nmetadata: {{name: nyc}}\nspec:\n  \
             kafka: {{bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}}\n  \
             redis: {{urls: ['redis://redis:6379']}}\n  sink: {{volume: {{claimName: lake}}}}\n  \
             compaction: {compaction}\n"
        );
        let manifest = Manifest::parse("pipeline.yaml", yaml.as_bytes()).expect("a manifest");
        let command = Command::parse_from([&["compact", "-f", "pipeline.yaml"], flags].concat());
        let options = options(&command.args, &manifest);
        (options.target_bytes, options.memory, options.rate, options.days.settle.seconds())
    }

    #[test]
    fn a_flag_takes_the_place_of_the_manifests_setting() {
        assert_eq!(chosen("{}", &[]), (256 << 20, 128 << 20, None, 3600));
        let set = "{targetFileBytes: 1Gi, memory: 64Mi, rate: 20Mi, settle: 2h}";
        assert_eq!(chosen(set, &[]), (1 << 30, 64 << 20, Some(20 << 20), 7200));
        let flags = ["--target-file-bytes=16Mi", "--memory=1Mi", "--rate=5Mi", "--settle=0s"];
        assert_eq!(chosen(set, &flags), (16 << 20, 1 << 20, Some(5 << 20), 0));
    }
}
