//! Rows on their way to Parquet: a vector a column, no allocation a row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, BooleanBufferBuilder, Decimal64Array, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::core::amount::SCALE;
use crate::core::record::{Fare, Ride, RideKind};

/// Rows of a chunk: enough for the encoder to work by columns, few enough to stay in the cache.
const CHUNK_ROWS: usize = 8192;
/// Bytes of text in a chunk, beyond which it is full whatever its rows: lines may be as large as Kafka takes (I7).
const CHUNK_BYTES: usize = 2 << 20;
/// Room of a column: a chunk is looked at only after some rows, and one that grew would leave holes in memory.
const ROOM: usize = CHUNK_ROWS + CHUNK_ROWS / 8;
/// Every amount below 10^9 with six digits after the point.
const PRECISION: u8 = 18;

/// A time in microseconds, UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// An amount of money.
pub fn money() -> DataType {
    DataType::Decimal64(PRECISION, SCALE as i8)
}

/// Where a row comes from: the last three columns of every raw file.
#[derive(Debug)]
struct Coordinates {
    partition: i32,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    has_timestamp: Vec<bool>,
}

impl Coordinates {
    fn new(partition: i32) -> Self {
        Coordinates {
            partition,
            offsets: Vec::with_capacity(ROOM),
            timestamps: Vec::with_capacity(ROOM),
            has_timestamp: Vec::with_capacity(ROOM),
        }
    }

    fn push(&mut self, offset: i64, timestamp: Option<i64>) {
        self.offsets.push(offset);
        self.timestamps.push(timestamp.unwrap_or(0).saturating_mul(1000));
        self.has_timestamp.push(timestamp.is_some());
    }

    fn fields() -> [Field; 3] {
        [
            Field::new("kafka_partition", DataType::Int32, false),
            Field::new("kafka_offset", DataType::Int64, false),
            Field::new("kafka_timestamp", timestamp(), true),
        ]
    }

    fn arrays(self) -> [ArrayRef; 3] {
        let present = NullBuffer::new(BooleanBuffer::from(self.has_timestamp));
        let timestamps = TimestampMicrosecondArray::new(self.timestamps.into(), Some(present));
        [
            Arc::new(Int32Array::from(vec![self.partition; self.offsets.len()])),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(timestamps.with_timezone("UTC")),
        ]
    }
}

/// Rows of the rides topic.
#[derive(Debug)]
pub struct RideColumns {
    ids: Vec<i64>,
    is_start: Vec<bool>,
    event_times: Vec<i64>,
    other_times: Vec<i64>,
    start_lons: Vec<f64>,
    start_lats: Vec<f64>,
    end_lons: Vec<f64>,
    end_lats: Vec<f64>,
    passengers: Vec<i32>,
    taxi_ids: Vec<i64>,
    driver_ids: Vec<i64>,
    coordinates: Coordinates,
}

impl RideColumns {
    fn new(partition: i32) -> Self {
        RideColumns {
            ids: Vec::with_capacity(ROOM),
            is_start: Vec::with_capacity(ROOM),
            event_times: Vec::with_capacity(ROOM),
            other_times: Vec::with_capacity(ROOM),
            start_lons: Vec::with_capacity(ROOM),
            start_lats: Vec::with_capacity(ROOM),
            end_lons: Vec::with_capacity(ROOM),
            end_lats: Vec::with_capacity(ROOM),
            passengers: Vec::with_capacity(ROOM),
            taxi_ids: Vec::with_capacity(ROOM),
            driver_ids: Vec::with_capacity(ROOM),
            coordinates: Coordinates::new(partition),
        }
    }

    fn push(&mut self, offset: i64, timestamp: Option<i64>, ride: &Ride) {
        self.ids.push(ride.id);
        self.is_start.push(ride.kind == RideKind::Start);
        self.event_times.push(ride.event_time.micros());
        self.other_times.push(ride.other_time.micros());
        self.start_lons.push(ride.start.lon);
        self.start_lats.push(ride.start.lat);
        self.end_lons.push(ride.end.lon);
        self.end_lats.push(ride.end.lat);
        self.passengers.push(ride.passengers);
        self.taxi_ids.push(ride.taxi_id);
        self.driver_ids.push(ride.driver_id);
        self.coordinates.push(offset, timestamp);
    }

    fn arrays(self) -> Vec<ArrayRef> {
        let mut is_start = BooleanBufferBuilder::new(self.is_start.len());
        is_start.append_slice(&self.is_start);
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.ids)),
            Arc::new(BooleanArray::new(is_start.finish(), None)),
            times(self.event_times),
            times(self.other_times),
            Arc::new(Float64Array::from(self.start_lons)),
            Arc::new(Float64Array::from(self.start_lats)),
            Arc::new(Float64Array::from(self.end_lons)),
            Arc::new(Float64Array::from(self.end_lats)),
            Arc::new(Int32Array::from(self.passengers)),
            Arc::new(Int64Array::from(self.taxi_ids)),
            Arc::new(Int64Array::from(self.driver_ids)),
        ];
        arrays.extend(self.coordinates.arrays());
        arrays
    }
}

