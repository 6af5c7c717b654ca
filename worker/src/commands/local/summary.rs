//! What a run over files came to: the books, and where the tips are high.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};

use super::behind::Ahead;
use crate::core::amount::TipSum;
use crate::core::books::{Books, Outcome};
use crate::failure::Failure;
use crate::results::window_file;
use crate::sink::Sink;
use crate::state::{MemoryState, State};

/// Neighbourhoods in the table.
const TOP: usize = 10;
/// Fewer trips than this over the whole input say little about a neighbourhood.
const FEW_TRIPS: u64 = 10;

/// Prints the tables.
pub(super) async fn print(
    out: &mut impl Write,
    sink: &Sink,
    state: &MemoryState,
    took: Duration,
) -> Result<(), Failure> {
    let books = State::Memory(state.clone()).view(0).await?.books;
    let records = (books.rides.consumed + books.fares.consumed) as u64;
    let bytes = raw_bytes(sink).await?;
    let (windows, tips) = tips_of(sink).await?;
    writeln!(
        out,
        "{} records in {:.1} s ({}/s): {} of raw Parquet and {windows} windows in {}\n\n{}\n",
        HumanCount(records),
        took.as_secs_f64(),
        HumanCount((records as f64 / took.as_secs_f64()) as u64),
        HumanBytes(bytes),
        sink.location(),
        outcomes(&books),
    )?;
    writeln!(out, "Highest average tip, over all windows:\n\n{}", highest(tips))?;
    Ok(())
}

/// Says how many records were late, and behind which lines.
pub(super) fn print_late(
    out: &mut impl Write,
    [rides, fares]: [i64; 2],
    lines: &[(PathBuf, Ahead)],
) -> Result<(), Failure> {
    let count = |records: i64| HumanCount(records as u64);
    writeln!(
        out,
        "\nWARNING: {} rides and {} fares were late: windows that they belong to had closed before they came.",
        count(rides),
        count(fares)
    )?;
    for (path, Ahead { line, time, behind }) in lines {
        let (path, behind) = (path.display(), HumanCount(*behind));
        writeln!(out, "  {path}, line {line}, is dated {time}; {behind} lines after it are of times before")?;
    }
    if lines.is_empty() {
        writeln!(out, "  What came through a pipe cannot be read again to say why.")?;
    }
    writeln!(
        out,
        "Where a date is wrong, correct it or remove the line, and run again with another --output; where the lines are \
         in disorder, raise job.watermarkDelay."
    )?;
    Ok(())
}

/// Of all raw files that are there: a run before this one, which was interrupted, may have written some.
async fn raw_bytes(sink: &Sink) -> Result<u64, Failure> {
    let mut bytes = 0;
    for folder in ["rides", "fares", "invalid"] {
        bytes += sink.list(folder).await?.iter().map(|file| file.len).sum::<u64>();
    }
    Ok(bytes)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    for index in 1..header.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn outcomes(books: &Books) -> Table {
    let mut table = table(&["outcome", "rides", "fares"]);
    let count = |records: i64| HumanCount(records as u64).to_string();
    for outcome in Outcome::ALL {
        let (rides, fares) = (books.rides.get(outcome), books.fares.get(outcome));
        if rides + fares > 0 {
            table.add_row([outcome.name().to_owned(), count(rides), count(fares)]);
        }
    }
    table.add_row(["consumed".to_owned(), count(books.rides.consumed), count(books.fares.consumed)]);
    table
}

/// Every trip is in as many windows as every other, so the mean over windows is the mean over trips.
fn highest(tips: HashMap<String, TipSum>) -> Table {
    let mut rows: Vec<_> = tips.into_iter().filter(|(_, sum)| sum.trips >= FEW_TRIPS).collect();
    rows.sort_by(|(a_name, a), (b_name, b)| b.average().total_cmp(&a.average()).then(a_name.cmp(b_name)));
    let mut table = table(&["neighbourhood", "average tip"]);
    for (name, sum) in rows.into_iter().take(TOP) {
        table.add_row([name, format!("{:.2}", sum.average())]);
    }
    table
}

/// Reads the windows back, as any reader would: how many there are, and their sums by neighbourhood.
async fn tips_of(sink: &Sink) -> Result<(usize, HashMap<String, TipSum>), Failure> {
    let files = sink.list("tips").await?;
    let mut tips: HashMap<String, TipSum> = HashMap::new();
    for file in &files {
        let Some(bytes) = sink.read(&file.path).await? else { continue };
        for (name, sum) in window_file::decode(bytes)? {
            *tips.entry(name).or_default() += sum;
        }
    }
    Ok((files.len(), tips))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::amount::Amount;

    fn sum(trips: u64, micros: i64) -> TipSum {
        let mut sum = TipSum::default();
        for _ in 0..trips {
            sum += TipSum::of(Amount::from_micros(micros));
        }
        sum
    }

    #[test]
    fn the_highest_average_comes_first_and_few_trips_say_nothing() {
        let tips =
            [("low", 50, 1_000_000), ("b", 10, 2_500_000), ("a", 10, 2_500_000), ("few", 9, 9_000_000)];
        let mut tips: HashMap<_, _> =
            tips.map(|(name, trips, micros)| (name.to_owned(), sum(trips, micros))).into();
        tips.extend((0..TOP).map(|index| (format!("rest {index}"), sum(10, 500_000))));
        let shown = highest(tips).to_string();
        let rows: Vec<_> = shown.lines().filter(|line| line.starts_with('│')).skip(1).collect();
        assert_eq!(rows.len(), TOP);
        let is_row = |row: &str, name: &str, average: &str| row.contains(name) && row.contains(average);
        assert!(is_row(rows[0], "a ", "2.50") && is_row(rows[1], "b ", "2.50"), "{shown}");
        assert!(is_row(rows[2], "low", "1.00") && is_row(rows[3], "rest 0", "0.50"), "{shown}");
    }
}
