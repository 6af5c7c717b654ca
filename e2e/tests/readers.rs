//! Whatever reads Parquet reads the output: DuckDB, pyarrow and Spark find the same in it, partition columns and all.

use tips_e2e::oracle::readers_agree;
use tips_e2e::scenario;
use tips_e2e::worker::{Data, MIXED};

const DATA: [&str; 6] = ["--seed", "41", "--rate", "2", "--span", "26h"];

#[test]
fn duckdb_pyarrow_and_spark_find_the_same_rows() {
    scenario("readers", |folder| {
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let output = folder.path().join("output");
        data.local(&output)?;
        readers_agree(&output)
    });
}
