//! `tips-worker verify`: proves the books and the files of a pipeline.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use tipstream_crds::Duration;
use tokio_util::sync::CancellationToken;

use crate::commands::local;
use crate::core::shard::PartitionCounts;
use crate::core::time::{Day, EventTime};
use crate::failure::Failure;
use crate::manifest::Manifest;
use crate::settings::{self, Setup};
use crate::sink::{Sink, SinkConfig, owner};
use crate::source::kafka::{GroupOffsets, OpenError, group_offsets};
use crate::state::{RedisState, State, View};
use crate::verify::applied::Behind;
use crate::verify::collect::archive::{Archive, archive};
use crate::verify::collect::{views, windows};
use crate::verify::progress::Progress;
use crate::verify::ranges::{Log, Published, Source, by_lane};
use crate::verify::report::{Check, Report, State as Outcome};
use crate::verify::rows::Missed;
use crate::verify::window_files::Form;
use crate::verify::window_sums::Windows;
use crate::verify::{
    Lane, Names, applied, books, group, merged, ranges, raw_files, rows, shards, strays, window_sums,
};

const OFFLINE: &str = "--offline";
const LOCAL: &str = "--local: a run over files has no state and no group";
const NO_RAW: &str = "raw rows are not kept (spec.raw.enabled)";

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Flags of `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Manifest: the YAML of a TipsPipeline, `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Check the output of `local` in this directory, in place of what the manifest names.
    #[arg(long, value_name = "DIR")]
    pub local: Option<PathBuf>,
    /// Leave Kafka out: the group's offsets are not checked, and a range that may be unfinished counts as open.
    #[arg(long, conflicts_with = "local")]
    pub offline: bool,
    /// GeoJSON of the neighbourhoods [default: the file that TIPS_NEIGHBOURHOODS names, or Manhattan, built in].
    #[arg(long, value_name = "FILE")]
    pub neighbourhoods: Option<PathBuf>,
    /// How long a closed window may be without its file, and shards may differ. Where workers die, make it longer
    /// than the group's session timeout: until then nobody has the part of the one that published.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub grace: Duration,
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
    /// Show no progress line.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Makes all checks and prints what they found.
///
/// # Errors
/// [`Failure::Verification`] where a check failed; others where one could not be made.
pub async fn run(args: VerifyArgs, stop: CancellationToken, out: &mut impl Write) -> Result<(), Failure> {
    let report = tokio::select! {
        report = examine(&args) => report?,
        () = stop.cancelled() => return Err(Failure::Interrupted),
    };
    if args.json {
        report.print_json(out)?
    } else {
        report.print(out)?
    }
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::Verification { failed, checks: report.checks.len() }),
    }
}

/// Makes all checks.
///
/// # Errors
/// Where the manifest cannot be used, or the sink or the state cannot be read.
pub async fn examine(args: &VerifyArgs) -> Result<Report, Failure> {
    let manifest = Manifest::read(&args.file)?;
    let setup = Setup::new(&manifest, args.neighbourhoods.as_deref())?;
    let sink = open_sink(args, &manifest).await?;
    let subject = Subject { args, manifest: &manifest, setup: &setup, sink: &sink };
    let checks = match &args.local {
        Some(_) => subject.local().await?,
        None => subject.pipeline().await?,
    };
    let (pipeline, epoch) = (setup.identity.pipeline.clone(), setup.identity.epoch);
    Ok(Report { pipeline, epoch, sink: sink.location().to_owned(), checks })
}

/// Nothing is written to what is proven. A misspelt directory is no empty archive.
async fn open_sink(args: &VerifyArgs, manifest: &Manifest) -> Result<Sink, Failure> {
    let Some(dir) = &args.local else { return Ok(Sink::open_to_read(&settings::sink(manifest)?).await?) };
    let owner = std::fs::read_to_string(dir.join(owner::PATH)).unwrap_or_default();
    if !owner.starts_with(local::OWNER) {
        return Err(Failure::Usage(format!("{} is not an output of `local`", dir.display())));
    }
    Ok(Sink::open_to_read(&SinkConfig::Fs { root: dir.clone() }).await?)
}

