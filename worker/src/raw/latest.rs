//! Where a pipeline begins that reads from now on (`startFrom: Latest`): the ends of a topic's partitions as its first
//! worker found them, written once to `_tips/raw/<topic>/latest`.
//!
//! A partition that is not among them was added since, so all its records are of after the beginning. The state cannot
//! tell that: it counts a partition as soon as any worker has heard of it, perhaps before the partition has an owner.

use std::collections::BTreeMap;

use crate::sink::{Put, Sink, SinkError};

/// Why it is not known where to begin.
#[derive(Debug, thiserror::Error)]
pub enum LatestError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A file that says nothing.
    #[error(
        "{path} in the sink does not say where partitions begin ({error}): it was changed by hand; restore it"
    )]
    Corrupt {
        /// Where.
        path: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

/// The ends of the partitions of `topic` when the pipeline began: `ends`, where it begins just now.
///
/// # Errors
/// Where the sink cannot be reached.
pub async fn fixed(
    sink: &Sink,
    topic: &str,
    ends: BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, LatestError> {
    let path = format!("_tips/raw/{topic}/latest");
    let corrupt = |error| LatestError::Corrupt { path: path.clone(), error };
    let content = serde_json::to_vec(&ends).map_err(corrupt)?;
    if sink.put_if_absent(&path, content.into()).await? == Put::Created {
        return Ok(ends);
    }
    let there = sink.read(&path).await?.unwrap_or_default();
    serde_json::from_slice(&there).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::SinkConfig;

    #[tokio::test]
    async fn who_comes_first_says_where_all_begin() {
        let dir = tempfile::tempdir().expect("a folder");
        let sink = Sink::open(&SinkConfig::Fs { root: dir.path().to_owned() }).await.expect("a sink");
        let first = BTreeMap::from([(0, 10), (1, 20)]);
        assert_eq!(fixed(&sink, "rides", first.clone()).await.expect("fixed"), first);
        let later = BTreeMap::from([(0, 15), (1, 20), (2, 5)]);
        assert_eq!(fixed(&sink, "rides", later.clone()).await.expect("there"), first);
        assert_eq!(fixed(&sink, "other-rides", later.clone()).await.expect("fixed"), later);
    }
}
