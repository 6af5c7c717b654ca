//! Lines that are no records and that nothing compresses: few of them make large files, and fill memory.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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
        for _ in 0..bytes.div_ceil(LINE * 4 / 3) {
            dice.fill(&mut line);
            writeln!(file, "{}", STANDARD.encode(&line))?;
        }
        file.flush().context("writing noise")
    }
}
