//! The merged file as it grows. It is written in slices of one size, however the rows come, so that its pages and its
//! bytes follow from the rows alone.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::MergeError;
use super::tally::Tally;
use crate::compact::footer::{PARTS, write};
use crate::raw::encode::ParquetFile;

/// Rows of a slice: of a page, too.
const SLICE: usize = 8192;

pub(super) struct Output {
    schema: SchemaRef,
    file: ParquetFile,
    tally: Tally,
    /// Less than a slice.
    rest: RecordBatch,
}

impl Output {
    pub(super) fn new(schema: SchemaRef, tally: Tally) -> Result<Self, MergeError> {
        let (file, rest) = (ParquetFile::new(schema.clone())?, RecordBatch::new_empty(schema.clone()));
        Ok(Output { schema, file, tally, rest })
    }

    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<(), MergeError> {
        self.tally.add(rows).map_err(MergeError::Uneven)?;
        let head = rows.num_rows().min(SLICE - self.rest.num_rows());
        self.rest = concat_batches(&self.schema, [&self.rest, &rows.slice(0, head)])?;
        let mut next = head;
        while self.rest.num_rows() == SLICE {
            self.file.write(&self.rest)?;
            let taken = SLICE.min(rows.num_rows() - next);
            self.rest = rows.slice(next, taken);
            next += taken;
        }
        Ok(())
    }

    /// The file, if its rows are those that were promised.
    pub(super) fn finish(mut self, topic: String, fingerprint: String) -> Result<Bytes, MergeError> {
        self.file.write(&self.rest)?;
        let parts = self.tally.finish().map_err(MergeError::Uneven)?;
        Ok(self.file.finish(&[
            ("tipstream.topic", topic),
            (PARTS, write(&parts)),
            ("tipstream.fingerprint", fingerprint),
        ])?)
    }
}
