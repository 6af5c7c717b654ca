//! What only the file system can show: a full disk, a directory in the way, a dead writer's file.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use tips_worker::sink::{Category, Put, Sink, SinkConfig};

use super::suite::{of_8_racers_one_replaces, suite};

async fn open(root: &Path) -> Sink {
    let root = root.to_owned();
    Sink::open(&SinkConfig::Fs { root }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_system_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(&dir.path().join("made/by/open")).await;
    suite(&sink).await;
    of_8_racers_one_replaces(&sink, "race").await;
}

#[tokio::test]
async fn what_a_dead_writer_left_is_not_listed_with_the_data_and_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path()).await;
    sink.put_if_absent("rides/a", Bytes::from_static(b"a")).await.unwrap();
    std::fs::write(dir.path().join("_tips/tmp/0123"), b"half").unwrap();

    let rides = sink.list("rides").await.unwrap();
    assert_eq!(rides.len(), 1);
    let young = sink.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(young.files, 0);
    let old = sink.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(old.files, 1);
    assert_eq!(sink.list("_tips").await.unwrap(), []);
    assert_eq!(sink.stat("rides/a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn every_operation_can_run_in_a_task_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path()).await;
    tokio::spawn(async move {
        sink.put_if_absent("a", Bytes::new()).await?;
        let (_, version) = sink.read_version("a").await?.expect("a file");
        sink.replace("a", version, Bytes::new()).await?;
        sink.read("a").await?;
        sink.list("").await?;
        sink.delete("a").await?;
        sink.sweep(Duration::ZERO).await
    })
    .await
    .unwrap()
    .unwrap();
}

#[tokio::test]
async fn a_writer_whose_temporary_directory_was_removed_makes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path()).await;
    std::fs::remove_dir_all(dir.path().join("_tips")).unwrap();
    let put = sink.put_if_absent("rides/a", Bytes::new()).await.unwrap();
    assert_eq!(put, Put::Created);
}

#[tokio::test]
async fn a_directory_in_the_way_is_a_conflict_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path()).await;
    std::fs::create_dir_all(dir.path().join("rides/a/b")).unwrap();
    for failed in [
        sink.put_if_absent("rides/a", Bytes::new()).await.map(|_| ()),
        sink.read_version("rides/a").await.map(|_| ()),
        sink.delete("rides/a/b").await,
    ] {
        assert_eq!(failed.unwrap_err().category(), Category::Conflict);
    }
    assert!(dir.path().join("rides/a/b").is_dir());
    assert_eq!(sink.list("_tips").await.unwrap(), []);
}

#[tokio::test]
async fn a_root_that_is_a_file_is_refused_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("file");
    std::fs::write(&root, b"").unwrap();
    let error = Sink::open(&SinkConfig::Fs { root }).await.err().unwrap();
    assert_eq!(error.category(), Category::Conflict, "{error}");
}

#[tokio::test]
async fn who_only_reads_makes_nothing_where_nothing_was_ever_written() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("none");
    let sink = Sink::open_to_read(&SinkConfig::Fs { root: root.clone() }).await.unwrap();
    assert_eq!(sink.list("").await.unwrap(), []);
    assert_eq!(sink.dirs("rides").await.unwrap(), [""; 0]);
    assert_eq!((sink.stat("a").await.unwrap(), sink.read_range("a", 0..1).await.unwrap()), (None, None));
    assert!(!root.exists());
    open(&root).await.put_if_absent("a", Bytes::from_static(b"a")).await.unwrap();
    assert_eq!(sink.stat("a").await.unwrap(), Some(1));
}

/// Needs the right to mount; without it there is nothing to see and the test says so.
#[tokio::test]
async fn a_full_disk_is_told_as_full_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Tmpfs::mount(dir.path(), "1m") else {
        eprintln!("skipped: cannot mount a tmpfs");
        return;
    };
    let sink = open(dir.path()).await;
    let too_much = Bytes::from(vec![1; 4 << 20]);
    let error = sink.put_if_absent("rides/a", too_much).await.unwrap_err();
    assert_eq!(error.category(), Category::Full, "{error}");
    assert_eq!(sink.list("").await.unwrap(), []);

    let fits = Bytes::from(vec![1; 1 << 10]);
    assert_eq!(sink.put_if_absent("rides/a", fits).await.unwrap(), Put::Created);
}

struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(dir: &'a Path, size: &str) -> Option<Tmpfs<'a>> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tips-test"])
            .arg(dir)
            .output();
        done.is_ok_and(|output| output.status.success()).then_some(Tmpfs(dir))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}
