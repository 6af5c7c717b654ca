//! What every sink must do, whatever is behind it. Each scenario works in a folder of its own, so
//! one store serves many runs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use tips_worker::sink::{Category, Entry, Merge, Put, Sink};

/// Longer than the threshold above which S3 takes several parts, and no multiple of a part.
const LARGE: usize = 20 * 1024 * 1024 + 7;

pub(crate) async fn suite(sink: &Sink) {
    let base = format!("suite-{:016x}", rand::random::<u64>());
    a_file_is_published_once(sink, &base).await;
    of_16_racing_writers_one_creates(sink, &format!("{base}/race"), 1000).await;
    of_4_racing_writers_of_a_large_file_one_creates(sink, &base).await;
    a_replaced_file_is_never_absent_or_mixed(sink, &base).await;
    a_file_that_has_changed_is_not_replaced(sink, &base).await;
    a_part_of_a_file_can_be_read(sink, &base).await;
    a_reader_never_sees_a_part(sink, &base).await;
    listing_is_recursive_and_a_missing_directory_is_empty(sink, &base).await;
    folders_are_listed_without_what_is_in_them(sink, &base).await;
    deleting_is_repeatable_and_never_takes_a_directory(sink, &base).await;
    a_merge_leaves_the_target_in_the_place_of_its_sources(sink, &base).await;
    a_listing_never_misses_a_row_of_a_merge(sink, &base).await;
    a_path_that_leaves_the_root_is_refused(sink).await;
    nothing_temporary_stays_behind(sink).await;
    measure(sink, &base).await;
    clean_up(sink, &base).await;
}

async fn a_file_is_published_once(sink: &Sink, base: &str) {
    let path = format!("{base}/once/year=2026/window=08-00/part 1.parquet");
    assert_eq!(sink.read(&path).await.unwrap(), None);
    assert_eq!(sink.stat(&path).await.unwrap(), None);

    let first = sink.put_if_absent(&path, Bytes::from_static(b"one")).await;
    assert_eq!(first.unwrap(), Put::Created);
    let second = sink.put_if_absent(&path, Bytes::from_static(b"two")).await;
    assert_eq!(second.unwrap(), Put::Exists);

    assert_eq!(sink.read(&path).await.unwrap().unwrap(), "one");
    assert_eq!(sink.stat(&path).await.unwrap(), Some(3));

    let empty = format!("{base}/once/empty");
    let put = sink.put_if_absent(&empty, Bytes::new()).await.unwrap();
    assert_eq!(put, Put::Created);
    assert_eq!(sink.read(&empty).await.unwrap(), Some(Bytes::new()));
}

/// Everybody writes something else: what is there afterwards is the winner's, whole.
async fn of_16_racing_writers_one_creates(sink: &Sink, path: &str, len: usize) {
    race(sink, path, len, 16).await;
}

async fn of_4_racing_writers_of_a_large_file_one_creates(sink: &Sink, base: &str) {
    race(sink, &format!("{base}/large"), LARGE, 4).await;
}

async fn race(sink: &Sink, path: &str, len: usize, writers: u8) {
    let puts = (0..writers).map(|writer| {
        let (sink, path) = (sink.clone(), path.to_owned());
        tokio::spawn(async move { sink.put_if_absent(&path, content(writer, len)).await })
    });
    let outcomes: Vec<Put> = join_all(puts).await.into_iter().map(|put| put.unwrap().unwrap()).collect();

    let winners: Vec<usize> =
        (0..outcomes.len()).filter(|&writer| outcomes[writer] == Put::Created).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let read = sink.read(path).await.unwrap().unwrap();
    assert!(read == content(winners[0] as u8, len), "not the winner's");
}