/// The group's offsets; `None` where Kafka is left out, a text where it cannot be reached.
type Asked = Option<Result<GroupOffsets, String>>;

struct Subject<'a> {
    args: &'a VerifyArgs,
    manifest: &'a Manifest,
    setup: &'a Setup,
    sink: &'a Sink,
}

/// What the files came to.
struct Files {
    checks: Vec<Check>,
    logs: BTreeMap<Lane, Log>,
    published: BTreeMap<Lane, Published>,
    windows: Vec<(String, EventTime)>,
    day_files: Vec<(String, Day)>,
}

/// What may need a while to become right.
struct Settled {
    wrong: BTreeMap<EventTime, String>,
    agree: Check,
    still_behind: Behind,
}

impl Settled {
    /// Whether looking again would show nothing better; who is behind and moves need not arrive.
    fn is_settled(&self, first: &Behind) -> bool {
        let stands = self.still_behind.is_any() && !first.is_less(&self.still_behind);
        self.wrong.is_empty() && self.agree.state() != Outcome::Failed && !stands
    }
}

impl Subject<'_> {
    async fn local(&self) -> Result<Vec<Check>, Failure> {
        let progress = self.progress();
        let files = self.files(&Names::of_files(), &Source::Files, &progress).await?;
        let (window_files, _) =
            windows::files(self.sink, &files.windows, &files.day_files, self.form(), &progress).await?;
        let mut checks = files.checks;
        checks.extend([
            group::not_made(LOCAL),
            rows::not_made(LOCAL),
            applied::not_made(LOCAL),
            shards::not_made(LOCAL),
            books::not_made(LOCAL),
            window_files,
            window_sums::not_made(LOCAL),
        ]);
        Ok(checks)
    }

    /// The group's offsets first, then the range log, then the files, then the state: see [`crate::verify`].
    async fn pipeline(&self) -> Result<Vec<Check>, Failure> {
        let (progress, names) = (self.progress(), Names::of_kafka(self.manifest));
        let state = self.state().await?;
        let offsets = self.offsets().await?;
        let committed = match &offsets {
            Some(Ok(offsets)) => group::committed(offsets, &names),
            _ => BTreeMap::new(),
        };
        let files = self.files(&names, &Source::Kafka(committed), &progress).await?;
        let offsets = self.offsets_around(offsets).await?;
        let (window_files, with_file) =
            windows::files(self.sink, &files.windows, &files.day_files, self.form(), &progress).await?;
        let kept = windows::kept(&state, &self.setup.job).await?;
        let seen = views(&state).await?;
        let behind = |views: &[View]| match self.manifest.raw {
            Some(_) => Behind::new(&names, &files.published, views),
            None => Behind::default(),
        };
        let Settled { wrong, agree, still_behind } = self.settled(&state, &kept, &seen, behind).await?;
        let mut checks = files.checks;
        checks.extend([
            self.group(&offsets, &names, &files.logs, &files.published, &seen),
            self.rows(&offsets, &names, &files.published, &seen),
            match self.manifest.raw {
                Some(_) => applied::check(&names, &behind(&seen), &still_behind),
                None => applied::not_made(NO_RAW),
            },
            agree,
            books::check(&seen),
            window_files,
            window_sums::check(&kept, &wrong, &with_file, self.setup.job.rules.window),
        ]);
        Ok(checks)
    }

    /// What is wrong with windows and shards, and still is after the grace: a window that has just closed is about
    /// to be published, and a batch comes to one shard before it comes to the next.
    async fn settled(
        &self,
        state: &State,
        kept: &Windows,
        seen: &[View],
        behind: impl Fn(&[View]) -> Behind,
    ) -> Result<Settled, Failure> {
        let deadline = Instant::now() + self.args.grace.into();
        let first = behind(seen);
        let mut now = Settled {
            wrong: self.compare(state, kept.closed.iter().copied()).await?,
            agree: shards::check(seen),
            still_behind: first.clone(),
        };
        while !now.is_settled(&first) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            let views = views(state).await?;
            now = Settled {
                wrong: self.compare(state, now.wrong.into_keys()).await?,
                agree: shards::check(&views),
                still_behind: behind(&views),
            };
        }
        Ok(now)
    }

    fn progress(&self) -> Progress {
        Progress::new(self.args.quiet)
    }

    fn form(&self) -> Form {
        let identity = &self.setup.identity;
        Form::new(&self.setup.job, identity.epoch, &identity.fingerprint)
    }

    async fn state(&self) -> Result<State, Failure> {
        let config = settings::redis(self.manifest)?;
        let (rules, shards) = (self.setup.job.rules, self.manifest.redis.shards.get());
        Ok(State::Redis(RedisState::open(&config, &self.setup.identity, rules, shards).await?))
    }

    async fn offsets(&self) -> Result<Asked, Failure> {
        if self.args.offline {
            return Ok(None);
        }
        let manifest = self.manifest.clone();
        match tokio::task::spawn_blocking(move || group_offsets(&manifest)).await? {
            Ok(offsets) => Ok(Some(Ok(offsets))),
            Err(OpenError::Source(error)) => Ok(Some(Err(error.to_string()))),
            Err(OpenError::Settings(error)) => Err(error.into()),
        }
    }

    async fn offsets_around(&self, before: Asked) -> Result<Asked, Failure> {
        let Some(Ok(before)) = before else { return Ok(before) };
        Ok(self.offsets().await?.map(|after| Ok(group::around(&before, after?))))
    }

    async fn files(&self, names: &Names, source: &Source, progress: &Progress) -> Result<Files, Failure> {
        let Archive { data, aside, files, logs, merged, windows, day_files } =
            archive(self.sink, progress).await?;
        let (ranges, published) = ranges::check(&by_lane(&files, &merged), &logs, source);
        let checks = vec![
            strays::check(&data, &aside),
            raw_files::check(&files, names),
            merged::check(&merged, &files),
            ranges,
        ];
        Ok(Files { checks, logs, published, windows, day_files })
    }

    async fn compare(
        &self,
        state: &State,
        starts: impl IntoIterator<Item = EventTime>,
    ) -> Result<BTreeMap<EventTime, String>, Failure> {
        let Setup { job, identity, .. } = self.setup;
        match windows::compare(state, self.sink, job, identity.epoch, starts).await {
            Ok(wrong) => Ok(wrong),
            Err(windows::WindowsError::State(error)) => Err(error.into()),
            Err(windows::WindowsError::Sink(error)) => Err(error.into()),
        }
    }

    fn group(
        &self,
        offsets: &Asked,
        names: &Names,
        logs: &BTreeMap<Lane, Log>,
        published: &BTreeMap<Lane, Published>,
        views: &[View],
    ) -> Check {
        match offsets {
            _ if self.manifest.raw.is_none() => group::not_made(NO_RAW),
            None => group::not_made(OFFLINE),
            Some(Err(error)) => group::unreachable(error),
            Some(Ok(offsets)) => {
                let known =
                    views.iter().fold(PartitionCounts::default(), |all, view| all.grown_to(view.known));
                group::check(offsets, names, logs, published, known)
            }
        }
    }

    fn rows(
        &self,
        offsets: &Asked,
        names: &Names,
        published: &BTreeMap<Lane, Published>,
        views: &[View],
    ) -> Check {
        if self.manifest.raw.is_none() {
            return rows::not_made(NO_RAW);
        }
        let missed = match offsets {
            _ if self.setup.identity.epoch == 0 => Missed::None,
            Some(Ok(offsets)) => Missed::Below(
                offsets.iter().map(|(partition, at)| (names.lane(*partition), at.low)).collect(),
            ),
            _ => Missed::Unknown,
        };
        rows::check(names, published, views, &missed)
    }
}

#[cfg(test)]
pub(crate) mod tests;
