//! `pipeline_status`: one row of how the pipeline stands, and of what cannot be reached.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tips_worker::core::books::{Books, Outcome};
use tips_worker::core::shard::Topic;
use tips_worker::core::time::EventTime;
use tips_worker::raw::columns::timestamp;
use tips_worker::state::View;

use super::windows;
use crate::snapshot::Snapshot;
use crate::source::Sources;

/// The status.
#[derive(Debug)]
pub(super) struct Status;

fn schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let count = |name: &str| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![
        text("pipeline", false),
        Field::new("epoch", DataType::Int64, false),
        text("fingerprint", false),
        Field::new("watermark", timestamp(), true),
        Field::new("latest_event_time", timestamp(), true),
        count("open_windows"),
        count("rides_consumed"),
        count("fares_consumed"),
        count("trips_joined"),
        count("rides_pending"),
        count("fares_pending"),
        count("rides_invalid"),
        count("fares_invalid"),
        text("state_error", true),
        text("sink_error", true),
    ]))
}

/// What the state says, all of it absent where it cannot be asked.
#[derive(Default)]
struct State {
    watermark: Option<EventTime>,
    latest: Option<EventTime>,
    books: Option<Books>,
    error: Option<String>,
}

impl State {
    async fn ask(sources: &Sources) -> Self {
        match sources.views().await {
            Ok(views) => Self::of(&views),
            Err(error) => State { error: Some(error.to_string()), ..State::default() },
        }
    }

    fn of(views: &[View]) -> Self {
        let progress = views.iter().flat_map(|view| view.progress.values());
        State {
            watermark: views.iter().map(|view| view.watermark).min().flatten(),
            latest: progress.filter_map(|progress| progress.max_event_time).max(),
            books: Some(views.iter().map(|view| view.books).sum()),
            error: None,
        }
    }

    fn count(&self, topic: Topic, outcome: Outcome) -> Option<i64> {
        self.books.as_ref().map(|books| books.of(topic).get(outcome))
    }

    fn consumed(&self, topic: Topic) -> Option<i64> {
        self.books.as_ref().map(|books| books.of(topic).consumed)
    }
}

fn row(
    sources: &Sources,
    state: &State,
    open: Option<i64>,
    sink_error: Option<String>,
) -> Result<RecordBatch> {
    let identity = &sources.setup.identity;
    let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
    let number = |value: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let time = |value: Option<EventTime>| -> ArrayRef {
        let micros = vec![value.map(EventTime::micros)];
        Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
    };
    let columns = vec![
        text(Some(&identity.pipeline)),
        number(i64::try_from(identity.epoch).ok()),
        text(Some(&identity.fingerprint)),
        time(state.watermark),
        time(state.latest),
        number(open),
        number(state.consumed(Topic::Rides)),
        number(state.consumed(Topic::Fares)),
        number(state.count(Topic::Rides, Outcome::Joined)),
        number(state.count(Topic::Rides, Outcome::Pending)),
        number(state.count(Topic::Fares, Outcome::Pending)),
        number(state.count(Topic::Rides, Outcome::Invalid)),
        number(state.count(Topic::Fares, Outcome::Invalid)),
        text(state.error.as_deref()),
        text(sink_error.as_deref()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

#[async_trait]
impl TableProvider for Status {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshot = Snapshot::of(session)?;
        let sources = snapshot.sources();
        let (state, sink_error) = tokio::join!(State::ask(sources), sources.own_sink().error());
        let open = match state.error {
            None => Some(snapshot.open_windows().await.len() as i64),
            Some(_) => None,
        };
        windows::plan(row(sources, &state, open, sink_error)?, projection)
    }
}