async fn a_replaced_file_is_never_absent_or_mixed(sink: &Sink, base: &str) {
    const LEN: usize = 300_000;
    let path = format!("{base}/replaced");
    sink.put_if_absent(&path, content(0, LEN)).await.unwrap();
    let done = AtomicBool::new(false);
    let write = async {
        for version in 1..8 {
            replace(sink, &path, content(version, LEN)).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let read = async {
        let mut reads = 0;
        while !done.load(Ordering::Relaxed) {
            let seen = sink.read(&path).await.unwrap().expect("absent");
            assert_eq!(seen.len(), LEN);
            let version = seen[0];
            assert!(seen.iter().all(|&byte| byte == version), "mixed");
            reads += 1;
        }
        assert!(reads > 0);
    };
    tokio::join!(write, read);
    assert!(sink.read(&path).await.unwrap().unwrap() == content(7, LEN));
}

async fn a_file_that_has_changed_is_not_replaced(sink: &Sink, base: &str) {
    let path = format!("{base}/changed");
    assert!(sink.read_version(&path).await.unwrap().is_none());
    sink.put_if_absent(&path, content(0, 10)).await.unwrap();
    let (first, version) = sink.read_version(&path).await.unwrap().unwrap();
    assert_eq!(first, content(0, 10));
    assert!(sink.replace(&path, version.clone(), content(1, 10)).await.unwrap());
    assert!(!sink.replace(&path, version.clone(), content(2, 10)).await.unwrap());
    assert_eq!(sink.read(&path).await.unwrap().unwrap(), content(1, 10));
    sink.delete(&path).await.unwrap();
    // A store may answer as if that were an outage: it is none of ours to say.
    _ = sink.replace(&path, version, content(3, 10)).await;
    assert_eq!(sink.stat(&path).await.unwrap(), None);
}

/// All have seen the same file.
pub(crate) async fn of_8_racers_one_replaces(sink: &Sink, base: &str) {
    let path = format!("{base}/replaced-once");
    sink.put_if_absent(&path, content(0, 1000)).await.unwrap();
    let (_, version) = sink.read_version(&path).await.unwrap().unwrap();
    let racers = (1..=8).map(async |racer: u8| {
        loop {
            match sink.replace(&path, version.clone(), content(racer, 1000)).await {
                Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(5)).await,
                done => return done.unwrap().then_some(racer),
            }
        }
    });
    let winners: Vec<u8> = join_all(racers).await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(sink.read(&path).await.unwrap().unwrap(), content(winners[0], 1000));
    sink.delete(&path).await.unwrap();
}

async fn a_part_of_a_file_can_be_read(sink: &Sink, base: &str) {
    let path = format!("{base}/part");
    assert_eq!(sink.read_range(&path, 0..1).await.unwrap(), None);
    assert_eq!(sink.read_range(&path, 0..0).await.unwrap(), None);
    sink.put_if_absent(&path, Bytes::from_static(b"0123456789")).await.unwrap();
    for (range, expected) in [(0..10, "0123456789"), (7..10, "789"), (3..4, "3"), (5..5, "")] {
        assert_eq!(sink.read_range(&path, range).await.unwrap().unwrap(), expected);
    }
    assert!(sink.read_range(&path, 8..12).await.is_err());
}

async fn replace(sink: &Sink, path: &str, bytes: Bytes) {
    let (_, version) = sink.read_version(path).await.unwrap().unwrap();
    assert!(sink.replace(path, version, bytes).await.unwrap());
}

async fn a_reader_never_sees_a_part(sink: &Sink, base: &str) {
    let (dir, path) = (format!("{base}/polled"), format!("{base}/polled/file"));
    let put = tokio::spawn({
        let (sink, path) = (sink.clone(), path.clone());
        async move { sink.put_if_absent(&path, content(9, LARGE)).await }
    });
    loop {
        let finished = put.is_finished();
        let listed = sink.list(&dir).await.unwrap();
        assert!(listed.is_empty() || listed == [entry(&path, LARGE)], "{listed:?}");
        let size = sink.stat(&path).await.unwrap();
        assert!(size.is_none_or(|size| size == LARGE as u64), "{size:?}");
        if finished {
            assert!(size.is_some());
            break;
        }
    }
    assert_eq!(put.await.unwrap().unwrap(), Put::Created);
    assert!(sink.read(&path).await.unwrap().unwrap() == content(9, LARGE));
}

async fn listing_is_recursive_and_a_missing_directory_is_empty(sink: &Sink, base: &str) {
    assert_eq!(sink.list(&format!("{base}/none")).await.unwrap(), []);

    let dir = format!("{base}/listed");
    let files = ["a", "deep/er/b", "deep/c=1/x", "deeper"];
    for (len, file) in files.iter().enumerate() {
        let path = format!("{dir}/{file}");
        let put = sink.put_if_absent(&path, content(1, len)).await.unwrap();
        assert_eq!(put, Put::Created);
    }
    let expected = [
        entry(&format!("{dir}/a"), 0),
        entry(&format!("{dir}/deep/c=1/x"), 2),
        entry(&format!("{dir}/deep/er/b"), 1),
        entry(&format!("{dir}/deeper"), 3),
    ];
    assert_eq!(sink.list(&dir).await.unwrap(), expected);
    // A directory is not a prefix of names.
    let deep = sink.list(&format!("{dir}/deep/")).await.unwrap();
    assert_eq!(deep, expected[1..3]);
    assert!(sink.list("").await.unwrap().contains(&expected[0]));
}

async fn folders_are_listed_without_what_is_in_them(sink: &Sink, base: &str) {
    assert_eq!(sink.dirs(&format!("{base}/none")).await.unwrap(), [""; 0]);

    let dir = format!("{base}/folders");
    for file in ["a", "year=2013/month=1/day=5/x", "year=2013/month=12/day=5/x", "year=2014/y", "year=20134"]
    {
        sink.put_if_absent(&format!("{dir}/{file}"), content(1, 1)).await.unwrap();
    }
    let [first, second] = ["year=2013", "year=2014"].map(|year| format!("{dir}/{year}"));
    assert_eq!(sink.dirs(&dir).await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(sink.dirs(&format!("{dir}/")).await.unwrap(), [first.clone(), second.clone()]);
    let months = [format!("{first}/month=1"), format!("{first}/month=12")];
    assert_eq!(sink.dirs(&first).await.unwrap(), months);
    assert_eq!(sink.dirs(&second).await.unwrap(), [""; 0]);
    assert!(sink.dirs("").await.unwrap().iter().any(|dir| dir == base));
    assert!(sink.dirs("../x").await.is_err());
}

async fn deleting_is_repeatable_and_never_takes_a_directory(sink: &Sink, base: &str) {
    let path = format!("{base}/deleted/file");
    sink.put_if_absent(&path, content(1, 10)).await.unwrap();
    // An object store has no directories: there it may succeed, and deletes nothing.
    let _ = sink.delete(&format!("{base}/deleted")).await;
    assert_eq!(sink.stat(&path).await.unwrap(), Some(10));
    assert_eq!(sink.stat(&format!("{base}/deleted")).await.unwrap(), None);

    sink.delete(&path).await.unwrap();
    sink.delete(&path).await.unwrap();
    assert_eq!(sink.stat(&path).await.unwrap(), None);
    // The name is free again.
    let put = sink.put_if_absent(&path, content(2, 10)).await.unwrap();
    assert_eq!(put, Put::Created);
}

async fn a_merge_leaves_the_target_in_the_place_of_its_sources(sink: &Sink, base: &str) {
    let dir = format!("{base}/merged/day=1");
    let path = |name: &str| format!("{dir}/{name}");
    let (sources, target) = (["window=a/x", "window=b/x", "c"].map(path), path("window=all/m"));
    let kept = path("window=b/kept");
    for path in sources.iter().chain([&kept]) {
        sink.put_if_absent(path, content(1, 10)).await.unwrap();
    }
    let merge = Merge { dir: &dir, sources: &sources, target: &target };
    let merged = sink.merge(merge, Some(content(2, 30))).await.unwrap();
    assert_eq!(merged.put, Put::Created);
    let expected = [entry(&target, 30), entry(&kept, 10)];
    let mut listed = sink.list(&dir).await.unwrap();
    listed.sort_unstable_by_key(|entry| entry.path != target);
    assert_eq!(listed, expected);
    assert_eq!(sink.read(&target).await.unwrap().unwrap(), content(2, 30));

    // Again, by who does not know of it, and by who does.
    for bytes in [Some(content(3, 30)), None] {
        assert_eq!(sink.merge(merge, bytes).await.unwrap().put, Put::Exists);
        assert_eq!(sink.list(&dir).await.unwrap().len(), 2);
    }
    assert_eq!(sink.read(&target).await.unwrap().unwrap(), content(2, 30));

    // A source that is there again, and its target too.
    sink.put_if_absent(&sources[0], content(1, 10)).await.unwrap();
    sink.merge(merge, None).await.unwrap();
    assert_eq!(sink.stat(&sources[0]).await.unwrap(), None);
    let outside = Merge { dir: &dir, sources: &[format!("{base}/other")], target: &target };
    assert!(!sink.location().starts_with('/') || sink.merge(outside, Some(content(1, 1))).await.is_err());
}

/// Every row is in the sources or in the target, at each listing; how often in both is the store's affair.
async fn a_listing_never_misses_a_row_of_a_merge(sink: &Sink, base: &str) {
    const SOURCES: usize = 60;
    let dir = format!("{base}/polled-merge");
    let sources: Vec<String> = (0..SOURCES).map(|n| format!("{dir}/source-{n:02}")).collect();
    let target = format!("{dir}/a-target");
    join_all(sources.iter().map(|path| sink.put_if_absent(path, content(1, 10)))).await;
    let done = AtomicBool::new(false);
    let merge = async {
        let merge = Merge { dir: &dir, sources: &sources, target: &target };
        let merged = sink.merge(merge, Some(content(2, 1000))).await.unwrap();
        done.store(true, Ordering::Relaxed);
        merged
    };
    let poll = async {
        let (mut looks, mut twice) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            // A listing takes time: it is of one moment only if the next is the same.
            let (listed, again) = (sink.list(&dir).await.unwrap(), sink.list(&dir).await.unwrap());
            if listed == again {
                let there = listed.iter().any(|entry| entry.path == target);
                assert!(there || listed.len() == SOURCES, "{listed:?}");
                looks += 1;
                twice += usize::from(there && listed.len() > 1);
            }
        }
        (looks, twice)
    };
    let (merged, (looks, twice)) = tokio::join!(merge, poll);
    eprintln!(
        "{}: {SOURCES} files merged, twice for {:?}; {looks} looks, {twice} saw rows twice",
        sink.location(),
        merged.overlap
    );
    if sink.location().starts_with('/') {
        assert_eq!((twice, merged.overlap), (0, Duration::ZERO));
    }
    assert_eq!(sink.list(&dir).await.unwrap(), [entry(&target, 1000)]);
}

async fn a_path_that_leaves_the_root_is_refused(sink: &Sink) {
    for path in ["../x", "/x", "a/../../x", "", "a/"] {
        let error = sink.put_if_absent(path, Bytes::new()).await.unwrap_err();
        assert_eq!(error.category(), Category::Other);
        assert!(!error.is_transient());
    }
}

async fn nothing_temporary_stays_behind(sink: &Sink) {
    assert_eq!(sink.list("_tips/tmp").await.unwrap(), []);
    let swept = sink.sweep(Duration::ZERO).await.unwrap();
    assert_eq!((swept.files, swept.uploads), (0, 0));
}

/// For people: how long a small file takes, alone and among others.
async fn measure(sink: &Sink, base: &str) {
    const FILES: u32 = 16;
    let put = async |name: String| {
        let path = format!("{base}/measured/{name}");
        sink.put_if_absent(&path, content(1, 1000)).await.unwrap();
    };
    let start = Instant::now();
    for file in 0..FILES {
        put(format!("alone-{file}")).await;
    }
    let alone = start.elapsed() / FILES;
    let start = Instant::now();
    join_all((0..FILES).map(|file| put(format!("together-{file}")))).await;
    let together = start.elapsed();
    eprintln!("{}: a put of 1 kB {alone:?}, {FILES} at once {together:?}", sink.location());
}

async fn clean_up(sink: &Sink, base: &str) {
    let entries = sink.list(base).await.unwrap();
    let names: HashSet<_> = entries.iter().map(|entry| &entry.path).collect();
    assert_eq!(names.len(), entries.len());
    for entry in entries {
        sink.delete(&entry.path).await.unwrap();
    }
    assert_eq!(sink.list(base).await.unwrap(), []);
}

fn content(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

fn entry(path: &str, len: usize) -> Entry {
    Entry { path: path.to_owned(), len: len as u64 }
}
