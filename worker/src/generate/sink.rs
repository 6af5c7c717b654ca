//! Where lines go: files ([`files`]) or Kafka ([`kafka`]).

pub(super) mod files;
pub(super) mod kafka;

use super::answer::Topic;
use super::error::GenerateError;
use super::lines::Flaw;

/// One record, as Kafka has them; a file keeps the value.
pub(super) struct Record<'a> {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

pub(super) trait Sink {
    /// What is left of the lines where the run ends before [`Sink::finish`].
    const LEFT: &'static str;

    /// The ways in which a line can be invalid here.
    fn flaws(&self) -> &'static [Flaw];

    fn send(&mut self, record: Record<'_>) -> Result<(), GenerateError>;

    /// Returns when every record is known to be stored.
    fn finish(self) -> Result<(), GenerateError>;
}
