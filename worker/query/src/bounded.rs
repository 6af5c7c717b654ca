//! The root of every plan: passes rows on until the query has taken its time, has given its rows, or is cancelled.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, EmptyRecordBatchStream, ExecutionPlan, PlanProperties,
};
use futures::{Stream, StreamExt};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::connection::{Outcome, Running};
use crate::error::refuse;

/// What a query may take.
#[derive(Clone, Debug)]
pub struct Limit {
    /// When it has to end.
    pub deadline: Instant,
    /// How long that is.
    pub time: Duration,
    /// Rows that it may return.
    pub rows: u64,
    /// The query, for whoever cancels it.
    pub query: Arc<Running>,
}

impl Limit {
    /// That the time is over.
    pub fn too_long(&self) -> DataFusionError {
        self.query.ended(Outcome::Timeout);
        refuse(
            "57014",
            format!(
                "the query took longer than {:?}: bound the time that it reads, or raise --query-timeout of the \
                 query service",
                self.time
            ),
        )
    }

    fn too_many_rows(&self) -> DataFusionError {
        self.query.ended(Outcome::Rows);
        refuse(
            "54000",
            format!(
                "the answer has more than {} rows: aggregate, bound the time or add LIMIT, or raise --max-rows of \
                 the query service",
                self.rows
            ),
        )
    }

    fn cancelled(&self) -> DataFusionError {
        self.query.ended(Outcome::Cancelled);
        refuse("57014", "canceling statement due to user request")
    }
}

/// A plan within limits.
#[derive(Debug)]
pub struct Bounded {
    input: Arc<dyn ExecutionPlan>,
    limit: Limit,
}

impl Bounded {
    /// `input`, of one partition, within `limit`.
    pub fn new(input: Arc<dyn ExecutionPlan>, limit: Limit) -> Self {
        Bounded { input, limit }
    }
}

impl DisplayAs for Bounded {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bounded: time={:?}, rows={}", self.limit.time, self.limit.rows)
    }
}

impl ExecutionPlan for Bounded {
    fn name(&self) -> &str {
        "Bounded"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Bounded { input, limit: self.limit.clone() })),
            _ => Err(DataFusionError::Internal("Bounded has one input".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Rows {
            input: self.input.execute(partition, context)?,
            over: Box::pin(tokio::time::sleep_until(self.limit.deadline.into())),
            cancelled: Box::pin(self.limit.query.cancelled()),
            rows: 0,
            done: false,
            limit: self.limit.clone(),
        }))
    }
}

struct Rows {
    input: SendableRecordBatchStream,
    over: Pin<Box<Sleep>>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    rows: u64,
    done: bool,
    limit: Limit,
}

impl Rows {
    fn poll_limited(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        if self.cancelled.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(self.limit.cancelled())));
        }
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(self.limit.too_long())));
        }
        let next = self.input.poll_next_unpin(context);
        match &next {
            Poll::Ready(Some(Ok(batch))) => {
                self.rows += batch.num_rows() as u64;
                if self.rows > self.limit.rows {
                    return Poll::Ready(Some(Err(self.limit.too_many_rows())));
                }
            }
            Poll::Ready(Some(Err(_))) => self.limit.query.ended(Outcome::Failed),
            Poll::Ready(None) => self.limit.query.ended(Outcome::Answered),
            Poll::Pending => {}
        }
        next
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = self.poll_limited(context);
        self.done = matches!(next, Poll::Ready(None | Some(Err(_))));
        if self.done {
            // Whoever keeps the stream, as a cursor that is not closed, keeps none of its memory.
            let schema = self.input.schema();
            self.input = Box::pin(EmptyRecordBatchStream::new(schema));
        }
        next
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
