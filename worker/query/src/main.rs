//! `tips-query`: see `--help`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tips_query::args::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Plans are recursive, and a debug build has large frames.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log();
    if let Err(error) = serve(args) {
        eprintln!("tips-query: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn serve(args: Args) -> anyhow::Result<()> {
    // Both providers are compiled in through libraries, so none is the default.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before main");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let serving = tips_query::run::run(args, stop.clone());
        tokio::pin!(serving);
        loop {
            tokio::select! {
                served = &mut serving => return served,
                _ = terminate.recv() => stop.cancel(),
                _ = interrupt.recv() => stop.cancel(),
            }
        }
    })
}

fn init_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).init();
    }
}
