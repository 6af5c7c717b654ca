//! Plans as they are written down: `_tips/compact/<folder>-<number>`, and `….done` when all of it is done.
//!
//! A number is taken by exclusive create, and the next one only when it is done (C1). Plans that were done a week ago are
//! removed, their marks when a newer plan is done: the newest number always stays. So whoever slept and creates a number
//! again that is gone finds a newer one, or the mark, and stops.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::AT_ONCE;
use super::folder::Folder;
use super::plan::Plan;
use super::visible::{Logged, is_superseded};
use crate::sink::{Put, Sink, SinkError};

/// Where plans are.
pub const DIR: &str = "_tips/compact";
/// How long a plan is kept after it is done, in seconds: longer than any reader takes between listing and plans.
const KEEP_SECONDS: i64 = 7 * 24 * 3600;
const DONE: &str = ".done";

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// An entry that is none.
    #[error(
        "{path} in the sink is not a plan of this version ({error}): if nobody has changed it, upgrade; else restore it"
    )]
    Corrupt {
        /// Where.
        path: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

/// A plan's place: its folder and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Whose plan it is.
    pub folder: Folder,
    /// 1 is the first.
    pub number: u32,
}

/// What is said of a plan that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// When, in seconds since 1970, by the clock of who finished it.
    pub at: i64,
}

/// What the journal has of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The number of the newest plan; 0: none yet.
    pub number: u32,
    /// Whether that one is done.
    pub is_done: bool,
}

impl Newest {
    /// Whether a plan is to be finished before another is made.
    pub fn is_open(self) -> bool {
        self.number > 0 && !self.is_done
    }
}

impl Id {
    /// The path of the plan.
    pub fn path(self) -> String {
        format!("{DIR}/{}-{:06}", self.folder, self.number)
    }

    fn done_path(self) -> String {
        format!("{}{DONE}", self.path())
    }

    /// Reads a path below `_tips/compact/`; `true`: it is the mark of being done.
    pub fn parse(path: &str) -> Option<(Id, bool)> {
        let name = path.strip_prefix(DIR)?.strip_prefix('/')?;
        let (name, is_done) = match name.strip_suffix(DONE) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (folder, number) = name.rsplit_once('-')?;
        let id = Id { folder: Folder::parse(folder)?, number: number.parse().ok()? };
        (number.len() == 6).then_some((id, is_done))
    }
}

/// The plans of a sink.
#[derive(Clone)]
pub struct Journal(Sink);

/// Whose plan is carried out under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The one that was to be written down, or one that another run has written down before.
    Plan(Plan),
    /// None: other runs have gone on since the files were listed.
    Passed,
}

impl Journal {
    /// That of `sink`.
    pub fn new(sink: Sink) -> Self {
        Journal(sink)
    }

    /// The newest plan of every folder that has one.
    ///
    /// # Errors
    /// Where the sink fails.
    pub async fn newest(&self) -> Result<BTreeMap<Folder, Newest>, SinkError> {
        Ok(newest_of(&self.entries().await?))
    }

    /// Writes `plan` down under `id`, or tells which one is there.
    ///
    /// # Errors
    /// Where the sink fails or an entry makes no sense.
    pub async fn begin(&self, id: Id, plan: &Plan) -> Result<Begun, JournalError> {
        let path = id.path();
        let text =
            serde_json::to_vec(plan).map_err(|error| JournalError::Corrupt { path: path.clone(), error })?;
        let created = self.0.put_if_absent(&path, Bytes::from(text)).await? == Put::Created;
        let newest = self.newest().await?.get(&id.folder).copied().unwrap_or_default();
        if newest != (Newest { number: id.number, is_done: false }) {
            // Under the newest number it may be the plan that another run has just carried out.
            if created && newest.number > id.number {
                self.0.delete(&path).await?;
            }
            return Ok(Begun::Passed);
        }
        Ok(self.read(id).await?.map_or(Begun::Passed, Begun::Plan))
    }

