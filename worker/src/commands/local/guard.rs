//! An output directory belongs to one input: files of two would be one archive to every reader.

use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::iter;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use rand::RngExt;
use twox_hash::XxHash64;

use super::LocalArgs;
use crate::core::shard::Topic;
use crate::failure::Failure;
use crate::sink::{Sink, owner};
use crate::source::SourceError;
use crate::source::files::is_stdin;

/// What the owner of a directory begins with where that is a run of `local`.
pub const OWNER: &str = "local\n";
/// Files that are digested at once.
const AT_ONCE: usize = 4;
/// Digested while it is in the processor's cache.
const BUFFER: usize = 128 << 10;

/// Refuses to read standard input twice: who comes second finds nothing.
pub(super) fn check_stdin(args: &LocalArgs) -> Result<(), Failure> {
    let files = iter::once(&args.file).chain(&args.rides).chain(&args.fares);
    match files.filter(|path| is_stdin(path)).count() {
        0 | 1 => Ok(()),
        times => Err(Failure::Usage(format!(
            "standard input (-) is named {times} times and can be read once: name files for the others"
        ))),
    }
}

/// Refuses a directory that holds the results of other input or settings, or of a pipeline.
pub(super) async fn check(sink: &Sink, args: &LocalArgs, fingerprint: &str) -> Result<(), Failure> {
    let files = [(Topic::Rides, &args.rides), (Topic::Fares, &args.fares)];
    let files = files.into_iter().flat_map(|(topic, paths)| paths.iter().map(move |path| (topic, path)));
    let described: Vec<String> = stream::iter(files.map(|(topic, path)| described(topic, path.clone())))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let identity = format!("{OWNER}fingerprint {fingerprint}\n{}", described.concat());
    let Some(there) = owner::claim(sink, &identity).await? else { return Ok(()) };
    Err(Failure::Usage(format!(
        "{} holds the results of another run:\n{}this run would be:\n{}name another --output, or remove that directory",
        args.output.display(),
        indented(&there),
        indented(&identity),
    )))
}

async fn described(topic: Topic, path: PathBuf) -> Result<String, Failure> {
    let described = tokio::task::spawn_blocking(move || describe(topic, &path));
    Ok(described.await??)
}

/// A file is told by its content. To read it for that costs little beside the run, and nothing less would do: a run
/// that is finished with other lines than it was begun with is neither's. The digest is to tell files that differ by
/// mistake, and nobody gains by forging one. What comes through a pipe can be read once only, so each is another.
fn describe(topic: Topic, path: &Path) -> Result<String, SourceError> {
    let failed = |error| SourceError::File { path: path.display().to_string(), error };
    let topic = topic.name();
    if is_stdin(path) || !std::fs::metadata(path).map_err(failed)?.is_file() {
        let drawn: u64 = rand::rng().random();
        return Ok(format!("{topic} {} (a stream, read once) {drawn:016x}\n", path.display()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let (mut digest, mut buffer, mut bytes) = (XxHash64::with_seed(0), vec![0; BUFFER], 0);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => {
                digest.write(&buffer[..read]);
                bytes += read;
            }
        }
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(format!("{topic} {name} {bytes} bytes, xxh64 {:016x}\n", digest.finish()))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
