//! Parquet as people expect to find it: zstd, statistics, a dictionary where few values repeat, deltas where
//! numbers grow.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// Rows of a row group: some tens of megabytes once decoded, and a bound on what an open file holds undecided.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// About what a footer and the page indexes of a file take.
const FOOTER_BYTES: usize = 64 << 10;
/// Numbers that grow or stay close: ids, times, offsets, amounts.
const DELTAS: [&str; 14] = [
    "ride_id",
    "event_time",
    "other_time",
    "start_time",
    "taxi_id",
    "driver_id",
    "kafka_offset",
    "kafka_timestamp",
    "offset",
    "tip",
    "tolls",
    "total_fare",
    "window_start",
    "window_end",
];
/// Texts and numbers of few values.
const DICTIONARIES: [&str; 7] =
    ["passenger_cnt", "payment_type", "kafka_partition", "topic", "partition", "reason", "stop_nbhd"];

/// Numbers of which deltas leave nothing to compress. A column without zstd needs no memory for it, and there are
/// as many open files as partitions.
const UNCOMPRESSED: [&str; 6] =
    ["ride_id", "taxi_id", "driver_id", "total_fare", "kafka_partition", "kafka_offset"];
/// Rows of a page: what zstd needs for an open column grows with it.
const PAGE_ROWS: usize = 8192;

/// A Parquet file in memory.
pub struct ParquetFile {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl ParquetFile {
    /// An empty file.
    ///
    /// # Errors
    /// Where Parquet cannot hold the schema.
    pub fn new(schema: SchemaRef) -> Result<Self, ParquetError> {
        // Arrow's own schema in the footer would have some readers see a type that others do not know, such as
        // its 64-bit decimal; Parquet's types say all there is to say.
        let options = ArrowWriterOptions::new().with_properties(properties()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options)?;
        Ok(ParquetFile { writer, rows: 0 })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// Where the rows are of another schema.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += rows.num_rows() as u64;
        self.writer.write(rows)
    }

    /// Rows written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the file will have, about.
    pub fn encoded_bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Ends the file, with these keys and values in its footer.
    ///
    /// # Errors
    /// Where a column cannot be encoded.
    pub fn finish(mut self, metadata: &[(&str, String)]) -> Result<Bytes, ParquetError> {
        for (key, value) in metadata {
            self.writer.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        // What is encoded is copied into the file now; a vector that doubles would take twice its bytes.
        let rest = self.writer.in_progress_size() + FOOTER_BYTES;
        self.writer.inner_mut().reserve_exact(rest);
        Ok(self.writer.into_inner()?.into())
    }
}

fn properties() -> WriterProperties {
    let zstd = ZstdLevel::try_new(1).map_or(Compression::SNAPPY, Compression::ZSTD);
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("tipstream ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(zstd)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    builder = DELTAS.into_iter().fold(builder, deltas);
    builder = DICTIONARIES.into_iter().fold(builder, dictionary);
    builder = UNCOMPRESSED.into_iter().fold(builder, uncompressed);
    builder.build()
}

fn deltas(builder: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    builder.set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED)
}

fn dictionary(builder: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    builder.set_column_dictionary_enabled(ColumnPath::from(column), true)
}

fn uncompressed(builder: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    builder.set_column_compression(ColumnPath::from(column), Compression::UNCOMPRESSED)
}