    /// A plan, unless it is gone.
    ///
    /// # Errors
    /// Where the sink fails or the plan makes no sense.
    pub async fn read(&self, id: Id) -> Result<Option<Plan>, JournalError> {
        let path = id.path();
        let Some(text) = self.0.read(&path).await? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| JournalError::Corrupt { path, error })
    }

    /// Says that all of a plan is done.
    ///
    /// # Errors
    /// Where the sink fails.
    pub async fn finish(&self, id: Id, now: i64) -> Result<(), SinkError> {
        let text = serde_json::json!({ "at": now }).to_string();
        self.0.put_if_absent(&id.done_path(), text.into()).await.map(drop)
    }

    /// Removes what nobody needs any more.
    ///
    /// # Errors
    /// Where the sink fails.
    pub async fn prune(&self, now: i64) -> Result<(), SinkError> {
        let marks = superfluous(&self.entries().await?);
        stream::iter(marks.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |mark| self.prune_one(mark, now))
            .await
    }

    async fn prune_one(&self, Mark { id, has_plan, is_newest }: Mark, now: i64) -> Result<(), SinkError> {
        let Some(text) = self.0.read(&id.done_path()).await? else { return Ok(()) };
        let at = serde_json::from_slice(&text).map_or(now, |done: Done| done.at);
        if now - at < KEEP_SECONDS {
            return Ok(());
        }
        if has_plan {
            self.0.delete(&id.path()).await?;
        }
        if !is_newest {
            self.0.delete(&id.done_path()).await?;
        }
        Ok(())
    }

    /// All plans that are kept of the folders that `wanted` names. To be asked **after** the data files were listed.
    ///
    /// # Errors
    /// Where the sink fails or a plan makes no sense.
    pub async fn plans(&self, wanted: impl Fn(Folder) -> bool) -> Result<Vec<Logged>, JournalError> {
        let entries = self.entries().await?;
        let newest = newest_of(&entries);
        let mut plans = Vec::new();
        for (id, _) in entries.iter().filter(|(id, is_done)| !is_done && wanted(id.folder)) {
            let is_done = entries.contains(&(*id, true));
            // A plan that is neither done nor the newest was created by a run that slept.
            let is_newest = newest.get(&id.folder).is_some_and(|newest| newest.number == id.number);
            if (is_done || is_newest)
                && let Some(plan) = self.read(*id).await?
            {
                plans.push(Logged { plan, is_done });
            }
        }
        Ok(plans)
    }

    /// Whether the rows of the file at `path` are in another one, as the journal tells: whoever has put it there slept
    /// since before it was merged away.
    ///
    /// # Errors
    /// Where the sink fails or a plan makes no sense.
    pub async fn is_superseded(&self, path: &str) -> Result<bool, JournalError> {
        let Some((folder, _)) = Folder::of(path) else { return Ok(false) };
        let listing = self.0.list(&folder.path()).await?;
        let listing: Vec<&str> = listing.iter().map(|entry| entry.path.as_str()).collect();
        let plans = self.plans(|other| other == folder).await?;
        Ok(is_superseded(path, &listing, &plans))
    }

    /// Plans (`false`) and marks of being done (`true`).
    async fn entries(&self) -> Result<BTreeSet<(Id, bool)>, SinkError> {
        Ok(self.0.list(DIR).await?.iter().filter_map(|entry| Id::parse(&entry.path)).collect())
    }
}

/// The mark of a plan that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    id: Id,
    has_plan: bool,
    is_newest: bool,
}

/// Marks with which something may go: not the newest one of a folder whose plan is gone, as there is one for every day
/// that was ever compacted.
fn superfluous(entries: &BTreeSet<(Id, bool)>) -> Vec<Mark> {
    let newest = newest_of(entries);
    let mark = |id: &Id| Mark {
        id: *id,
        has_plan: entries.contains(&(*id, false)),
        is_newest: newest.get(&id.folder).is_none_or(|newest| newest.number <= id.number),
    };
    let marks = entries.iter().filter(|(_, is_done)| *is_done).map(|(id, _)| mark(id));
    marks.filter(|mark| mark.has_plan || !mark.is_newest).collect()
}

