//! `tips_live`: the windows that are open, from the state alone. And windows as rows, for `tips` too.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tips_worker::core::amount::TipSum;
use tips_worker::core::time::EventTime;
use tips_worker::results::window_file;
use tips_worker::settings::Setup;

use crate::snapshot::{Snapshot, Window};

/// Whether no trip can be added to a window any more.
pub(super) const FINAL: &str = "final";

/// Columns of the files, and whether the window is final.
pub(super) fn schema() -> SchemaRef {
    let mut fields: Vec<_> = window_file::schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(FINAL, DataType::Boolean, false)));
    Arc::new(Schema::new(fields))
}

/// Windows as rows, in the order of their starts and of the names of their neighbourhoods.
pub(super) fn rows(setup: &Setup, windows: &[Window]) -> std::result::Result<RecordBatch, ArrowError> {
    let mut rows: Vec<(EventTime, &str, TipSum, bool)> = Vec::new();
    for window in windows {
        let of_place = |(place, sum): (&_, &TipSum)| {
            (window.start, setup.job.neighbourhoods.name(*place), *sum, window.is_final)
        };
        rows.extend(window.sums.iter().map(of_place));
    }
    rows.sort_unstable_by_key(|(start, name, ..)| (*start, *name));
    let times = |time: &dyn Fn(EventTime) -> EventTime| -> ArrayRef {
        let micros = rows.iter().map(|(start, ..)| time(*start).micros());
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
    };
    let sums = Decimal128Array::from_iter_values(rows.iter().map(|(.., sum, _)| sum.micros));
    let schema = schema();
    let columns: Vec<ArrayRef> = vec![
        times(&|start| start),
        times(&|start| start.plus(setup.job.rules.window)),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, name, ..)| name))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(.., sum, _)| sum.average()))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(.., sum, _)| sum.trips as i64))),
        Arc::new(sums.with_data_type(schema.field(5).data_type().clone())),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|(.., is_final)| Some(*is_final)))),
    ];
    RecordBatch::try_new(schema, columns)
}

/// Rows of files, as those of the table.
pub(super) fn published(rows: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(BooleanArray::from(vec![true; rows.num_rows()])));
    RecordBatch::try_new(schema(), columns)
}

/// A plan that returns `rows`.
pub(super) fn plan(rows: RecordBatch, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = rows.schema();
    Ok(MemorySourceConfig::try_new_exec(&[vec![rows]], schema, projection.cloned())?)
}

/// The open windows.
#[derive(Debug)]
pub(super) struct Live;

#[async_trait]
impl TableProvider for Live {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshot = Snapshot::of(session)?;
        let windows = snapshot.open_windows().await;
        plan(rows(&snapshot.sources().setup, &windows)?, projection)
    }
}
