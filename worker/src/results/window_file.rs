//! The file of a window: a pure function of its frozen sums, and so is its name (I3).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::core::amount::{SCALE, TipSum};
use crate::core::fold::Sums;
use crate::core::locate::Neighbourhoods;
use crate::core::time::{EventTime, hour_minute};
use crate::core::window::Rules;
use crate::raw::columns::timestamp;
use crate::raw::encode::ParquetFile;

/// Every sum of amounts.
const PRECISION: u8 = 38;
pub(super) const EPOCH: &str = "tipstream.epoch";
pub(super) const FINGERPRINT: &str = "tipstream.fingerprint";

/// What the footer says of the pipeline.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// `spec.epoch`.
    pub epoch: u64,
    /// Fingerprint of the settings.
    pub fingerprint: String,
}

/// Where the file of the window that starts at `start` is.
pub fn path(start: EventTime) -> String {
    format!("tips/{}/window={}/tips.parquet", start.day().folders(), hour_minute(start))
}

/// Columns of the results.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_start", timestamp(), false),
        Field::new("window_end", timestamp(), false),
        Field::new("stop_nbhd", DataType::Utf8, false),
        Field::new("avg_tip", DataType::Float64, false),
        Field::new("trips", DataType::Int64, false),
        Field::new("tip_sum", DataType::Decimal128(PRECISION, SCALE as i8), false),
    ]))
}

/// Encodes the window that starts at `start`, rows in the order of the neighbourhoods' names.
///
/// # Errors
/// Only where Arrow or Parquet refuses its own types.
pub fn encode(
    rules: &Rules,
    neighbourhoods: &Neighbourhoods,
    provenance: &Provenance,
    start: EventTime,
    sums: &Sums,
) -> Result<Bytes, ParquetError> {
    let mut rows: Vec<_> = sums.iter().map(|(place, sum)| (neighbourhoods.name(*place), sum)).collect();
    rows.sort_unstable_by_key(|(name, _)| *name);
    let time = |time: EventTime| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![time.micros(); rows.len()]).with_timezone("UTC"))
    };
    let micros = Decimal128Array::from_iter_values(rows.iter().map(|(_, sum)| sum.micros));
    let columns: Vec<ArrayRef> = vec![
        time(start),
        time(start.plus(rules.window)),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(name, _)| name))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, sum)| sum.average()))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, sum)| sum.trips as i64))),
        Arc::new(micros.with_precision_and_scale(PRECISION, SCALE as i8)?),
    ];
    let mut file = ParquetFile::new(schema())?;
    file.write(&RecordBatch::try_new(schema(), columns)?)?;
    file.finish(&[(EPOCH, provenance.epoch.to_string()), (FINGERPRINT, provenance.fingerprint.clone())])
}

/// The sums in the file of a window, by neighbourhood.
///
/// # Errors
/// Where the bytes are no Parquet file, or not one of a window.
pub fn decode(file: Bytes) -> Result<BTreeMap<String, TipSum>, ParquetError> {
    let mut sums = BTreeMap::new();
    for rows in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        sums.extend(cells(&rows?)?);
    }
    Ok(sums)
}

/// The neighbourhood and the sum of each row of windows.
pub(super) fn cells(rows: &RecordBatch) -> Result<Vec<(String, TipSum)>, ParquetError> {
    let column = |name| rows.column_by_name(name);
    let names = column("stop_nbhd").and_then(|column| column.as_string_opt::<i32>());
    let trips = column("trips").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let micros = column("tip_sum").and_then(|column| column.as_primitive_opt::<Decimal128Type>());
    let (Some(names), Some(trips), Some(micros)) = (names, trips, micros) else {
        return Err(ParquetError::General("it has not the columns of a window".into()));
    };
    let rows = names.iter().flatten().zip(trips.values().iter()).zip(micros.values().iter());
    let cell = |((name, trips), micros): ((&str, &i64), &i128)| {
        (name.to_owned(), TipSum { micros: *micros, trips: *trips as u64 })
    };
    Ok(rows.map(cell).collect())
}

/// The epoch in the footer of a window's file.
///
/// # Errors
/// Where the bytes are no Parquet file.
pub fn epoch_of(file: Bytes) -> Result<u64, ParquetError> {
    let reader = SerializedFileReader::new(file)?;
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    let epoch = pairs.into_iter().flatten().find(|pair| pair.key == EPOCH);
    Ok(epoch.and_then(|pair| pair.value.as_deref()?.parse().ok()).unwrap_or(0))
}
