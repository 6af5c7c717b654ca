//! The rows that pass, counted by the parts that they are promised to be of.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;

use super::numbers;
use crate::compact::footer::{Footer, Part};

/// Counts by partition and start of the range.
pub(super) struct Tally(BTreeMap<(i32, i64), Counted>);

#[derive(Default)]
struct Counted {
    end: i64,
    promised: u64,
    found: u64,
}

impl Tally {
    /// What these footers promise. A range whose rows are in several of them counts once.
    pub(super) fn new<'a>(footers: impl Iterator<Item = &'a Footer>) -> Self {
        let mut parts: BTreeMap<(i32, i64), Counted> = BTreeMap::new();
        for Part { partition, start, end, rows } in footers.flat_map(|footer| &footer.parts) {
            let counted = parts.entry((*partition, *start)).or_default();
            counted.end = *end;
            counted.promised += rows;
        }
        Tally(parts)
    }

    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<(), String> {
        let partitions =
            rows.column_by_name("kafka_partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let (Some(partitions), Some(offsets)) = (partitions, numbers(rows, "kafka_offset")) else {
            return Err("a source has no coordinates".into());
        };
        for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
            let part = self.0.range_mut((*partition, i64::MIN)..=(*partition, *offset)).next_back();
            match part {
                Some((_, counted)) if *offset < counted.end => counted.found += 1,
                _ => {
                    return Err(format!(
                        "partition {partition}: offset {offset} is in no range of the sources"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The parts of what has passed, if it is what was promised.
    pub(super) fn finish(self) -> Result<Vec<Part>, String> {
        self.0
            .into_iter()
            .map(|((partition, start), Counted { end, promised, found })| {
                let part = Part { partition, start, end, rows: found };
                let wrong = || format!("partition {partition}, {start} to {end}: {found} rows of {promised}");
                (found == promised).then_some(part).ok_or_else(wrong)
            })
            .collect()
    }
}
