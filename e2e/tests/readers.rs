//! Whatever reads Parquet reads the output, of `local` and of `stream`: DuckDB, pyarrow and Spark find the same in it,
//! partition columns and all.

use std::time::Duration;

use tips_e2e::oracle::readers_agree;
use tips_e2e::worker::{Data, MIXED};
use tips_e2e::{Servers, scenario};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "41", "--rate", "2", "--span", "26h"];

#[test]
fn duckdb_pyarrow_and_spark_find_the_same_rows() {
    scenario("readers", |folder| {
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let output = folder.path().join("output");
        data.local(&output)?;
        // The records of Kafka have timestamps, the lines of files have none.
        let servers = Servers::start(folder)?;
        data.produce(&servers.kafka, "readers")?;
        let mut pipeline = servers.pipeline("readers", &[])?;
        pipeline.catch_up(1, PATIENCE)?;
        readers_agree(&[&output, &pipeline.output()?])
    });
}
