//! The file of a window as a reader sees it.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

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
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    let text = |key| {
        let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
        pair.and_then(|pair| pair.value.clone()).ok_or(WindowError::Key(key))
    };
    let epoch = text("tipstream.epoch")?.parse().map_err(|_| WindowError::Key("tipstream.epoch"))?;
    let fingerprint = text("tipstream.fingerprint")?;
    let mut rows = Vec::new();
    for batch in reader.build()? {
        add(&mut rows, &batch?)?;
    }
    Ok(WindowFile { epoch, fingerprint, rows })
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
