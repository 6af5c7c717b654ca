//! The facts, read where they are: the sink ([`archive`], [`merged`], [`windows`]) and the state.

pub mod archive;
pub mod merged;
pub mod windows;

use crate::state::{State, StateError, View};

/// Reads that wait for an answer at once.
const AT_ONCE: usize = 16;

/// What every shard knows.
///
/// # Errors
/// Where the state cannot be reached.
pub async fn views(state: &State) -> Result<Vec<View>, StateError> {
    state.views().await
}
