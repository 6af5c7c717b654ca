//! Publication of a range: fix it, put its files, then say so. Any step may be repeated by anybody.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{TryStreamExt, stream};

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
    put_all(sink, log, plan, created).await?;
    Ok(Published::Whole(mark))
}

/// Puts the files of a range that is fixed.
async fn put_all(
    sink: &Sink,
    log: &RangeLog,
    plan: &Plan,
    created: impl Fn(&PlannedFile),
) -> Result<(), LogError> {
    let new = Mutex::new(Vec::new());
    stream::iter(plan.files.iter().map(Ok::<_, LogError>))
        .try_for_each_concurrent(PARALLEL, async |file| {
            if sink.put_if_absent(&file.path, file.bytes.clone()).await? == Put::Created {
                created(file);
                new.lock().unwrap_or_else(PoisonError::into_inner).push(file.path.as_str());
            }
            crash::point("raw::after-file");
            Ok(())
        })
        .await?;
    crash::point("raw::before-prune");
    let newest = log.prune().await?;
    if newest.is_some_and(|newest| newest > plan.range.start) {
        withdraw(sink, &new.into_inner().unwrap_or_else(PoisonError::into_inner)).await?;
    }
    Ok(())
}

/// Takes away what has been merged into other files: whoever comes so late that a newer range has begun may find the
/// names free of files that compaction has taken (`compact`, C4).
async fn withdraw(sink: &Sink, paths: &[&str]) -> Result<(), LogError> {
    let journal = Journal::new(sink.clone());
    for path in paths {
        match journal.is_superseded(path).await {
            Ok(true) => sink.delete(path).await?,
            Ok(false) => {}
            Err(JournalError::Sink(error)) => return Err(error.into()),
            Err(error @ JournalError::Corrupt { .. }) => {
                tracing::warn!(path, %error, "left for the next compaction")
            }
        }
    }
    Ok(())
}

/// Waits longer from try to try, up to half a minute.
pub fn pause(attempt: u32) -> Duration {
    Duration::from_millis(250 << attempt.min(7))
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::compact::folder::{Dataset, parse_day};
    use crate::compact::run::{Compactor, Options};
    use crate::compact::select::Days;
    use crate::core::parse;
    use crate::core::shard::{Partition, Topic};
    use crate::core::time::Span;
    use crate::metrics::compact::CompactMetrics;
    use crate::raw::columns::Chunk;
    use crate::raw::lane::{Lane, Origin};
    use crate::sink::SinkConfig;

    /// Three ranges of one day.
    fn plans() -> Vec<Plan> {
        let partition = Partition { topic: Topic::Fares, index: 0 };
        let mut lane = Lane::new(Origin { partition, topic: "fares".into(), fingerprint: "f".into() }, 0);
        let fare = parse::fare(b"1,2,3,2013-01-01 10:00:00,CSH,0,0,5.5").expect("a fare");
        let plan = |start: i64| {
            let mut chunk = Chunk::fares(0, start);
            (start..start + 10).for_each(|offset| chunk.fare(offset, None, &fare));
            lane.take(chunk, None).expect("encoded");
            lane.finish().expect("encoded")
        };
        [0, 10, 20].map(plan).into()
    }

    async fn compact(sink: &Sink) {
        let options = Options {
            datasets: [Dataset::Fares].into(),
            days: Days {
                only: parse_day("2013-01-01").into_iter().collect(),
                since: None,
                until: None,
                settle: Span::from_seconds(0),
            },
            target_bytes: 1 << 20,
            memory: 1 << 20,
            rate: None,
            window: Span::from_seconds(1800),
            epoch: 0,
            dry_run: false,
        };
        let metrics = CompactMetrics::new().expect("metrics");
        let report = Compactor::new(sink.clone(), options, metrics, CancellationToken::new()).run(0).await;
        assert_eq!(report.expect("a run").failure(), None);
    }

    async fn day(sink: &Sink) -> Vec<String> {
        sink.list("fares").await.expect("listed").into_iter().map(|entry| entry.path).collect()
    }

    #[tokio::test]
    async fn who_slept_since_before_its_files_were_merged_takes_them_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let sink = Sink::open(&SinkConfig::Fs { root: dir.path().to_owned() }).await.expect("a folder");
        let log = RangeLog::new(sink.clone(), "fares", 0);
        let plans = plans();
        for plan in &plans {
            publish(&sink, &log, plan, |_| {}).await.expect("published");
        }
        compact(&sink).await;
        let merged = day(&sink).await;
        assert_eq!(merged.len(), 2, "two became one, and the newest range stays: {merged:?}");

        // It had fixed its range, and puts the files now.
        put_all(&sink, &log, &plans[0], |_| {}).await.expect("put and withdrawn");
        assert_eq!(day(&sink).await, merged);
        // It looks at the log before.
        assert_eq!(publish(&sink, &log, &plans[1], |_| {}).await.expect("stopped"), Published::Passed);
        assert_eq!(day(&sink).await, merged);

        // Of files that were not merged none is taken back, though a newer range has begun.
        sink.delete(&plans[2].files[0].path).await.expect("deleted");
        log.begin(Range { start: 30, end: 40 }).await.expect("begun");
        put_all(&sink, &log, &plans[2], |_| {}).await.expect("put");
        assert_eq!(day(&sink).await, merged);
    }
}
