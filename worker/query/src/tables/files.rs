//! `rides`, `fares` and `invalid`: every line, from the files. And files as a plan, for `tips` too.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::scalar::ScalarValue;
use tips_worker::core::shard::Topic;
use tips_worker::raw::columns;

use crate::archive::{File, Table};
use crate::bounds::Bounds;
use crate::reader::Readers;
use crate::snapshot::Snapshot;
use crate::store;

/// The lines of a topic, or those in quarantine.
#[derive(Debug)]
pub(super) struct Lines {
    table: Table,
    schema: SchemaRef,
}

impl Lines {
    pub(super) fn new(table: Table) -> Self {
        let schema = match table {
            Table::Raw(Topic::Rides) => columns::ride_schema(),
            Table::Raw(Topic::Fares) => columns::fare_schema(),
            Table::Invalid | Table::Tips => columns::invalid_schema(),
        };
        Lines { table, schema: as_read(&schema) }
    }

    /// The column that decides in which day's folder a row is.
    fn time(&self) -> Option<&'static str> {
        match self.table {
            Table::Raw(Topic::Rides) => Some("event_time"),
            Table::Raw(Topic::Fares) => Some("start_time"),
            Table::Invalid | Table::Tips => None,
        }
    }
}

/// Parquet has no decimal of 64 bits; its readers, this one too, see one of 128.
fn as_read(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Decimal64(precision, scale) => {
            Field::new(field.name(), DataType::Decimal128(*precision, *scale), field.is_nullable())
        }
        _ => field.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for Lines {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
        let bounds = self.time().map(|column| Bounds::of(column, filters)).unwrap_or_default();
        let listed = Snapshot::of(session)?.listed(self.table, bounds).await?;
        let schema = TableSchema::from(&self.schema);
        plan(session, &Scan { schema, files: &listed.files, values: &[], projection, limit })
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// What of which files is wanted.
pub(super) struct Scan<'a> {
    /// Columns of the files, then those that the paths decide.
    pub(super) schema: TableSchema,
    pub(super) files: &'a [File],
    /// The values of the latter, for every file.
    pub(super) values: &'a [ScalarValue],
    pub(super) projection: Option<&'a Vec<usize>>,
    /// Rows that are enough, if no filter takes any away.
    pub(super) limit: Option<usize>,
}

/// A plan that reads files. The optimizer gives it the filters, so that it reads no row group and no page whose
/// statistics exclude all rows.
pub(super) fn plan(session: &dyn Session, scan: &Scan<'_>) -> Result<Arc<dyn ExecutionPlan>> {
    if scan.files.is_empty() {
        return empty(scan);
    }
    let parquet = session.config_options().execution.parquet.clone();
    let options = datafusion::common::config::TableParquetOptions { global: parquet, ..Default::default() };
    let url = ObjectStoreUrl::parse(store::URL)?;
    let readers = Readers::new(session.runtime_env().object_store(&url)?);
    let source = ParquetSource::new(scan.schema.clone())
        .with_table_parquet_options(options)
        .with_parquet_file_reader_factory(Arc::new(readers));
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file_groups(groups(scan, session.config().target_partitions()))
        .with_projection_indices(scan.projection.cloned())?
        .with_limit(scan.limit)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

fn empty(scan: &Scan<'_>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = Arc::clone(scan.schema.table_schema());
    let projected = match scan.projection {
        Some(indices) => Arc::new(schema.project(indices)?),
        None => schema,
    };
    Ok(Arc::new(EmptyExec::new(projected)))
}

fn groups(scan: &Scan<'_>, partitions: usize) -> Vec<FileGroup> {
    let file = |file: &File| {
        PartitionedFile::new(file.entry.path.clone(), file.entry.len)
            .with_partition_values(scan.values.to_vec())
    };
    FileGroup::new(scan.files.iter().map(file).collect()).split_files(partitions)
}
