//! The command line.

use std::io::{IsTerminal, Write};

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::commands::local::{self, LocalArgs};
use crate::commands::purge::{self, PurgeArgs};
use crate::commands::stream::{self, StreamArgs};
use crate::commands::verify::{self, VerifyArgs};
use crate::failure::Failure;
use crate::generate::{self, GenerateArgs};

const AFTER_HELP: &str = "\
Environment: RUST_LOG sets what is logged (default: info for stream, else warn).
Exit codes: 0 done; 1 failed; 2 usage or manifest; 3 the state belongs to other settings;
4 a check of verify failed; 130 interrupted.";

/// High-tip neighbourhoods from taxi rides and fares: Kafka through Redis to Parquet, exactly once.
#[derive(Parser, Debug)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the whole job on this machine: files in, Parquet out.
    Local(LocalArgs),
    /// Run a worker of a pipeline: from Kafka, with its state in Redis, to the sink of the manifest.
    Stream(StreamArgs),
    /// Prove the books and the files of a pipeline, live or stopped.
    Verify(VerifyArgs),
    /// Remove the state of a pipeline from Redis, of all its epochs. Its workers must have ended.
    Purge(PurgeArgs),
    /// Make taxi data of a seed, to files or to Kafka, and the exact answer it must lead to.
    Generate(Box<GenerateArgs>),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Where it could not be done; the failure knows its exit code.
    pub async fn run(self) -> Result<(), Failure> {
        let stop = stop_on_signal();
        let mut out = std::io::stdout();
        match self.command {
            Command::Local(args) => {
                init_log("warn");
                local::run(args, stop, &mut out).await
            }
            Command::Stream(args) => {
                init_log("info");
                stream::run(args, stop).await
            }
            Command::Verify(args) => {
                init_log("warn");
                verify::run(args, stop, &mut out).await
            }
            Command::Purge(args) => {
                init_log("warn");
                purge::run(args, stop, &mut out).await
            }
            Command::Generate(args) => {
                init_log("warn");
                let report = tokio::task::spawn_blocking(|| generate::run(*args)).await??;
                Ok(write!(out, "{report}")?)
            }
        }
    }
}

/// Text on a terminal, JSON elsewhere; always on standard error, so that output stays output.
fn init_log(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).init();
    }
}

/// Cancelled by SIGTERM or SIGINT.
fn stop_on_signal() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let stop = stop.clone();
        match signal(kind) {
            Ok(mut signal) => {
                _ = tokio::spawn(async move {
                    signal.recv().await;
                    stop.cancel();
                })
            }
            Err(error) => tracing::warn!(%error, "cannot listen for a signal: the worker will not drain"),
        }
    }
    stop
}
