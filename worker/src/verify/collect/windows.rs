//! Window files, and what the state says of its windows.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};

use super::{AT_ONCE, views};
use crate::core::batch::Job;
use crate::core::time::{Day, EventTime};
use crate::results::publisher::KEEP;
use crate::sink::{Entry, Sink, SinkError};
use crate::state::{State, StateError, watermark};
use crate::verify::path::{day_files_path, window_path};
use crate::verify::progress::Progress;
use crate::verify::report::Check;
use crate::verify::window_file::{self, WindowError, WindowFile};
use crate::verify::window_files::{Form, WindowFiles};
use crate::verify::window_sums::{Expected, Windows, expected, wrong};

/// Why windows cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum WindowsError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Checks every window file by itself; returns also the windows that have a file of this epoch.
///
/// # Errors
/// Where the sink fails.
pub async fn files(
    sink: &Sink,
    windows: &[(String, EventTime)],
    day_files: &[(String, Day)],
    form: Form,
    progress: &Progress,
) -> Result<(Check, BTreeSet<EventTime>), SinkError> {
    let line = progress.files("window files", (windows.len() + day_files.len()) as u64);
    let epoch = form.epoch();
    let mut check = WindowFiles::new(form);
    let mut ours = BTreeSet::new();
    let mut read = stream::iter(windows)
        .map(async |(path, start)| Ok::<_, SinkError>((path, *start, read(sink, path).await?)))
        .buffered(AT_ONCE);
    while let Some((path, start, file)) = read.try_next().await? {
        line.add(1);
        // A window's file is never deleted but by hand, and then the state misses it.
        let Some(file) = file else { continue };
        if file.as_ref().is_ok_and(|file| file.epoch == epoch) {
            ours.insert(start);
        }
        check.add(path, start, &file);
    }
    drop(read);
    for (path, day) in day_files {
        line.add(1);
        let Some(file) = sink.read(path).await? else { continue };
        let windows = match window_file::read_merged(file) {
            Ok(windows) => windows,
            Err(error) => {
                check.unreadable(path, &error);
                continue;
            }
        };
        for (start, window) in windows {
            if window.epoch == epoch {
                ours.insert(start);
            }
            let window = if start.day() == *day { Ok(window) } else { Err(WindowError::OtherDay(start)) };
            check.add(path, start, &window);
        }
    }
    Ok((check.finish(), ours))
}

/// The window that starts at `start`, from its own file or that of its day: the one is there before the other goes.
async fn find(sink: &Sink, start: EventTime) -> Result<Option<Result<WindowFile, WindowError>>, SinkError> {
    if let Some(file) = read(sink, &window_path(start)).await? {
        return Ok(Some(file));
    }
    for Entry { path, .. } in sink.list(&day_files_path(start.day())).await? {
        if let Some(file) = sink.read(&path).await?
            && let Ok(mut windows) = window_file::read_merged(file)
            && let Some(window) = windows.remove(&start)
        {
            return Ok(Some(Ok(window)));
        }
    }
    Ok(None)
}

async fn read(sink: &Sink, path: &str) -> Result<Option<Result<WindowFile, WindowError>>, SinkError> {
    Ok(sink.read(path).await?.map(window_file::read))
}

/// The windows that the state keeps. To be asked after the files were listed, so that a file whose window the
/// state has not closed is one that it has forgotten having closed.
///
/// # Errors
/// Where the state cannot be reached.
pub async fn kept(state: &State, job: &Job) -> Result<Windows, StateError> {
    let closed_up_to = watermark(&views(state).await?);
    let closed = try_join_all((0..state.shards()).map(|shard| state.closed(shard))).await?;
    let is_closed =
        |start: &EventTime| closed_up_to.is_some_and(|up_to| start.plus(job.rules.window) <= up_to);
    let closed = closed.into_iter().flatten().filter(is_closed).collect();
    let kept_from = views(state).await?.iter().map(|view| view.watermark).max().flatten();
    Ok(Windows { closed, closed_up_to, kept_from: kept_from.map(|watermark| watermark.minus(KEEP)) })
}

/// What is wrong with these windows at the moment, compared with the state.
///
/// # Errors
/// Where the state or the sink fails.
pub async fn compare(
    state: &State,
    sink: &Sink,
    job: &Job,
    epoch: u64,
    starts: impl IntoIterator<Item = EventTime>,
) -> Result<BTreeMap<EventTime, String>, WindowsError> {
    stream::iter(starts)
        .map(async |start| {
            let Some(expected) = sums(state, job, start).await? else { return Ok(None) };
            let found = match find(sink, start).await? {
                Some(Err(error)) => Some(format!("has a file that {error}")),
                Some(Ok(file)) => wrong(&expected, Some(&file), epoch),
                None => wrong(&expected, None, epoch),
            };
            Ok(found.map(|found| (start, found)))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await
}

/// The sums of a window; `None` where the state has forgotten it since, or has lost its last writes and will
/// close it again.
async fn sums(state: &State, job: &Job, start: EventTime) -> Result<Option<Expected>, StateError> {
    let end = start.plus(job.rules.window);
    let shards = try_join_all((0..state.shards()).map(|shard| state.frozen(shard, start))).await?;
    if shards.iter().any(|shard| shard.watermark.is_none_or(|watermark| watermark < end)) {
        return Ok(None);
    }
    let expected = expected(shards.into_iter().map(|shard| shard.sums), &job.neighbourhoods);
    Ok(Some(expected).filter(|expected| !expected.is_empty()))
}
