//! What workers answer, and what it comes to together: pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{self, Timestamp};
use serde::Deserialize;
use tipstream_crds::{Books, Lag, TopicBooks};

use crate::cluster::Key;

/// What the workers of a pipeline say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Fingerprint of their settings, and so of the state.
    pub fingerprint: String,
    /// The watermark of the state.
    pub watermark: Option<Timestamp>,
    /// The end of the latest window that was written.
    pub last_window_end: Option<Timestamp>,
    /// What is still to be read; `None` where a worker did not answer, or a partition is nobody's.
    pub lag: Option<Lag>,
    /// What waits for the workers; `None` where a part of it is not known, or a server keeps them waiting.
    pub backlog: Option<Backlog>,
    /// The books of the state.
    pub books: Option<Books>,
    /// Whether they balance.
    pub balance: Option<bool>,
    /// Why a worker cannot read the state, where it cannot.
    pub state_error: Option<String>,
    /// Who does not answer a worker.
    pub silent: BTreeSet<Server>,
}

/// What waits for the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Records of the topics that have not been read.
    pub records: i64,
    /// How many workers can have a partition: the partitions of the topic that has more.
    pub partitions: i32,
}

/// What workers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// The coordinator of the group.
    Kafka,
    /// Redis.
    Redis,
    /// The sink.
    Sink,
}

/// A worker's `/status`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pipeline: String,
    epoch: i64,
    fingerprint: String,
    watermark: Option<String>,
    last_window_end: Option<String>,
    partitions: Vec<Partition>,
    // A worker of an older image does not say.
    #[serde(default)]
    partition_counts: BTreeMap<String, i32>,
    books: Option<ReportedBooks>,
    state_error: Option<String>,
    #[serde(default)]
    silent_servers: BTreeSet<Server>,
}

impl Report {
    pub(super) fn is_of(&self, pipeline: &Key) -> bool {
        self.pipeline == format!("{}.{}", pipeline.namespace, pipeline.name)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Partition {
    topic: String,
    partition: i32,
    lag: Option<i64>,
    event_time: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct ReportedBooks {
    rides: Account,
    fares: Account,
    balance: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    consumed: i64,
    joined: i64,
    pending: i64,
    unmatched: i64,
    duplicate: i64,
    late: i64,
    out_of_area: i64,
    start: i64,
    invalid: i64,
}

impl From<Account> for TopicBooks {
    fn from(account: Account) -> Self {
        TopicBooks {
            consumed: account.consumed,
            joined: account.joined,
            pending: account.pending,
            unmatched: account.unmatched,
            duplicate: account.duplicate,
            late: account.late,
            out_of_area: account.out_of_area,
            start: account.start,
            invalid: account.invalid,
        }
    }
}

/// The state is one, so its books and watermark are those of whoever read it last; the partitions are shared out.
pub(super) fn together(reports: &[Report], epoch: i64, complete: bool) -> Option<Figures> {
    let reports: Vec<_> = reports.iter().filter(|report| report.epoch == epoch).collect();
    let first = reports.first()?;
    let latest = |of: fn(&Report) -> Option<&String>| {
        reports.iter().filter_map(|report| of(report)).filter_map(|text| event_time(text)).max()
    };
    let watermark = latest(|report| report.watermark.as_ref());
    let partitions = || reports.iter().flat_map(|report| &report.partitions);
    let newest = partitions().filter_map(|p| p.event_time.as_deref()).filter_map(event_time).max();
    let behind = watermark
        .zip(newest)
        .map_or(0, |(watermark, newest)| (newest.as_second() - watermark.as_second()).max(0));
    let waiting = waiting(&reports).filter(|_| complete);
    let silent: BTreeSet<_> =
        reports.iter().flat_map(|report| report.silent_servers.iter().copied()).collect();
    let books = reports
        .iter()
        .filter_map(|report| report.books)
        .max_by_key(|books| books.rides.consumed + books.fares.consumed);
    Some(Figures {
        fingerprint: first.fingerprint.clone(),
        watermark,
        last_window_end: latest(|report| report.last_window_end.as_ref()),
        lag: waiting.map(|waiting| Lag { records: waiting.records, seconds: behind }),
        backlog: waiting.filter(|_| silent.is_empty()),
        books: books.map(|books| Books { rides: books.rides.into(), fares: books.fares.into() }),
        balance: books.map(|books| books.balance),
        state_error: reports.iter().find_map(|report| report.state_error.clone()),
        silent,
    })
}

/// What waits in all partitions of both topics; `None` where that of one is not known, or nobody has it: before it is
/// given to a worker, and between the end of one and the session timeout of the group.
fn waiting(reports: &[&Report]) -> Option<Backlog> {
    let mut counts = BTreeMap::<&str, i32>::new();
    for (topic, count) in reports.iter().flat_map(|report| &report.partition_counts) {
        let known = counts.entry(topic).or_default();
        *known = (*known).max(*count);
    }
    let mut lags = BTreeMap::<(&str, i32), Option<i64>>::new();
    for Partition { topic, partition, lag, .. } in reports.iter().flat_map(|report| &report.partitions) {
        // For a moment it can be that of two.
        let known = lags.entry((topic, *partition)).or_insert(*lag);
        *known = known.zip(*lag).map(|(one, other)| one.max(other));
    }
    let number: i64 = counts.values().copied().map(i64::from).sum();
    if lags.len() as i64 != number {
        return None;
    }
    let records = lags.into_values().sum::<Option<i64>>()?;
    Some(Backlog { records, partitions: counts.into_values().max()? })
}

/// An event time as workers write it, `2013-01-01 03:29:59`, UTC.
fn event_time(text: &str) -> Option<Timestamp> {
    let time: jiff::civil::DateTime = text.replacen(' ', "T", 1).parse().ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lag: i64, consumed: i64, watermark: &str) -> Report {
        let text = format!(
            r#"{{"pipeline":"default.taxi","epoch":0,"fingerprint":"ffd49dbd4f95d5fd","watermark":"{watermark}",
            "lastWindowEnd":"2013-01-01 03:20:00","lagRecords":{lag},"partitions":[{{"topic":"rides","partition":0,
            "position":144317,"lag":{lag},"eventTime":"2013-01-01 04:00:00","idle":false}},{{"topic":"fares",
            "partition":0,"position":0,"lag":0,"eventTime":null,"idle":true}}],
            "partitionCounts":{{"rides":1,"fares":1}},"books":{{"rides":
            {{"consumed":{consumed},"duplicate":97,"invalid":619,"joined":284339,"late":0,"out_of_area":2757,
            "pending":268,"start":288088,"unmatched":395}},"fares":{{"consumed":1}},"balance":true}},"stateError":null}}"#
        );
        serde_json::from_str(&text).expect("what a worker answers")
    }

