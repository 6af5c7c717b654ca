//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::queue::Queue;

#[derive(Clone)]
struct Shown {
    cluster: Cluster,
    queue: Queue,
    metrics: Metrics,
}

/// Serves until it is dropped.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    cluster: Cluster,
    queue: Queue,
    metrics: Metrics,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics, /healthz and /readyz");
    let routes = Router::new()
        .route("/metrics", get(render))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Shown { cluster, queue, metrics });
    axum::serve(listener, routes).await
}

/// A standby is ready too: it knows all that it needs to take over.
async fn readyz(State(shown): State<Shown>) -> (StatusCode, &'static str) {
    if shown.cluster.is_synced() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first listing is not complete\n")
    }
}

async fn render(State(shown): State<Shown>) -> Result<String, (StatusCode, String)> {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    shown.metrics.pipelines.set(count(shown.cluster.pipelines().len()));
    shown.metrics.queue.set(count(shown.queue.depth()));
    shown.metrics.render().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
