//! Files of windows that are merged away after a query was planned: before it has given a row, and after that.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::{collect, execute_stream};
use datafusion::prelude::SessionContext;
use tips_worker::compact::folder::{Dataset, parse_day};
use tips_worker::compact::run::{Compactor, Options};
use tips_worker::compact::select::Days;
use tips_worker::core::amount::TipSum;
use tips_worker::core::fold::Sums;
use tips_worker::core::locate::Place;
use tips_worker::core::time::Span;
use tips_worker::metrics::compact::CompactMetrics;
use tips_worker::results::window_file;
use tips_worker::sink::{Sink, SinkConfig, owner};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::connection::Client;
use crate::engine::{Engine, Limits};
use crate::error::for_client;
use crate::login::Roles;
use crate::source::Sources;
use crate::source::tests::{OWNER, sources_of};

const DAY: &str = "2013-01-01";
const WINDOWS: i64 = 144;
const SUMS: &str = "SELECT count(*), sum(trips), min(window_start), max(window_end) FROM tips";

/// A day of windows, each a file.
async fn archive(root: &Path, sources: &Sources) -> Sink {
    let sink = Sink::open(&SinkConfig::Fs { root: root.to_owned() }).await.expect("a folder");
    owner::claim(&sink, OWNER).await.expect("claimed");
    let (rules, provenance) = (sources.rules(), sources.setup.provenance());
    let first = parse_day(DAY).expect("a day").start();
    for window in 0..WINDOWS {
        let start = first.plus(Span::from_seconds(600 * window));
        let sum = TipSum { micros: 1_500_000, trips: 1 + window as u64 };
        let sums: Sums = [(Place::new(0), sum), (Place::new(1), sum)].into();
        let neighbourhoods = &sources.setup.job.neighbourhoods;
        let file = window_file::encode(rules, neighbourhoods, &provenance, start, &sums).expect("encoded");
        sink.put_if_absent(&window_file::path(start), file).await.expect("written");
    }
    sink
}

async fn compact(sink: &Sink) {
    let options = Options {
        datasets: [Dataset::Tips].into(),
        days: Days {
            only: vec![parse_day(DAY).expect("a day")],
            since: None,
            until: None,
            settle: Span::from_seconds(0),
        },
        target_bytes: 1 << 20,
        memory: 1 << 20,
        rate: None,
        window: Span::from_seconds(1800),
        epoch: 0,
        dry_run: false,
    };
    let metrics = CompactMetrics::new().expect("metrics");
    let mut compactor = Compactor::new(sink.clone(), options, metrics, CancellationToken::new());
    let report = compactor.run(0).await.expect("a run");
    assert_eq!(report.failure(), None);
    assert_eq!(sink.list("tips").await.expect("listed").len(), 1);
}

async fn session(sources: &Arc<Sources>) -> SessionContext {
    let limits = Limits {
        queries: 1.try_into().expect("not 0"),
        memory: 64 << 20,
        spill: 0,
        spill_dir: None,
        time: std::time::Duration::from_secs(60),
        rows: 1_000_000,
    };
    let engine = Engine::new(sources, &limits, Roles(None)).await.expect("an engine");
    engine.session(&Arc::new(Client::default()))
}

async fn planned(session: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    session.sql(sql).await.expect("a statement").create_physical_plan().await.expect("a plan")
}

#[tokio::test]
async fn a_query_that_has_given_no_row_is_begun_again_where_its_files_were_merged() {
    let dir = tempfile::tempdir().expect("a folder");
    let sources = sources_of(dir.path());
    let sink = archive(dir.path(), &sources).await;
    let session = session(&sources).await;
    let rows = async |plan| {
        let rows = collect(plan, session.task_ctx()).await.expect("rows");
        pretty_format_batches(&rows).expect("printed").to_string()
    };
    let before = rows(planned(&session, SUMS).await).await;
    assert_eq!(sources.metrics.repeated.get(), 0);
    let plan = planned(&session, SUMS).await;
    compact(&sink).await;
    assert_eq!(rows(plan).await, before);
    assert_eq!(sources.metrics.repeated.get(), 1);
    let answered = sources.metrics.queries.with_label_values(&["answered"]).get();
    assert_eq!(answered, 2, "it is no failure");
}

#[tokio::test]
async fn a_query_that_has_given_rows_ends_with_a_conflict() {
    let dir = tempfile::tempdir().expect("a folder");
    let sources = sources_of(dir.path());
    let sink = archive(dir.path(), &sources).await;
    let session = session(&sources).await;
    let plan = planned(&session, "SELECT * FROM tips").await;
    let mut rows = execute_stream(plan, session.task_ctx()).expect("executed");
    let first = rows.next().await.expect("rows").expect("rows");
    assert!(first.num_rows() > 0);
    compact(&sink).await;
    let rest: Result<Vec<RecordBatch>> = rows.try_collect().await;
    let told = for_client(&rest.expect_err("files that are gone"));
    assert_eq!(told.code, "40001", "{}", told.message);
    assert_eq!(sources.metrics.repeated.get(), 0);
}

/// `tips` of which a merge takes the file away each time that it was planned, so many times.
#[derive(Debug)]
struct Moving {
    tips: Arc<dyn TableProvider>,
    folder: PathBuf,
    moves_left: AtomicU32,
}

#[async_trait]
impl TableProvider for Moving {
    fn schema(&self) -> SchemaRef {
        self.tips.schema()
    }

    fn table_type(&self) -> TableType {
        self.tips.table_type()
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.tips.scan(session, projection, filters, limit).await?;
        let left = self.moves_left.load(Ordering::Relaxed);
        if left > 0 {
            self.moves_left.store(left - 1, Ordering::Relaxed);
            let mut files = std::fs::read_dir(&self.folder).expect("a folder");
            let path = files.next().expect("a file").expect("a file").path();
            let (head, _) = path.to_str().expect("a path").rsplit_once('-').expect("a name");
            std::fs::rename(&path, format!("{head}-{left:016x}.parquet")).expect("renamed");
        }
        Ok(plan)
    }
}

#[tokio::test]
async fn a_query_is_begun_again_twice_and_then_ends_with_a_conflict() {
    let dir = tempfile::tempdir().expect("a folder");
    let sources = sources_of(dir.path());
    let sink = archive(dir.path(), &sources).await;
    compact(&sink).await;
    // Without its journal the file may have any name of a merged one.
    std::fs::remove_dir_all(dir.path().join("_tips/compact")).expect("a journal");
    let session = session(&sources).await;
    for (moves, is_answered) in [(REPEATS, true), (REPEATS + 1, false)] {
        let tips = session.table_provider("tips").await.expect("a table");
        let folder = dir.path().join("tips/year=2013/month=1/day=1/window=all");
        let table = Moving { tips, folder, moves_left: AtomicU32::new(moves) };
        let rows = session.read_table(Arc::new(table)).expect("a query");
        let repeated = sources.metrics.repeated.get();
        let plan = rows.create_physical_plan().await.expect("a plan");
        let answer = collect(plan, session.task_ctx()).await;
        assert_eq!(sources.metrics.repeated.get() - repeated, u64::from(REPEATS));
        match answer {
            Ok(batches) => {
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                assert!(is_answered && rows == 2 * WINDOWS as usize, "{rows} rows");
            }
            Err(error) => {
                let told = for_client(&error);
                assert!(!is_answered && told.code == "40001", "{}: {}", told.code, told.message);
            }
        }
    }
}
