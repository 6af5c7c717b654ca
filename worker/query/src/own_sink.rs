//! The sink of the pipeline, opened to read when it is first needed. One that is another pipeline's is refused: its
//! files are not those that are asked for, and where a path is wrong it would look like an empty archive.

use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};

use tips_worker::compact::journal::JournalError;
use tips_worker::sink::{Sink, SinkConfig, SinkError, owner};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::presence::{PATIENCE, Presence};

/// The sink of a pipeline.
pub struct OwnSink {
    config: SinkConfig,
    /// As it is written down in the sink.
    owner: String,
    open: OnceCell<(Sink, Presence)>,
    /// Whether it is known to be the owner's.
    is_claimed: AtomicBool,
}

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The journal of compaction.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sink does not answer.
    #[error(
        "{location} does not answer: until it does, whoever asks is told so at once (the log of the service says more)"
    )]
    Away {
        /// Where.
        location: String,
    },
    /// The sink of another pipeline.
    #[error("{location} belongs to {owner}, and this is {ours}: put the sink of this one into spec.sink")]
    Foreign {
        /// Where.
        location: String,
        /// Whose it is.
        owner: String,
        /// Who asks.
        ours: String,
    },
}

impl OwnSink {
    /// That of `owner`, as [`owner::pipeline`] writes it. Connects to nothing.
    pub fn new(config: SinkConfig, owner: String) -> Self {
        OwnSink { config, owner, open: OnceCell::new(), is_claimed: AtomicBool::new(false) }
    }

    /// What the sink, which is the pipeline's or nobody's yet, answers to `question`. It may take its time, as long as
    /// the sink is there.
    ///
    /// # Errors
    /// Where its settings cannot work, it is another's or away, and what the answer says.
    pub async fn ask<T, E, Answer>(&self, question: impl FnOnce(Sink) -> Answer) -> Result<T, ArchiveError>
    where
        Answer: Future<Output = Result<T, E>>,
        ArchiveError: From<E>,
    {
        // Boxed, since the compiler takes only so many futures one in the other.
        Box::pin(self.answer(question)).await
    }

    async fn answer<T, E, Answer>(&self, question: impl FnOnce(Sink) -> Answer) -> Result<T, ArchiveError>
    where
        Answer: Future<Output = Result<T, E>>,
        ArchiveError: From<E>,
    {
        let (sink, presence) = self.open.get_or_try_init(|| self.opened()).await?;
        let answer = async {
            self.check(sink).await?;
            Ok::<_, ArchiveError>(question(sink.clone()).await?)
        };
        tokio::select! {
            biased;
            () = presence.lost() => Err(ArchiveError::Away { location: sink.location().to_owned() }),
            answer = answer => answer,
        }
    }

    async fn opened(&self) -> Result<(Sink, Presence), SinkError> {
        let sink = Sink::open_to_read(&self.config).await?;
        Ok((sink, Presence::of(Sink::open_to_read(&self.config).await?)))
    }

    async fn check(&self, sink: &Sink) -> Result<(), ArchiveError> {
        if self.is_claimed.load(Ordering::Relaxed) {
            return Ok(());
        }
        match owner::read(sink).await? {
            Some(there) if there != self.owner => Err(ArchiveError::Foreign {
                location: sink.location().to_owned(),
                owner: owner::described(&there).to_owned(),
                ours: self.owner.trim_end().to_owned(),
            }),
            there => {
                self.is_claimed.store(there.is_some(), Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// What there is to say of `sink` where no worker has ever written to it: it is as new as the pipeline, or the wrong
    /// one.
    fn unclaimed(&self, sink: &Sink) -> Option<String> {
        (!self.is_claimed.load(Ordering::Relaxed)).then(|| {
            format!(
                "{} holds no files of {} yet: has a worker run, and is spec.sink right?",
                sink.location(),
                self.owner.trim_end()
            )
        })
    }

    /// Refuses a sink that is another's. One that does not answer may do so later.
    ///
    /// # Errors
    /// Where it is another's.
    pub async fn check_owner(&self) -> Result<(), ArchiveError> {
        match timeout(PATIENCE, self.ask(|_| ready(Ok::<_, SinkError>(())))).await {
            Ok(Err(error @ ArchiveError::Foreign { .. })) => Err(error),
            _ => Ok(()),
        }
    }

    /// What is wrong with it; `None` where it answers and has been written to.
    pub async fn error(&self) -> Option<String> {
        let ask = self.ask(|sink| async move { sink.stat(owner::PATH).await.map(|_| self.unclaimed(&sink)) });
        match timeout(PATIENCE, ask).await {
            Ok(answer) => answer.unwrap_or_else(|error| Some(error.to_string())),
            Err(_) => Some(format!("the sink gave no answer within {PATIENCE:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const OURS: &str = "pipeline default/taxi\n";

    fn in_folder() -> (TempDir, SinkConfig) {
        let dir = tempfile::tempdir().expect("a folder");
        let config = SinkConfig::Fs { root: dir.path().to_owned() };
        (dir, config)
    }

    async fn claim(config: &SinkConfig, owner: &str) {
        let sink = Sink::open(config).await.expect("a folder");
        owner::claim(&sink, owner).await.expect("claimed");
    }

    #[tokio::test]
    async fn the_sink_of_another_pipeline_is_refused() {
        for (owner, called) in
            [("pipeline default/other\n", "pipeline default/other"), ("local 1\n", "a run of `local`")]
        {
            let (_dir, config) = in_folder();
            claim(&config, owner).await;
            let sink = OwnSink::new(config, OURS.to_owned());
            let error = sink.check_owner().await.expect_err("another's").to_string();
            let whose = format!("belongs to {called}, and this is pipeline default/taxi");
            assert!(error.contains(&whose), "{error}");
            assert_eq!(sink.error().await, Some(error));
        }
    }

    #[tokio::test]
    async fn a_sink_that_nobody_has_is_told_of_until_the_pipeline_has_it() {
        let (_dir, config) = in_folder();
        let sink = OwnSink::new(config.clone(), OURS.to_owned());
        sink.check_owner().await.expect("nobody's");
        let told = sink.error().await.expect("nobody's");
        assert!(told.contains("is spec.sink right?"), "{told}");
        claim(&config, OURS).await;
        assert_eq!(sink.error().await, None);
        sink.ask(|_| ready(Ok::<_, SinkError>(()))).await.expect("ours");
    }
}
