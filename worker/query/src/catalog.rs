//! What clients ask of a server's catalog and the kept libraries do not have, or have otherwise than PostgreSQL: put in
//! front of theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::{CatalogProvider, MemTable, SchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{SessionContext, lit};
use datafusion::scalar::ScalarValue;
use datafusion_postgres::arrow_pg::datatypes::arrow_schema_to_pg_fields;
use datafusion_postgres::pgwire::api::portal::Format;

use crate::functions::SETTINGS;
use crate::tables::SCHEMA;

const PG_CATALOG: &str = "pg_catalog";

/// Rows of tables are not counted.
const STATISTICS: &[(&str, Kind)] = &[
    ("relid", Kind::Number),
    ("schemaname", Kind::Text),
    ("relname", Kind::Text),
    ("n_live_tup", Kind::Number),
];
/// There are no constraints and no indexes. The kept library has some, of PostgreSQL's own catalog, with arrays as text.
const CONSTRAINTS: &[(&str, Kind)] = &[
    ("oid", Kind::Number),
    ("conname", Kind::Text),
    ("connamespace", Kind::Number),
    ("contype", Kind::Text),
    ("condeferrable", Kind::Flag),
    ("condeferred", Kind::Flag),
    ("convalidated", Kind::Flag),
    ("conrelid", Kind::Number),
    ("contypid", Kind::Number),
    ("conindid", Kind::Number),
    ("conparentid", Kind::Number),
    ("confrelid", Kind::Number),
    ("confupdtype", Kind::Text),
    ("confdeltype", Kind::Text),
    ("confmatchtype", Kind::Text),
    ("conislocal", Kind::Flag),
    ("coninhcount", Kind::Number),
    ("connoinherit", Kind::Flag),
    ("conkey", Kind::Numbers),
    ("confkey", Kind::Numbers),
    ("conbin", Kind::Text),
];
const INDEXES: &[(&str, Kind)] = &[
    ("indexrelid", Kind::Number),
    ("indrelid", Kind::Number),
    ("indnatts", Kind::Number),
    ("indnkeyatts", Kind::Number),
    ("indisunique", Kind::Flag),
    ("indnullsnotdistinct", Kind::Flag),
    ("indisprimary", Kind::Flag),
    ("indisexclusion", Kind::Flag),
    ("indimmediate", Kind::Flag),
    ("indisclustered", Kind::Flag),
    ("indisvalid", Kind::Flag),
    ("indisready", Kind::Flag),
    ("indislive", Kind::Flag),
    ("indisreplident", Kind::Flag),
    ("indkey", Kind::Numbers),
    ("indcollation", Kind::Numbers),
    ("indclass", Kind::Numbers),
    ("indoption", Kind::Numbers),
    ("indexprs", Kind::Text),
    ("indpred", Kind::Text),
];
const TABLE_CONSTRAINTS: &[(&str, Kind)] = &[
    ("constraint_name", Kind::Text),
    ("constraint_type", Kind::Text),
    ("table_schema", Kind::Text),
    ("table_name", Kind::Text),
];
const KEY_COLUMNS: &[(&str, Kind)] = &[
    ("constraint_name", Kind::Text),
    ("table_schema", Kind::Text),
    ("table_name", Kind::Text),
    ("column_name", Kind::Text),
    ("ordinal_position", Kind::Number),
];

/// Of a column of a table without rows.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Number,
    Numbers,
}

impl Kind {
    fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Flag => DataType::Boolean,
            Kind::Number => DataType::Int32,
            Kind::Numbers => DataType::new_list(DataType::Int16, true),
        }
    }
}

/// Puts our tables in front of those of `pg_catalog` and `information_schema`.
///
/// # Errors
/// Where the tables of `catalog` cannot be described.
pub async fn complete(context: &SessionContext, catalog: &str) -> Result<()> {
    let missing = || DataFusionError::Internal(format!("no catalog {catalog}"));
    let theirs = context.catalog(catalog).ok_or_else(missing)?;
    if let Some(rest) = theirs.schema(PG_CATALOG) {
        let own = [
            ("pg_settings", settings()?),
            ("pg_stat_user_tables", no_rows(STATISTICS)?),
            ("pg_constraint", no_rows(CONSTRAINTS)?),
            ("pg_index", no_rows(INDEXES)?),
            ("pg_class", classes(context).await?),
            ("pg_namespace", with(context, "pg_namespace", &[("nspacl", texts(None))]).await?),
            ("pg_database", with(context, "pg_database", &[("datacl", texts(None))]).await?),
            ("pg_type", with(context, "pg_type", &[("typacl", texts(None))]).await?),
        ];
        theirs.register_schema(PG_CATALOG, Arc::new(Overlay { own: own.into(), rest }))?;
    }
    let own = [
        ("columns", columns(&*theirs, catalog).await?),
        ("table_constraints", no_rows(TABLE_CONSTRAINTS)?),
        ("key_column_usage", no_rows(KEY_COLUMNS)?),
    ];
    let rest = InformationSchemaProvider::new(Arc::clone(context.state().catalog_list()));
    let schema = Overlay { own: own.into(), rest: Arc::new(rest) };
    theirs.register_schema(INFORMATION_SCHEMA, Arc::new(schema))?;
    Ok(())
}

