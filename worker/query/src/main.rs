//! `tips-query`: see `--help`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tips_query::args::Args;
use tips_worker::failure::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Plans are walked by recursion, a level for each operator of a statement; memory is taken only where it is used.
const STACK: usize = 64 << 20;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log();
    if let Err(error) = serve(args) {
        eprintln!("tips-query: {error:#}");
        return error.downcast_ref::<Failure>().map_or(ExitCode::FAILURE, Failure::exit_code);
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
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                anyhow::bail!("a second signal has ended it at once");
            }
            stop.cancel();
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
