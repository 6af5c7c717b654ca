//! Whatever reads Parquet reads the output: DuckDB, pyarrow and Spark find the same in it, partition columns and all.

use std::process::Command;

use anyhow::ensure;
use tips_e2e::oracle::readers_agree;
use tips_e2e::scenario;
use tips_e2e::worker::{Data, MIXED, binary};

const DATA: [&str; 6] = ["--seed", "41", "--rate", "2", "--span", "26h"];

#[test]
fn duckdb_pyarrow_and_spark_find_the_same_rows() {
    scenario("readers", |folder| {
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo.yaml");
        let output = folder.path().join("output");
        let mut command = Command::new(binary()?);
        command.args(["local", "--quiet", "-f", manifest, "--rides"]).args(&data.rides);
        command.arg("--fares").args(&data.fares).arg("--output").arg(&output);
        let ran = command.output()?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        readers_agree(&output)
    });
}