type Table = Arc<dyn TableProvider>;

/// A schema of which some tables are ours.
#[derive(Debug)]
struct Overlay {
    own: BTreeMap<&'static str, Table>,
    rest: Arc<dyn SchemaProvider>,
}

#[async_trait]
impl SchemaProvider for Overlay {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.rest.table_names();
        names.extend(self.own.keys().map(|name| (*name).to_owned()));
        names.sort_unstable();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Table>> {
        match self.own.get(name) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.rest.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.own.contains_key(name) || self.rest.table_exist(name)
    }
}

fn settings() -> Result<Table> {
    let (names, values): (Vec<_>, Vec<_>) = SETTINGS.into_iter().unzip();
    let unset = || Arc::new(StringArray::new_null(SETTINGS.len())) as ArrayRef;
    table(vec![
        ("name", strings(names)),
        ("setting", strings(values)),
        ("unit", unset()),
        ("category", unset()),
    ])
}

/// All users may read all tables, and nobody may do more.
async fn classes(context: &SessionContext) -> Result<Table> {
    let columns = [("reloptions", texts(None)), ("relacl", texts(Some("=r/tipstream")))];
    with(context, "pg_class", &columns).await
}

/// The library's, with columns that it lacks or has as text.
async fn with(context: &SessionContext, table: &str, columns: &[(&str, ScalarValue)]) -> Result<Table> {
    let mut rows = context.table(TableReference::partial(PG_CATALOG, table)).await?;
    for (name, value) in columns {
        rows = rows.with_column(name, lit(value.clone()))?;
    }
    Ok(rows.into_view())
}

/// An array of one text, or none.
fn texts(one: Option<&str>) -> ScalarValue {
    match one {
        Some(text) => {
            ScalarValue::List(ScalarValue::new_list_nullable(&[ScalarValue::from(text)], &DataType::Utf8))
        }
        None => ScalarValue::new_null_list(DataType::Utf8, true, 1),
    }
}

fn no_rows(columns: &[(&str, Kind)]) -> Result<Table> {
    let field = |(name, kind): &(&str, Kind)| Field::new(*name, kind.data_type(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    Ok(Arc::new(MemTable::try_new(schema, vec![Vec::new()])?))
}

/// The columns of our tables as PostgreSQL describes them.
async fn columns(catalog: &dyn CatalogProvider, name: &str) -> Result<Table> {
    let (mut tables, mut columns, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut nullable, mut types) = (Vec::new(), Vec::new());
    let schema = catalog.schema(SCHEMA);
    for table in schema.iter().flat_map(|schema| schema.table_names()) {
        let Some(provider) = schema.as_ref().map(|schema| schema.table(&table)) else { continue };
        let Some(provider) = provider.await? else { continue };
        let fields = provider.schema();
        let told = arrow_schema_to_pg_fields(&fields, &Format::UnifiedText, None)
            .map_err(|error| DataFusionError::External(error.into()))?;
        for ((field, told), position) in fields.fields().iter().zip(told).zip(1..) {
            tables.push(table.clone());
            columns.push(field.name().clone());
            positions.push(position);
            nullable.push(if field.is_nullable() { "YES" } else { "NO" });
            types.push(told.datatype().name().to_owned());
        }
    }
    let rows = tables.len();
    let all = |value: &str| strings(vec![value; rows]);
    let unset = || Arc::new(StringArray::new_null(rows)) as ArrayRef;
    let numbers = || Arc::new(Int32Array::new_null(rows)) as ArrayRef;
    table(vec![
        ("table_catalog", all(name)),
        ("table_schema", all(SCHEMA)),
        ("table_name", strings(tables)),
        ("column_name", strings(columns)),
        ("ordinal_position", Arc::new(Int32Array::from(positions))),
        ("column_default", unset()),
        ("is_nullable", strings(nullable)),
        ("data_type", strings(types.iter().map(|name| long_name(name)).collect())),
        ("character_maximum_length", numbers()),
        ("numeric_precision", numbers()),
        ("numeric_scale", numbers()),
        ("datetime_precision", numbers()),
        ("udt_catalog", all(name)),
        ("udt_schema", all(PG_CATALOG)),
        ("udt_name", strings(types.clone())),
        ("is_identity", all("NO")),
        ("is_generated", all("NEVER")),
        ("is_updatable", all("NO")),
    ])
}

/// The name that the SQL standard has for a type of PostgreSQL.
fn long_name(name: &str) -> &str {
    match name {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "varchar" => "character varying",
        other => other,
    }
}

fn strings<T: Into<String>>(values: Vec<T>) -> ArrayRef {
    Arc::new(values.into_iter().map(|value| Some(value.into())).collect::<StringArray>())
}

fn table(columns: Vec<(&'static str, ArrayRef)>) -> Result<Table> {
    let field = |(name, values): &(&str, ArrayRef)| Field::new(*name, values.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, values)| values).collect();
    let rows = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}
