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
    path: Unfinished,
    out: Out,
}

/// The path of a file that goes away with this, unless it is kept: half of the lines are none.
struct Unfinished(Option<PathBuf>);

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
    const LEFT: &'static str = "the files that were begun are removed";

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

    fn finish(mut self) -> Result<(), GenerateError> {
        let mut parts: Vec<&mut Part> = self.rides.iter_mut().chain(&mut self.fares).collect();
        parts.iter_mut().try_for_each(|part| part.out.finish().map_err(|source| part.failed(source)))?;
        parts.into_iter().for_each(|part| part.path.keep());
        Ok(())
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
        Ok(Self { path: Unfinished(Some(path)), out })
    }

    fn failed(&self, source: io::Error) -> GenerateError {
        GenerateError::file("write", self.path.0.as_deref().unwrap_or(Path::new("")))(source)
    }
}

impl Unfinished {
    fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The run has failed already, and says why.
            _ = fs::remove_file(path);
        }
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

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => {
                encoder.try_finish()?;
                encoder.get_mut().flush()
            }
        }
    }
}
