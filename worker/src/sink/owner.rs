//! A sink belongs to one pipeline, or to one run of `local`: files of two would be one archive to every reader.
//!
//! Whoever comes first writes down who it is, once. Nobody takes that away but a person.

use super::{Put, Sink, SinkError};

/// Where it is written down.
pub const PATH: &str = "_tips/owner";

/// Takes the sink for `owner`, or tells who has it.
///
/// # Errors
/// Where the sink cannot be read or written.
pub async fn claim(sink: &Sink, owner: &str) -> Result<Option<String>, SinkError> {
    if sink.put_if_absent(PATH, owner.to_owned().into()).await? == Put::Created {
        return Ok(None);
    }
    let there = sink.read(PATH).await?.unwrap_or_default();
    let there = String::from_utf8_lossy(&there).into_owned();
    Ok((there != owner).then_some(there))
}
