//! `tips-operator`: see `--help`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tips_operator::cli::{Cli, Command};
use tips_operator::{check, rbac, run};
use tracing_subscriber::EnvFilter;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    // Reads FAILPOINTS.
    let _crash_points = cfg!(debug_assertions).then(fail::FailScenario::setup);
    // A build together with the worker has both providers, so none is the default.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("tips-operator: a TLS provider was installed before main");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Rbac) => serde_saphyr::to_string(&rbac::roles()).map_err(Into::into).and_then(print),
        Some(Command::Crd) => tipstream_crds::crd_yaml().map_err(Into::into).and_then(print),
        Some(Command::Check(scope)) => check::run(scope).await.and_then(print),
        None => {
            init_log();
            run::run(cli.run, run::stop_on_signal()).await
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tips-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: String) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Text on a terminal, JSON elsewhere.
fn init_log() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).init();
    }
}
