//! What lies in the sink: lists of files, range logs, footers of raw files.
//!
//! A sink reads a file whole or not at all, so a footer costs its file: the raw files of an archive are read
//! through once, newest days first, and a limit spares the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::AT_ONCE;
use crate::core::time::EventTime;
use crate::raw::range_log::{KEPT, LogError, RangeLog};
use crate::sink::{Entry, Sink, SinkError};
use crate::verify::Lane;
use crate::verify::footer::{self, Footer, FooterError};
use crate::verify::path::{Control, DATA, Folder, Kind, RawName, control, kind};
use crate::verify::progress::Progress;
use crate::verify::ranges::Log;
use crate::verify::raw_files::RawFile;

/// Files that are held in memory at once: so much of small ones, or one.
const MEMORY_KIB: u32 = 64 << 10;

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

/// Reads the range logs, lists the files, and reads the footers of raw files up to `limit` bytes of files.
///
/// # Errors
/// Where the sink fails. What it holds never makes an error here.
pub async fn archive(sink: &Sink, limit: Option<u64>, progress: &Progress) -> Result<Archive, SinkError> {
    let aside = sink.list("_tips").await?;
    let mut logs = logs(sink, &aside).await?;
    let mut data = Vec::new();
    for dir in DATA {
        data.extend(sink.list(dir).await?);
    }
    let (mut raw, mut windows) = (Vec::new(), Vec::new());
    for Entry { path, len } in &data {
        match kind(path) {
            Kind::Raw(name) => raw.push(RawFile { path: path.clone(), len: *len, name, footer: None }),
            Kind::Window(start) => windows.push((path.clone(), start)),
            Kind::Stray => {}
        }
    }
    see_what_was_begun(sink, &mut logs, &raw).await?;
    let files = footers(sink, raw, limit, progress).await?;
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
    let (origin, mut ranges) = (log.origin_if_set().await?, log.ranges().await?);
    ranges.drain(..ranges.len().saturating_sub(KEPT));
    Ok(Log { origin, ranges, begun: None, corrupt: None })
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
    files: &[RawFile],
) -> Result<(), SinkError> {
    let of_files = files.iter().map(|file| &file.name.lane);
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
        log.begun = after.ranges.last().copied();
        log.corrupt = log.corrupt.take().or(after.corrupt);
    }
    Ok(())
}

async fn footers(
    sink: &Sink,
    mut files: Vec<RawFile>,
    limit: Option<u64>,
    progress: &Progress,
) -> Result<Vec<RawFile>, SinkError> {
    files.sort_by_key(|file| Reverse(age(&file.name)));
    let mut left = limit.unwrap_or(u64::MAX);
    let (read, spared): (Vec<RawFile>, Vec<RawFile>) = files.into_iter().partition(|file| {
        left = left.saturating_sub(file.len);
        left > 0
    });
    let line = progress.bytes("raw files", read.iter().map(|file| file.len).sum());
    let room = Semaphore::new(MEMORY_KIB as usize);
    let mut files: Vec<RawFile> = stream::iter(read)
        .map(async |file| {
            let kib = (file.len / 1024 + 1).min(u64::from(MEMORY_KIB)) as u32;
            let _room = room.acquire_many(kib).await.expect("never closed");
            let footer = read_footer(sink, &file.path, file.name.folder).await?;
            line.add(file.len);
            Ok(RawFile { footer: Some(footer), ..file })
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    files.extend(spared);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The later the newer; invalid lines have no day and are few.
fn age(name: &RawName) -> (i64, i64) {
    let day = match name.folder {
        Folder::Day(_, day) => day.start().seconds(),
        Folder::Invalid(_) => i64::MAX,
    };
    (day, name.range.start)
}

/// The one place to change once a sink can read the end of a file alone.
async fn read_footer(
    sink: &Sink,
    path: &str,
    folder: Folder,
) -> Result<Result<Footer, FooterError>, SinkError> {
    let file = sink.read(path).await?;
    Ok(file.ok_or(FooterError::Gone).and_then(|bytes| footer::read(&bytes, folder)))
}
