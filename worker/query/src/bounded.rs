//! The root of every plan: passes rows on until the query has taken its time, has given its rows, or is cancelled.

use std::fmt;
use std::num::NonZeroUsize;
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
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc::Sender;

use crate::connection::{Outcome, Running};
use crate::error::refuse;
use crate::statement::Statement;
use crate::turns::Turn;

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
                "the query took longer than {:?}: bound the time that it reads, or raise --query-timeout \
                 (spec.query.limits.timeout)",
                self.time
            ),
        )
    }

    fn too_many_rows(&self) -> DataFusionError {
        self.query.ended(Outcome::Rows);
        refuse(
            "54000",
            format!(
                "the answer has more than {} rows: aggregate, bound the time or add LIMIT, or raise --max-rows \
                 (spec.query.limits.rows)",
                self.rows
            ),
        )
    }

    /// That the time is over, and it never came to run.
    pub fn no_turn(&self, queries: NonZeroUsize) -> DataFusionError {
        self.query.ended(Outcome::Timeout);
        refuse(
            "53400",
            format!(
                "the query waited for its turn for {:?}: {queries} queries run, or are cursors that are left open; \
                 ask again, or raise --max-queries (spec.query.limits.queries)",
                self.time
            ),
        )
    }

    /// That nobody wants it any more.
    pub fn cancelled(&self) -> DataFusionError {
        self.query.ended(Outcome::Cancelled);
        refuse("57014", "canceling statement due to user request")
    }
}

/// A plan within limits.
#[derive(Debug)]
pub struct Bounded {
    input: Arc<dyn ExecutionPlan>,
    statement: Arc<Statement>,
    limit: Limit,
    turn: Arc<Turn>,
}

impl Bounded {
    /// `input`, the plan of `statement`, within `limit`, in its turn.
    pub fn new(input: Arc<dyn ExecutionPlan>, statement: Statement, limit: Limit, turn: Turn) -> Self {
        Bounded { input, statement: Arc::new(statement), limit, turn: Arc::new(turn) }
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
            (Some(input), true) => {
                let (limit, turn) = (self.limit.clone(), Arc::clone(&self.turn));
                Ok(Arc::new(Bounded { input, statement: Arc::clone(&self.statement), limit, turn }))
            }
            _ => Err(DataFusionError::Internal("Bounded has one input".to_owned())),
        }
    }

    /// The rows come through a task, so that a query gives its memory and its turn back when its time is over, whether
    /// or not its client reads on: a cursor may be left open for hours.
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let first = self.input.execute(partition, Arc::clone(&context))?;
        let input = Arc::clone(&self.statement).rows(first, context);
        let mut rows = RecordBatchReceiverStream::builder(self.schema(), 1);
        let (limit, turn, reader) = (self.limit.clone(), Arc::clone(&self.turn), rows.tx());
        rows.spawn(async move {
            pass_on(input, &limit, turn, &reader).await;
            Ok(())
        });
        Ok(Box::pin(Rows { rows: rows.build(), query: Some(Arc::clone(&self.limit.query)) }))
    }
}

type Reader = Sender<Result<RecordBatch>>;

type Input = BoxStream<'static, Result<RecordBatch>>;

async fn pass_on(mut input: Input, limit: &Limit, turn: Arc<Turn>, reader: &Reader) {
    let error = tokio::select! {
        biased;
        () = limit.query.cancelled() => limit.cancelled(),
        () = tokio::time::sleep_until(limit.deadline.into()) => limit.too_long(),
        passed = pass_rows(&mut input, limit, reader) => match passed {
            Ok(()) => return,
            Err(error) => error,
        },
    };
    drop((input, turn));
    // Whoever has stopped reading does not miss it.
    _ = reader.send(Err(error)).await;
}

async fn pass_rows(input: &mut Input, limit: &Limit, reader: &Reader) -> Result<()> {
    let mut rows = 0;
    while let Some(batch) = input.next().await {
        let batch = batch.inspect_err(|_| limit.query.ended(Outcome::Failed))?;
        rows += batch.num_rows() as u64;
        if rows > limit.rows {
            return Err(limit.too_many_rows());
        }
        if reader.send(Ok(batch)).await.is_err() {
            return Ok(());
        }
    }
    limit.query.ended(Outcome::Answered);
    Ok(())
}

/// What a client reads; to it the query runs until it has read the end.
struct Rows {
    rows: SendableRecordBatchStream,
    query: Option<Arc<Running>>,
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.rows.poll_next_unpin(context);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.query = None;
        }
        next
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}
