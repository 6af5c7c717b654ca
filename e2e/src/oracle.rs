//! The oracle, which recomputes the job from its input in DuckDB and compares an output directory with that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::process::run;

/// What the input must have made of the time that windows are closed up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watermark {
    /// Anything.
    #[default]
    Any,
    /// The least of the partitions' greatest times, less the delay: all is read, and none was ever idle.
    OfAll,
    /// That or more, up to the greatest of all: all is read, and some may have been idle.
    AtLeastOfAll,
}

/// The job's input and what the check may take for granted.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// Files of ride lines, plain or gzip.
    pub rides: Vec<PathBuf>,
    /// Files of fare lines, plain or gzip.
    pub fares: Vec<PathBuf>,
    /// The GeoJSON of the neighbourhoods.
    pub neighbourhoods: PathBuf,
    /// Local mode: partition and offset of every row are the index of its file and line, and CRLF ends a line.
    pub coordinates: bool,
    /// Windows that end later (`yyyy-mm-dd hh:mm:ss`) are still open, so they must have no file.
    pub closed_until: Option<String>,
    /// What `closed_until` must be.
    pub watermark: Watermark,
    /// Kafka's timestamps of all records, as [`crate::kafka::Kafka::timestamps`] writes them; absent where there is none
    /// to compare with.
    pub timestamps: Option<PathBuf>,
    /// How many records with a null value were produced, which no file can hold.
    pub nulls: usize,
    /// Whether offsets may be missing, as where there are transactions.
    pub holes: bool,
    /// Settings other than the defaults, as arguments of `oracle.py`, such as `--ride-topic=taxi-rides`.
    pub settings: Vec<String>,
}

impl Oracle {
    /// Fails with the table of checks where the output is not what it must be; returns the table where it is.
    ///
    /// `output` is a local folder: for S3 [`crate::s3::S3::bucket_dir`], for HDFS the target of
    /// [`crate::hdfs::Hdfs::fetch`].
    pub fn check(&self, output: &Path) -> Result<String> {
        let mut command = self.command("check")?;
        command.arg("--output").arg(output);
        command.args(["--nulls", &self.nulls.to_string()]);
        if self.holes {
            command.arg("--holes");
        }
        if let Some(until) = &self.closed_until {
            command.args(["--closed-until", until]);
        }
        if let Some(timestamps) = &self.timestamps {
            command.arg("--timestamps").arg(timestamps);
        }
        match self.watermark {
            Watermark::Any => {}
            Watermark::OfAll => _ = command.args(["--idle", "never"]),
            Watermark::AtLeastOfAll => _ = command.args(["--idle", "perhaps"]),
        }
        run(&mut command).with_context(|| format!("{} is not what it must be", output.display()))
    }

    /// The counts that must come out: of the books, and of the rows.
    pub fn expect(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&run(&mut self.command("expect")?)?).context("reading the oracle's counts")
    }

    /// Writes a copy of `lines` with some of them broken, by a seed: what must end in quarantine, and what only
    /// looks like it.
    pub fn spoil(lines: &Path, seed: u64, copy: &Path) -> Result<()> {
        let mut command = python("spoil")?;
        run(command.args(["--seed", &seed.to_string()]).arg(lines).arg(copy)).map(drop)
    }

    fn command(&self, name: &str) -> Result<Command> {
        let mut command = python(name)?;
        for path in self.rides.iter().chain(&self.fares).chain([&self.neighbourhoods]) {
            if !path.exists() {
                bail!("the oracle's input {} is missing", path.display());
            }
        }
        command.arg("--neighbourhoods").arg(&self.neighbourhoods).args(&self.settings);
        if self.coordinates {
            command.arg("--coordinates");
        }
        command.arg("--rides").args(&self.rides);
        command.arg("--fares").args(&self.fares);
        Ok(command)
    }
}

/// Fails where the results in `output` are not the answer of the generator, its `tips.csv`.
pub fn is_answer(output: &Path, answer: &Path) -> Result<()> {
    run(python("answer")?.arg("--output").arg(output).arg("--answer").arg(answer)).map(drop)
}

/// Reads `output` in DuckDB, pyarrow and Spark; fails with what each has found where they differ.
pub fn readers_agree(outputs: &[&Path]) -> Result<()> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    run(python("readers")?.arg("--readme").arg(readme).arg("--output").args(outputs)).map(drop)
}

/// The folder of the oracle's sources.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle")
}

/// `oracle.py <name>`.
pub fn python(name: &str) -> Result<Command> {
    let mut command = Command::new(cache::python()?);
    // The sources may be in a folder that is not ours to write to.
    command.arg("-B").arg(sources().join("oracle.py")).arg(name);
    Ok(command)
}
