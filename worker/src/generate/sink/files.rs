//! One file a partition: `rides-0.csv`, …, `fares-0.csv`, …

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Record, Sink};
use crate::generate::answer::Topic;
use crate::generate::error::GenerateError;
use crate::generate::lines::Flaw;

const BUFFER: usize = 64 * 1024;

pub(in crate::generate) struct Files {
    rides: Vec<Part>,
    fares: Vec<Part>,
}

struct Part {
    path: PathBuf,
    out: Out,
}

enum Out {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Files {
    pub(in crate::generate) fn create(
        dir: &Path,
        partitions: u32,
        gzip: bool,
    ) -> Result<Self, GenerateError> {
        fs::create_dir_all(dir).map_err(GenerateError::file("create", dir))?;
        let parts = |topic: &str| {
            (0..partitions)
                .map(|partition| Part::create(part_path(dir, topic, partition, gzip), gzip))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { rides: parts("rides")?, fares: parts("fares")? })
    }
}

fn part_path(dir: &Path, topic: &str, partition: u32, gzip: bool) -> PathBuf {
    let end = if gzip { "csv.gz" } else { "csv" };
    dir.join(format!("{topic}-{partition}.{end}"))
}

/// Whether [`Files`] could have written a file of this name.
pub(in crate::generate) fn is_part(name: &str) -> bool {
    let stem = name.strip_suffix(".csv").or_else(|| name.strip_suffix(".csv.gz"));
    stem.and_then(|stem| stem.strip_prefix("rides-").or_else(|| stem.strip_prefix("fares-")))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Sink for Files {
    fn flaws(&self) -> &'static [Flaw] {
        &Flaw::IN_FILES
    }

    fn send(&mut self, record: Record<'_>) -> Result<(), GenerateError> {
        let parts = match record.topic {
            Topic::Rides => &mut self.rides,
            Topic::Fares => &mut self.fares,
        };
        let part = &mut parts[record.partition as usize];
        part.out.write_line(record.value.unwrap_or_default()).map_err(|source| part.failed(source))
    }

    fn finish(self) -> Result<(), GenerateError> {
        self.rides.into_iter().chain(self.fares).try_for_each(Part::finish)
    }
}

impl Part {
    fn create(path: PathBuf, gzip: bool) -> Result<Self, GenerateError> {
        let file = File::create(&path).map_err(GenerateError::file("create", &path))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let out = if gzip {
            Out::Gzip(Box::new(GzEncoder::new(file, Compression::fast())))
        } else {
            Out::Plain(file)
        };
        Ok(Self { path, out })
    }

    fn failed(&self, source: io::Error) -> GenerateError {
        GenerateError::file("write", &self.path)(source)
    }

    fn finish(self) -> Result<(), GenerateError> {
        self.out.finish().map_err(GenerateError::file("write", self.path))
    }
}

impl Out {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let out: &mut dyn Write = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.as_mut(),
        };
        out.write_all(line)?;
        out.write_all(b"\n")
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Gzip(encoder) => encoder.finish()?.flush(),
        }
    }
}
