//! What lies in the sink: lists of files, range logs, footers of raw files.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{AT_ONCE, merged};
use crate::compact::journal::{Journal, JournalError};
use crate::compact::visible::{Logged, visible};
use crate::core::time::{Day, EventTime};
use crate::raw::range_log::{KEPT, LogError, RangeLog};
use crate::sink::{Entry, Sink, SinkError};
use crate::verify::Lane;
use crate::verify::footer::{self, Footer, FooterError, Parsed};
use crate::verify::merged::MergedFile;
use crate::verify::path::{Control, DATA, Folder, Kind, RawName, control, kind};
use crate::verify::progress::Progress;
use crate::verify::ranges::Log;
use crate::verify::raw_files::RawFile;

/// The end of a file that is read at first: nearly every footer is shorter.
const FOOTER: u64 = 16 << 10;
/// A listing may be torn by a merge, once; if it stays so, files were deleted by hand, and that is what is to be found.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What lies in the sink.
pub struct Archive {
    /// Files below the data paths.
    pub data: Vec<Entry>,
    /// Files below `_tips/`.
    pub aside: Vec<Entry>,
    /// Raw files, with their footers.
    pub files: Vec<RawFile>,
    /// The range log of each partition.
    pub logs: BTreeMap<Lane, Log>,
    /// Merged raw files.
    pub merged: Vec<MergedFile>,
    /// Window files, and when their windows start.
    pub windows: Vec<(String, EventTime)>,
    /// Files of the windows of a day.
    pub day_files: Vec<(String, Day)>,
}

impl Archive {
    /// Whether a file was listed and then not there.
    fn has_gone(&self) -> bool {
        self.files.iter().any(|file| file.footer == Err(FooterError::Gone))
            || self.merged.iter().any(|file| file.contents == Err(FooterError::Gone))
    }
}

/// Reads the range logs, lists the files, and reads the footers of raw files.
///
/// # Errors
/// Where the sink fails. What it holds never makes an error here.
pub async fn archive(sink: &Sink, progress: &Progress) -> Result<Archive, SinkError> {
    for _ in 1..LOOKS {
        let found = look(sink, progress).await?;
        // Merged while we looked, as a rule.
        if !found.has_gone() {
            return Ok(found);
        }
    }
    look(sink, progress).await
}

async fn look(sink: &Sink, progress: &Progress) -> Result<Archive, SinkError> {
    let aside = sink.list("_tips").await?;
    let mut logs = logs(sink, &aside).await?;
    let data = data(sink).await?;
    let (mut raw, mut of_several, mut windows, mut day_files) = (vec![], vec![], vec![], vec![]);
    for entry in &data {
        match kind(&entry.path) {
            Kind::Raw(name) => raw.push((entry, name)),
            Kind::Merged(topic, day) => of_several.push((entry, topic, day)),
            Kind::Window(start) => windows.push((entry.path.clone(), start)),
            Kind::Windows(day) => day_files.push((entry.path.clone(), day)),
            Kind::Stray => {}
        }
    }
    see_what_was_begun(sink, &mut logs, &raw).await?;
    let files = footers(sink, raw, progress).await?;
    let merged = merged::files(sink, of_several, progress).await?;
    Ok(Archive { data, aside, files, logs, merged, windows, day_files })
}

