//! The answer as files: `tips.csv` and `books.json`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::answer::{Books, Row};
use super::error::GenerateError;
use super::plan::Job;
use super::text::{TimePrinter, push_fixed, push_int};

pub(super) const TIPS: &str = "tips.csv";
pub(super) const BOOKS: &str = "books.json";

/// Writes both files and says how many rows `tips.csv` has.
pub(super) fn write<'a>(
    dir: &Path,
    rows: impl Iterator<Item = Row<'a>>,
    books: &Books,
    job: Job,
) -> Result<u64, GenerateError> {
    fs::create_dir_all(dir).map_err(GenerateError::file("create", dir))?;
    let path = dir.join(TIPS);
    let count = write_tips(&path, rows).map_err(GenerateError::file("write", path))?;
    let path = dir.join(BOOKS);
    write_books(&path, books, job).map_err(GenerateError::file("write", path))?;
    Ok(count)
}

fn write_tips<'a>(path: &Path, rows: impl Iterator<Item = Row<'a>>) -> io::Result<u64> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(b"window_start,window_end,stop_nbhd,trips,tip_sum,avg_tip\n")?;
    let mut times = TimePrinter::new();
    let mut line = Vec::new();
    let mut count = 0;
    for row in rows {
        line.clear();
        push_row(&mut line, &mut times, &row);
        out.write_all(&line)?;
        count += 1;
    }
    out.flush()?;
    Ok(count)
}

fn push_row(line: &mut Vec<u8>, times: &mut TimePrinter, row: &Row<'_>) {
    times.push(line, row.start);
    line.push(b',');
    times.push(line, row.end);
    line.push(b',');
    push_name(line, row.name);
    line.push(b',');
    push_int(line, row.cell.trips);
    line.push(b',');
    push_fixed(line, row.cell.cents as i64, 2);
    // The shortest decimal that reads back as the same float64.
    let average = row.cell.cents as f64 / 100.0 / row.cell.trips as f64;
    line.extend_from_slice(format!(",{average}\n").as_bytes());
}

/// Quoted as CSV asks for it, where it does.
fn push_name(line: &mut Vec<u8>, name: &str) {
    if name.contains([',', '"', '\n', '\r']) {
        line.extend_from_slice(format!("\"{}\"", name.replace('"', "\"\"")).as_bytes());
    } else {
        line.extend_from_slice(name.as_bytes());
    }
}

fn write_books(path: &Path, books: &Books, job: Job) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        #[serde(flatten)]
        books: &'a Books,
        /// What the answer holds for, in seconds.
        job_seconds: Job,
    }
    let mut out = BufWriter::new(File::create(path)?);
    let document = Document { books, job_seconds: job };
    serde_json::to_writer_pretty(&mut out, &document)?;
    out.write_all(b"\n")?;
    out.flush()
}
