//! `/metrics` and `/healthz` of a command that has nothing else to show.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::task::JoinHandle;

use super::{ListenError, bind};

/// Serves what `render` makes until the task is aborted.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    render: impl Fn() -> prometheus::Result<String> + Send + Sync + 'static,
) -> Result<JoinHandle<std::io::Result<()>>, ListenError> {
    let (listener, bound) = bind(address, "--listen").await?;
    tracing::info!(address = %bound, "serving /metrics and /healthz");
    let render = Arc::new(render);
    let metrics = get(move || {
        let text = render().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
        std::future::ready(text)
    });
    let routes = Router::new().route("/metrics", metrics).route("/healthz", get(|| async { "ok\n" }));
    Ok(tokio::spawn(axum::serve(listener, routes).into_future()))
}
