//! The engine with the tables in it: made once, its parts shared by all connections.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::datafusion_pg_functions;

use crate::connection::Client;
use crate::login::Roles;
use crate::planner::Planner;
use crate::source::Sources;
use crate::store::{self, SinkStore};
use crate::subqueries::OneRow;
use crate::tables;
use crate::{catalog, functions};

/// The database that clients connect to. Its name in their connection string is not looked at.
pub const DATABASE: &str = "tipstream";
/// Functions that make much of little: one call takes memory that no limit counts.
const UNBOUNDED: [&str; 9] = [
    "repeat",
    "lpad",
    "rpad",
    "range",
    "generate_series",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
];
/// What a scan holds of a file, about: the columns of a row group, as they are stored. A query has one for each
/// processor, and a node may have more of these than memory for them.
const SCAN_BYTES: usize = 32 << 20;
/// Who is named where memory has run out.
const CONSUMERS_NAMED: usize = 3;

/// What queries may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Queries at once; others wait.
    pub queries: NonZeroUsize,
    /// Bytes of memory of all queries together; each gets a fair part and spills beyond it.
    pub memory: usize,
    /// Bytes of disk for what does not fit.
    pub spill: u64,
    /// Where that is; `None`: the system's folder for temporary files.
    pub spill_dir: Option<PathBuf>,
    /// How long a query may take.
    pub time: Duration,
    /// Rows that a query may return.
    pub rows: u64,
}

/// An engine; each connection gets a session of it.
#[derive(Clone)]
pub struct Engine(SessionContext);

impl Engine {
    /// Makes the tables of `sources`.
    ///
    /// # Errors
    /// Where there is no folder to spill to, or a table that cannot be described.
    pub async fn new(sources: &Arc<Sources>, limits: &Limits, roles: Roles) -> anyhow::Result<Self> {
        let planner = Planner::new(Arc::clone(sources), limits.clone());
        let runtime =
            runtime(limits).context("cannot prepare the folder for what does not fit into memory")?;
        let url = ObjectStoreUrl::parse(store::URL)?;
        let files = SinkStore::new(Arc::clone(sources), &runtime.memory_pool);
        runtime.register_object_store(url.as_ref(), Arc::new(files));
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config(limits.memory))
            .with_runtime_env(runtime)
            .with_query_planner(Arc::new(planner))
            .with_analyzer_rule(Arc::new(OneRow))
            .build();
        let mut context = SessionContext::new_with_state(state);
        context.register_catalog(DATABASE, Arc::new(tables::catalog()?));
        setup_pg_catalog(&context, DATABASE, roles).map_err(|error| *error)?;
        datafusion_pg_functions::register_all(&mut context);
        functions::register(&context);
        for name in UNBOUNDED {
            context.deregister_udf(name);
        }
        catalog::complete(&context, DATABASE).await.context("cannot describe the tables")?;
        Ok(Engine(context))
    }

    /// A session for one client. What it sets is its own.
    pub fn session(&self, client: &Arc<Client>) -> SessionContext {
        let mut state = self.0.state();
        state.config_mut().set_extension(Arc::clone(client));
        SessionContext::new_with_state(state)
    }
}

/// `memory`: bytes of all queries.
fn config(memory: usize) -> SessionConfig {
    let mut options = ConfigOptions::new();
    options.catalog.create_default_catalog_and_schema = false;
    options.catalog.default_catalog = DATABASE.to_owned();
    options.catalog.default_schema = tables::SCHEMA.to_owned();
    // Ours, which is registered as any other.
    options.catalog.information_schema = false;
    options.sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    options.execution.time_zone = Some("UTC".to_owned());
    // A file of windows is read with one request, and so is the footer of a larger file.
    options.execution.parquet.metadata_size_hint = Some(64 << 10);
    // Ours have none; looking for them would open every file twice.
    options.execution.parquet.bloom_filter_on_read = false;
    let scans = &mut options.execution.target_partitions;
    *scans = (*scans).min(memory / SCAN_BYTES).max(1);
    SessionConfig::from(options)
}

fn runtime(limits: &Limits) -> datafusion::error::Result<Arc<RuntimeEnv>> {
    let pool = TrackConsumersPool::new(
        FairSpillPool::new(limits.memory),
        CONSUMERS_NAMED.try_into().expect("more than none"),
    );
    let mode = match &limits.spill_dir {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(limits.spill),
        )
        // A raised epoch may put another file of the same length in the place of one; the cache would not notice.
        .with_metadata_cache_limit(0)
        .with_file_statistics_cache_limit(0)
        .build_arc()
}
