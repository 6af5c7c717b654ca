//! What the footer of a raw file says: its range, its rows, and between which values they lie.

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;

use super::Lane;
use super::merged::{Contents, Part};
use super::path::Folder;
use crate::core::shard::Topic;
use crate::raw::range_log::Range;

/// The footer of a raw file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Whose range it is.
    pub lane: Lane,
    /// The range.
    pub range: Range,
    /// Rows of this file.
    pub rows: i64,
    /// The least and the greatest offset, by the statistics.
    pub offsets: Option<(i64, i64)>,
    /// The least and the greatest event time in microseconds; none of invalid lines.
    pub event_times: Option<(i64, i64)>,
}

/// Why a file has no footer of a raw file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// Listed, and then not there.
    #[error("is gone")]
    Gone,
    /// Not Parquet, or not all of it.
    #[error("is not a whole Parquet file ({0})")]
    Parquet(String),
    /// Parquet, but not of a raw file.
    #[error("has no {0} in its footer")]
    Key(&'static str),
}

impl From<ParquetError> for FooterError {
    fn from(error: ParquetError) -> Self {
        FooterError::Parquet(error.to_string())
    }
}

/// How the end of a file is read in which a footer lies.
#[derive(Debug)]
pub enum Parsed<T> {
    /// It is read.
    Whole(T),
    /// It is longer: so many bytes of the end are needed.
    Longer(u64),
}

/// Reads the footer of a file of `len` bytes, which lies in `folder`, from `end`, its last bytes.
///
/// # Errors
/// Where it is not that of a raw file.
pub fn read(end: &Bytes, len: u64, folder: Folder) -> Result<Parsed<Footer>, FooterError> {
    match metadata(end, len)? {
        Parsed::Whole(metadata) => of_metadata(&metadata, folder).map(Parsed::Whole),
        Parsed::Longer(needed) => Ok(Parsed::Longer(needed)),
    }
}

/// The metadata in the footer of any Parquet file.
///
/// # Errors
/// Where it is none.
pub fn metadata(end: &Bytes, len: u64) -> Result<Parsed<ParquetMetaData>, FooterError> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(end, len) {
        Ok(()) => Ok(Parsed::Whole(reader.finish()?)),
        Err(ParquetError::NeedMoreData(needed)) => Ok(Parsed::Longer(needed as u64)),
        Err(error) => Err(error.into()),
    }
}

/// The parts of a merged file of `topic`, its rows and the bounds of its event times.
///
/// # Errors
/// Where it is not that of a merged file.
pub fn of_merged(metadata: &ParquetMetaData, topic: Topic) -> Result<Contents, FooterError> {
    const PARTS: &str = "tipstream.parts";
    let name = text(metadata, "tipstream.topic")?;
    let part = |line: &str| {
        let numbers: Vec<i64> = line.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [partition, start, end, rows] = numbers[..] else { return None };
        let lane = Lane { topic: name.to_owned(), partition: partition.try_into().ok()? };
        Some(Part { lane, range: Range { start, end }, rows })
    };
    let parts = text(metadata, PARTS)?.lines().map(part).collect::<Option<_>>();
    Ok(Contents {
        parts: parts.ok_or(FooterError::Key(PARTS))?,
        rows: metadata.file_metadata().num_rows(),
        event_times: bounds(metadata, event_time(topic)),
        coordinates: Ok(()),
    })
}

const fn event_time(topic: Topic) -> &'static str {
    match topic {
        Topic::Rides => "event_time",
        Topic::Fares => "start_time",
    }
}

