//! `tips`: every window once, from the state until its file is there, then from the file.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;
use tips_worker::results::window_file;

use super::files::{self, Scan};
use super::windows::{self, FINAL};
use crate::bounds::Bounds;
use crate::snapshot::Snapshot;

/// The windows.
#[derive(Debug)]
pub(super) struct Tips;

#[async_trait]
impl TableProvider for Tips {
    fn schema(&self) -> SchemaRef {
        windows::schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshot = Snapshot::of(session)?;
        let setup = &snapshot.sources().setup;
        let ends = Bounds::of("window_end", filters).earlier(setup.job.rules.window);
        let bounds = Bounds::of("window_start", filters).and(ends);
        let tips = snapshot.tips(bounds).await?;
        let is_final = Arc::new(Field::new(FINAL, DataType::Boolean, false));
        let scan = Scan {
            schema: TableSchema::builder(window_file::schema())
                .with_table_partition_cols(vec![is_final])
                .build(),
            files: &tips.files,
            values: &[ScalarValue::Boolean(Some(true))],
            projection,
            limit,
        };
        let archive = files::plan(session, &scan)?;
        let mut parts = vec![archive];
        if !tips.windows.is_empty() {
            parts.push(windows::plan(windows::rows(setup, &tips.windows)?, projection)?);
        }
        for others in tips.others {
            parts.push(windows::plan(windows::published(others.rows())?, projection)?);
        }
        match parts.len() {
            1 => Ok(parts.swap_remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
