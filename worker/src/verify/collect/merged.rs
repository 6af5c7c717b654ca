//! Merged raw files: their footers, and the coordinates of all their rows.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::archive::read_end;
use crate::core::shard::Topic;
use crate::core::time::Day;
use crate::raw::remote::Remote;
use crate::sink::{Entry, Sink, SinkError};
use crate::verify::footer::{self, FooterError};
use crate::verify::merged::{Contents, Coordinates, MergedFile, Part};
use crate::verify::progress::Progress;

/// Reads them, one after the other: a file is large, and only two of its columns are read.
///
/// # Errors
/// Where the sink fails. What it holds never makes an error here.
pub async fn files(
    sink: &Sink,
    files: Vec<(&Entry, Topic, Day)>,
    progress: &Progress,
) -> Result<Vec<MergedFile>, SinkError> {
    let line = progress.files("merged files", files.len() as u64);
    let mut merged = Vec::with_capacity(files.len());
    for (entry, topic, day) in files {
        let contents = contents(sink, entry, topic).await?;
        line.add(1);
        merged.push(MergedFile { path: entry.path.clone(), topic, day, contents });
    }
    Ok(merged)
}

/// The footer, and the coordinates of every row against it.
async fn contents(
    sink: &Sink,
    entry: &Entry,
    topic: Topic,
) -> Result<Result<Contents, FooterError>, SinkError> {
    let metadata = match read_end(sink, entry, footer::metadata).await? {
        Ok(metadata) => Arc::new(metadata),
        Err(error) => return Ok(Err(error)),
    };
    let mut contents = match footer::of_merged(&metadata, topic) {
        Ok(contents) => contents,
        Err(error) => return Ok(Err(error)),
    };
    contents.coordinates = match coordinates(sink, &entry.path, metadata, &contents.parts).await {
        Ok(coordinates) => coordinates.finish(),
        Err(error) => return Ok(Err(error.into())),
    };
    Ok(Ok(contents))
}

async fn coordinates<'a>(
    sink: &Sink,
    path: &str,
    metadata: Arc<ParquetMetaData>,
    parts: &'a [Part],
) -> Result<Coordinates<'a>, ParquetError> {
    let remote = Remote::new(sink.clone(), path, metadata);
    let builder = ParquetRecordBatchStreamBuilder::new(remote).await?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["kafka_partition", "kafka_offset"]);
    let mut rows = builder.with_projection(columns).build()?;
    let mut coordinates = Coordinates::new(parts);
    while let Some(batch) = rows.try_next().await? {
        let partitions =
            batch.column_by_name("kafka_partition").and_then(|c| c.as_primitive_opt::<Int32Type>());
        let offsets = batch.column_by_name("kafka_offset").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let (Some(partitions), Some(offsets)) = (partitions, offsets) else {
            return Err(ParquetError::General("it has no coordinates".into()));
        };
        for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
            coordinates.add(*partition, *offset);
        }
    }
    Ok(coordinates)
}
