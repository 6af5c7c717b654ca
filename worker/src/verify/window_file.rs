//! The file of a window as a reader sees it.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::core::time::EventTime;

/// A row of a window's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Start of the window in microseconds.
    pub start: i64,
    /// Its end.
    pub end: i64,
    /// Neighbourhood.
    pub name: String,
    /// Mean tip.
    pub average: f64,
    /// Trips.
    pub trips: i64,
    /// Sum of the tips, in millionths.
    pub micros: i128,
}

/// All of a window's file.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowFile {
    /// `spec.epoch` of the pipeline that wrote it.
    pub epoch: u64,
    /// The settings that it was written with.
    pub fingerprint: String,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// Why a file is not that of a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not Parquet, or not all of it.
    #[error("is not a whole Parquet file ({0})")]
    Parquet(String),
    /// Parquet, but not of a window.
    #[error("has no column {0} of its type")]
    Column(&'static str),
    /// The same, in the footer.
    #[error("has no {0} in its footer")]
    Key(&'static str),
    /// A file of a day, with something of another.
    #[error("has rows of the window of {0}, which its footer does not name")]
    Unnamed(EventTime),
    /// The same.
    #[error("has the window of {0}, which is of another day")]
    OtherDay(EventTime),
}

impl From<ParquetError> for WindowError {
    fn from(error: ParquetError) -> Self {
        WindowError::Parquet(error.to_string())
    }
}

impl From<ArrowError> for WindowError {
    fn from(error: ArrowError) -> Self {
        WindowError::Parquet(error.to_string())
    }
}

/// Reads all of `file`.
///
/// # Errors
/// Where it is not the file of a window.
pub fn read(file: Bytes) -> Result<WindowFile, WindowError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let epoch = text(&reader, "tipstream.epoch")?;
    let epoch = epoch.parse().map_err(|_| WindowError::Key("tipstream.epoch"))?;
    let fingerprint = text(&reader, "tipstream.fingerprint")?;
    Ok(WindowFile { epoch, fingerprint, rows: rows(reader)? })
}

/// Reads all of a file of merged windows: each as if it were alone.
///
/// # Errors
/// Where it is not a file of merged windows.
pub fn read_merged(file: Bytes) -> Result<BTreeMap<EventTime, WindowFile>, WindowError> {
    const WINDOWS: &str = "tipstream.windows";
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let window = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let start = EventTime::from_seconds(words.next()?.parse().ok()?);
        let epoch = words.next()?.parse().ok()?;
        Some((start, WindowFile { epoch, fingerprint: words.next()?.to_owned(), rows: vec![] }))
    };
    let named = text(&reader, WINDOWS)?.lines().map(window).collect::<Option<_>>();
    let mut windows: BTreeMap<EventTime, WindowFile> = named.ok_or(WindowError::Key(WINDOWS))?;
    for row in rows(reader)? {
        let start = EventTime::from_seconds(row.start.div_euclid(1_000_000));
        windows.get_mut(&start).ok_or(WindowError::Unnamed(start))?.rows.push(row);
    }
    Ok(windows)
}

fn text(reader: &ParquetRecordBatchReaderBuilder<Bytes>, key: &'static str) -> Result<String, WindowError> {
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
    pair.and_then(|pair| pair.value.clone()).ok_or(WindowError::Key(key))
}

fn rows(reader: ParquetRecordBatchReaderBuilder<Bytes>) -> Result<Vec<Row>, WindowError> {
    let mut rows = Vec::new();
    for batch in reader.build()? {
        add(&mut rows, &batch?)?;
    }
    Ok(rows)
}

fn add(rows: &mut Vec<Row>, batch: &RecordBatch) -> Result<(), WindowError> {
    let starts = values::<TimestampMicrosecondType>(batch, "window_start")?;
    let ends = values::<TimestampMicrosecondType>(batch, "window_end")?;
    let averages = values::<Float64Type>(batch, "avg_tip")?;
    let trips = values::<Int64Type>(batch, "trips")?;
    let micros = values::<Decimal128Type>(batch, "tip_sum")?;
    let names = batch.column_by_name("stop_nbhd").and_then(|column| column.as_string_opt::<i32>());
    let names = names.filter(|names| names.null_count() == 0).ok_or(WindowError::Column("stop_nbhd"))?;
    rows.extend((0..batch.num_rows()).map(|row| Row {
        start: starts[row],
        end: ends[row],
        name: names.value(row).to_owned(),
        average: averages[row],
        trips: trips[row],
        micros: micros[row],
    }));
    Ok(())
}

fn values<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a [T::Native], WindowError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    let column = column.filter(|column| column.null_count() == 0);
    column.map(|column| &**column.values()).ok_or(WindowError::Column(name))
}
