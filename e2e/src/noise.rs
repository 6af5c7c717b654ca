//! Lines that are no records and that nothing compresses: few of them make large files, and fill memory. They are booked
//! with the others.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::books::GENERATED;
use crate::worker::Data;

/// Bytes that become a line of 64 KiB.
const LINE: usize = 48 << 10;

impl Data {
    /// Adds `bytes` of noise to the ride file of a partition. Each line of it ends in quarantine, where it takes three
    /// quarters of its bytes.
    pub fn add_noise(&self, partition: usize, bytes: usize) -> Result<()> {
        let path = &self.rides[partition];
        let file = File::options().append(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        let mut file = BufWriter::new(file);
        let mut dice = fastrand::Rng::with_seed(partition as u64);
        let mut line = vec![0; LINE];
        let lines = bytes.div_ceil(LINE * 4 / 3);
        for _ in 0..lines {
            dice.fill(&mut line);
            writeln!(file, "{}", STANDARD.encode(&line))?;
        }
        file.flush().context("writing noise")?;
        book_invalid(&path.with_file_name(GENERATED), lines)
    }
}

fn book_invalid(books: &Path, lines: usize) -> Result<()> {
    let text = std::fs::read(books).with_context(|| format!("reading {}", books.display()))?;
    let mut all: Value = serde_json::from_slice(&text)?;
    for outcome in ["consumed", "invalid"] {
        let records = &mut all["rides"][outcome];
        *records = (records.as_u64().with_context(|| format!("no {outcome}"))? + lines as u64).into();
    }
    std::fs::write(books, all.to_string()).context("writing the books")
}
