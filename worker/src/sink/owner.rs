//! A sink belongs to one pipeline, or to one run of `local`: files of two would be one archive to every reader.
//!
//! Whoever comes first writes down who it is, once. Nobody takes that away but a person.

use super::{Put, Sink, SinkError};

/// Where it is written down.
pub const PATH: &str = "_tips/owner";

/// How a pipeline is written down.
pub fn pipeline(namespace: &str, name: &str) -> String {
    format!("pipeline {namespace}/{name}\n")
}

/// Who that is, for a person to read.
pub fn described(owner: &str) -> &str {
    match owner.lines().next() {
        Some(first) if owner.starts_with("pipeline ") => first,
        _ => "a run of `local`",
    }
}

/// Takes the sink for `owner`, or tells who has it.
///
/// # Errors
/// Where the sink cannot be read or written.
pub async fn claim(sink: &Sink, owner: &str) -> Result<Option<String>, SinkError> {
    if sink.put_if_absent(PATH, owner.to_owned().into()).await? == Put::Created {
        return Ok(None);
    }
    let there = read(sink).await?.unwrap_or_default();
    Ok((there != owner).then_some(there))
}

/// Who has the sink, as it is written down.
///
/// # Errors
/// Where the sink cannot be read.
pub async fn read(sink: &Sink) -> Result<Option<String>, SinkError> {
    let there = sink.read(PATH).await?;
    Ok(there.map(|there| String::from_utf8_lossy(&there).into_owned()))
}
