//! Where reading begins (I1, I4): what the shards and the range log say of a partition.

use std::collections::BTreeMap;

use futures::future::try_join_all;

use crate::core::mark::Mark;
use crate::core::shard::Partition;
use crate::core::time::EventTime;
use crate::raw::range_log::{Entry, LogError, RangeLog};
use crate::sink::Sink;
use crate::source::Assigned;
use crate::state::{State, StateError, View, watermark};

/// Why a partition cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The range log.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl LocateError {
    /// Whether a later try may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            LocateError::State(error) => error.is_transient(),
            LocateError::Log(LogError::Sink(_)) => true,
            LocateError::Log(LogError::Corrupt { .. }) => false,
        }
    }
}

/// The beginning of the raw rows of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawStart {
    /// First offset of the next range.
    pub start: i64,
    /// Its end, where it was begun and perhaps not finished.
    pub end: Option<i64>,
}

/// Where a partition is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The partition, as it was assigned.
    pub assigned: Assigned,
    /// Of the question.
    pub ticket: u64,
    /// The offset at which the pipeline began.
    pub origin: i64,
    /// Offsets that the shards have applied.
    pub by_shard: Vec<Option<i64>>,
    /// A shard counts it as idle, by the word of whoever had it before.
    pub idle: bool,
    /// The raw rows; `None` where they are not kept or have not lost their place.
    pub raw: Option<RawStart>,
}

/// What to find out of a partition.
#[derive(Clone, Debug)]
pub struct Question {
    /// The partition.
    pub assigned: Assigned,
    /// Told apart from earlier questions of the same partition, whose answers come too late.
    pub ticket: u64,
    /// The name of its topic.
    pub topic: String,
    /// Whether its raw rows have to be placed too.
    pub raw: bool,
}

/// Answers for several partitions at once, and the watermark of the state that they are of.
///
/// # Errors
/// Where the state or the sink fails.
pub async fn locate(
    state: &State,
    sink: &Sink,
    questions: &[Question],
) -> Result<(Vec<Located>, Option<EventTime>), LocateError> {
    let views = state.views().await?;
    let located = try_join_all(questions.iter().map(|question| one(sink, &views, question))).await?;
    Ok((located, watermark(&views)))
}

/// How far all shards are in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// They have applied all below.
    pub offset: i64,
    /// Its owner has stood at its end, which is `offset`: a log may end with what is no record.
    pub at_end: bool,
    /// The mark of the newest range of its log, if that was asked for and there is one.
    pub newest: Option<Mark>,
    /// From where the pipeline reads it, if that was asked for and is set.
    pub origin: Option<i64>,
}

/// How far the shards are in the partitions that all have heard of; the range logs are asked where the topics are named.
///
/// # Errors
/// Where the state or the sink fails.
pub async fn applied(
    state: &State,
    sink: &Sink,
    logs: Option<&[String; 2]>,
) -> Result<BTreeMap<Partition, Reached>, LocateError> {
    let views = state.views().await?;
    let heard = views.first().map(|view| view.progress.keys().copied()).into_iter().flatten();
    let least = |partition: Partition| {
        let all: Option<Vec<_>> = views.iter().map(|view| view.progress.get(&partition)).collect();
        let all = all?;
        let offset = all.iter().map(|progress| progress.offset).min()?;
        Some((partition, offset, all.iter().all(|progress| progress.idle)))
    };
    let reached = heard.filter_map(least).map(async |(partition, offset, at_end)| {
        let (newest, origin) = match logs {
            Some(topics) => {
                let log = RangeLog::new(sink.clone(), &topics[partition.topic as usize], partition.index);
                (log.newest().await?.map(|entry| entry.mark), log.origin_if_set().await?)
            }
            None => (None, None),
        };
        Ok::<_, LocateError>((partition, Reached { offset, at_end, newest, origin }))
    });
    Ok(try_join_all(reached).await?.into_iter().collect())
}

async fn one(sink: &Sink, views: &[View], question: &Question) -> Result<Located, LocateError> {
    let Assigned { partition, start, committed, .. } = question.assigned;
    let log = RangeLog::new(sink.clone(), &question.topic, partition.index);
    let origin = log.origin(start).await?;
    let raw = match question.raw {
        true => Some(raw_start(&log, origin, committed).await?),
        false => None,
    };
    let offset = |view: &View| view.progress.get(&partition).map(|progress| progress.offset);
    let is_idle = |view: &View| view.progress.get(&partition).is_some_and(|progress| progress.idle);
    Ok(Located {
        assigned: question.assigned,
        ticket: question.ticket,
        origin,
        by_shard: views.iter().map(offset).collect(),
        idle: views.iter().any(is_idle),
        raw,
    })
}

/// The newest range may be unfinished, and then is to be written first. It is not if the group names its mark, which
/// is committed after its files are there. An offset would prove nothing: the group may be older than the log, or have
/// been set by hand.
async fn raw_start(log: &RangeLog, origin: i64, committed: Option<Mark>) -> Result<RawStart, LogError> {
    Ok(match log.newest().await? {
        None => RawStart { start: origin, end: None },
        Some(newest) if committed == Some(newest.mark) => RawStart { start: newest.range.end, end: None },
        Some(Entry { range, .. }) => RawStart { start: range.start, end: Some(range.end) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::range_log::{Begun, Range};
    use crate::sink::SinkConfig;

    async fn begun(log: &RangeLog, range: Range) -> Mark {
        let Begun::Ours(mark) = log.begin(range).await.expect("begun") else { panic!("not ours") };
        mark
    }

    #[tokio::test]
    async fn only_the_mark_of_the_newest_range_proves_that_it_is_whole() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let mut logs = Vec::new();
        for dir in &dirs {
            let config = SinkConfig::Fs { root: dir.path().to_owned() };
            logs.push(RangeLog::new(Sink::open(&config).await.expect("a sink"), "rides", 0));
        }
        let [before_the_wipe, log] = &logs[..] else { unreachable!("there are two") };
        assert_eq!(raw_start(log, 4, None).await.expect("read"), RawStart { start: 4, end: None });

        let range = Range { start: 4, end: 10 };
        let old = begun(before_the_wipe, range).await;
        let mark = begun(log, range).await;
        let unfinished = RawStart { start: 4, end: Some(10) };
        for committed in [None, Some(old)] {
            assert_eq!(raw_start(log, 4, committed).await.expect("read"), unfinished);
        }
        let whole = RawStart { start: 10, end: None };
        assert_eq!(raw_start(log, 4, Some(mark)).await.expect("read"), whole);
    }
}
