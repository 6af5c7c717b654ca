//! Which files of a folder are merged into which: pure, and the same for the same files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::footer::Footer;
use super::journal::Id;
use crate::core::time::EventTime;
use crate::results::day_file;

/// Raw files of one merge at most: S3 deletes as many in one request.
const MAX_SOURCES: usize = 1000;

/// What is to be done in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The folder, as it is named in the journal.
    pub folder: String,
    /// `spec.epoch`, of which all windows are that are merged; of no meaning for raw files.
    #[serde(default)]
    pub epoch: u64,
    /// Files that become one, and which.
    pub merges: Vec<Merge>,
    /// Files whose rows are all in another one that is there: they only go.
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

/// A file of windows that is there.
#[derive(Clone, Debug)]
pub struct WindowsFile {
    /// Path and size.
    pub source: Source,
    /// When its windows start.
    pub windows: BTreeSet<EventTime>,
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
    /// The target is named after the number of its plan, so that it comes after its sources in a listing that goes by
    /// name, and after them, so that it follows from them.
    fn new(id: Id, dir: &str, name: &str, sources: Vec<Source>) -> Self {
        let mut hash = Sha256::new();
        for source in &sources {
            hash.update(source.path.as_bytes());
            hash.update(b"\n");
        }
        let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Merge { target: format!("{dir}/{name}-compacted-{:06}-{hash}.parquet", id.number), sources }
    }

    /// Paths of the sources.
    pub fn source_paths(&self) -> Vec<String> {
        self.sources.iter().map(|source| source.path.clone()).collect()
    }
}

/// Raw files of one topic that follow each other in time are merged up to about `target_bytes`; those that have half of
/// that already stay as they are.
pub fn raw(id: Id, files: Vec<RawFile>, target_bytes: u64) -> Plan {
    let parts = files.iter().map(|file| {
        (&file.source, file.footer.parts.iter().map(|part| (file.footer.topic.as_str(), part)).collect())
    });
    let stale = stale(parts.collect());
    let mut topics: BTreeMap<String, Vec<RawFile>> = BTreeMap::new();
    for file in files {
        let small = file.source.bytes < target_bytes / 2;
        if small && file.is_settled && !stale.contains(&file.source) {
            topics.entry(file.footer.topic.clone()).or_default().push(file);
        }
    }
    let dir = id.folder.path();
    let merges = topics.into_iter().flat_map(|(topic, mut files)| {
        files.sort_by(|a, b| (a.footer.times, &a.source.path).cmp(&(b.footer.times, &b.source.path)));
        let groups = groups(files.into_iter().map(|file| file.source), target_bytes);
        groups.into_iter().map(|sources| Merge::new(id, &dir, &topic, sources)).collect::<Vec<_>>()
    });
    Plan {
        folder: id.folder.to_string(),
        epoch: 0,
        merges: merges.collect(),
        stale: stale.into_iter().collect(),
    }
}

