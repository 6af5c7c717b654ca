//! An output directory belongs to one input: files of two would be one archive to every reader.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::PathBuf;

use super::LocalArgs;
use crate::failure::Failure;
use crate::sink::{Sink, owner};

/// What the owner of a directory begins with where that is a run of `local`.
pub const OWNER: &str = "local\n";

/// Refuses a directory that holds the results of other input or settings, or of a pipeline.
pub(super) async fn check(sink: &Sink, args: &LocalArgs, fingerprint: &str) -> Result<(), Failure> {
    let mut identity = format!("{OWNER}fingerprint {fingerprint}\n");
    describe(&mut identity, "rides", &args.rides);
    describe(&mut identity, "fares", &args.fares);
    let Some(there) = owner::claim(sink, &identity).await? else { return Ok(()) };
    Err(Failure::Usage(format!(
        "{} holds the results of another run:\n{}this run would be:\n{}name another --output, or remove that directory",
        args.output.display(),
        indented(&there),
        indented(&identity),
    )))
}

/// To tell files by content would take a reading; names and sizes tell the mistakes that people make.
fn describe(identity: &mut String, topic: &str, files: &[PathBuf]) {
    for path in files {
        let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
        let name = path.file_name().unwrap_or(OsStr::new("-")).to_string_lossy();
        // Writing to a String cannot fail.
        _ = writeln!(identity, "{topic} {name} {bytes} bytes");
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