    #[test]
    fn workers_are_added_up_and_the_state_is_taken_from_the_latest() {
        let reports = [report(5, 100, "2013-01-01 03:29:59"), report(7, 200, "2013-01-01 03:30:00")];
        let figures = together(&reports, 0, true).expect("they answered");
        assert_eq!(
            figures.lag,
            Some(Lag { records: 7, seconds: 1800 }),
            "for a moment a partition is that of two"
        );
        assert_eq!(figures.books.map(|books| books.rides.consumed), Some(200));
        assert_eq!(figures.watermark, event_time("2013-01-01 03:30:00"));
        assert_eq!(figures.watermark.map(|t| t.to_string()).as_deref(), Some("2013-01-01T03:30:00Z"));
    }

    #[test]
    fn the_lag_is_not_told_where_a_worker_is_silent() {
        assert_eq!(together(&[report(5, 100, "2013-01-01 03:29:59")], 0, false).and_then(|f| f.lag), None);
    }

    #[test]
    fn lag_and_backlog_are_those_of_all_partitions_or_not_known() {
        let partition = |topic: &str, partition, lag| Partition {
            topic: topic.to_owned(),
            partition,
            lag,
            event_time: None,
        };
        let worker = |partitions| Report {
            partitions,
            partition_counts: [("rides".to_owned(), 2), ("fares".to_owned(), 1)].into(),
            ..report(0, 1, "2013-01-01 03:29:59")
        };
        let backlog = |reports: &[Report], complete| {
            let figures = together(reports, 0, complete).expect("they answered");
            assert_eq!(figures.lag.map(|lag| lag.records), figures.backlog.map(|backlog| backlog.records));
            figures.backlog
        };
        let first = || vec![partition("rides", 0, Some(5)), partition("fares", 0, Some(0))];
        let mut all = [worker(first()), worker(vec![partition("rides", 1, Some(7))])];
        assert_eq!(backlog(&all, true), Some(Backlog { records: 12, partitions: 2 }));
        assert_eq!(backlog(&all, false), None, "a worker is silent");
        assert_eq!(backlog(&all[..1], true), None, "nobody has a partition");
        assert_eq!(backlog(&[worker(vec![])], true), None, "nobody has any");
        let begins = [worker(first()), worker(vec![partition("rides", 1, None)])];
        assert_eq!(backlog(&begins, true), None, "where it begins is not known");
        let older = |report: &Report| Report { partition_counts: BTreeMap::new(), ..report.clone() };
        assert_eq!(backlog(&[older(&all[0])], true), None, "how many there are is not known");
        all[0].silent_servers.insert(Server::Redis);
        let waits = together(&all, 0, true).expect("they answered");
        assert_eq!(waits.lag.map(|lag| lag.records), Some(12));
        assert_eq!(waits.backlog, None, "more workers would wait, too");
    }

    #[test]
    fn what_another_pipeline_says_is_known_as_such() {
        let report = report(5, 100, "2013-01-01 03:29:59");
        assert!(report.is_of(&Key::new("default", "taxi")));
        assert!(!report.is_of(&Key::new("default", "taxi2")));
    }

    #[test]
    fn workers_of_another_epoch_say_nothing_of_this_one() {
        assert_eq!(together(&[report(5, 100, "2013-01-01 03:29:59")], 1, true), None);
    }
}
