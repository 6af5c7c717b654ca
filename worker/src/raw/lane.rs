//! The rows of one partition on their way into files: the range that is being gathered.

use std::collections::BTreeMap;
use std::time::Instant;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use bytes::Bytes;
use parquet::errors::ParquetError;

use super::columns::{Batches, Chunk, fare_schema, invalid_schema, ride_schema};
use super::encode::ParquetFile;
use super::range_log::Range;
use crate::core::shard::{Partition, Topic};
use crate::core::time::{Day, EventTime};

/// What an open file takes beside its bytes: encoders and compressors of each column.
const OPEN_FILE_BYTES: usize = 128 << 10;

/// Names a partition in files and paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The partition.
    pub partition: Partition,
    /// The name of its topic in Kafka.
    pub topic: String,
    /// The fingerprint of the settings, for the footer.
    pub fingerprint: String,
}

/// A finished range: what its files are called and what is in them. A function of the range alone (I3).
#[derive(Debug)]
pub struct Plan {
    /// The offsets that the files cover.
    pub range: Range,
    /// Its files, that of invalid lines among them.
    pub files: Vec<PlannedFile>,
}

/// A file of a plan.
#[derive(Debug)]
pub struct PlannedFile {
    /// Its path in the sink.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// What is in it.
    pub bytes: Bytes,
}

impl Plan {
    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|file| file.bytes.len()).sum()
    }
}

/// Encodes the rows of a partition, day by day, from `start` on.
pub struct Lane {
    origin: Origin,
    start: i64,
    next: i64,
    days: BTreeMap<Day, ParquetFile>,
    invalid: Option<ParquetFile>,
    since: Option<Instant>,
}

impl Lane {
    /// A range that begins at `start`.
    pub fn new(origin: Origin, start: i64) -> Self {
        Lane { origin, start, next: start, days: BTreeMap::new(), invalid: None, since: None }
    }

    /// Whether there is anything to publish.
    pub fn is_empty(&self) -> bool {
        self.next == self.start
    }

    /// When its first row came.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Bytes that its files would have now, about.
    pub fn encoded_bytes(&self) -> usize {
        self.files().map(ParquetFile::encoded_bytes).sum()
    }

    /// Bytes of memory that its files take, about. A range with rows of many days has many files.
    pub fn bytes(&self) -> usize {
        self.encoded_bytes() + self.files().count() * OPEN_FILE_BYTES
    }

    fn files(&self) -> impl Iterator<Item = &ParquetFile> {
        self.days.values().chain(&self.invalid)
    }

    /// Takes the rows of `chunk`, which follow those before. Where the range has a fixed `end` and the chunk
    /// reaches it, the plan of the range comes back, and the rows beyond are the first of the next.
    ///
    /// # Errors
    /// Where Arrow or Parquet refuses its own types.
    pub fn take(&mut self, chunk: Chunk, end: Option<i64>) -> Result<Option<Plan>, ParquetError> {
        let (from, to) = (chunk.from, chunk.to);
        debug_assert_eq!(from, self.next, "chunks of a lane follow each other");
        let batches = chunk.into_batches(&self.origin.topic)?;
        self.since.get_or_insert_with(Instant::now);
        let Some(end) = end.filter(|end| *end <= to) else {
            self.write(&batches)?;
            self.next = to;
            return Ok(None);
        };
        let (head, tail) = split(batches, end);
        self.write(&head)?;
        self.next = end;
        let plan = self.finish()?;
        self.write(&tail)?;
        self.next = to;
        self.since = (to > end).then(Instant::now);
        Ok(Some(plan))
    }

    /// Ends the range where the last chunk ended; the next begins there.
    ///
    /// # Errors
    /// Where a column cannot be encoded.
    pub fn finish(&mut self) -> Result<Plan, ParquetError> {
        let range = Range { start: self.start, end: self.next };
        let footer = self.footer(range);
        let (days, invalid) = (std::mem::take(&mut self.days), self.invalid.take());
        let days = days.into_iter().map(|(day, file)| (self.day_path(day, range), file));
        let invalid = invalid.map(|file| (self.invalid_path(range), file));
        let files = days
            .chain(invalid)
            .map(|(path, file)| Ok(PlannedFile { path, rows: file.rows(), bytes: file.finish(&footer)? }))
            .collect::<Result<_, ParquetError>>()?;
        self.start = self.next;
        self.since = None;
        Ok(Plan { range, files })
    }