/// Rows of the fares topic.
#[derive(Debug)]
pub struct FareColumns {
    ids: Vec<i64>,
    taxi_ids: Vec<i64>,
    driver_ids: Vec<i64>,
    start_times: Vec<i64>,
    payment_types: StringBuilder,
    tips: Vec<i64>,
    tolls: Vec<i64>,
    totals: Vec<i64>,
    coordinates: Coordinates,
}

impl FareColumns {
    fn new(partition: i32) -> Self {
        FareColumns {
            ids: Vec::with_capacity(ROOM),
            taxi_ids: Vec::with_capacity(ROOM),
            driver_ids: Vec::with_capacity(ROOM),
            start_times: Vec::with_capacity(ROOM),
            payment_types: StringBuilder::with_capacity(ROOM, ROOM * 3),
            tips: Vec::with_capacity(ROOM),
            tolls: Vec::with_capacity(ROOM),
            totals: Vec::with_capacity(ROOM),
            coordinates: Coordinates::new(partition),
        }
    }

    fn push(&mut self, offset: i64, timestamp: Option<i64>, fare: &Fare<'_>) {
        self.ids.push(fare.id);
        self.taxi_ids.push(fare.taxi_id);
        self.driver_ids.push(fare.driver_id);
        self.start_times.push(fare.start_time.micros());
        self.payment_types.append_value(fare.payment_type);
        self.tips.push(fare.tip.micros());
        self.tolls.push(fare.tolls.micros());
        self.totals.push(fare.total.micros());
        self.coordinates.push(offset, timestamp);
    }

    fn arrays(mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let amounts = |micros: Vec<i64>| -> Result<ArrayRef, ArrowError> {
            Ok(Arc::new(Decimal64Array::from(micros).with_precision_and_scale(PRECISION, SCALE as i8)?))
        };
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.ids)),
            Arc::new(Int64Array::from(self.taxi_ids)),
            Arc::new(Int64Array::from(self.driver_ids)),
            times(self.start_times),
            Arc::new(self.payment_types.finish()),
            amounts(self.tips)?,
            amounts(self.tolls)?,
            amounts(self.totals)?,
        ];
        arrays.extend(self.coordinates.arrays());
        Ok(arrays)
    }
}

