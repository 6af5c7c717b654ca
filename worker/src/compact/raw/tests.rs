//! Rows of one second that do not fit in memory, and rows that are not those of the footers.

use bytes::Bytes;

use super::super::footer::{Part, Tail, tail};
use super::super::pace::Pace;
use super::*;
use crate::core::parse;
use crate::core::shard::Partition;
use crate::raw::columns::Chunk;
use crate::raw::lane::{Lane, Origin};
use crate::sink::{Sink, SinkConfig};

/// A file of fares of one second, of these offsets, and the bytes of its columns.
async fn file(sink: &Sink, partition: i32, start: i64, rows: i64) -> (RawSource, u64) {
    let origin = Origin {
        partition: Partition { topic: Topic::Fares, index: partition },
        topic: "fares".into(),
        fingerprint: "f".into(),
    };
    let mut lane = Lane::new(origin, start);
    let mut chunk = Chunk::fares(partition, start);
    let fare = parse::fare(b"1,2,3,2013-01-01 10:00:00,CSH,0,0,5.5").expect("a fare");
    (start..start + rows).for_each(|offset| chunk.fare(offset, None, &fare));
    lane.take(chunk, None).expect("encoded");
    let file = lane.finish().expect("encoded").files.remove(0);
    sink.put_if_absent(&file.path, file.bytes.clone()).await.expect("written");
    let len = file.bytes.len() as u64;
    let source = RawSource::open(&at_once(sink), &file.path, len, Topic::Fares, true).await;
    let Ok(Tail::Metadata(metadata)) = tail(&file.bytes, len, false) else { panic!("no footer") };
    let columns: i64 = metadata.row_groups().iter().map(|group| group.compressed_size()).sum();
    (source.expect("a source"), columns as u64)
}

async fn source(sink: &Sink, partition: i32, start: i64, rows: i64) -> RawSource {
    file(sink, partition, start, rows).await.0
}

fn at_once(sink: &Sink) -> PacedSink {
    PacedSink::new(sink.clone(), Pace::new(None))
}

async fn merge(sink: &Sink, sources: &[RawSource], memory: u64) -> Result<Bytes, MergeError> {
    Merger { sink: &at_once(sink), topic: Topic::Fares, memory }.merge(sources).await
}

/// However often it is read, and whether it fits.
#[tokio::test]
async fn what_is_read_is_paid_for_by_waiting() {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = sink(dir.path()).await;
    let (first, first_bytes) = file(&sink, 0, 0, 3000).await;
    let (second, second_bytes) = file(&sink, 1, 50, 2000).await;
    let sources = [first, second];
    for (memory, bytes) in [(1 << 30, first_bytes + second_bytes), (1, 2 * first_bytes + second_bytes)] {
        // Half a second.
        let sink = &PacedSink::new(sink.clone(), Pace::new(Some(2 * bytes)));
        let began = std::time::Instant::now();
        Merger { sink, topic: Topic::Fares, memory }.merge(&sources).await.expect("merged");
        assert!(began.elapsed() >= std::time::Duration::from_millis(499), "{memory}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_are_not_held() {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = sink(dir.path()).await;
    let sources = [source(&sink, 0, 0, 3000).await, source(&sink, 1, 50, 2000).await];
    let all = Span::of(sources.iter().map(|source| source.footer.times)).expect("times");
    for (memory, fits) in [(1 << 30, true), (100 << 10, false)] {
        let merger = Merger { sink: &at_once(&sink), topic: Topic::Fares, memory };
        assert_eq!(merger.collect(&sources, all).await.expect("read").is_some(), fits, "{memory}");
    }
}

async fn sink(dir: &std::path::Path) -> Sink {
    Sink::open(&SinkConfig::Fs { root: dir.to_owned() }).await.expect("a folder")
}

#[tokio::test]
async fn a_second_that_does_not_fit_is_copied_in_the_order_of_its_sources() {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = sink(dir.path()).await;
    let sources = [source(&sink, 0, 0, 3000).await, source(&sink, 1, 50, 2000).await];
    let (roomy, tight) = (merge(&sink, &sources, 1 << 30).await, merge(&sink, &sources, 1).await);
    assert_eq!(roomy.expect("merged"), tight.expect("merged"));
}

#[tokio::test]
async fn a_source_of_other_rows_than_its_footer_says_is_not_merged() {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = sink(dir.path()).await;
    let mut sources = [source(&sink, 0, 0, 30).await, source(&sink, 1, 50, 20).await];
    let part = &mut sources[1].footer.parts[0];
    *part = Part { rows: 21, ..part.clone() };
    let error = merge(&sink, &sources, 1 << 30).await.expect_err("uneven");
    assert!(error.to_string().starts_with("partition 1, 50 to 70: 20 rows of 21"), "{error}");
    sources[1].footer.parts[0] = Part { partition: 1, start: 50, end: 69, rows: 20 };
    let error = merge(&sink, &sources, 1 << 30).await.expect_err("uneven");
    assert!(error.to_string().contains("offset 69 is in no range"), "{error}");
}
