//! What lies in the sink: lists of files, range logs, footers of raw files.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::AT_ONCE;
use crate::core::time::EventTime;
use crate::raw::range_log::{KEPT, LogError, RangeLog};
use crate::sink::{Entry, Sink, SinkError};
use crate::verify::Lane;
use crate::verify::footer::{self, Footer, FooterError, Parsed};
use crate::verify::path::{Control, DATA, Folder, Kind, RawName, control, kind};
use crate::verify::progress::Progress;
use crate::verify::ranges::Log;
use crate::verify::raw_files::RawFile;

/// The end of a file that is read at first: nearly every footer is shorter.
const FOOTER: u64 = 16 << 10;

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
    /// Window files, and when their windows start.
    pub windows: Vec<(String, EventTime)>,
}

/// Reads the range logs, lists the files, and reads the footers of raw files.
///
/// # Errors
/// Where the sink fails. What it holds never makes an error here.
pub async fn archive(sink: &Sink, progress: &Progress) -> Result<Archive, SinkError> {
    let aside = sink.list("_tips").await?;
    let mut logs = logs(sink, &aside).await?;
    let mut data = Vec::new();
    for dir in DATA {
        data.extend(sink.list(dir).await?);
    }
    let (mut raw, mut windows) = (Vec::new(), Vec::new());
    for entry in &data {
        match kind(&entry.path) {
            Kind::Raw(name) => raw.push((entry, name)),
            Kind::Window(start) => windows.push((entry.path.clone(), start)),
            Kind::Stray => {}
        }
    }
    see_what_was_begun(sink, &mut logs, &raw).await?;
    let files = footers(sink, raw, progress).await?;
    Ok(Archive { data, aside, files, logs, windows })
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
    let mut needed = FOOTER;
    loop {
        let start = entry.len.saturating_sub(needed);
        let Some(end) = sink.read_range(&entry.path, start..entry.len).await? else {
            return Ok(Err(FooterError::Gone));
        };
        match footer::read(&end, entry.len, folder) {
            Ok(Parsed::Footer(footer)) => return Ok(Ok(footer)),
            Ok(Parsed::Longer(longer)) => needed = longer,
            Err(error) => return Ok(Err(error)),
        }
    }
}
