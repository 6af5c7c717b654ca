//! Which files count for a reader that wants every row once, whatever compaction is at: pure.
//!
//! Such a reader lists the data files **first** and the journal (`_tips/compact/`) **after that**, and reads all plans
//! in it. A plan is written before its targets and kept for a week after it is done, so the plan of every target that was
//! listed is there. Then a source does not count where its target was listed, or where the target was merged further.
//!
//! A listing takes time and may be torn: a source was gone when its page was read, and the target not yet there when its
//! own was. That shows, and the reader lists again.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::plan::Plan;

/// A listing that has neither a target nor all its sources: list again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} was merged while the files were listed: list them again")]
pub struct Torn(pub String);

/// A plan as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// What was planned.
    pub plan: Plan,
    /// Whether all of it is done.
    pub is_done: bool,
}

/// Of the files in `listing` those that a snapshot counts, in the same order.
///
/// # Errors
/// [`Torn`] where the listing cannot be used.
pub fn visible<'a>(listing: &[&'a str], plans: &[Logged]) -> Result<Vec<&'a str>, Torn> {
    let listed: HashSet<&str> = listing.iter().copied().collect();
    let merged = Merged::new(plans);
    for merge in plans.iter().filter(|logged| !logged.is_done).flat_map(|logged| &logged.plan.merges) {
        let missing = merge.sources.iter().find(|source| !listed.contains(source.path.as_str()));
        if let Some(missing) = missing
            && !listed.contains(merge.target.as_str())
        {
            return Err(Torn(missing.path.clone()));
        }
    }
    Ok(listing.iter().copied().filter(|path| !merged.has_replaced(path, &listed)).collect())
}

/// Whether the rows of the file at `path` are in another file of `listing`, as the plans tell.
pub fn is_superseded(path: &str, listing: &[&str], plans: &[Logged]) -> bool {
    Merged::new(plans).has_replaced(path, &listing.iter().copied().collect())
}

/// Targets by their sources.
struct Merged<'a>(HashMap<&'a str, &'a str>);

impl<'a> Merged<'a> {
    fn new(plans: &'a [Logged]) -> Self {
        let merges = plans.iter().flat_map(|logged| &logged.plan.merges);
        Merged(
            merges
                .flat_map(|merge| merge.sources.iter().map(|source| (source.path.as_str(), merge.target.as_str())))
                .collect(),
        )
    }

    fn has_replaced(&self, path: &str, listed: &HashSet<&str>) -> bool {
        let mut seen = BTreeSet::new();
        let mut path = path;
        while let Some(target) = self.0.get(path).filter(|target| seen.insert(**target)) {
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

    #[test]
    fn a_row_counts_once_before_during_and_after_a_merge() {
        let plans = [logged(false, &[(&["a", "b"], "m")])];
        assert_eq!(visible(&["a", "b", "c"], &plans), Ok(vec!["a", "b", "c"]));
        assert_eq!(visible(&["a", "b", "c", "m"], &plans), Ok(vec!["c", "m"]));
        assert_eq!(visible(&["b", "c", "m"], &plans), Ok(vec!["c", "m"]));
        assert_eq!(visible(&["c", "m"], &plans), Ok(vec!["c", "m"]));
    }

    #[test]
    fn a_torn_listing_is_told() {
        let plans = [logged(false, &[(&["a", "b"], "m")])];
        assert_eq!(visible(&["b", "c"], &plans), Err(Torn("a".into())));
    }

    #[test]
    fn a_target_that_was_merged_further_still_hides_its_sources() {
        let plans = [logged(true, &[(&["a", "b"], "m")]), logged(true, &[(&["m", "c"], "n")])];
        assert_eq!(visible(&["a", "n"], &plans), Ok(vec!["n"]));
        assert!(is_superseded("m", &["n"], &plans));
        // Done, and what it made has gone another way: nothing says where its rows are.
        assert!(!is_superseded("a", &["x"], &plans));
    }
}