/// The files that count: all, but those that are being merged into others.
///
/// A source that is still there when its plan is done is no such file: it was deleted since the listing, or a writer has
/// put it back. So one looks again, and what stays is to be found.
async fn data(sink: &Sink) -> Result<Vec<Entry>, SinkError> {
    let journal = Journal::new(sink.clone());
    let mut look = 0;
    loop {
        look += 1;
        let mut data = Vec::new();
        for dir in DATA {
            data.extend(sink.list(dir).await?);
        }
        let plans = match journal.plans(|_| true).await {
            Ok(plans) => plans,
            Err(JournalError::Sink(error)) => return Err(error),
            // What it planned shows as rows in two files.
            Err(JournalError::Corrupt { .. }) => return Ok(data),
        };
        let open: Vec<Logged> = plans.iter().filter(|logged| !logged.is_done).cloned().collect();
        let paths: Vec<&str> = data.iter().map(|entry| entry.path.as_str()).collect();
        let (all, now) = (visible(&paths, &plans), visible(&paths, &open));
        if look == LOOKS || (all.torn.is_none() && all.files == now.files) {
            let counts: BTreeSet<String> = now.files.into_iter().map(str::to_owned).collect();
            data.retain(|entry| counts.contains(&entry.path));
            return Ok(data);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn logs(sink: &Sink, aside: &[Entry]) -> Result<BTreeMap<Lane, Log>, SinkError> {
    let lane = |entry: &Entry| match control(&entry.path) {
        Control::Log(lane) => Some(lane),
        _ => None,
    };
    let lanes: BTreeSet<Lane> = aside.iter().filter_map(lane).collect();
    stream::iter(lanes)
        .map(async |lane| {
            let read = read_log(sink, &lane).await;
            Ok((lane, lenient(read)?))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn read_log(sink: &Sink, lane: &Lane) -> Result<Log, LogError> {
    let log = RangeLog::new(sink.clone(), &lane.topic, lane.partition);
    let (origin, mut entries) = (log.origin_if_set().await?, log.entries().await?);
    entries.drain(..entries.len().saturating_sub(KEPT));
    Ok(Log { origin, entries, begun: None, corrupt: None })
}

/// An entry that makes no sense is a finding, not the end of the proof.
fn lenient(read: Result<Log, LogError>) -> Result<Log, SinkError> {
    match read {
        Ok(log) => Ok(log),
        Err(LogError::Sink(error)) => Err(error),
        Err(error @ LogError::Corrupt { .. }) => {
            Ok(Log { corrupt: Some(error.to_string()), ..Log::default() })
        }
    }
}

/// A partition may have been read for the first time since the logs were looked at.
async fn see_what_was_begun(
    sink: &Sink,
    logs: &mut BTreeMap<Lane, Log>,
    files: &[(&Entry, RawName)],
) -> Result<(), SinkError> {
    let of_files = files.iter().map(|(_, name)| &name.lane);
    let lanes: BTreeSet<Lane> = of_files.chain(logs.keys()).cloned().collect();
    let seen: Vec<(Lane, Log)> = stream::iter(lanes)
        .map(async |lane| {
            let read = read_log(sink, &lane).await;
            Ok((lane, lenient(read)?))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    for (lane, after) in seen {
        let log = logs.entry(lane).or_default();
        log.origin = log.origin.or(after.origin);
        log.begun = after.entries.last().copied();
        log.corrupt = log.corrupt.take().or(after.corrupt);
    }
    Ok(())
}

async fn footers(
    sink: &Sink,
    files: Vec<(&Entry, RawName)>,
    progress: &Progress,
) -> Result<Vec<RawFile>, SinkError> {
    let line = progress.files("raw files", files.len() as u64);
    stream::iter(files)
        .map(async |(entry, name)| {
            let footer = read_footer(sink, entry, name.folder).await?;
            line.add(1);
            Ok(RawFile { path: entry.path.clone(), len: entry.len, name, footer })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn read_footer(
    sink: &Sink,
    entry: &Entry,
    folder: Folder,
) -> Result<Result<Footer, FooterError>, SinkError> {
    read_end(sink, entry, |end, len| footer::read(end, len, folder)).await
}

/// As much of the end of a file as `parse` needs.
pub(super) async fn read_end<T>(
    sink: &Sink,
    entry: &Entry,
    parse: impl Fn(&Bytes, u64) -> Result<Parsed<T>, FooterError>,
) -> Result<Result<T, FooterError>, SinkError> {
    let mut needed = FOOTER;
    loop {
        let start = entry.len.saturating_sub(needed);
        let Some(end) = sink.read_range(&entry.path, start..entry.len).await? else {
            return Ok(Err(FooterError::Gone));
        };
        match parse(&end, entry.len) {
            Ok(Parsed::Whole(parsed)) => return Ok(Ok(parsed)),
            Ok(Parsed::Longer(longer)) => needed = longer,
            Err(error) => return Ok(Err(error)),
        }
    }
}
