//! What the passes over a pipeline remember from one to the next. All of it can be lost: it only saves requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tipstream_crds::{ConditionType, TipsPipelineStatus};

use super::FIGURES_INTERVAL;
use super::apply::Applied;
use super::scaling::Recent;
use crate::build::names::Component;
use crate::cluster::Key;
use crate::error::Error;

/// What is remembered of a pipeline.
#[derive(Default)]
pub(super) struct Memo {
    uid: String,
    /// The last pass that brought everything about.
    pub settled: Option<Settled>,
    /// What was applied.
    pub applied: Applied,
    /// The status that was written last: the cache may not have it yet.
    pub status: Option<TipsPipelineStatus>,
    /// The status of which the Events are told, though it could not be written.
    pub told: Option<TipsPipelineStatus>,
    /// When a status was written.
    pub figures_written: Option<Instant>,
    /// What the lag asked for of late.
    pub recent: Recent,
    /// Passes that failed since the last that did not.
    pub failures: u32,
}

impl Memo {
    /// The status that stands, taken from the memo: what was written last, until the cache must have heard of it.
    /// After that somebody else may have changed it. Conditions of theirs stand beside ours and are not for us to say.
    pub(super) fn take_status(&mut self, cached: Option<&TipsPipelineStatus>) -> Option<TipsPipelineStatus> {
        let written_now = self.figures_written.is_some_and(|written| written.elapsed() < FIGURES_INTERVAL);
        let mut stands = self.status.take().filter(|_| written_now).or_else(|| cached.cloned());
        let is_ours = |kind: &str| ConditionType::ALL.iter().any(|ours| ours.as_str() == kind);
        stands.iter_mut().for_each(|status| status.conditions.retain(|condition| is_ours(&condition.type_)));
        stands
    }
}

/// A pass that brought everything about, but the query service where that lacks something.
pub(super) struct Settled {
    /// Its inputs.
    pub inputs: u64,
    /// What the query service lacks.
    pub query_lacks: Option<Error>,
}

impl Settled {
    /// The part that is left as it is.
    pub(super) fn held(&self) -> Option<Component> {
        self.query_lacks.as_ref().map(|_| Component::Query)
    }
}

/// The memos of all pipelines. There is one pass over a pipeline at a time, so one who holds a memo.
#[derive(Default)]
pub(super) struct Memos(Mutex<HashMap<Key, Memo>>);

impl Memos {
    /// The memo of the pipeline with this name and UID, or a new one.
    pub(super) fn take(&self, key: &Key, uid: &str) -> Memo {
        let memo = self.lock().remove(key).filter(|memo| memo.uid == uid);
        memo.unwrap_or_else(|| Memo { uid: uid.to_owned(), ..Memo::default() })
    }

    /// Keeps a memo.
    pub(super) fn put(&self, key: Key, memo: Memo) {
        self.lock().insert(key, memo);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Memo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_of_somebody_else_is_not_ours_to_say() {
        let condition = |kind: &str| {
            serde_json::json!({"type": kind, "status": "True", "reason": "Seen", "message": "",
                "lastTransitionTime": "2030-01-01T00:00:00Z"})
        };
        let cached = serde_json::json!({"conditions": [condition("Ready"), condition("Audited")]});
        let cached: TipsPipelineStatus = serde_json::from_value(cached).expect("a status");
        let stands = Memo::default().take_status(Some(&cached)).expect("it stands");
        assert_eq!(stands.conditions, cached.conditions[..1]);
    }

    #[test]
    fn a_status_that_somebody_else_wrote_is_seen_in_time() {
        let status = |replicas| TipsPipelineStatus { replicas, ..TipsPipelineStatus::default() };
        let (ours, theirs) = (status(1), status(2));
        let now = Instant::now();
        let taken_after = |elapsed| {
            let figures_written = now.checked_sub(elapsed);
            let mut memo = Memo { status: Some(ours.clone()), figures_written, ..Memo::default() };
            memo.take_status(Some(&theirs)).map(|status| status.replicas)
        };
        assert_eq!(taken_after(std::time::Duration::ZERO), Some(1));
        assert_eq!(taken_after(FIGURES_INTERVAL), Some(2));
    }
}
