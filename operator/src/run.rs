//! Wires the parts: watches and endpoints from the start, reconciles while this operator leads.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::build;
use crate::cli::RunArgs;
use crate::cluster::Cluster;
use crate::cluster::watches::{self, Scope};
use crate::crash;
use crate::events::Events;
use crate::http;
use crate::leader::{Candidate, Ended};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::reconcile::{self, Context, Observer};

/// How long the API server may say nothing. A watch may be silent for 290 s, and its reader gives it up 30 s later.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// How long passes that are under way may take at the end: the Lease is still held meanwhile.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Runs until `stop`.
///
/// # Errors
/// Where the API server or the address cannot be used, or another operator leads.
pub async fn run(args: RunArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let client = client().await.context("cannot find the API server")?;
    let metrics = Metrics::new()?;
    let queue = Queue::default();
    let mut tasks = JoinSet::new();
    let scope = Scope { client: client.clone(), namespace: args.scope.namespace.clone() };
    let cluster = watches::start(&scope, &queue, &mut tasks);
    let endpoints = http::serve(args.listen, cluster.clone(), queue.clone(), metrics.clone());

    let identity = identity();
    let lease_namespace = args.scope.lease_namespace(&client);
    let mut candidate = Candidate::new(client.clone(), &lease_namespace, &args.scope.lease, &identity);
    let lead = async {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = async { wait_until_synced(&cluster).await; candidate.acquire().await; } => {}
        }
        tracing::info!(identity, "leads");
        metrics.leader.set(1);
        crash::point("lease::after-acquire");
        let events = Events::new(client.clone(), &identity);
        let context = Arc::new(Context::new(
            client.clone(),
            cluster.clone(),
            Observer::new(build::PORT)?,
            events,
            metrics.clone(),
            args.worker_image.clone(),
            args.purge_timeout.into(),
        ));
        let reconciling = reconcile_all(&cluster, &queue, context, args.concurrency);
        let ended = while_held(&mut candidate, &stop, &queue, reconciling).await;
        metrics.leader.set(0);
        candidate.release().await.unwrap_or_else(|error| tracing::warn!(%error, "cannot release the Lease"));
        match ended {
            Ended::Stopped => Ok(()),
            Ended::Lost => {
                bail!("the Lease {lease_namespace}/{} is lost: another operator may lead", args.scope.lease)
            }
        }
    };
    tokio::select! {
        led = lead => led,
        Some(ended) = tasks.join_next() => {
            ended.context("a watch ended")?;
            bail!("a watch ended by itself")
        }
        served = endpoints => served.with_context(|| format!("cannot serve on {}", args.listen)),
    }
}

async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await?;
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    Ok(Client::try_from(config)?)
}

async fn wait_until_synced(cluster: &Cluster) {
    while !cluster.is_synced() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reconciles while the Lease is held. Passes that are under way are finished where it is given up, and dropped
/// where it is lost.
async fn while_held(
    candidate: &mut Candidate,
    stop: &CancellationToken,
    queue: &Queue,
    reconciling: impl Future<Output = ()>,
) -> Ended {
    let mut reconciling = pin!(reconciling);
    let ended = tokio::select! {
        ended = candidate.hold(stop) => ended,
        () = &mut reconciling => return Ended::Stopped,
    };
    queue.close();
    if ended == Ended::Stopped && tokio::time::timeout(DRAIN_TIMEOUT, reconciling).await.is_err() {
        tracing::warn!("passes that were under way did not end in time and are dropped");
    }
    ended
}

/// Passes over every pipeline once and then over each that something happens to, until the queue is closed, and sees to
/// those that cannot be understood.
async fn reconcile_all(cluster: &Cluster, queue: &Queue, context: Arc<Context>, concurrency: u16) {
    let shared = context.clone();
    let passes = queue
        .passes(cluster.pipelines(), concurrency, move |pipeline| reconcile::run(pipeline, shared.clone()));
    tokio::select! {
        () = passes.for_each(async |gone| context.forget(&gone)) => {}
        () = reconcile::strangers::see_to_all(cluster.strangers().subscribe(), &context) => {}
    }
}

/// Tells operators apart, also two in one pod.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "tips-operator".to_owned());
    format!("{host}_{:08x}", RandomState::new().build_hasher().finish() as u32)
}

/// Cancelled by SIGTERM or SIGINT.
pub fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let stop = stop.clone();
        match signal(kind) {
            Ok(mut signal) => {
                _ = tokio::spawn(async move {
                    signal.recv().await;
                    stop.cancel();
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for a signal: the Lease will run out by itself")
            }
        }
    }
    stop
}
