//! Kafka as the source, with a real broker: where partitions begin and end.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tips_e2e::kafka::Kafka;
use tips_e2e::{Folder, scenario};
use tips_worker::core::shard::{Partition, Topic};
use tips_worker::manifest::Manifest;
use tips_worker::source::kafka::KafkaSource;
use tips_worker::source::{Assigned, Change, Source};

const PATIENCE: Duration = Duration::from_secs(60);
const RIDES: Partition = Partition { topic: Topic::Rides, index: 0 };

/// A broker with topics of one partition.
fn start(folder: &Folder, name: &str) -> Result<Kafka> {
    let kafka = Kafka::start(folder)?;
    for kind in ["rides", "fares"] {
        kafka.create_topic(&format!("{name}-{kind}"), 1)?;
    }
    Ok(kafka)
}

fn open(kafka: &Kafka, name: &str) -> KafkaSource {
    let yaml = format!(
        "apiVersion: tipstream.dev/v1alpha1\nkind: TipsPipeline\nmetadata: {{name: {name}}}\nspec:\n  \
         kafka: {{bootstrapServers: \"{}\", ridesTopic: {name}-rides, faresTopic: {name}-fares}}\n  \
         redis: {{urls: [\"redis://127.0.0.1:1\"]}}\n  sink: {{volume: {{claimName: data}}}}\n",
        kafka.bootstrap()
    );
    KafkaSource::open(&Manifest::parse("test.yaml", yaml.as_bytes()).unwrap()).unwrap()
}

/// What comes until `partitions` have come.
fn assigned(source: &mut KafkaSource, partitions: usize) -> Result<BTreeMap<Partition, Assigned>> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = BTreeMap::new();
    while all.len() < partitions {
        ensure!(Instant::now() < deadline, "{} of {partitions} partitions have come", all.len());
        for change in source.poll(Duration::from_millis(50))? {
            if let Change::Assigned(assigned) = change {
                all.extend(assigned.into_iter().map(|one| (one.partition, one)));
            }
        }
    }
    Ok(all)
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|line| line.to_string()).collect()
}

/// The end that was heard is of the assignment; statistics come every two seconds.
#[test]
fn records_that_came_since_the_end_was_heard_do_not_make_the_topic_another() {
    scenario("source-end", |folder| {
        let kafka = start(folder, "end")?;
        kafka.produce("end-rides", 0, lines(10))?;
        let mut source = open(&kafka, "end");
        assigned(&mut source, 2)?;
        kafka.produce("end-rides", 0, lines(10))?;
        source.start(RIDES, 20, 20)?;
        let beyond = source.start(RIDES, 21, 21).unwrap_err().to_string();
        ensure!(beyond.contains("ends at offset 20"), "{beyond}");
        Ok(())
    });
}

/// Its first owner may have started after the partition was added.
#[test]
fn a_partition_that_was_added_since_the_pipeline_began_is_read_from_its_beginning() {
    scenario("source-added", |folder| {
        let kafka = start(folder, "added")?;
        kafka.produce("added-rides", 0, lines(10))?;
        let began = open(&kafka, "added").ends_of(Topic::Rides);
        kafka.add_partitions("added-rides", 2)?;
        kafka.produce("added-rides", 1, lines(5))?;
        let mut source = open(&kafka, "added");
        source.begin_at(Topic::Rides, began);
        let starts: Vec<(Partition, i64)> =
            assigned(&mut source, 3)?.into_values().map(|one| (one.partition, one.start)).collect();
        let added = Partition { topic: Topic::Rides, index: 1 };
        let fares = Partition { topic: Topic::Fares, index: 0 };
        ensure!(starts == [(RIDES, 10), (added, 0), (fares, 0)], "{starts:?}");
        Ok(())
    });
}
