//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::source::Sources;

#[derive(Clone)]
struct Served {
    sources: Arc<Sources>,
    stop: CancellationToken,
}

/// Serves until the future is dropped: to the last, so that whoever asks sees that the service is ending.
///
/// # Errors
/// Where the socket fails.
pub async fn serve(
    listener: TcpListener,
    sources: Arc<Sources>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Served { sources, stop });
    axum::serve(listener, routes).await
}

async fn metrics(State(served): State<Served>) -> Result<String, (StatusCode, String)> {
    served.sources.metrics.render().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Ready is who can answer something: without Redis the archive, without the sink the live windows.
async fn readyz(State(served): State<Served>) -> (StatusCode, String) {
    if served.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: it is about to end\n".to_owned());
    }
    let Err(state) = served.sources.views().await else { return (StatusCode::OK, "ready\n".to_owned()) };
    match served.sources.own_sink().error().await {
        None => (StatusCode::OK, format!("ready for the archive: {state}\n")),
        Some(sink) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {state}; {sink}\n")),
    }
}
