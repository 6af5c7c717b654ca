//! A writer that is killed at each crash point, and the one that comes after it. The writer is this
//! test binary, started again with `FAILPOINTS`.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use fail::FailScenario;
use tips_worker::sink::{Put, Sink, SinkConfig};

const ROOT: &str = "TIPS_TEST_CRASH_ROOT";
const PATH: &str = "rides/a";
const POINTS: [(&str, bool); 4] = [
    ("sink::before-upload", false),
    ("sink::mid-upload", false),
    ("sink::before-publish", false),
    ("sink::after-publish", true),
];

#[tokio::test]
async fn whatever_instruction_a_writer_dies_at_the_next_one_finds_all_or_nothing() {
    for (point, published) in POINTS {
        let dir = tempfile::tempdir().unwrap();
        let sink = open(dir.path()).await;
        assert!(!put_in_a_process_that_dies_at(point, dir.path()));

        let there = sink.read(PATH).await.unwrap();
        assert_eq!(there.is_some(), published, "{point}");
        assert!(there.is_none_or(|bytes| bytes == content()), "{point}");
        let left = sink.list("_tips/tmp").await.unwrap().len();
        assert_eq!(left, usize::from(point != "sink::before-upload"), "{point}");

        let again = sink.put_if_absent(PATH, content()).await.unwrap();
        assert_eq!(again == Put::Exists, published, "{point}");
        assert!(sink.read(PATH).await.unwrap().unwrap() == content());
        assert_eq!(sink.sweep(Duration::ZERO).await.unwrap().files, left as u64);
    }
}

fn put_in_a_process_that_dies_at(point: &str, root: &Path) -> bool {
    let writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::writer", "--ignored"])
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