fn newest_of(entries: &BTreeSet<(Id, bool)>) -> BTreeMap<Folder, Newest> {
    let mut all: BTreeMap<Folder, Newest> = BTreeMap::new();
    // In the order of numbers, and the mark after its plan.
    for (id, is_done) in entries {
        all.insert(id.folder, Newest { number: id.number, is_done: *is_done });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::SinkConfig;

    async fn journal(root: &std::path::Path) -> Journal {
        Journal::new(Sink::open(&SinkConfig::Fs { root: root.to_owned() }).await.expect("a folder"))
    }

    fn id(number: u32) -> Id {
        Id { folder: Folder::parse("rides-2013-01-02").expect("a folder"), number }
    }

    fn plan(name: &str) -> Plan {
        Plan { folder: name.to_owned(), ..Plan::default() }
    }

    #[tokio::test]
    async fn of_two_plans_under_one_number_the_first_is_carried_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = journal(dir.path()).await;
        assert_eq!(journal.begin(id(1), &plan("a")).await.expect("begun"), Begun::Plan(plan("a")));
        assert_eq!(journal.begin(id(1), &plan("b")).await.expect("begun"), Begun::Plan(plan("a")));
        assert!(journal.newest().await.expect("listed")[&id(1).folder].is_open());
    }

    #[tokio::test]
    async fn a_run_that_slept_does_not_carry_out_its_plan_under_a_number_that_is_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let journal = journal(dir.path()).await;
        for number in 1..=2 {
            journal.begin(id(number), &plan("a")).await.expect("begun");
            journal.finish(id(number), 0).await.expect("done");
        }
        journal.prune(KEEP_SECONDS).await.expect("pruned");
        assert_eq!(journal.plans(|_| true).await.expect("read"), []);
        for number in 1..=2 {
            assert_eq!(journal.begin(id(number), &plan("b")).await.expect("refused"), Begun::Passed);
        }
        journal.prune(KEEP_SECONDS).await.expect("pruned");
        assert_eq!(journal.plans(|_| true).await.expect("read"), []);
        assert_eq!(journal.begin(id(3), &plan("c")).await.expect("begun"), Begun::Plan(plan("c")));
    }

    #[test]
    fn of_a_day_that_was_compacted_long_ago_nothing_is_read() {
        let entries =
            |ids: &[(u32, bool)]| ids.iter().map(|(number, is_done)| (id(*number), *is_done)).collect();
        let mark = |number, has_plan, is_newest| Mark { id: id(number), has_plan, is_newest };
        assert_eq!(superfluous(&entries(&[(2, true)])), []);
        assert_eq!(superfluous(&entries(&[(1, false)])), []);
        assert_eq!(superfluous(&entries(&[(1, false), (1, true)])), [mark(1, true, true)]);
        assert_eq!(superfluous(&entries(&[(1, true), (2, false)])), [mark(1, false, false)]);
        let both = entries(&[(1, true), (2, false), (2, true)]);
        assert_eq!(superfluous(&both), [mark(1, false, false), mark(2, true, true)]);
    }

    #[test]
    fn a_path_leads_back_to_its_place() {
        assert_eq!(id(7).path(), "_tips/compact/rides-2013-01-02-000007");
        assert_eq!(Id::parse("_tips/compact/rides-2013-01-02-000007"), Some((id(7), false)));
        assert_eq!(Id::parse("_tips/compact/rides-2013-01-02-000007.done"), Some((id(7), true)));
        for path in
            ["_tips/compact/x", "_tips/compact/rides-2013-01-02-7", "_tips/compacted/rides-2013-01-02-000007"]
        {
            assert_eq!(Id::parse(path), None, "{path}");
        }
    }
}
