//! Crash points of [`put_if_absent`](super::Sink::put_if_absent) and [`replace`](super::Sink::replace), apart for each
//! kind of file.
//!
//! In a build with debug assertions, each of these stops, delays or kills a writer (see the crate
//! `fail`; `return` kills the process on the spot, as SIGKILL does):
//!
//! | name | where |
//! |---|---|
//! | `sink::before-upload/KIND` | nothing is written yet |
//! | `sink::mid-upload/KIND` | half of the bytes are written, under no final name (not for a single PUT to S3) |
//! | `sink::before-publish/KIND` | all is ready; the next step gives the file its name |
//! | `sink::after-publish/KIND` | the file has its name; nobody has been told, nothing is cleaned up |
//!
//! KIND is the folder that the file lies in: `rides`, `fares`, `invalid`, `tips`; below `_tips` it is the one in there,
//! such as `_tips/raw`.

/// Ends the process here, with `path` in hand, if the environment says so; nothing at all in a release.
pub(super) fn point(step: &str, path: &str) {
    if cfg!(debug_assertions) {
        fail::fail_point!(&format!("sink::{step}/{}", kind(path)), |_| {
            tracing::error!(path, "dies");
            std::process::abort()
        });
    }
}

fn kind(path: &str) -> &str {
    let folders = if path.starts_with("_tips/") { 2 } else { 1 };
    let end = path.match_indices('/').nth(folders - 1).map_or(path.len(), |(at, _)| at);
    &path[..end]
}
