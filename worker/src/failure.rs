//! How a command fails: what it says, and the exit code.

use std::process::ExitCode;

use crate::compact::run::CompactError;
use crate::generate::GenerateError;
use crate::http::ListenError;
use crate::manifest::ManifestError;
use crate::pipeline::applier::ApplierError;
use crate::pipeline::locate::LocateError;
use crate::pipeline::run::PipelineError;
use crate::raw::latest::LatestError;
use crate::results::publisher::PublishError;
use crate::settings::SettingsError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::state::StateError;

/// The exit code of a command that a signal has ended before its work was done.
pub const INTERRUPTED: u8 = 130;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line, or files that it names.
    #[error("{0}")]
    Usage(String),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What the manifest refers to.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Reading.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Where to begin.
    #[error(transparent)]
    Latest(#[from] LatestError),
    /// The running job.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A Parquet file that cannot be read back.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Metrics that cannot be made.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Standard output.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Making data.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A thread that panicked.
    #[error(transparent)]
    Thread(#[from] tokio::task::JoinError),
    /// The proof found something; the report says what.
    #[error("{failed} of {checks} checks failed")]
    Verification {
        /// Checks that failed.
        failed: usize,
        /// All checks.
        checks: usize,
    },
    /// Days stay as they are, or half done.
    #[error("{folder} could not be compacted: {why}; the next run goes on with it")]
    Compaction {
        /// The first of them.
        folder: String,
        /// What went wrong there.
        why: String,
    },
    /// All days stay as they are.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// The drain timeout has passed first.
    #[error(
        "not all that was read could be published within --drain-timeout; nothing is lost, the next worker reads it again"
    )]
    NotDrained,
    /// A person stopped it.
    #[error("interrupted; the same command again finishes the work")]
    Interrupted,
}

impl Failure {
    /// Exit codes: 1 something failed; 2 usage or manifest; 3 the state belongs to other settings; 4 a check of
    /// `verify` failed; 5 `stream` could not publish all that it has read before it ended; 130 interrupted.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Usage(_) | Failure::Manifest(_) | Failure::Settings(_) => 2,
            Failure::Source(SourceError::File { .. }) => 2,
            Failure::Generate(error) if matches!(error.category(), "setting" | "input") => 2,
            Failure::Verification { .. } => 4,
            Failure::Generate(error) if error.category() == "interrupted" => INTERRUPTED,
            Failure::NotDrained => 5,
            Failure::Interrupted => INTERRUPTED,
            failure
                if failure.state_error().is_some_and(|e| {
                    matches!(e, StateError::Fingerprint { .. } | StateError::Format { .. })
                }) =>
            {
                3
            }
            _ => 1,
        })
    }

    fn state_error(&self) -> Option<&StateError> {
        match self {
            Failure::State(error)
            | Failure::Pipeline(
                PipelineError::Applier(
                    ApplierError::State(error) | ApplierError::Locate(LocateError::State(error)),
                )
                | PipelineError::Publish(PublishError::State(error)),
            ) => Some(error),
            _ => None,
        }
    }
}
