use std::path::PathBuf;

/// Why data could not be generated. Every text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Flags that contradict each other or the job.
    #[error("{flag}: {reason}")]
    Setting {
        /// The flag, as the user writes it.
        flag: &'static str,
        /// What is wrong with its value, and which values would do.
        reason: String,
    },
    /// The polygons could not be read.
    #[error("neighbourhoods in {origin}: {reason}")]
    Neighbourhoods {
        /// The file, or that it is the built-in one.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Data would be mixed with what is there.
    #[error("{} is not empty: name another directory, or give --force to replace the files in it that generate writes", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A topic is there, but not as it was asked for, or is not there.
    #[error("topic {topic}: {reason}")]
    Topic {
        /// Its name.
        topic: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The Kafka cluster could not be reached or refused.
    #[error("Kafka at {brokers}: {action} failed: {reason}")]
    Kafka {
        /// The bootstrap servers.
        brokers: String,
        /// What was being done.
        action: &'static str,
        /// What librdkafka said, with the last reason its connections gave.
        reason: String,
    },
    /// A person stopped it.
    #[error("interrupted; {left}, and no expected answer is written")]
    Interrupted {
        /// What became of the lines that were made.
        left: &'static str,
    },
}

impl GenerateError {
    /// A static name of the kind of failure, for exit codes and logs.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "setting",
            Self::Neighbourhoods { .. } => "input",
            Self::NotEmpty { .. } | Self::File { .. } => "output",
            Self::Topic { .. } | Self::Kafka { .. } => "kafka",
            Self::Interrupted { .. } => "interrupted",
        }
    }

    pub(super) fn setting(flag: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { flag, reason: reason.into() }
    }

    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
