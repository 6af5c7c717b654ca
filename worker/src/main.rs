//! `tips-worker`: see `--help`.

use std::process::ExitCode;

use clap::Parser;
use tips_worker::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _crash_points = cfg!(debug_assertions).then(fail::FailScenario::setup);
    // Both providers are compiled in through libraries, so none is the default.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("tips-worker: a TLS provider was installed before main");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tips-worker: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tips-worker: {failure}");
            failure.exit_code()
        }
    }
}
