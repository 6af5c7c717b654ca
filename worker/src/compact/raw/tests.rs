//! Rows of one second that do not fit in memory, and rows that are not those of the footers.

use bytes::Bytes;

use super::super::footer::Part;
use super::*;
use crate::core::parse;
use crate::core::shard::Partition;
use crate::raw::columns::Chunk;
use crate::raw::lane::{Lane, Origin};
use crate::sink::SinkConfig;

/// A file of fares of one second, of these offsets.
async fn source(sink: &Sink, partition: i32, start: i64, rows: i64) -> RawSource {
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
    RawSource::open(sink, &file.path, len, Topic::Fares, true).await.expect("a source")
}

async fn merge(sink: &Sink, sources: &[RawSource], memory: u64) -> Result<Bytes, MergeError> {
    Merger { sink, topic: Topic::Fares, memory, pace: &mut Pace::new(None) }.merge(sources).await
}

/// What is read and what is written.
#[tokio::test]
async fn what_is_moved_is_paid_for_by_waiting() {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = sink(dir.path()).await;
    let sources = [source(&sink, 0, 0, 3000).await, source(&sink, 1, 50, 2000).await];
    let read: u64 = sources.iter().map(|source| source.bytes).sum();
    // Half a second for what is read; what is written last is not waited for.
    let mut pace = Pace::new(Some(2 * read));
    let began = std::time::Instant::now();
    let mut merger = Merger { sink: &sink, topic: Topic::Fares, memory: 1 << 30, pace: &mut pace };
    merger.merge(&sources).await.expect("merged");
    assert!(began.elapsed() >= std::time::Duration::from_millis(490), "{:?}", began.elapsed());
}

#[tokio::test]
async fn rows_that_do_not_fit_are_not_held() {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = sink(dir.path()).await;
    let sources = [source(&sink, 0, 0, 3000).await, source(&sink, 1, 50, 2000).await];
    let all = Span::of(sources.iter().map(|source| source.footer.times)).expect("times");
    for (memory, fits) in [(1 << 30, true), (100 << 10, false)] {
        let mut pace = Pace::new(None);
        let mut merger = Merger { sink: &sink, topic: Topic::Fares, memory, pace: &mut pace };
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
