//! Whether the sink answers.
//!
//! A listing may take its time, so how long a question waits says nothing. Who waits asks the sink a small question
//! meanwhile; when that has no answer either, the sink is away for all: whoever asks is refused at once, until the small
//! question, which is put again every few seconds, is answered. So a sink that is away holds up few queries, and none for
//! long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tips_worker::sink::{Sink, owner};
use tokio::time::{sleep, timeout};

/// How long a question may wait before the sink is asked whether it is there.
const QUIET: Duration = Duration::from_secs(2);
/// How long the sink has to answer a small question before it counts as away.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long it is left alone then between two questions.
const PAUSE: Duration = Duration::from_secs(2);

/// Whether a sink answers. Clones know the same.
#[derive(Clone)]
pub struct Presence {
    sink: Sink,
    is_away: Arc<AtomicBool>,
}

impl Presence {
    /// That of `sink`, which is opened for this alone: a sink does only so much at once, and a small question does not
    /// wait behind large ones.
    pub fn of(sink: Sink) -> Self {
        Presence { sink, is_away: Arc::default() }
    }

    /// Returns once the sink is away.
    pub async fn lost(&self) {
        while !self.is_away() {
            sleep(QUIET).await;
            if !self.is_away() && !self.answers().await {
                self.note_away();
            }
        }
    }

    fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// A refusal is an answer too.
    async fn answers(&self) -> bool {
        match timeout(PATIENCE, self.sink.stat(owner::PATH)).await {
            Ok(answer) => !answer.is_err_and(|error| error.is_transient()),
            Err(_) => false,
        }
    }

    /// Of those who notice, the first waits for it to come back.
    fn note_away(&self) {
        if self.is_away.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(sink = self.sink.location(), "the sink does not answer");
        let presence = self.clone();
        tokio::spawn(async move {
            sleep(PAUSE).await;
            while !presence.answers().await {
                sleep(PAUSE).await;
            }
            presence.is_away.store(false, Ordering::Relaxed);
            tracing::info!(sink = presence.sink.location(), "the sink answers again");
        });
    }
}
