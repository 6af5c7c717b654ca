use std::fmt;
use std::path::PathBuf;

use super::answer::Books;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rides drawn.
    pub rides: u64,
    /// What must have become of every record, once all is read and every window is closed.
    pub books: Books,
    /// The directory of the expected answer and the rows of its `tips.csv`, where one was written.
    pub expected: Option<(PathBuf, u64)>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rides, fares) = (&self.books.rides, &self.books.fares);
        writeln!(
            out,
            "{} rides: {} ride lines and {} fare lines, of which {} pairs join",
            self.rides, rides.consumed, fares.consumed, rides.joined
        )?;
        if let Some((dir, rows)) = &self.expected {
            writeln!(out, "expected answer, {rows} rows: {}", dir.display())?;
        }
        Ok(())
    }
}
