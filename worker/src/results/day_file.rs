//! Windows of a day in one file, under `window=all`: what compaction makes of the files of single windows.
//!
//! The rows are theirs, in the order of window and neighbourhood. `tipstream.windows` in the footer says of which windows
//! they are, a line each: start in seconds since 1970, epoch and fingerprint of the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::window_file::{EPOCH, FINGERPRINT, Provenance, cells, schema};
use crate::core::amount::TipSum;
use crate::core::time::{Day, EventTime};
use crate::raw::encode::ParquetFile;

/// The key of the windows of a file.
const WINDOWS: &str = "tipstream.windows";

/// Where merged windows lie in the folder of their day.
pub const ALL_WINDOWS: &str = "window=all";

/// Where the merged windows of a day lie.
pub fn folder(day: Day) -> String {
    format!("tips/{}/{ALL_WINDOWS}", day.folders())
}

/// Windows with their rows.
#[derive(Clone, Debug)]
pub struct Windows {
    made: BTreeMap<EventTime, Provenance>,
    rows: RecordBatch,
}

/// Why a file is not one of windows.
#[derive(Debug, thiserror::Error)]
pub enum DayFileError {
    /// Not Parquet, or not of these columns.
    #[error("is no file of windows ({0})")]
    Parquet(#[from] ParquetError),
    /// The same, in Arrow.
    #[error("is no file of windows ({0})")]
    Arrow(#[from] ArrowError),
    /// Not by us.
    #[error("has no {0} in its footer")]
    Key(&'static str),
}

impl Windows {
    /// Reads a file of one window, or of a day.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn read(file: Bytes) -> Result<Windows, DayFileError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let pairs = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
        let rows = concat_batches(&schema(), &batches)?;
        let text = |key| {
            let pair = pairs.iter().find(|pair| pair.key == key);
            pair.and_then(|pair| pair.value.as_deref()).ok_or(DayFileError::Key(key))
        };
        let made = match text(WINDOWS) {
            Ok(lines) => lines.lines().map(parse).collect::<Option<_>>().ok_or(DayFileError::Key(WINDOWS))?,
            Err(_) => {
                let epoch = text(EPOCH)?.parse().map_err(|_| DayFileError::Key(EPOCH))?;
                let made = Provenance { epoch, fingerprint: text(FINGERPRINT)?.to_owned() };
                // A window without rows has no trips, and is as good as none.
                starts(&rows)?.first().map(|start| (at(*start), made)).into_iter().collect()
            }
        };
        Ok(Windows { made, rows })
    }

    /// Which windows there are, and how each was made.
    pub fn made(&self) -> &BTreeMap<EventTime, Provenance> {
        &self.made
    }

    /// The windows that do not start at any of `starts`.
    ///
    /// # Errors
    /// Only where Arrow refuses its own types.
    pub fn without(mut self, starts: &BTreeSet<EventTime>) -> Result<Windows, DayFileError> {
        self.retain(|start| !starts.contains(&start))?;
        Ok(self)
    }

    /// The rows.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The sums of each window by neighbourhood.
    ///
    /// # Errors
    /// Where the rows are not those of windows.
    pub fn sums(&self) -> Result<BTreeMap<EventTime, BTreeMap<String, TipSum>>, DayFileError> {
        let mut sums: BTreeMap<EventTime, BTreeMap<String, TipSum>> = BTreeMap::new();
        for (start, (name, sum)) in starts(&self.rows)?.iter().zip(cells(&self.rows)?) {
            sums.entry(at(*start)).or_default().insert(name, sum);
        }
        Ok(sums)
    }

    /// All windows of `files`. Of a window that is in several the one of the newest epoch counts; within an epoch all say
    /// the same (W4).
    ///
    /// # Errors
    /// Only where Arrow refuses its own types.
    pub fn merged(files: impl IntoIterator<Item = Windows>) -> Result<Windows, DayFileError> {
        let none = Windows { made: BTreeMap::new(), rows: RecordBatch::new_empty(schema()) };
        files.into_iter().try_fold(none, |all, file| all.with(file))
    }

    /// These windows, and in place of older ones those of `other`.
    ///
    /// # Errors
    /// Only where Arrow refuses its own types.
    pub fn with(mut self, mut other: Windows) -> Result<Windows, DayFileError> {
        let is_older = |windows: &Windows, start: &EventTime, epoch| {
            windows.made.get(start).is_some_and(|there| there.epoch < epoch)
        };
        let newer: Vec<EventTime> = other
            .made
            .iter()
            .filter(|(start, made)| is_older(&self, start, made.epoch))
            .map(|(start, _)| *start)
            .collect();
        self.retain(|start| !newer.contains(&start))?;
        let has = self.made.clone();
        other.retain(|start| !has.contains_key(&start))?;
        self.made.append(&mut other.made);
        self.rows = concat_batches(&schema(), [&self.rows, &other.rows])?;
        Ok(self)
    }

    fn retain(&mut self, keep: impl Fn(EventTime) -> bool) -> Result<(), ArrowError> {
        let kept: BooleanArray = starts(&self.rows)?.iter().map(|start| Some(keep(at(*start)))).collect();
        self.rows = filter_record_batch(&self.rows, &kept)?;
        self.made.retain(|start, _| keep(*start));
        Ok(())
    }

    /// The file: a function of the windows.
    ///
    /// # Errors
    /// Only where Arrow or Parquet refuses its own types.
    pub fn encode(&self) -> Result<Bytes, DayFileError> {
        let columns =
            [0, 2].map(|index| SortColumn { values: self.rows.column(index).clone(), options: None });
        let order: UInt32Array = lexsort_to_indices(&columns, None)?;
        let mut file = ParquetFile::new(schema())?;
        file.write(&take_record_batch(&self.rows, &order)?)?;
        let mut lines = String::new();
        for (start, Provenance { epoch, fingerprint }) in &self.made {
            // A string takes all.
            _ = writeln!(lines, "{} {epoch} {fingerprint}", start.seconds());
        }
        Ok(file.finish(&[(WINDOWS, lines)])?)
    }
}

fn parse(line: &str) -> Option<(EventTime, Provenance)> {
    let mut words = line.splitn(3, ' ');
    let start = EventTime::from_seconds(words.next()?.parse().ok()?);
    let epoch = words.next()?.parse().ok()?;
    Some((start, Provenance { epoch, fingerprint: words.next()?.to_owned() }))
}

fn starts(rows: &RecordBatch) -> Result<&[i64], ArrowError> {
    let column = rows.column(0).as_primitive_opt::<TimestampMicrosecondType>();
    Ok(column.ok_or_else(|| ArrowError::SchemaError("window_start is no timestamp".into()))?.values())
}

fn at(micros: i64) -> EventTime {
    EventTime::from_seconds(micros.div_euclid(1_000_000))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::fold::Sums;
    use crate::core::locate::Neighbourhoods;
    use crate::core::record::Point;
    use crate::core::window::tests::RULES;
    use crate::results::window_file;
    use crate::settings::BUILT_IN;

    /// The file of a window.
    pub(in crate::results) fn file_of(start: i64, epoch: u64, trips: u64) -> Bytes {
        let neighbourhoods = Neighbourhoods::parse(BUILT_IN).expect("polygons");
        let provenance = Provenance { epoch, fingerprint: format!("f{epoch}") };
        let place = neighbourhoods.locate(Point { lon: -73.98, lat: 40.75 });
        let sums = Sums::from([(place, TipSum { micros: 1_500_000, trips })]);
        let start = EventTime::from_seconds(start);
        window_file::encode(&RULES, &neighbourhoods, &provenance, start, &sums).expect("encoded")
    }

    fn window(start: i64, epoch: u64, trips: u64) -> Windows {
        Windows::read(file_of(start, epoch, trips)).expect("read")
    }

    fn trips(windows: &Windows) -> Vec<(i64, i64)> {
        use arrow::datatypes::Int64Type;
        let trips = windows.rows.column(4).as_primitive::<Int64Type>().values().to_vec();
        starts(&windows.rows).expect("times").iter().map(|start| start / 1_000_000).zip(trips).collect()
    }

    #[test]
    fn merged_windows_are_read_back_and_their_order_is_theirs() {
        let forth =
            Windows::merged([window(600, 0, 1), window(0, 0, 2)]).expect("merged").encode().expect("encoded");
        let back =
            Windows::merged([window(0, 0, 2), window(600, 0, 1)]).expect("merged").encode().expect("encoded");
        assert_eq!(forth, back);
        let read = Windows::read(forth).expect("read");
        assert_eq!(trips(&read), [(0, 2), (600, 1)]);
        assert_eq!(read.made().len(), 2);
    }

    #[test]
    fn windows_are_left_out_by_their_starts() {
        let both = Windows::merged([window(0, 0, 2), window(600, 0, 1)]).expect("merged");
        let one = both.without(&[EventTime::from_seconds(600)].into()).expect("rows");
        assert_eq!(trips(&one), [(0, 2)]);
        let sums = one.sums().expect("sums");
        assert_eq!(sums.keys().copied().collect::<Vec<_>>(), [EventTime::from_seconds(0)]);
        assert!(sums.values().flat_map(|sums| sums.values()).all(|sum| sum.trips == 2));
    }

    #[test]
    fn a_window_of_a_newer_epoch_counts_whatever_comes_first() {
        for pair in [[window(0, 0, 1), window(0, 1, 2)], [window(0, 1, 2), window(0, 0, 1)]] {
            let merged = Windows::merged(pair).expect("merged");
            assert_eq!(trips(&merged), [(0, 2)]);
            assert_eq!(merged.made()[&EventTime::from_seconds(0)].epoch, 1);
        }
        let twice = Windows::merged([window(0, 1, 2), window(0, 1, 2)]).expect("merged");
        assert_eq!(trips(&twice), [(0, 2)]);
    }
}
