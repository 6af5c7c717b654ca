//! Every query becomes a plan here, whichever way it came (simple or extended protocol, a cursor): so this is where
//! it gets its snapshot and its limits, and where what is no query is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::{QueryPlanner, SQLOptions};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use crate::bounded::{Bounded, Limit};
use crate::connection::{Client, Outcome};
use crate::engine::Limits;
use crate::snapshot::Snapshot;
use crate::source::Sources;
use crate::statement::Statement;
use crate::tables;
use crate::turns::Turns;

/// Plans queries over the results of one pipeline.
pub struct Planner {
    sources: Arc<Sources>,
    limits: Limits,
    turns: Turns,
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(logical_plan)
            .map_err(|error| crate::error::refuse("25006", format!("only queries are answered: {error}")))?;
        let client = session.config().get_extension::<Client>().unwrap_or_default();
        let query = client.begin(&self.sources.metrics);
        let deadline = Instant::now() + self.limits.time;
        let limit = Limit { deadline, time: self.limits.time, rows: self.limits.rows, query };
        let turn = self.turns.take(tables::reads(logical_plan)?, &limit).await?;
        let snapshot = Snapshot::new(Arc::clone(&self.sources), client.warnings());
        let statement = Statement::new(logical_plan, session, snapshot)?;
        let plan = match tokio::time::timeout_at(deadline.into(), statement.plan()).await {
            Ok(plan) => plan.inspect_err(|_| limit.query.ended(Outcome::Failed))?,
            Err(_) => return Err(limit.too_long()),
        };
        Ok(Arc::new(Bounded::new(plan, statement, limit, turn)))
    }
}

impl Planner {
    /// Plans over `sources`, for queries within `limits`.
    pub fn new(sources: Arc<Sources>, limits: Limits) -> Self {
        let turns = Turns::new(limits.queries, &sources.metrics);
        Planner { sources, limits, turns }
    }
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planner")
    }
}
