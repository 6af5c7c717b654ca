//! Publication of a range: fix it, put its files, then say so. Any step may be repeated by anybody.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use super::lane::{Plan, PlannedFile};
use super::range_log::{Begun, LogError, Range, RangeLog};
use crate::compact::journal::{Journal, JournalError};
use crate::core::mark::Mark;
use crate::crash;
use crate::sink::{Put, Sink};

/// Files of a range that are put at once: a range of a backlog spans few days.
const PARALLEL: usize = 8;

/// What became of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// All its files are there, of the range with this mark.
    Whole(Mark),
    /// The range was begun with another end: the rows have to be read again, up to it.
    Fixed(Range),
    /// The partition has another owner.
    Passed,
}

/// Publishes `plan`, once. Tells of each file that was not there before.
///
/// # Errors
/// Where the sink fails; nothing is lost, and the same call may be made again.
pub async fn publish(
    sink: &Sink,
    log: &RangeLog,
    plan: &Plan,
    created: impl Fn(&PlannedFile),
) -> Result<Published, LogError> {
    crash::point("raw::before-range");
    let mark = match log.begin(plan.range).await? {
        Begun::Ours(mark) => mark,
        Begun::Fixed(range) => return Ok(Published::Fixed(range)),
        Begun::Passed => return Ok(Published::Passed),
    };
    crash::point("raw::after-range");
    let put = stream::iter(&plan.files).map(async |file| {
        let is_new = sink.put_if_absent(&file.path, file.bytes.clone()).await? == Put::Created;
        if is_new {
            created(file);
        }
        crash::point("raw::after-file");
        Ok::<_, LogError>(is_new.then_some(file))
    });
    let put: Vec<Option<&PlannedFile>> = put.buffer_unordered(PARALLEL).try_collect().await?;
    crash::point("raw::before-prune");
    let newest = log.prune().await?;
    if newest.is_some_and(|newest| newest > plan.range.start) {
        withdraw(sink, put.into_iter().flatten()).await?;
    }
    Ok(Published::Whole(mark))
}

/// Takes away what has been merged into other files: whoever comes so late that a newer range has begun may find the
/// names free of files that compaction has taken (`compact`, C4).
async fn withdraw(sink: &Sink, files: impl Iterator<Item = &PlannedFile>) -> Result<(), LogError> {
    let journal = Journal::new(sink.clone());
    for PlannedFile { path, .. } in files {
        match journal.is_superseded(path).await {
            Ok(true) => sink.delete(path).await?,
            Ok(false) => {}
            Err(JournalError::Sink(error)) => return Err(error.into()),
            Err(error @ JournalError::Corrupt { .. }) => tracing::warn!(path, %error, "left for the next compaction"),
        }
    }
    Ok(())
}

/// Waits longer from try to try, up to half a minute.
pub fn pause(attempt: u32) -> Duration {
    Duration::from_millis(250 << attempt.min(7))
}
