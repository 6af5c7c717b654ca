//! Which files of a folder are merged into which: pure, and the same for the same files.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::folder::Folder;
use super::footer::{Footer, Part};

/// Sources of one merge at most: S3 deletes as many in one request.
const MAX_SOURCES: usize = 1000;
/// Where merged windows lie in the folder of their day.
pub const ALL_WINDOWS: &str = "window=all";

/// What is to be done in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The folder, as it is named in the journal.
    pub folder: String,
    /// Files that become one, and which.
    pub merges: Vec<Merge>,
    /// Files whose rows are all in another that is there and stays or is merged: they only go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<Source>,
}

/// Files that become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// What goes, in the order in which rows of one time are kept.
    pub sources: Vec<Source>,
    /// What comes.
    pub target: String,
}

/// A file as it was listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// Its path in the sink.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
}

/// A raw file that is there.
#[derive(Clone, Debug)]
pub struct RawFile {
    /// Path and size.
    pub source: Source,
    /// What it holds.
    pub footer: Footer,
    /// Whether no worker that follows the protocol will publish it again.
    pub is_settled: bool,
}

impl Plan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.merges.is_empty() && self.stale.is_empty()
    }

    /// All files that go.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.merges.iter().flat_map(|merge| &merge.sources).chain(&self.stale)
    }
}

impl Merge {
    fn new(dir: &str, sources: Vec<Source>) -> Self {
        let mut hash = Sha256::new();
        for source in &sources {
            hash.update(source.path.as_bytes());
            hash.update(b"\n");
        }
        let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Merge { target: format!("{dir}/compacted-{hash}.parquet"), sources }
    }

    /// Paths of the sources.
    pub fn source_paths(&self) -> Vec<String> {
        self.sources.iter().map(|source| source.path.clone()).collect()
    }
}

/// Raw files of one topic that follow each other in time are merged up to about `target_bytes`; those that have half of
/// that already stay as they are.
pub fn raw(folder: Folder, files: Vec<RawFile>, target_bytes: u64) -> Plan {
    let stale = stale(&files);
    let mut topics: BTreeMap<String, Vec<RawFile>> = BTreeMap::new();
    for file in files {
        let small = file.source.bytes < target_bytes / 2;
        if small && file.is_settled && !stale.contains(&file.source) {
            topics.entry(file.footer.topic.clone()).or_default().push(file);
        }
    }
    let dir = folder.path();
    let merges = topics.into_values().flat_map(|mut files| {
        files.sort_by(|a, b| (a.footer.times, &a.source.path).cmp(&(b.footer.times, &b.source.path)));
        groups(files.into_iter().map(|file| file.source), target_bytes)
    });
    let merges = merges.map(|sources| Merge::new(&dir, sources)).collect();
    Plan { folder: folder.to_string(), merges, stale: stale.into_iter().collect() }
}

/// All windows of a day become one file.
pub fn tips(folder: Folder, files: Vec<Source>) -> Plan {
    let dir = format!("{}/{ALL_WINDOWS}", folder.path());
    let merges = if files.len() < 2 { vec![] } else { vec![Merge::new(&dir, files)] };
    Plan { folder: folder.to_string(), merges, stale: vec![] }
}

fn groups(files: impl Iterator<Item = Source>, target_bytes: u64) -> Vec<Vec<Source>> {
    let mut groups: Vec<Vec<Source>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        bytes += file.bytes;
        match groups.last_mut() {
            Some(group) if bytes <= target_bytes && group.len() < MAX_SOURCES => group.push(file),
            _ => {
                bytes = file.bytes;
                groups.push(vec![file]);
            }
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// Files of which every part is in a file of more parts too: what a writer has put back that slept while its file was
/// merged away.
fn stale(files: &[RawFile]) -> BTreeSet<Source> {
    let merged: BTreeSet<(&str, &Part)> = files
        .iter()
        .filter(|file| file.footer.parts.len() > 1)
        .flat_map(|file| file.footer.parts.iter().map(|part| (file.footer.topic.as_str(), part)))
        .collect();
    let is_stale = |file: &&RawFile| match &file.footer.parts[..] {
        [part] => merged.contains(&(file.footer.topic.as_str(), part)),
        _ => false,
    };
    files.iter().filter(is_stale).map(|file| file.source.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Folder {
        Folder::parse("rides-2013-01-02").expect("a folder")
    }

    fn file(name: &str, bytes: u64, hour: i64) -> RawFile {
        let part = Part { partition: 0, start: hour, end: hour + 1, rows: 1 };
        RawFile {
            source: Source { path: format!("{}/{name}", folder().path()), bytes },
            footer: Footer { topic: "rides".into(), parts: vec![part], rows: 1, times: (hour, hour) },
            is_settled: true,
        }
    }

    fn names(plan: &Plan) -> Vec<Vec<&str>> {
        let name = |source: &'_ Source| source.path.len() - 1;
        plan.merges.iter().map(|merge| merge.sources.iter().map(|s| &s.path[name(s)..]).collect()).collect()
    }

    #[test]
    fn small_files_are_merged_in_order_of_time_up_to_the_size() {
        let files =
            vec![file("c", 40, 3), file("a", 40, 1), file("b", 40, 2), file("d", 30, 4), file("e", 70, 5)];
        let plan = raw(folder(), files, 100);
        assert_eq!(names(&plan), [vec!["a", "b"], vec!["c", "d"]]);
    }

    #[test]
    fn a_file_alone_stays_and_so_does_what_may_be_published_again() {
        let open = RawFile { is_settled: false, ..file("b", 10, 2) };
        assert!(raw(folder(), vec![file("a", 10, 1), open], 100).is_empty());
        assert!(tips(folder(), vec![file("a", 10, 1).source]).is_empty());
    }

    #[test]
    fn the_name_of_a_target_follows_from_its_sources() {
        let plan = |names: [&str; 2]| raw(folder(), names.map(|name| file(name, 10, 1)).into(), 100);
        let target = |names| plan(names).merges[0].target.clone();
        assert_eq!(target(["a", "b"]), target(["b", "a"]));
        assert_ne!(target(["a", "b"]), target(["a", "c"]));
        assert!(target(["a", "b"]).starts_with("rides/year=2013/month=1/day=2/compacted-"));
    }

    #[test]
    fn topics_are_not_mixed_and_a_merge_is_one_request_of_s3() {
        let mut other = file("b", 1, 2);
        other.footer.topic = "old".into();
        assert!(raw(folder(), vec![file("a", 1, 1), other], 100).is_empty());
        let many = (0..2500).map(|n| file(&format!("{n:04}"), 1, n)).collect();
        let sizes: Vec<usize> =
            raw(folder(), many, 1 << 20).merges.iter().map(|merge| merge.sources.len()).collect();
        assert_eq!(sizes, [1000, 1000, 500]);
    }

    #[test]
    fn a_file_that_came_back_after_it_was_merged_is_stale() {
        let (a, b, late) = (file("a", 10, 1), file("b", 10, 2), file("c", 10, 3));
        let mut merged = file("m", 90, 1);
        merged.footer.parts = vec![a.footer.parts[0].clone(), b.footer.parts[0].clone()];
        let plan = raw(folder(), vec![a.clone(), late, merged], 100);
        assert_eq!(plan.stale, [a.source]);
        assert!(plan.merges.is_empty());
    }
}
