//! `tips-query`: see `--help`.

use std::process::ExitCode;

use clap::Parser;
use tips_query::args::Args;
use tips_worker::cli::{init_log, stop_on_signal};
use tips_worker::failure::Failure;

/// Plans are walked by recursion, a level for each operator of a statement; memory is taken only where it is used.
const STACK: usize = 64 << 20;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log("info");
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
    runtime.block_on(async { tips_query::run::run(args, stop_on_signal()).await })
}
