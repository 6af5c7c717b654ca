//! Files as topics: each is a partition, a line's number its offset. Plain or gzip; `-` is standard input.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use memchr::memchr;

use super::{Assigned, BURST_BYTES, Change, Done, Due, Read, Record, Source, SourceError};
use crate::core::shard::{Partition, PartitionCounts, Topic};

const BUFFER: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Bytes of input read and in all; clones share them.
#[derive(Clone, Debug, Default)]
pub struct InputProgress {
    read: Arc<AtomicU64>,
    total: u64,
}

impl InputProgress {
    /// Bytes read of the files, compressed where they are.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes of all files; standard input counts as none.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// Ride and fare files.
pub struct FileSource {
    rides: Vec<Lines>,
    fares: Vec<Lines>,
    progress: InputProgress,
    announced: bool,
}

impl FileSource {
    /// Opens all files, so that one that is missing is told before any is read.
    ///
    /// # Errors
    /// Where a file cannot be opened.
    pub fn open(rides: &[PathBuf], fares: &[PathBuf]) -> Result<Self, SourceError> {
        let paths = || rides.iter().chain(fares).filter(|path| !is_stdin(path));
        let sizes = paths().map(|path| Ok(path.metadata()?.len()));
        let total =
            sizes.zip(paths()).map(|(size, path)| size.map_err(|e| failed(path, e))).sum::<Result<_, _>>()?;
        let progress = InputProgress { read: Arc::default(), total };
        let open = |files: &[PathBuf]| -> Result<Vec<Lines>, SourceError> {
            files.iter().map(|path| Lines::open(path, progress.read.clone())).collect()
        };
        Ok(FileSource {
            rides: open(rides)?,
            fares: open(fares)?,
            progress: progress.clone(),
            announced: false,
        })
    }

    /// How far reading has come; may be looked at from elsewhere.
    pub fn progress(&self) -> InputProgress {
        self.progress.clone()
    }

    fn lines(&mut self, partition: Partition) -> &mut Lines {
        let files = match partition.topic {
            Topic::Rides => &mut self.rides,
            Topic::Fares => &mut self.fares,
        };
        &mut files[partition.index as usize]
    }
}

impl Source for FileSource {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Change>, SourceError> {
        if std::mem::replace(&mut self.announced, true) {
            std::thread::sleep(wait);
            return Ok(Vec::new());
        }
        let all = self.known().partitions().map(|partition| Assigned {
            partition,
            low: 0,
            high: self.target(partition),
            committed: None,
            start: 0,
        });
        Ok(vec![Change::Assigned(all.collect())])
    }

    fn start(&mut self, partition: Partition, offset: i64, _reached: i64) -> Result<(), SourceError> {
        self.lines(partition).go_to(offset)
    }

    fn read(
        &mut self,
        partition: Partition,
        max: usize,
        mut take: impl FnMut(Record<'_>),
    ) -> Result<Read, SourceError> {
        let records = self.lines(partition).read(max, |offset, line| {
            take(Record { offset, timestamp: None, value: Some(line) });
        })?;
        Ok(if records == 0 { Read::End } else { Read::Records(records) })
    }

    fn commit(&mut self, _partition: Partition, _offset: i64, _done: Done) {}

    fn reaches_group(&self) -> bool {
        true
    }

    fn known(&self) -> PartitionCounts {
        PartitionCounts { rides: self.rides.len() as i32, fares: self.fares.len() as i32 }
    }

    /// Nothing is added to a file that has been read to its end.
    fn is_at_end(&mut self, _partition: Partition) -> Result<Option<bool>, SourceError> {
        Ok(Some(true))
    }

    fn high(&self, _partition: Partition) -> Option<i64> {
        None
    }

    fn has_none_between(&self, _partition: Partition, _from: i64, _end: i64) -> Result<bool, SourceError> {
        Ok(false)
    }

    fn hear_ends(&mut self) -> bool {
        true
    }

    fn is_published(&mut self, due: &BTreeMap<Partition, Due>) -> Result<bool, SourceError> {
        Ok(due.is_empty())
    }

    /// The end of a file is known when it is reached.
    fn target(&self, _partition: Partition) -> i64 {
        i64::MAX
    }

    fn topic(&self, topic: Topic) -> &str {
        topic.name()
    }
}

/// Whether `path` is standard input.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn failed(path: &Path, error: std::io::Error) -> SourceError {
    SourceError::File { path: path.display().to_string(), error }
}

struct Lines {
    path: PathBuf,
    read: Arc<AtomicU64>,
    input: Box<dyn BufRead + Send>,
    /// The beginning of a line of which the rest is not in the buffer yet.
    begun: Vec<u8>,
    next: i64,
}

impl Lines {
    fn open(path: &Path, read: Arc<AtomicU64>) -> Result<Self, SourceError> {
        let input = input(path, read.clone()).map_err(|error| failed(path, error))?;
        Ok(Lines { path: path.to_owned(), read, input, begun: Vec::new(), next: 0 })
    }

    fn go_to(&mut self, offset: i64) -> Result<(), SourceError> {
        if offset < self.next {
            if is_stdin(&self.path) {
                return Err(SourceError::Stdin(offset));
            }
            *self = Lines::open(&self.path, self.read.clone())?;
        }
        while self.next < offset && self.read((offset - self.next) as usize, |_, _| ())? > 0 {}
        Ok(())
    }

