//! What is wrong with a manifest, said so that a person can put it right.

use std::{fmt, io};

use super::node::{Node, Segment, dotted};

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file as it was named.
        file: String,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The file is not one valid TipsPipeline.
    #[error("{}", one_a_line(.problems))]
    Invalid {
        /// All that was found, at least one.
        problems: Vec<Problem>,
    },
}

impl ManifestError {
    /// A short name for metrics, Events and exit codes.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Read { .. } => "manifest-unreadable",
            Self::Invalid { .. } => "manifest-invalid",
        }
    }
}

fn one_a_line(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// One thing that is wrong: `pipeline.yaml:12: spec.job.slide: 7m: must divide the window; …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1, where one can be told.
    pub line: Option<u64>,
    /// The field, such as `spec.job.slide`; empty for the file as a whole.
    pub path: String,
    /// What was written there, where that is one word.
    pub found: Option<String>,
    /// What must hold and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        for part in [Some(self.path.as_str()), self.found.as_deref()] {
            match part {
                Some(part) if !part.is_empty() => write!(f, ": {part}")?,
                _ => {}
            }
        }
        write!(f, ": {}", self.message)
    }
}

/// The problems of one file, as they are found.
pub(super) struct Problems<'a> {
    file: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Self { file, found: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// A problem with the field `path` of `document`.
    pub(super) fn push(&mut self, document: &Node, path: &[Segment<'_>], message: impl Into<String>) {
        let at = document.at(path);
        self.found.push(Problem {
            file: self.file.to_owned(),
            line: Some(at.line),
            path: dotted(path),
            found: at.found,
            message: message.into(),
        });
    }

    /// A problem that no field has.
    pub(super) fn push_line(&mut self, line: Option<u64>, path: &str, message: impl Into<String>) {
        self.found.push(Problem {
            file: self.file.to_owned(),
            line,
            path: path.to_owned(),
            found: None,
            message: message.into(),
        });
    }
}

impl From<Problems<'_>> for ManifestError {
    fn from(problems: Problems<'_>) -> Self {
        Self::Invalid { problems: problems.found }
    }
}
