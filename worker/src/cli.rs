//! The command line.

use std::io::{self, IsTerminal, Write};

use clap::{Parser, Subcommand};
use indicatif::MultiProgress;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::commands::compact::{self, CompactArgs};
use crate::commands::local::{self, LocalArgs};
use crate::commands::purge::{self, PurgeArgs};
use crate::commands::query::{self, QueryArgs};
use crate::commands::stream::{self, StreamArgs};
use crate::commands::verify::{self, VerifyArgs};
use crate::failure::{Failure, INTERRUPTED};
use crate::generate::{self, GenerateArgs};

const AFTER_HELP: &str = "\
Environment: RUST_LOG sets what is logged (default: info for stream, compact and query, else warn).
Exit codes: 0 done; 1 failed; 2 usage or manifest; 3 the state belongs to other settings;
4 a check of verify failed; 5 stream ended with work that is not published; 130 interrupted.";

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
    /// Merge the many small files of closed days into few; every row stays there once.
    Compact(CompactArgs),
    /// Remove the state of a pipeline from Redis, of all its epochs. Its workers must have ended.
    Purge(PurgeArgs),
    /// Answer SQL over the PostgreSQL protocol: live windows and the archive as one. `query --help` has the flags.
    #[command(disable_help_flag = true)]
    Query(QueryArgs),
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
        let mut out = Heard(io::stdout());
        match self.command {
            Command::Local(args) => {
                let terminal = init_log("warn");
                local::run(args, stop, &terminal, &mut out).await
            }
            Command::Stream(args) => {
                let terminal = init_log("info");
                stream::run(args, stop, &terminal).await.inspect_err(log)
            }
            Command::Verify(args) => {
                init_log("warn");
                verify::run(args, stop, &mut out).await
            }
            Command::Compact(args) => {
                init_log("info");
                compact::run(args, stop, &mut out).await.inspect_err(log)
            }
            Command::Purge(args) => {
                init_log("warn");
                purge::run(args, stop, &mut out).await
            }
            Command::Query(args) => Err(query::run(args)),
            Command::Generate(args) => {
                init_log("warn");
                let report = tokio::task::spawn_blocking(move || generate::run(*args, &stop)).await??;
                Ok(write!(out, "{report}")?)
            }
        }
    }
}

/// What collects logs takes lines of JSON. The text that supervisors show, and people read, is the last line, by `main`.
fn log(failure: &Failure) {
    if !io::stderr().is_terminal() {
        tracing::error!(error = %failure, "failed");
    }
}

/// An output whose reader may go before the end, as `head` does: the rest is for nobody, and no failure.
struct Heard<W>(W);

impl<W: Write> Heard<W> {
    fn or_gone<T>(written: io::Result<T>, all: T) -> io::Result<T> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(all),
            written => written,
        }
    }
}

impl<W: Write> Write for Heard<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        Self::or_gone(self.0.write(text), text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::or_gone(self.0.flush(), ())
    }
}

/// Text on a terminal, JSON elsewhere; always on standard error, so that output stays output. Lines of the log come
/// above the bars of what is returned.
pub fn init_log(default: &str) -> MultiProgress {
    let terminal = MultiProgress::new();
    let above = Above(terminal.clone());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || above.clone());
    if io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).init();
    }
    terminal
}

/// Standard error, above the bars.
#[derive(Clone)]
struct Above(MultiProgress);

impl Write for Above {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Cancelled by SIGTERM or SIGINT. A second one ends the process at once, which loses nothing that a kill would not.
pub fn stop_on_signal() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let stop = stop.clone();
        match signal(kind) {
            Ok(mut signal) => {
                _ = tokio::spawn(async move {
                    signal.recv().await;
                    stop.cancel();
                    signal.recv().await;
                    std::process::exit(INTERRUPTED.into());
                })
            }
            Err(error) => tracing::warn!(%error, "cannot listen for a signal: the worker will not drain"),
        }
    }
    stop
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn each_command_and_each_flag_is_explained() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() > 10, "{name} {}: {help:?}", flag.get_id());
            }
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
        struct Refusing(io::ErrorKind);
        impl Write for Refusing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Err(self.0.into())
            }
        }
        let print = |kind| {
            let mut out = Heard(Refusing(kind));
            writeln!(out, "a line").and_then(|()| out.flush())
        };
        assert!(print(io::ErrorKind::BrokenPipe).is_ok());
        assert!(print(io::ErrorKind::StorageFull).is_err());
    }
}
