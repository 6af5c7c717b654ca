//! `tips-worker purge`: a pipeline's state, removed from Redis.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::manifest::Manifest;
use crate::settings;
use crate::state::StateError;
use crate::state::redis::purge;

/// Flags of `purge`.
#[derive(Args, Debug)]
pub struct PurgeArgs {
    /// Manifest: the YAML of a TipsPipeline, `-` for standard input. Its name and spec.redis are used.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// How long it may take.
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    pub timeout: tipstream_crds::Duration,
}

/// Removes the state of all epochs. Files and topics stay.
///
/// # Errors
/// Where the manifest cannot be used, or Redis cannot be reached or takes too long.
pub async fn run(args: PurgeArgs, stop: CancellationToken, out: &mut impl Write) -> Result<(), Failure> {
    let manifest = Manifest::read(&args.file)?;
    let pipeline = format!("{}.{}", manifest.namespace, manifest.name);
    let config = settings::redis(&manifest)?;
    let limit = Duration::from(args.timeout);
    let removed = tokio::select! {
        () = stop.cancelled() => return Err(Failure::Interrupted),
        removed = tokio::time::timeout(limit, purge::purge(&config, &pipeline)) => {
            let too_late = || format!("not done after {}; does a worker of the pipeline still run?", args.timeout);
            removed.map_err(|_| StateError::Unreachable(too_late()))??
        }
    };
    Ok(writeln!(out, "removed {removed} keys of {pipeline}")?)
}
