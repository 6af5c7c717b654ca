//! HDFS, where `TIPS_TEST_HDFS` names a real one (`hdfs://host:port`, or a name service of
//! `HADOOP_CONF_DIR`).

use std::env;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdfs_native::{Client, ClientBuilder, WriteOptions};
use tips_worker::sink::{Category, Put, Sink, SinkConfig};

use super::lossy::{Lose, Lossy};
use super::suite::suite;

fn name_node() -> Option<String> {
    let name_node = env::var("TIPS_TEST_HDFS").ok();
    if name_node.is_none() {
        eprintln!("skipped: TIPS_TEST_HDFS is not set");
    }
    name_node
}

fn config(name_node: &str, path: &str) -> SinkConfig {
    SinkConfig::Hdfs { name_node: name_node.to_owned(), path: path.to_owned(), principal: None }
}

fn client(name_node: &str) -> Client {
    ClientBuilder::new().with_url(name_node).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn hdfs_passes_the_suite() {
    let Some(name_node) = name_node() else { return };
    suite(&Sink::open(&config(&name_node, "/suite/tips")).await.unwrap()).await;
    suite(&Sink::open(&config(&name_node, "/")).await.unwrap()).await;
}

#[tokio::test]
async fn a_dead_writers_open_file_is_swept_with_its_lease() {
    let Some(name_node) = name_node() else { return };
    let sink = Sink::open(&config(&name_node, "/swept")).await.unwrap();
    let left = "/swept/_tips/tmp/left";
    let mut writer = client(&name_node).create(left, WriteOptions::default()).await.unwrap();
    writer.write_bytes(Bytes::from_static(b"half")).await.unwrap();
    drop(writer);

    let young = sink.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(young.files, 0);
    let start = Instant::now();
    let old = sink.sweep(Duration::ZERO).await.unwrap();
    eprintln!("swept an open file in {:?}", start.elapsed());
    assert_eq!(old.files, 1);
    assert_eq!(sink.list("_tips").await.unwrap(), []);
    // No lease is left on the name.
    let again = client(&name_node).create(left, WriteOptions::default()).await;
    again.unwrap().close().await.unwrap();
    assert_eq!(sink.sweep(Duration::ZERO).await.unwrap().files, 1);
}

#[tokio::test]
async fn a_directory_in_the_way_is_a_conflict_and_stays() {
    let Some(name_node) = name_node() else { return };
    let sink = Sink::open(&config(&name_node, "/in-the-way")).await.unwrap();
    let client = client(&name_node);
    client.mkdirs("/in-the-way/rides/a", 0o755, true).await.unwrap();
    for failed in
        [sink.put_if_absent("rides/a", Bytes::new()).await.map(|_| ()), sink.delete("rides/a").await]
    {
        let error = failed.unwrap_err();
        assert_eq!(error.category(), Category::Conflict, "{error}");
        assert!(!error.is_transient(), "{error}");
    }
    assert!(client.get_file_info("/in-the-way/rides/a").await.unwrap().isdir);
    assert_eq!(sink.list("_tips").await.unwrap(), []);
}

/// The sweep of another worker may take a slow writer's temporary file: it starts again and succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_temporary_file_is_swept_starts_again() {
    let Some(name_node) = name_node() else { return };
    let sink = Sink::open(&config(&name_node, "/raced-by-sweep")).await.unwrap();
    let put = tokio::spawn({
        let sink = sink.clone();
        async move { sink.put_if_absent("rides/a", Bytes::from(vec![3; 8 << 20])).await }
    });
    let mut swept = 0;
    while swept == 0 && !put.is_finished() {
        swept += sink.sweep(Duration::ZERO).await.unwrap().files;
    }
    assert_eq!(put.await.unwrap().unwrap(), Put::Created);
    assert_eq!(sink.stat("rides/a").await.unwrap(), Some(8 << 20));
    eprintln!("{swept} temporary file was taken from under the writer");
    sink.delete("rides/a").await.unwrap();
}

#[tokio::test]
async fn a_namenode_that_is_not_there_is_told_as_unreachable() {
    if name_node().is_none() {
        return;
    }
    let start = Instant::now();
    let config = config("hdfs://127.0.0.1:1", "/");
    let error = Sink::open(&config).await.err().unwrap();
    eprintln!("after {:?}: {error}", start.elapsed());
    assert_eq!(error.category(), Category::Unreachable);
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_lost_rename_is_told_from_a_lost_reply() {
    let Some(name_node) = name_node() else { return };
    for (lose, expected) in [(Lose::Request, Put::Created), (Lose::Reply, Put::Exists)] {
        let (lossy, sink) = open_through(&name_node, lose, "/lossy-put").await;
        let bytes = Bytes::from_static(b"whole");
        let put = sink.put_if_absent("rides/a", bytes.clone()).await.unwrap();
        assert!(lossy.has_lost());
        assert_eq!(put, expected, "{lose:?}");
        assert_eq!(sink.read("rides/a").await.unwrap(), Some(bytes));
        assert_eq!(sink.list("_tips").await.unwrap(), []);
        sink.delete("rides/a").await.unwrap();
    }
}

#[tokio::test]
async fn a_replacement_survives_a_lost_rename_and_a_lost_reply() {
    let Some(name_node) = name_node() else { return };
    for lose in [Lose::Request, Lose::Reply] {
        let direct = Sink::open(&config(&name_node, "/lossy-replace")).await.unwrap();
        direct.put_if_absent("rides/b", Bytes::from_static(b"before")).await.unwrap();
        let (_, version) = direct.read_version("rides/b").await.unwrap().unwrap();
        let (lossy, sink) = open_through(&name_node, lose, "/lossy-replace").await;
        let bytes = Bytes::from_static(b"whole");
        sink.replace("rides/b", version, bytes.clone()).await.unwrap();
        assert!(lossy.has_lost());
        assert_eq!(sink.read("rides/b").await.unwrap(), Some(bytes));
        assert_eq!(sink.list("_tips").await.unwrap(), []);
        sink.delete("rides/b").await.unwrap();
    }
}

/// Every publication is a `rename2` to the namenode, and nothing else is.
async fn open_through(name_node: &str, lose: Lose, path: &str) -> (Lossy, Sink) {
    let server = name_node.trim_start_matches("hdfs://");
    let lossy = Lossy::before(server, "rename2", lose).await;
    let config = config(&format!("hdfs://{}", lossy.address), path);
    let sink = Sink::open(&config).await.unwrap();
    (lossy, sink)
}
