//! The tables: what columns they have, and how a query scans them. Their rows come from the query's snapshot.

mod files;
mod status;
mod tips;
mod windows;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::Result;
use tips_worker::core::shard::Topic;

use crate::archive::Table;

/// The schema that the tables are in, which every client looks into by itself.
pub const SCHEMA: &str = "public";

/// A table's name and what it is.
type Named = (&'static str, Arc<dyn TableProvider>);

/// The catalog with all tables.
///
/// # Errors
/// Only where the engine refuses its own catalog.
pub fn catalog() -> Result<MemoryCatalogProvider> {
    let catalog = MemoryCatalogProvider::new();
    let tables: Vec<Named> = vec![
        ("tips", Arc::new(tips::Tips)),
        ("tips_live", Arc::new(windows::Live)),
        ("rides", Arc::new(files::Lines::new(Table::Raw(Topic::Rides)))),
        ("fares", Arc::new(files::Lines::new(Table::Raw(Topic::Fares)))),
        ("invalid", Arc::new(files::Lines::new(Table::Invalid))),
        ("pipeline_status", Arc::new(status::Status)),
    ];
    catalog.register_schema(SCHEMA, Arc::new(Tables(tables)))?;
    Ok(catalog)
}

/// The tables. There are no others: what is not implemented here (to register, to drop) is refused.
#[derive(Debug)]
struct Tables(Vec<Named>);

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.iter().find(|(known, _)| *known == name).map(|(_, table)| Arc::clone(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }
}