/// All windows of a day, which are of `epoch`, become one file, however many they are: with a slide of a minute 1,440, which
/// are two requests to S3, sent at once. To merge a thousand first and their file with the rest would have rows twice for
/// two requests as well, one after the other, and write most windows two times.
pub fn tips(id: Id, epoch: u64, files: Vec<WindowsFile>) -> Plan {
    let windows = files.iter().map(|file| (&file.source, file.windows.iter().collect()));
    let stale = stale(windows.collect());
    let mut sources: Vec<Source> = files.into_iter().map(|file| file.source).collect();
    sources.retain(|source| !stale.contains(source));
    let dir = day_file::folder(id.folder.day);
    let merges = if sources.len() < 2 { vec![] } else { vec![Merge::new(id, &dir, "tips", sources)] };
    Plan { folder: id.folder.to_string(), epoch, merges, stale: stale.into_iter().collect() }
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

/// Files of which another one has all and more: what someone has put back who slept while it was merged away. They are
/// no sources, since whoever has put them may take them away again.
fn stale<T: Eq + Hash>(files: Vec<(&Source, Vec<T>)>) -> BTreeSet<Source> {
    let mut holders: HashMap<&T, Vec<usize>> = HashMap::new();
    for (index, (_, parts)) in files.iter().enumerate() {
        parts.iter().for_each(|part| holders.entry(part).or_default().push(index));
    }
    let is_stale = |(index, (_, parts)): &(usize, &(&Source, Vec<T>))| {
        let others = parts.first().map_or(&[][..], |part| &holders[part][..]);
        others.iter().any(|other| {
            let has = |part| holders[part].binary_search(other).is_ok();
            other != index && files[*other].1.len() > parts.len() && parts.iter().all(has)
        })
    };
    files.iter().enumerate().filter(is_stale).map(|(_, (source, _))| (*source).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::super::footer::Part;
    use super::*;

    fn folder() -> Folder {
        Folder::parse("rides-2013-01-02").expect("a folder")
    }

    fn id() -> Id {
        Id { folder: folder(), number: 7 }
    }

    fn windows(name: &str, starts: &[i64]) -> WindowsFile {
        let windows = starts.iter().map(|start| EventTime::from_seconds(*start)).collect();
        WindowsFile { source: file(name, 10, 1).source, windows }
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
        let plan = raw(id(), files, 100);
        assert_eq!(names(&plan), [vec!["a", "b"], vec!["c", "d"]]);
    }

    #[test]
    fn a_file_alone_stays_and_so_does_what_may_be_published_again() {
        let open = RawFile { is_settled: false, ..file("b", 10, 2) };
        assert!(raw(id(), vec![file("a", 10, 1), open], 100).is_empty());
        assert!(tips(id(), 0, vec![windows("a", &[0])]).is_empty());
    }

    #[test]
    fn the_name_of_a_target_follows_from_its_sources() {
        let plan = |names: [&str; 2]| raw(id(), names.map(|name| file(name, 10, 1)).into(), 100);
        let target = |names| plan(names).merges[0].target.clone();
        assert_eq!(target(["a", "b"]), target(["b", "a"]));
        assert_ne!(target(["a", "b"]), target(["a", "c"]));
        let begin = "rides/year=2013/month=1/day=2/rides-compacted-000007-";
        assert!(target(["a", "b"]).starts_with(begin));
        assert!(begin > "rides/year=2013/month=1/day=2/rides-9-", "after what it is made of");
    }

    #[test]
    fn topics_are_not_mixed_and_a_merge_is_one_request_of_s3() {
        let mut other = file("b", 1, 2);
        other.footer.topic = "old".into();
        assert!(raw(id(), vec![file("a", 1, 1), other], 100).is_empty());
        let many = (0..2500).map(|n| file(&format!("{n:04}"), 1, n)).collect();
        let sizes: Vec<usize> =
            raw(id(), many, 1 << 20).merges.iter().map(|merge| merge.sources.len()).collect();
        assert_eq!(sizes, [1000, 1000, 500]);
    }

    #[test]
    fn a_file_that_came_back_after_it_was_merged_is_stale() {
        let (a, b, late) = (file("a", 10, 1), file("b", 10, 2), file("c", 10, 3));
        let of = |name: &str, files: &[&RawFile]| {
            let mut merged = file(name, 10, 1);
            merged.footer.parts = files.iter().flat_map(|file| file.footer.parts.clone()).collect();
            merged
        };
        let (once, twice) = (of("m", &[&a, &b]), of("n", &[&a, &b, &late]));
        let plan =
            raw(id(), vec![a.clone(), late.clone(), RawFile { is_settled: false, ..once.clone() }], 100);
        assert_eq!((plan.stale, plan.merges), (vec![a.source.clone()], vec![]));
        let plan = raw(id(), vec![once.clone(), b.clone(), twice], 100);
        assert_eq!((plan.stale, plan.merges), (vec![b.source, once.source], vec![]));
    }

    #[test]
    fn windows_of_a_day_become_one_file_however_many_they_are() {
        let files = (0..1440).map(|minute| windows(&format!("{minute:04}"), &[60 * minute])).collect();
        let plan = tips(id(), 0, files);
        assert_eq!(plan.merges.iter().map(|merge| merge.sources.len()).collect::<Vec<_>>(), [1440]);
    }

    #[test]
    fn a_window_that_came_back_is_no_source() {
        let files = vec![windows("a", &[0]), windows("b", &[600]), windows("m", &[0, 1200])];
        let plan = tips(id(), 0, files);
        assert_eq!(plan.stale, [file("a", 10, 1).source]);
        assert_eq!(names(&plan), [vec!["b", "m"]]);
    }
}