fn of_metadata(metadata: &ParquetMetaData, folder: Folder) -> Result<Footer, FooterError> {
    let number = |key| text(metadata, key)?.parse().map_err(|_| FooterError::Key(key));
    let lane = Lane {
        topic: text(metadata, "tipstream.topic")?.to_owned(),
        partition: i32::try_from(number("tipstream.partition")?)
            .map_err(|_| FooterError::Key("tipstream.partition"))?,
    };
    let range = Range { start: number("tipstream.start")?, end: number("tipstream.end")? };
    let (offset, event_time) = match folder {
        Folder::Day(topic, _) => ("kafka_offset", Some(event_time(topic))),
        Folder::Invalid(_) => ("offset", None),
    };
    Ok(Footer {
        lane,
        range,
        rows: metadata.file_metadata().num_rows(),
        offsets: bounds(metadata, offset),
        event_times: event_time.and_then(|column| bounds(metadata, column)),
    })
}

fn text<'a>(metadata: &'a ParquetMetaData, key: &'static str) -> Result<&'a str, FooterError> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
    pair.and_then(|pair| pair.value.as_deref()).ok_or(FooterError::Key(key))
}

/// The least and the greatest value of a column of 64-bit numbers, over all row groups.
fn bounds(metadata: &ParquetMetaData, column: &str) -> Option<(i64, i64)> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let index = columns.iter().position(|described| described.name() == column)?;
    let of_group = |statistics: Option<&Statistics>| match statistics {
        Some(Statistics::Int64(values)) => Some((*values.min_opt()?, *values.max_opt()?)),
        _ => None,
    };
    let mut groups = metadata.row_groups().iter().map(|group| of_group(group.column(index).statistics()));
    let first = groups.next()??;
    groups.try_fold(first, |(least, greatest), group| {
        let (low, high) = group?;
        Some((least.min(low), greatest.max(high)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::parse;
    use crate::core::shard::Partition;
    use crate::core::time::EventTime;
    use crate::raw::columns::Chunk;
    use crate::raw::lane::{Lane as Encoder, Origin};
    use crate::verify::path::{Kind, kind};

    const FARE: &[u8] = b"1,2,3,2013-01-01 10:00:00,CSH,0,0,5.5";

    #[test]
    fn the_footer_and_the_name_of_a_raw_file_are_read_back() {
        let partition = Partition { topic: Topic::Fares, index: 4 };
        let mut encoder =
            Encoder::new(Origin { partition, topic: "nyc-fares".into(), fingerprint: "f".into() }, 100);
        let mut chunk = Chunk::fares(4, 100);
        let fare = parse::fare(FARE).expect("a fare");
        chunk.fare(100, None, &fare);
        chunk.invalid(101, None, Some(b"?"), "no");
        chunk.fare(102, None, &fare);
        encoder.take(chunk, None).expect("encoded");
        let plan = encoder.finish().expect("encoded");
        let lane = Lane { topic: "nyc-fares".into(), partition: 4 };
        let range = Range { start: 100, end: 103 };
        let micros = EventTime::parse(b"2013-01-01 10:00:00").expect("a time").micros();
        let expected = [
            (2, Some((100, 102)), Some((micros, micros))), //
            (1, Some((101, 101)), None),
        ];
        for (file, (rows, offsets, event_times)) in plan.files.iter().zip(expected) {
            let Kind::Raw(name) = kind(&file.path) else { panic!("{}", file.path) };
            assert_eq!((&name.lane, name.range), (&lane, range));
            let len = file.bytes.len();
            let read = |end: usize| read(&file.bytes.slice(len - end..), len as u64, name.folder);
            let Ok(Parsed::Longer(needed)) = read(100) else { panic!("a footer of less than 100 bytes") };
            let Ok(Parsed::Whole(footer)) = read(needed as usize) else { panic!("no footer") };
            assert_eq!(footer, Footer { lane: lane.clone(), range, rows, offsets, event_times });
        }
    }

    #[test]
    fn a_file_cut_short_has_no_footer() {
        let cut = Bytes::from_static(b"PAR1 and then nothing");
        let error = read(&cut, cut.len() as u64, Folder::Invalid(Topic::Rides)).expect_err("no Parquet");
        assert!(error.to_string().starts_with("is not a whole Parquet file"), "{error}");
    }
}
