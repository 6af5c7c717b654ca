//! Which files count for a reader that wants every row once, whatever compaction is at: pure.
//!
//! Such a reader lists the data files **first** and the journal (`_tips/compact/`) **after that**, and reads all plans
//! in it. A plan is written before its targets and kept for a week after it is done, so the plan of every target that was
//! listed is there. Then a source does not count where its target was listed, or where the target was merged further.
//!
//! A listing takes time and may be torn: a source was gone when its page was read, and the target not yet there when its
//! own was. Then [`Visible::torn`] says so, and the reader lists again; a few times, since a person may have deleted files
//! of a plan for good.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::plan::Plan;

/// A plan as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// What was planned.
    pub plan: Plan,
    /// Whether all of it is done.
    pub is_done: bool,
}

/// What a reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible<'a> {
    /// The files that count, in the order of the listing.
    pub files: Vec<&'a str>,
    /// A file that is missing, and so is the one that took its place.
    pub torn: Option<String>,
}

/// Of the files in `listing` those that count.
pub fn visible<'a>(listing: &[&'a str], plans: &[Logged]) -> Visible<'a> {
    let listed: HashSet<&str> = listing.iter().copied().collect();
    let merged = Merged::new(plans);
    let sources = plans.iter().flat_map(|logged| &logged.plan.merges).flat_map(|merge| &merge.sources);
    let missing = sources.map(|source| source.path.as_str()).find(|path| {
        !listed.contains(path) && !merged.has_replaced(path, &listed) && !merged.is_target(path)
    });
    let files = listing.iter().copied().filter(|path| !merged.has_replaced(path, &listed)).collect();
    Visible { files, torn: missing.map(str::to_owned) }
}

/// Whether the rows of the file at `path` are in another file of `listing`, as the plans tell.
pub fn is_superseded(path: &str, listing: &[&str], plans: &[Logged]) -> bool {
    Merged::new(plans).has_replaced(path, &listing.iter().copied().collect())
}

struct Merged<'a> {
    /// Targets by their sources.
    into: HashMap<&'a str, &'a str>,
    targets: HashSet<&'a str>,
    /// What was merged before, and came back.
    stale: HashSet<&'a str>,
}

impl<'a> Merged<'a> {
    fn new(plans: &'a [Logged]) -> Self {
        let stale = plans.iter().flat_map(|logged| &logged.plan.stale).map(|source| source.path.as_str());
        let mut merged = Merged { into: HashMap::new(), targets: HashSet::new(), stale: stale.collect() };
        for merge in plans.iter().flat_map(|logged| &logged.plan.merges) {
            merged
                .into
                .extend(merge.sources.iter().map(|source| (source.path.as_str(), merge.target.as_str())));
            merged.targets.insert(&merge.target);
        }
        merged
    }

    /// What was a target before and is not there yet, or not any more, is missing by its own sources.
    fn is_target(&self, path: &str) -> bool {
        self.targets.contains(path)
    }

    fn has_replaced(&self, path: &str, listed: &HashSet<&str>) -> bool {
        if self.stale.contains(path) {
            return true;
        }
        let mut seen = BTreeSet::new();
        let mut path = path;
        while let Some(target) = self.into.get(path).filter(|target| seen.insert(**target)) {
            if listed.contains(target) {
                return true;
            }
            path = target;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Merge, Source};
    use super::*;

    fn logged(is_done: bool, merges: &[(&[&str], &str)]) -> Logged {
        let source = |path: &&str| Source { path: path.to_string(), bytes: 1 };
        let merges = merges.iter().map(|(sources, target)| Merge {
            sources: sources.iter().map(source).collect(),
            target: target.to_string(),
        });
        Logged { plan: Plan { merges: merges.collect(), ..Plan::default() }, is_done }
    }

    fn seen(listing: &[&'static str], plans: &[Logged]) -> (Vec<&'static str>, Option<String>) {
        let Visible { files, torn } = visible(listing, plans);
        (files, torn)
    }

    #[test]
    fn a_row_counts_once_before_during_and_after_a_merge() {
        for is_done in [false, true] {
            let plans = [logged(is_done, &[(&["a", "b"], "m")])];
            assert_eq!(seen(&["a", "b", "c"], &plans), (vec!["a", "b", "c"], None));
            assert_eq!(seen(&["a", "b", "c", "m"], &plans), (vec!["c", "m"], None));
            assert_eq!(seen(&["b", "c", "m"], &plans), (vec!["c", "m"], None));
            assert_eq!(seen(&["c", "m"], &plans), (vec!["c", "m"], None));
        }
    }

    #[test]
    fn a_file_that_came_back_does_not_count() {
        let mut plans = [logged(false, &[(&["b", "c"], "m")])];
        plans[0].plan.stale = vec![Source { path: "a".into(), bytes: 1 }];
        assert_eq!(seen(&["a", "b", "c", "other"], &plans), (vec!["b", "c", "other"], None));
    }

    #[test]
    fn a_torn_listing_is_told() {
        for is_done in [false, true] {
            let plans = [logged(is_done, &[(&["a", "b"], "m")])];
            assert_eq!(seen(&["b", "c"], &plans).1, Some("a".into()));
            assert_eq!(seen(&["c"], &plans).1, Some("a".into()));
        }
    }

    #[test]
    fn a_target_that_was_merged_further_still_hides_its_sources() {
        let plans = [logged(true, &[(&["a", "b"], "m")]), logged(true, &[(&["m", "c"], "n")])];
        assert_eq!(seen(&["a", "n"], &plans), (vec!["n"], None));
        assert_eq!(seen(&["a", "b", "c"], &plans), (vec!["a", "b", "c"], None));
        assert_eq!(seen(&["m", "c"], &plans), (vec!["m", "c"], None));
        assert_eq!(seen(&["b", "c"], &plans).1, Some("a".into()));
        assert!(is_superseded("m", &["n"], &plans));
        assert!(!is_superseded("a", &["x"], &plans));
    }
}
