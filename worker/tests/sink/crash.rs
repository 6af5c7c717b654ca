//! A writer that is killed at each crash point, and the one that comes after it. The writer is this
//! test binary, started again with `FAILPOINTS`.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use fail::FailScenario;
use tips_worker::sink::{Merge, Put, Sink, SinkConfig};

const ROOT: &str = "TIPS_TEST_CRASH_ROOT";
const PATH: &str = "rides/a";
const POINTS: [(&str, bool); 4] = [
    ("sink::before-upload/rides", false),
    ("sink::mid-upload/rides", false),
    ("sink::before-publish/rides", false),
    ("sink::after-publish/rides", true),
];

#[tokio::test]
async fn whatever_instruction_a_writer_dies_at_the_next_one_finds_all_or_nothing() {
    for (point, published) in POINTS {
        let dir = tempfile::tempdir().unwrap();
        let sink = open(dir.path()).await;
        assert!(!in_a_process_that_dies_at("crash::writer", point, dir.path()));

        let there = sink.read(PATH).await.unwrap();
        assert_eq!(there.is_some(), published, "{point}");
        assert!(there.is_none_or(|bytes| bytes == content()), "{point}");
        let left = sink.list("_tips/tmp").await.unwrap().len();
        assert_eq!(left, usize::from(point != "sink::before-upload/rides"), "{point}");

        let again = sink.put_if_absent(PATH, content()).await.unwrap();
        assert_eq!(again == Put::Exists, published, "{point}");
        assert!(sink.read(PATH).await.unwrap().unwrap() == content());
        assert_eq!(sink.sweep(Duration::ZERO).await.unwrap().files, left as u64);
    }
}

/// Whatever instruction a merge dies at, every row is there once; the next merge finishes it, and a file that came
/// meanwhile stays.
#[tokio::test]
async fn a_merge_that_dies_is_all_or_nothing_and_is_finished_by_the_next() {
    for (point, is_done) in [("sink::before-exchange", false), ("sink::after-exchange", true)] {
        let dir = tempfile::tempdir().unwrap();
        let sink = open(dir.path()).await;
        for path in SOURCES.iter().chain([&PATH]) {
            sink.put_if_absent(path, content()).await.unwrap();
        }
        assert!(!in_a_process_that_dies_at("crash::merger", point, dir.path()));
        let mut expected = if is_done { vec![PATH, TARGET] } else { [&[PATH][..], &SOURCES].concat() };
        expected.sort_unstable();
        assert_eq!(paths(&sink, "rides").await, expected, "{point}");

        // A writer that has looked the old directory up before the exchange links into it after that.
        if is_done {
            let left = paths(&sink, "_tips/swap").await;
            let late = left.iter().find(|path| path.ends_with("/a")).unwrap().replace("/a", "/late");
            std::fs::write(dir.path().join(&late), b"late").unwrap();
            std::fs::hard_link(dir.path().join(&late), dir.path().join("_tips/tmp/late")).unwrap();
            expected = vec![PATH, "rides/late", TARGET];
        } else {
            expected = vec![PATH, TARGET];
        }
        sink.merge(merge(&SOURCES.map(str::to_owned)), Some(content())).await.unwrap();
        assert_eq!(paths(&sink, "rides").await, expected, "{point}");
        assert_eq!(paths(&sink, "_tips/swap").await, ["_tips/swap/lock"], "{point}");
    }
}

const SOURCES: [&str; 2] = ["rides/s1", "rides/s2"];
const TARGET: &str = "rides/merged";

fn merge(sources: &[String]) -> Merge<'_> {
    Merge { dir: "rides", sources, target: TARGET }
}

async fn paths(sink: &Sink, dir: &str) -> Vec<String> {
    sink.list(dir).await.unwrap().into_iter().map(|entry| entry.path).collect()
}

#[tokio::test]
#[ignore = "the process that dies"]
async fn merger() {
    let Ok(root) = env::var(ROOT) else { return };
    let sink = open(Path::new(&root)).await;
    let _scenario = FailScenario::setup();
    sink.merge(merge(&SOURCES.map(str::to_owned)), Some(content())).await.unwrap();
}

fn in_a_process_that_dies_at(test: &str, point: &str, root: &Path) -> bool {
    let writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env("FAILPOINTS", format!("{point}=return"))
        .env(ROOT, root)
        .output();
    writer.unwrap().status.success()
}

#[tokio::test]
#[ignore = "the process that dies"]
async fn writer() {
    let Ok(root) = env::var(ROOT) else { return };
    let sink = open(Path::new(&root)).await;
    let _scenario = FailScenario::setup();
    sink.put_if_absent(PATH, content()).await.unwrap();
}

async fn open(root: &Path) -> Sink {
    let root = root.to_owned();
    Sink::open(&SinkConfig::Fs { root }).await.unwrap()
}

fn content() -> Bytes {
    Bytes::from(vec![4; 100_000])
}
