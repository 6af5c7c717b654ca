//! All shards know the same partitions, or one would close windows that another holds open (I2).

use std::collections::BTreeMap;

use super::report::Check;
use crate::core::shard::Partition;
use crate::state::View;

const NAME: &str = "shards";

/// A check that is not made.
pub fn not_made(why: &str) -> Check {
    Check::not_made(NAME, why)
}

/// Checks what the shards know of partitions. That their offsets differ is no fault: they move one by one.
pub fn check(views: &[View]) -> Check {
    let mut check = Check::new(NAME);
    let known = views
        .iter()
        .fold(Default::default(), |all: crate::core::shard::PartitionCounts, view| all.grown_to(view.known));
    let mut offsets: BTreeMap<Partition, (i64, i64)> = BTreeMap::new();
    for (shard, view) in views.iter().enumerate() {
        if view.known != known {
            let (mine, all) = (view.known, known);
            check.find(format!(
                "shard {shard} knows {} partitions of rides and {} of fares, others {} and {}",
                mine.rides, mine.fares, all.rides, all.fares
            ));
        }
        for (partition, progress) in &view.progress {
            if partition.index >= known.of(partition.topic) {
                check.find(format!("shard {shard} has read {partition}, which no shard counts"));
            }
            let (least, greatest) = offsets.entry(*partition).or_insert((progress.offset, progress.offset));
            *least = progress.offset.min(*least);
            *greatest = progress.offset.max(*greatest);
        }
    }
    let apart = offsets.values().map(|(least, greatest)| greatest - least).max().unwrap_or(0);
    if apart > 0 {
        check.note(format!("a batch is on its way: shards are up to {apart} offsets of a partition apart"));
    }
    check.looked_at(format!("{} shards, {} partitions", views.len(), known.partitions().count()))
}
