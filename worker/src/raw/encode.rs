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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;
    use crate::core::locate::{Neighbourhoods, Place};
    use crate::core::parse;
    use crate::core::time::EventTime;
    use crate::core::window::tests::RULES;
    use crate::raw::columns::Chunk;
    use crate::results::window_file::{self, Provenance};
    use crate::settings::BUILT_IN;

    fn metadata(file: Bytes) -> ParquetMetaData {
        SerializedFileReader::new(file).expect("Parquet").metadata().clone()
    }

    fn written(rows: &RecordBatch) -> ParquetMetaData {
        let mut file = ParquetFile::new(rows.schema()).expect("a schema");
        file.write(rows).expect("written");
        metadata(file.finish(&[("tipstream.topic", "rides".to_owned())]).expect("encoded"))
    }

    /// A file of each kind, of a row or two.
    fn of_each_kind() -> [ParquetMetaData; 4] {
        let ride = b"1,START,2013-01-01 00:00:00,1970-01-01 00:00:00,-73.9,40.7,-73.8,40.8,1,2,3";
        let fare = b"1,2,3,2013-01-01 10:00:00,CSH,0,0,5.5";
        let mut rides = Chunk::rides(0, 0);
        rides.ride(0, Some(1), &parse::ride(ride).expect("a ride"));
        rides.invalid(1, Some(2), Some(b"broken"), "1 columns, expected 11");
        let rides = rides.into_batches("rides").expect("columns");
        let mut fares = Chunk::fares(0, 0);
        fares.fare(0, Some(1), &parse::fare(fare).expect("a fare"));
        let fares = fares.into_batches("fares").expect("columns");
        let manhattan = Neighbourhoods::parse(BUILT_IN).expect("polygons");
        let provenance = Provenance { epoch: 0, fingerprint: "f".to_owned() };
        let sums = [(Place::OTHER, Default::default())].into();
        let window = window_file::encode(&RULES, &manhattan, &provenance, EventTime::from_seconds(0), &sums);
        [
            written(&rides.valid),
            written(&fares.valid),
            written(&rides.invalid),
            metadata(window.expect("encoded")),
        ]
    }

    fn is_one_of(names: &[&str], column: &ColumnChunkMetaData) -> bool {
        names.contains(&column.column_path().string().as_str())
    }

    #[test]
    fn a_column_has_the_codec_the_encoding_and_the_statistics_that_suit_it() {
        for file in of_each_kind() {
            assert_eq!(file.num_row_groups(), 1);
            for column in file.row_group(0).columns() {
                let name = column.column_path().string();
                let is_plain = is_one_of(&UNCOMPRESSED, column);
                let is_zstd = matches!(column.compression(), Compression::ZSTD(_));
                assert_eq!(is_zstd, !is_plain, "{name}: {:?}", column.compression());
                let encodings: Vec<Encoding> = column.encodings().collect();
                let has_deltas = encodings.contains(&Encoding::DELTA_BINARY_PACKED);
                let has_dictionary = encodings.contains(&Encoding::RLE_DICTIONARY);
                assert_eq!(has_deltas, is_one_of(&DELTAS, column), "{name}: {encodings:?}");
                assert_eq!(has_dictionary, is_one_of(&DICTIONARIES, column), "{name}: {encodings:?}");
                assert!(column.statistics().is_some(), "{name}");
                assert!(column.offset_index_length().is_some(), "{name}");
            }
        }
    }

    #[test]
    fn a_footer_names_the_program_and_the_range_and_no_type_of_arrow_alone() {
        for file in of_each_kind() {
            let footer = file.file_metadata();
            let version = concat!("tipstream ", env!("CARGO_PKG_VERSION"));
            assert_eq!(footer.created_by(), Some(version));
            let keys: Vec<&str> =
                footer.key_value_metadata().into_iter().flatten().map(|pair| pair.key.as_str()).collect();
            assert!(keys.iter().all(|key| key.starts_with("tipstream.")), "{keys:?}");
            assert!(!keys.is_empty());
        }
    }

    #[test]
    fn a_row_group_ends_at_its_limit() {
        let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(0..=ROW_GROUP_ROWS as i64));
        let schema = Arc::new(Schema::new(vec![Field::new("kafka_offset", DataType::Int64, false)]));
        let file = written(&RecordBatch::try_new(schema, vec![offsets]).expect("a column"));
        let rows: Vec<i64> = file.row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(rows, [ROW_GROUP_ROWS as i64, 1]);
    }
}
