//! Wires the parts and serves until it is told to stop.

use std::sync::Arc;

use anyhow::{Context, bail};
use tips_worker::failure::Failure;
use tips_worker::http::bind;
use tips_worker::manifest::Manifest;
use tips_worker::settings::Setup;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::engine::{Engine, Limits};
use crate::http;
use crate::login::{Roles, Users};
use crate::map::Shown;
use crate::metrics::Metrics;
use crate::server::Server;
use crate::source::Sources;
use crate::tls::Certificate;

/// Answers until `stop`.
///
/// # Errors
/// Where the settings cannot work; the message says what to change.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let users = users(&args)?;
    let certificate = certificate(&args)?;
    let manifest = Manifest::read(&args.file).map_err(Failure::from)?;
    let setup = Setup::new(&manifest, args.neighbourhoods.as_deref()).map_err(Failure::from)?;
    let metrics = Metrics::new()?;
    let sources = Arc::new(Sources::new(&manifest, setup, metrics.clone()).map_err(Failure::from)?);
    sources.own_sink().check_owner().await.map_err(|error| Failure::Usage(error.to_string()))?;
    let engine = Engine::new(&sources, &limits(&args), Roles(users.clone())).await?;
    let (auth, tls) = (users.is_some(), certificate.is_some());
    let server = Server::new(engine, users, certificate, args.max_connections.get(), metrics);
    let (http, address) = bind(args.listen, "--listen").await?;
    let (postgres, postgres_address) = bind(args.postgres, "--postgres").await?;
    let map = match args.map {
        Some(address) => Some(bind(address, "--map").await?),
        None => None,
    };
    tracing::info!(
        pipeline = sources.setup.identity.pipeline,
        postgres = %postgres_address,
        %address,
        map = map.as_ref().map(|(_, address)| tracing::field::display(address)),
        auth,
        tls,
        "serving"
    );
    tokio::select! {
        served = http::serve(http, Arc::clone(&sources), stop.clone()) => served.context("serving /metrics has failed"),
        served = serve_map(map.map(|(listener, _)| listener), sources) => served.context("serving the map has failed"),
        () = server.serve(postgres, stop, args.drain_timeout.into()) => Ok(()),
    }
}

/// Open doors are a choice that has to be made.
fn users(args: &Args) -> anyhow::Result<Option<Users>> {
    match (&args.users, args.no_auth) {
        (_, true) => Ok(None),
        (Some(folder), false) => {
            let users = Users::open(folder.clone());
            users.map(Some).with_context(|| format!("cannot use the users in {}", folder.display()))
        }
        (None, false) => bail!(Failure::Usage(
            "nobody could log in: set TIPS_QUERY_USERS to a folder with a file a user, its content the password; or \
             give --no-auth to let everybody in"
                .to_owned()
        )),
    }
}

fn certificate(args: &Args) -> anyhow::Result<Option<Certificate>> {
    match (&args.tls_cert, &args.tls_key, args.no_tls) {
        (_, _, true) => Ok(None),
        (Some(chain), Some(key), false) => Certificate::open(chain.clone(), key.clone()).map(Some),
        _ => bail!(Failure::Usage(
            "there is no certificate: set TIPS_QUERY_TLS_CERT and TIPS_QUERY_TLS_KEY to PEM files; or give --no-tls \
             to let queries and answers travel in the clear"
                .to_owned()
        )),
    }
}

fn limits(args: &Args) -> Limits {
    Limits {
        queries: args.max_queries,
        memory: usize::try_from(args.memory.as_bytes()).unwrap_or(usize::MAX),
        spill: args.spill.as_bytes(),
        spill_dir: args.spill_dir.clone(),
        time: args.query_timeout.into(),
        rows: args.max_rows,
    }
}

/// Never ends by itself; without an address, at all.
async fn serve_map(listener: Option<TcpListener>, sources: Arc<Sources>) -> std::io::Result<()> {
    let Some(listener) = listener else { return std::future::pending().await };
    let setup = sources.setup.clone();
    axum::serve(listener, tips_worker::map::routes(Shown::new(sources), setup)).await
}