    /// At most `max` lines without their ends (`\n` or `\r\n`), and their numbers from 0. A line is read where
    /// it lies in the buffer; only one that goes over its end is copied. Returns how many; none at the end.
    fn read(&mut self, max: usize, mut take: impl FnMut(i64, &[u8])) -> Result<usize, SourceError> {
        let first = self.next;
        let mut end = first.saturating_add_unsigned(max as u64);
        let mut bytes = 0;
        let mut take = |next: &mut i64, line: &[u8]| {
            take(*next, line.strip_suffix(b"\r").unwrap_or(line));
            *next += 1;
            bytes += line.len();
            bytes >= BURST_BYTES
        };
        while self.next < end {
            let buffer = self.input.fill_buf().map_err(|error| failed(&self.path, error))?;
            if buffer.is_empty() {
                if !self.begun.is_empty() {
                    take(&mut self.next, &self.begun);
                    self.begun.clear();
                }
                break;
            }
            let mut rest = buffer;
            while self.next < end
                && let Some(len) = memchr(b'\n', rest)
            {
                let is_enough = if self.begun.is_empty() {
                    take(&mut self.next, &rest[..len])
                } else {
                    self.begun.extend_from_slice(&rest[..len]);
                    let is_enough = take(&mut self.next, &self.begun);
                    self.begun.clear();
                    is_enough
                };
                rest = &rest[len + 1..];
                if is_enough {
                    end = self.next;
                }
            }
            if self.next < end {
                self.begun.extend_from_slice(rest);
                rest = &[];
            }
            let used = buffer.len() - rest.len();
            self.input.consume(used);
        }
        Ok((self.next - first) as usize)
    }
}

fn input(path: &Path, read: Arc<AtomicU64>) -> std::io::Result<Box<dyn BufRead + Send>> {
    let file = if is_stdin(path) { Raw::Stdin(std::io::stdin()) } else { Raw::File(File::open(path)?) };
    let mut plain = BufReader::with_capacity(BUFFER, Counted { file, read });
    if plain.fill_buf()?.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain))));
    }
    Ok(Box::new(plain))
}

enum Raw {
    File(File),
    Stdin(Stdin),
}

struct Counted {
    file: Raw,
    read: Arc<AtomicU64>,
}

impl std::io::Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = match &mut self.file {
            Raw::File(file) => file.read(buffer)?,
            Raw::Stdin(stdin) => stdin.read(buffer)?,
        };
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const RIDES: Partition = Partition { topic: Topic::Rides, index: 0 };

    fn read_all(source: &mut FileSource) -> Vec<(i64, String)> {
        let mut all = Vec::new();
        while source
            .read(RIDES, 2, |r| {
                let line = String::from_utf8_lossy(r.value.unwrap_or_default()).into_owned();
                all.push((r.offset, line));
            })
            .expect("readable")
            != Read::End
        {}
        all
    }

    #[test]
    fn lines_have_their_numbers_whatever_ends_them() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "a\r\n\nb\nc").expect("written");
        let mut source = FileSource::open(&[file.path().to_owned()], &[]).expect("open");
        let lines = |all: Vec<(i64, String)>| {
            all.into_iter().map(|(n, line)| format!("{n}{line}")).collect::<Vec<_>>()
        };
        assert_eq!(lines(read_all(&mut source)), ["0a", "1", "2b", "3c"]);
        source.start(RIDES, 2, 2).expect("again");
        assert_eq!(lines(read_all(&mut source)), ["2b", "3c"]);
        assert_eq!(source.progress().total(), 7);
    }

    #[test]
    fn a_line_may_be_longer_than_the_buffer() {
        let long = ["a".repeat(BUFFER - 1), "b".repeat(3 * BUFFER), "c".into()];
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), long.join("\n")).expect("written");
        let mut source = FileSource::open(&[file.path().to_owned()], &[]).expect("open");
        let lines: Vec<String> = read_all(&mut source).into_iter().map(|(_, line)| line).collect();
        assert!(lines == long);
    }

    #[test]
    fn a_burst_ends_with_the_line_that_makes_it_large() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), ["a".repeat(BURST_BYTES / 2).as_str(); 5].join("\n")).expect("written");
        let mut source = FileSource::open(&[file.path().to_owned()], &[]).expect("open");
        let mut burst = || source.read(RIDES, 1000, |_| ()).expect("readable");
        assert_eq!([burst(), burst(), burst()], [Read::Records(2), Read::Records(2), Read::Records(1)]);
    }

    #[test]
    fn gzip_is_seen_by_its_first_bytes() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut gzip =
            flate2::write::GzEncoder::new(file.reopen().expect("file"), flate2::Compression::fast());
        gzip.write_all(b"a\nb\n").expect("written");
        gzip.finish().expect("written");
        let mut source = FileSource::open(&[file.path().to_owned()], &[]).expect("open");
        assert_eq!(read_all(&mut source).len(), 2);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = FileSource::open(&["nowhere/rides.csv".into()], &[]).err().expect("missing");
        assert!(error.to_string().starts_with("nowhere/rides.csv: "), "{error}");
    }
}
