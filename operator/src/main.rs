//! `tips-operator`: see `--help`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tips_operator::cli::{Cli, Command};
use tips_operator::{rbac, run};
use tracing_subscriber::EnvFilter;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Rbac) => print(serde_saphyr::to_string(&rbac::roles())),
        Some(Command::Crd) => print(tipstream_crds::crd_yaml()),
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

fn print(yaml: Result<String, impl std::error::Error + Send + Sync + 'static>) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(yaml?.as_bytes())?)
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
