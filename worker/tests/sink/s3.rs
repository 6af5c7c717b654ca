//! S3, where `TIPS_TEST_S3_ENDPOINT` and `TIPS_TEST_S3_BUCKET` name a real one; credentials and
//! `AWS_REGION` as for any AWS tool.

use std::env;
use std::time::Duration;

use bytes::Bytes;
use opendal::{Operator, services};
use tips_worker::sink::{Category, Put, Sink, SinkConfig};

use super::lossy::{Lose, Lossy};
use super::suite::{of_8_racers_one_replaces, suite};

const PREFIX: &str = "pre fix/tips";

struct Store {
    endpoint: String,
    bucket: String,
    region: String,
}

impl Store {
    fn from_env() -> Option<Store> {
        let Ok(endpoint) = env::var("TIPS_TEST_S3_ENDPOINT") else {
            eprintln!("skipped: TIPS_TEST_S3_ENDPOINT is not set");
            return None;
        };
        // A process has one TLS provider; the worker installs it first thing in main.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Some(Store {
            endpoint,
            bucket: env::var("TIPS_TEST_S3_BUCKET").unwrap_or("bucket".into()),
            region: env::var("AWS_REGION").unwrap_or("us-east-1".into()),
        })
    }

    fn config(&self, prefix: &str) -> SinkConfig {
        SinkConfig::S3 {
            bucket: self.bucket.clone(),
            prefix: prefix.to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: self.region.clone(),
        }
    }

    fn host(&self) -> &str {
        self.endpoint.trim_start_matches("http://")
    }

    fn operator(&self, prefix: &str) -> Operator {
        let service = services::S3::default()
            .bucket(&self.bucket)
            .root(prefix)
            .endpoint(&self.endpoint)
            .region(&self.region);
        Operator::new(service).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_passes_the_suite() {
    let Some(store) = Store::from_env() else {
        return;
    };
    let sink = Sink::open(&store.config(PREFIX)).await.unwrap();
    suite(&sink).await;
    of_8_racers_one_replaces(&sink, "race").await;
}

/// Not the whole suite, which is made for a prefix.
#[tokio::test]
async fn a_sink_may_have_the_bucket_to_itself() {
    let Some(store) = Store::from_env() else {
        return;
    };
    let sink = Sink::open(&store.config("")).await.unwrap();
    let path = "root only/a";
    sink.put_if_absent(path, Bytes::from_static(b"a")).await.unwrap();
    let listed = sink.list("").await.unwrap();
    assert!(listed.iter().any(|entry| entry.path == path));
    sink.delete(path).await.unwrap();
}

#[tokio::test]
async fn unfinished_uploads_are_swept_below_the_prefix_and_nowhere_else() {
    let Some(store) = Store::from_env() else {
        return;
    };
    let sink = Sink::open(&store.config("swept/here")).await.unwrap();
    let beside = Sink::open(&store.config("swept/here too")).await.unwrap();
    leave_an_upload(&store, "swept/here", "rides/a b=1.parquet").await;
    leave_an_upload(&store, "swept/here", "rides/c").await;
    leave_an_upload(&store, "swept/here too", "rides/d").await;

    assert_eq!(sink.list("rides").await.unwrap(), []);
    let young = sink.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(young.uploads, 0);
    let old = sink.sweep(Duration::ZERO).await.unwrap();
    assert_eq!((old.files, old.uploads), (0, 2));
    let again = sink.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(again.uploads, 0);
    assert_eq!(beside.sweep(Duration::ZERO).await.unwrap().uploads, 1);
}

#[tokio::test]
async fn uploads_of_other_programs_are_left_alone_whatever_the_prefix() {
    let Some(store) = Store::from_env() else {
        return;
    };
    for prefix in ["", "shared"] {
        let sink = Sink::open(&store.config(prefix)).await.unwrap();
        leave_an_upload(&store, prefix, "tips/year=2013/a.parquet").await;
        leave_an_upload(&store, prefix, "backup/of another").await;
        assert_eq!(sink.sweep(Duration::ZERO).await.unwrap().uploads, 1, "{prefix:?}");
    }
}

/// What a killed writer leaves: parts that nobody completes.
async fn leave_an_upload(store: &Store, prefix: &str, path: &str) {
    let mut writer = store.operator(prefix).writer(path).await.unwrap();
    for _ in 0..2 {
        writer.write(vec![1; 5 << 20]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_said_at_open() {
    let Some(mut store) = Store::from_env() else {
        return;
    };
    let right = store.bucket.clone();

    store.bucket = "no-such-bucket".into();
    let error = Sink::open(&store.config("")).await.err().unwrap();
    eprintln!("{error}");
    assert!(error.to_string().contains("create the bucket"), "{error}");
    assert!(!error.is_transient());

    store.bucket = right;
    store.endpoint = "http://127.0.0.1:1".into();
    let error = Sink::open(&store.config("")).await.err().unwrap();
    eprintln!("{error}");
    assert_eq!(error.category(), Category::Unreachable);
    assert!(error.is_transient());
}

#[tokio::test]
async fn an_empty_file_and_one_at_the_limit_of_a_single_put_go_up() {
    let Some(store) = Store::from_env() else {
        return;
    };
    let sink = Sink::open(&store.config("limits")).await.unwrap();
    for len in [0, 16 << 20, (16 << 20) + 1, 24 << 20] {
        let path = format!("file-{len}");
        sink.put_if_absent(&path, Bytes::from(vec![7; len])).await.unwrap();
        assert_eq!(sink.stat(&path).await.unwrap(), Some(len as u64));
        sink.delete(&path).await.unwrap();
    }
}

/// A single PUT is lost by its key, an upload in parts at its completion.
const SMALL: (usize, &str) = (1000, "/lost/rides/");
const LARGE: (usize, &str) = (20 << 20, "</CompleteMultipartUpload>");

#[tokio::test]
async fn a_lost_request_is_sent_again() {
    let Some(store) = Store::from_env() else {
        return;
    };
    for (len, marker) in [SMALL, LARGE] {
        let lossy = Lossy::before(store.host(), marker, Lose::Request).await;
        let put = put_through(&lossy, &store, len).await;
        assert_eq!(put, Put::Created, "{marker}");
    }
}

#[tokio::test]
async fn after_a_lost_reply_the_file_is_there_once_and_whole() {
    let Some(store) = Store::from_env() else {
        return;
    };
    for (len, marker) in [SMALL, LARGE] {
        let lossy = Lossy::before(store.host(), marker, Lose::Reply).await;
        let put = put_through(&lossy, &store, len).await;
        // A store may remember the upload that it completed, and say so again.
        let remembered = len == LARGE.0 && put == Put::Created;
        assert!(put == Put::Exists || remembered, "{marker}: {put:?}");
    }
}

#[tokio::test]
async fn a_replacement_whose_reply_is_lost_succeeds() {
    let Some(store) = Store::from_env() else {
        return;
    };
    for (len, marker) in [SMALL, LARGE] {
        let path = format!("rides/replaced-{len}");
        let direct = Sink::open(&store.config("lost")).await.unwrap();
        direct.put_if_absent(&path, Bytes::from_static(b"before")).await.unwrap();
        let (_, version) = direct.read_version(&path).await.unwrap().unwrap();
        let lossy = Lossy::before(store.host(), marker, Lose::Reply).await;
        let sink = open_through(&lossy, &store).await;
        sink.replace(&path, version, Bytes::from(vec![5; len])).await.unwrap();
        assert!(lossy.has_lost());
        assert_eq!(sink.stat(&path).await.unwrap(), Some(len as u64));
        sink.delete(&path).await.unwrap();
    }
}

async fn put_through(lossy: &Lossy, store: &Store, len: usize) -> Put {
    let sink = open_through(lossy, store).await;
    let path = format!("rides/{:016x}", rand::random::<u64>());
    let bytes = Bytes::from(vec![5; len]);
    let put = sink.put_if_absent(&path, bytes.clone()).await.unwrap();
    assert!(lossy.has_lost());
    assert!(sink.read(&path).await.unwrap().unwrap() == bytes);
    sink.delete(&path).await.unwrap();
    put
}

async fn open_through(lossy: &Lossy, store: &Store) -> Sink {
    let SinkConfig::S3 { bucket, region, .. } = store.config("lost") else { unreachable!() };
    let config = SinkConfig::S3 {
        bucket,
        prefix: "lost".into(),
        endpoint: Some(format!("http://{}", lossy.address)),
        region,
    };
    Sink::open(&config).await.unwrap()
}
