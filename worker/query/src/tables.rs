//! The tables: what columns they have, and how a query scans them. Their rows come from the query's snapshot.

mod files;
mod status;
mod tips;
mod windows;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use tips_worker::core::shard::Topic;

use crate::archive::Table;
use crate::turns::Reads;

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

/// What a query reads.
///
/// # Errors
/// Only where the engine refuses its own plan.
pub fn reads(plan: &LogicalPlan) -> Result<Reads> {
    let mut reads = Reads::State;
    plan.apply_with_subqueries(|step| {
        if let LogicalPlan::TableScan(TableScan { table_name, .. }) = step
            && Table::ALL.iter().any(|of_files| of_files.folder() == table_name.table())
        {
            reads = Reads::Files;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
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

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn a_query_reads_files_where_any_part_of_it_does() {
        let context = SessionContext::new();
        let tables = catalog().expect("a catalog").schema(SCHEMA).expect("the schema");
        for name in tables.table_names() {
            let table = tables.table(&name).await.expect("known").expect("a table");
            context.register_table(&name, table).expect("registered");
        }
        for (sql, expected) in [
            ("SELECT 1", Reads::State),
            ("SELECT * FROM tips_live", Reads::State),
            ("SELECT * FROM tips_live, public.pipeline_status", Reads::State),
            ("SELECT * FROM tips", Reads::Files),
            ("SELECT * FROM public.invalid", Reads::Files),
            ("SELECT trips, (SELECT count(*) FROM rides) FROM tips_live", Reads::Files),
            ("WITH lines AS (SELECT * FROM fares) SELECT * FROM tips_live, lines", Reads::Files),
            ("EXPLAIN SELECT * FROM tips", Reads::Files),
        ] {
            let plan = context.state().create_logical_plan(sql).await.expect(sql);
            assert_eq!(reads(&plan).expect("a plan"), expected, "{sql}");
        }
    }
}
