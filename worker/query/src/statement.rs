//! A statement: planned for what a query sees, and planned again where files that it was about to read were merged
//! away meanwhile.
//!
//! A plan names files. Compaction may take them away before they are read: their rows are in another file then, which
//! another listing finds. As long as the client has no row of the answer, it may have the answer of that listing. The
//! state is not read again: what it had when the query began is either as it was, or in files that a later listing has
//! too (see [`snapshot`](crate::snapshot)).

use std::fmt;
use std::sync::{Arc, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::error::{is_overtaken, overtaken};
use crate::snapshot::Snapshot;

/// How often a statement is planned again. A merge takes the files of a day and table away once; a query that meets
/// three of them is slower than they are.
const REPEATS: u32 = 2;

/// A statement of a client.
pub struct Statement {
    logical: LogicalPlan,
    /// With the snapshot.
    session: SessionState,
}

impl Statement {
    /// `logical` in `session`, seeing `snapshot`.
    ///
    /// # Errors
    /// Where the session is of another engine.
    pub fn new(logical: &LogicalPlan, session: &dyn Session, snapshot: Snapshot) -> Result<Self> {
        let state = session.as_any().downcast_ref::<SessionState>();
        let other = || DataFusionError::Internal("the session is of another kind".to_owned());
        let session = seeing(state.ok_or_else(other)?, snapshot);
        Ok(Statement { logical: logical.clone(), session })
    }

    /// A plan of one partition.
    ///
    /// # Errors
    /// Where the statement cannot be planned, or the sink does not answer.
    pub async fn plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        self.plan_in(&self.session).await
    }

    /// The rows that `first`, an execution of its plan, gives; or where files were merged away before it gave any,
    /// those of another plan.
    pub fn rows(
        self: Arc<Self>,
        first: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let reading = Reading { statement: self, context, rows: first, repeats_left: REPEATS };
        stream::try_unfold(reading, Reading::next).boxed()
    }

    /// A plan of the files that are there now.
    async fn plan_again(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshot = Snapshot::of(&self.session)?;
        snapshot.sources().metrics.repeated.inc();
        let (snapshot, warnings) = snapshot.again();
        let plan = self.plan_in(&seeing(&self.session, snapshot)).await?;
        // Too late to tell the client beside its rows.
        match warnings.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            true => Ok(plan),
            false => Err(overtaken()),
        }
    }

    async fn plan_in(&self, session: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::default();
        let plan = planner.create_physical_plan(&self.logical, session).await?;
        Ok(match plan.output_partitioning().partition_count() {
            0 | 1 => plan,
            _ => Arc::new(CoalescePartitionsExec::new(plan)),
        })
    }
}

fn seeing(session: &SessionState, snapshot: Snapshot) -> SessionState {
    let mut session = session.clone();
    session.config_mut().set_extension(Arc::new(snapshot));
    session
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("logical", &self.logical).finish_non_exhaustive()
    }
}

struct Reading {
    statement: Arc<Statement>,
    context: Arc<TaskContext>,
    rows: SendableRecordBatchStream,
    repeats_left: u32,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            match self.rows.try_next().await {
                Ok(None) => return Ok(None),
                Ok(Some(batch)) => {
                    if batch.num_rows() > 0 {
                        self.repeats_left = 0;
                    }
                    return Ok(Some((batch, self)));
                }
                Err(error) if self.repeats_left > 0 && is_overtaken(&error) => self.begin_again().await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin_again(&mut self) -> Result<()> {
        self.repeats_left -= 1;
        // What the first plan holds is given back before another one takes as much.
        self.rows = Box::pin(EmptyRecordBatchStream::new(self.rows.schema()));
        self.rows = self.statement.plan_again().await?.execute(0, Arc::clone(&self.context))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
