//! Subqueries of the catalog that give a value: PostgreSQL takes the one row that there is, the engine wants to see
//! from the plan that there is no other.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::first_value;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use datafusion::optimizer::AnalyzerRule;

/// Takes the first row of a correlated subquery that reads the catalog only. Clients ask so by the key of a row, so
/// there is no second; of other tables the engine's error is better than a row of several.
#[derive(Debug)]
pub struct OneRow;

impl AnalyzerRule for OneRow {
    fn name(&self) -> &str {
        "one_row_of_the_catalog"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|plan| {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let other = expr.transform_up(|expr| match expr {
                    Expr::ScalarSubquery(subquery) if gives_rows(&subquery)? => {
                        Ok(Transformed::yes(Expr::ScalarSubquery(first(subquery)?)))
                    }
                    other => Ok(Transformed::no(other)),
                })?;
                Ok(other.update_data(|expr| name.restore(expr)))
            })
        });
        Ok(plan?.data)
    }
}

fn gives_rows(subquery: &Subquery) -> Result<bool> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(false);
    }
    let (mut scans, mut others, mut aggregates) = (false, false, false);
    subquery.subquery.apply(|plan| {
        match plan {
            LogicalPlan::TableScan(scan) if scan.table_name.schema() == Some("pg_catalog") => scans = true,
            LogicalPlan::TableScan(_) | LogicalPlan::Values(_) | LogicalPlan::Unnest(_) => others = true,
            LogicalPlan::Aggregate(_) => aggregates = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(scans && !others && !aggregates)
}

fn first(subquery: Subquery) -> Result<Subquery> {
    let inner = match Arc::unwrap_or_clone(subquery.subquery) {
        // Of one row, however it was bounded.
        LogicalPlan::Limit(limit) => Arc::unwrap_or_clone(limit.input),
        other => other,
    };
    let (qualifier, field) = inner.schema().qualified_field(0);
    let (column, name) = (Expr::from((qualifier, field)), field.name().clone());
    let plan = LogicalPlanBuilder::from(inner)
        .aggregate(Vec::<Expr>::new(), vec![first_value(column, Vec::new()).alias(name)])?
        .build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}