    fn write(&mut self, batches: &Batches) -> Result<(), ParquetError> {
        let schema = match self.origin.partition.topic {
            Topic::Rides => ride_schema,
            Topic::Fares => fare_schema,
        };
        for (day, rows) in by_day(&batches.valid, &batches.event_times)? {
            let file = match self.days.entry(day) {
                std::collections::btree_map::Entry::Occupied(file) => file.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => free.insert(ParquetFile::new(schema())?),
            };
            file.write(&rows)?;
        }
        if batches.invalid.num_rows() > 0 {
            let file = match &mut self.invalid {
                Some(file) => file,
                None => self.invalid.insert(ParquetFile::new(invalid_schema())?),
            };
            file.write(&batches.invalid)?;
        }
        Ok(())
    }

    fn footer(&self, range: Range) -> [(&'static str, String); 5] {
        [
            ("tipstream.topic", self.origin.topic.clone()),
            ("tipstream.partition", self.origin.partition.index.to_string()),
            ("tipstream.start", range.start.to_string()),
            ("tipstream.end", range.end.to_string()),
            ("tipstream.fingerprint", self.origin.fingerprint.clone()),
        ]
    }

    fn file_name(&self, range: Range) -> String {
        let Origin { partition, topic, .. } = &self.origin;
        format!("{topic}-{}-{:020}-{:020}.parquet", partition.index, range.start, range.end)
    }

    fn day_path(&self, day: Day, range: Range) -> String {
        let folder = self.origin.partition.topic.name();
        format!("{folder}/{}/{}", day.folders(), self.file_name(range))
    }

    fn invalid_path(&self, range: Range) -> String {
        format!("invalid/{}/{}", self.origin.partition.topic.name(), self.file_name(range))
    }
}

fn day_of(micros: i64) -> Day {
    EventTime::from_seconds(micros.div_euclid(1_000_000)).day()
}

/// The rows of each day; nearly always there is one, and nothing is copied.
fn by_day(rows: &RecordBatch, event_times: &[i64]) -> Result<Vec<(Day, RecordBatch)>, ParquetError> {
    let (Some(least), Some(greatest)) = (event_times.iter().min(), event_times.iter().max()) else {
        return Ok(Vec::new());
    };
    if day_of(*least) == day_of(*greatest) {
        return Ok(vec![(day_of(*least), rows.clone())]);
    }
    let mut indices: BTreeMap<Day, Vec<u32>> = BTreeMap::new();
    for (row, micros) in event_times.iter().enumerate() {
        indices.entry(day_of(*micros)).or_default().push(row as u32);
    }
    let pick = |(day, rows_of_day)| Ok((day, take_record_batch(rows, &UInt32Array::from(rows_of_day))?));
    indices.into_iter().map(pick).collect()
}

/// The rows below the offset `end`, and the others.
fn split(batches: Batches, end: i64) -> (Batches, Batches) {
    let Batches { valid, event_times, invalid } = batches;
    let cut = below(&valid, "kafka_offset", end);
    let cut_invalid = below(&invalid, "offset", end);
    let head = Batches {
        valid: valid.slice(0, cut),
        event_times: event_times[..cut].to_vec(),
        invalid: invalid.slice(0, cut_invalid),
    };
    let tail = Batches {
        valid: valid.slice(cut, valid.num_rows() - cut),
        event_times: event_times[cut..].to_vec(),
        invalid: invalid.slice(cut_invalid, invalid.num_rows() - cut_invalid),
    };
    (head, tail)
}

fn below(rows: &RecordBatch, column: &str, end: i64) -> usize {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let offsets = rows.column_by_name(column).map(|array| array.as_primitive::<Int64Type>().values());
    offsets.map_or(0, |offsets| offsets.partition_point(|offset| *offset < end))
}