fn times(micros: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

/// Columns of valid rows of either topic.
#[derive(Debug)]
pub enum Columns {
    /// Of the rides topic.
    Rides(RideColumns),
    /// Of the fares topic.
    Fares(FareColumns),
}

impl Columns {
    fn rows(&self) -> usize {
        match self {
            Columns::Rides(rides) => rides.ids.len(),
            Columns::Fares(fares) => fares.ids.len(),
        }
    }

    fn text_bytes(&self) -> usize {
        match self {
            Columns::Rides(_) => 0,
            Columns::Fares(fares) => fares.payment_types.values_slice().len(),
        }
    }

    /// Event times in microseconds: what decides the day of a row.
    fn event_times(&self) -> &[i64] {
        match self {
            Columns::Rides(rides) => &rides.event_times,
            Columns::Fares(fares) => &fares.start_times,
        }
    }
}

/// Invalid lines: what quarantine keeps of them.
#[derive(Debug, Default)]
pub struct InvalidColumns {
    offsets: Vec<i64>,
    timestamps: Vec<Option<i64>>,
    values: BinaryBuilder,
    reasons: StringBuilder,
}

/// Rows of a range of a partition: valid and invalid ones, in the order of their offsets.
#[derive(Debug)]
pub struct Chunk {
    /// First offset of the range.
    pub from: i64,
    /// The offset after the range.
    pub to: i64,
    partition: i32,
    valid: Columns,
    invalid: InvalidColumns,
}

impl Chunk {
    /// An empty chunk of rides of this partition, from this offset on.
    pub fn rides(partition: i32, from: i64) -> Self {
        Self::new(partition, from, Columns::Rides(RideColumns::new(partition)))
    }

    /// An empty chunk of fares.
    pub fn fares(partition: i32, from: i64) -> Self {
        Self::new(partition, from, Columns::Fares(FareColumns::new(partition)))
    }

    fn new(partition: i32, from: i64, valid: Columns) -> Self {
        Chunk { from, to: from, partition, valid, invalid: InvalidColumns::default() }
    }

    /// Whether it is time for the next chunk.
    pub fn is_full(&self) -> bool {
        self.valid.rows() + self.invalid.offsets.len() >= CHUNK_ROWS
            || self.valid.text_bytes() + self.invalid.values.values_slice().len() >= CHUNK_BYTES
    }

    /// Adds a ride; `timestamp` is Kafka's, in milliseconds.
    pub fn ride(&mut self, offset: i64, timestamp: Option<i64>, ride: &Ride) {
        if let Columns::Rides(rides) = &mut self.valid {
            rides.push(offset, timestamp, ride);
        }
        self.to = offset + 1;
    }

    /// Adds a fare.
    pub fn fare(&mut self, offset: i64, timestamp: Option<i64>, fare: &Fare<'_>) {
        if let Columns::Fares(fares) = &mut self.valid {
            fares.push(offset, timestamp, fare);
        }
        self.to = offset + 1;
    }

    /// Adds an invalid line.
    pub fn invalid(&mut self, offset: i64, timestamp: Option<i64>, value: Option<&[u8]>, reason: &str) {
        let invalid = &mut self.invalid;
        invalid.offsets.push(offset);
        invalid.timestamps.push(timestamp.map(|millis| millis.saturating_mul(1000)));
        invalid.values.append_option(value);
        invalid.reasons.append_value(reason);
        self.to = offset + 1;
    }

    /// The valid rows with their event times in microseconds, and the invalid ones, as Arrow.
    ///
    /// # Errors
    /// Only where Arrow refuses its own types.
    pub fn into_batches(self, topic: &str) -> Result<Batches, ArrowError> {
        let event_times = self.valid.event_times().to_vec();
        let (schema, arrays) = match self.valid {
            Columns::Rides(rides) => (ride_schema(), rides.arrays()),
            Columns::Fares(fares) => (fare_schema(), fares.arrays()?),
        };
        let valid = RecordBatch::try_new(schema, arrays)?;
        let mut invalid = self.invalid;
        let rows = invalid.offsets.len();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(arrow::array::StringArray::from(vec![topic; rows])),
            Arc::new(Int32Array::from(vec![self.partition; rows])),
            Arc::new(Int64Array::from(invalid.offsets)),
            Arc::new(TimestampMicrosecondArray::from(invalid.timestamps).with_timezone("UTC")),
            Arc::new(invalid.values.finish()),
            Arc::new(invalid.reasons.finish()),
        ];
        Ok(Batches { valid, event_times, invalid: RecordBatch::try_new(invalid_schema(), arrays)? })
    }
}

/// A chunk as Arrow.
pub struct Batches {
    /// Valid rows.
    pub valid: RecordBatch,
    /// Their event times, in microseconds.
    pub event_times: Vec<i64>,
    /// Invalid rows.
    pub invalid: RecordBatch,
}

/// Columns of the files under `rides/`.
pub fn ride_schema() -> SchemaRef {
    let mut fields = vec![
        Field::new("ride_id", DataType::Int64, false),
        Field::new("is_start", DataType::Boolean, false),
        Field::new("event_time", timestamp(), false),
        Field::new("other_time", timestamp(), false),
        Field::new("start_lon", DataType::Float64, false),
        Field::new("start_lat", DataType::Float64, false),
        Field::new("end_lon", DataType::Float64, false),
        Field::new("end_lat", DataType::Float64, false),
        Field::new("passenger_cnt", DataType::Int32, false),
        Field::new("taxi_id", DataType::Int64, false),
        Field::new("driver_id", DataType::Int64, false),
    ];
    fields.extend(Coordinates::fields());
    Arc::new(Schema::new(fields))
}

/// Columns of the files under `fares/`.
pub fn fare_schema() -> SchemaRef {
    let mut fields = vec![
        Field::new("ride_id", DataType::Int64, false),
        Field::new("taxi_id", DataType::Int64, false),
        Field::new("driver_id", DataType::Int64, false),
        Field::new("start_time", timestamp(), false),
        Field::new("payment_type", DataType::Utf8, false),
        Field::new("tip", money(), false),
        Field::new("tolls", money(), false),
        Field::new("total_fare", money(), false),
    ];
    fields.extend(Coordinates::fields());
    Arc::new(Schema::new(fields))
}

/// Columns of the files under `invalid/`.
pub fn invalid_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("kafka_timestamp", timestamp(), true),
        Field::new("value", DataType::Binary, true),
        Field::new("reason", DataType::Utf8, false),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_of_large_lines_is_full_long_before_it_has_its_rows() {
        let mut chunk = Chunk::fares(0, 0);
        let line = vec![b'x'; CHUNK_BYTES / 4];
        for offset in 0..3 {
            chunk.invalid(offset, None, Some(&line), "wrong number of columns");
        }
        assert!(!chunk.is_full());
        chunk.invalid(3, None, Some(&line), "wrong number of columns");
        assert!(chunk.is_full());
    }
}
