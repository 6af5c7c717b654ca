//! What the footer of a raw file says of its rows: which parts of which ranges they are.
//!
//! A worker's file is of one range and says so in `tipstream.partition`, `tipstream.start` and `tipstream.end`. A merged
//! file has `tipstream.parts` in their place: a line a part, of partition, start, end and rows of this file.

use std::fmt::Write as _;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;

use crate::core::shard::Topic;

/// The key of the parts of a merged file.
pub const PARTS: &str = "tipstream.parts";

/// The rows of one range that a file holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// Partition of the topic.
    pub partition: i32,
    /// First offset of the range.
    pub start: i64,
    /// The offset after the range.
    pub end: i64,
    /// Rows of it in this file.
    pub rows: u64,
}

/// The footer of a raw file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Name of the topic in Kafka.
    pub topic: String,
    /// Its parts, sorted.
    pub parts: Vec<Part>,
    /// Rows.
    pub rows: u64,
    /// Least and greatest event time, in microseconds.
    pub times: (i64, i64),
}

/// Why a file cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// Not Parquet.
    #[error("is not a whole Parquet file ({0})")]
    Parquet(String),
    /// Not ours.
    #[error("has no {0} in its footer")]
    Key(&'static str),
}

impl From<ParquetError> for FooterError {
    fn from(error: ParquetError) -> Self {
        FooterError::Parquet(error.to_string())
    }
}

/// How far the end of a file reaches.
#[derive(Debug)]
pub enum Tail {
    /// To the beginning of its footer.
    Metadata(Box<ParquetMetaData>),
    /// Not so far: so many bytes are needed.
    Longer(u64),
}

/// Reads the metadata of a file of `len` bytes from `end`, its last bytes; with the page indexes where `indexes`.
///
/// # Errors
/// Where it is no Parquet file.
pub fn tail(end: &Bytes, len: u64, indexes: bool) -> Result<Tail, FooterError> {
    let policy = if indexes { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(policy);
    match reader.try_parse_sized(end, len) {
        Ok(()) => Ok(Tail::Metadata(Box::new(reader.finish()?))),
        Err(ParquetError::NeedMoreData(needed)) => Ok(Tail::Longer(needed as u64)),
        Err(error) => Err(error.into()),
    }
}

impl Footer {
    /// That of a raw file of `topic`.
    ///
    /// # Errors
    /// Where the file is none of ours.
    pub fn read(metadata: &ParquetMetaData, topic: Topic) -> Result<Self, FooterError> {
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let parts = match text(metadata, PARTS) {
            Ok(lines) => parse(lines).ok_or(FooterError::Key(PARTS))?,
            Err(_) => {
                let number = |key| text(metadata, key)?.parse::<i64>().map_err(|_| FooterError::Key(key));
                let partition = "tipstream.partition";
                vec![Part {
                    partition: number(partition)?.try_into().map_err(|_| FooterError::Key(partition))?,
                    start: number("tipstream.start")?,
                    end: number("tipstream.end")?,
                    rows,
                }]
            }
        };
        let times = bounds(metadata, time_column(topic)).ok_or(FooterError::Key("statistics"))?;
        Ok(Footer { topic: text(metadata, "tipstream.topic")?.to_owned(), parts, rows, times })
    }
}

/// The column of the event time.
pub const fn time_column(topic: Topic) -> &'static str {
    match topic {
        Topic::Rides => "event_time",
        Topic::Fares => "start_time",
    }
}

/// The value of a key in a footer.
///
/// # Errors
/// Where it has none.
pub fn text<'a>(metadata: &'a ParquetMetaData, key: &'static str) -> Result<&'a str, FooterError> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
    pair.and_then(|pair| pair.value.as_deref()).ok_or(FooterError::Key(key))
}

/// The value of [`PARTS`].
pub fn write(parts: &[Part]) -> String {
    let mut lines = String::new();
    for Part { partition, start, end, rows } in parts {
        // A string takes all.
        _ = writeln!(lines, "{partition} {start} {end} {rows}");
    }
    lines
}

fn parse(lines: &str) -> Option<Vec<Part>> {
    let part = |line: &str| {
        let mut words = line.split(' ');
        let part = Part {
            partition: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
            end: words.next()?.parse().ok()?,
            rows: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(part)
    };
    lines.lines().map(part).collect()
}

/// The least and the greatest value of a column of times, over all row groups.
fn bounds(metadata: &ParquetMetaData, column: &str) -> Option<(i64, i64)> {
    let groups: Option<Vec<(i64, i64)>> =
        (0..metadata.num_row_groups()).map(|group| group_bounds(metadata, group, column)).collect();
    let groups = groups?;
    Some((groups.iter().map(|group| group.0).min()?, groups.iter().map(|group| group.1).max()?))
}

/// The same of one row group.
pub fn group_bounds(metadata: &ParquetMetaData, group: usize, column: &str) -> Option<(i64, i64)> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let index = columns.iter().position(|described| described.name() == column)?;
    match metadata.row_group(group).column(index).statistics() {
        Some(Statistics::Int64(values)) => Some((*values.min_opt()?, *values.max_opt()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_were_written() {
        let parts = vec![
            Part { partition: 0, start: 0, end: 17, rows: 12 },
            Part { partition: 3, start: 5, end: 6, rows: 1 },
        ];
        assert_eq!(parse(&write(&parts)), Some(parts));
        for wrong in ["0 1 2", "0 1 2 3 4", "a 1 2 3", "0 1 2 -3"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
