//! The oracle and the watcher find what is wrong; their own tests are in Python beside them.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tips_e2e::data::RealData;
use tips_e2e::oracle::Oracle;
use tips_e2e::watcher::{Merging, Watcher};
use tips_e2e::{Folder, cache, scenario};

const END: &str = "1,END,2013-01-01 00:20:00,2013-01-01 00:00:00,-73.95,40.75,-73.95,40.75,1,7,8\n";
const FARE: &str = "1,7,8,2013-01-01 00:00:00,CRD,1.25,0,9\n";
const MAP: &str = r#"{"type": "FeatureCollection", "features": []}"#;

fn oracle(folder: &Folder) -> Result<Oracle> {
    Ok(Oracle {
        rides: vec![folder.file("rides", END)?],
        fares: vec![folder.file("fares", FARE)?],
        neighbourhoods: folder.file("map.geojson", MAP)?,
        ..Oracle::default()
    })
}

#[test]
fn the_oracles_own_tests_pass() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle");
    let output = Command::new(cache::python().unwrap())
        .args(["-B", "-m", "unittest", "discover", "-s"])
        .arg(sources)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_output_that_lacks_everything_is_refused_with_the_table() {
    scenario("oracle-refuses", |folder| {
        let error = oracle(folder)?.check(&folder.dir("out")?).unwrap_err();
        let message = format!("{error:#}");
        ensure!(
            message.contains("FAIL  rows: rides") && message.contains("FAIL  tips, of 3 rows"),
            "{message}"
        );
        Ok(())
    });
}

#[test]
fn the_oracle_counts_the_real_data() {
    let Some(data) = RealData::find() else { return };
    scenario("oracle-real", |_| {
        let oracle = Oracle {
            rides: vec![data.rides],
            fares: vec![data.fares],
            neighbourhoods: data.neighbourhoods,
            ..Oracle::default()
        };
        let counts = oracle.expect()?;
        ensure!(counts["rides"]["valid"] == 100_000 && counts["fares"]["valid"] == 46_450, "{counts:#}");
        ensure!(counts["joined"] == 45_415 && counts["ambiguous_ids"] == 0, "{counts:#}");
        Ok(())
    });
}

#[test]
fn a_watcher_reports_a_file_that_is_not_whole() {
    scenario("watcher-half", |folder| {
        let output = folder.path().join("out");
        let watcher = Watcher::start(folder, &output, Merging::None)?;
        folder.dir("out/rides/year=2013/month=1/day=1")?;
        folder.file("out/rides/year=2013/month=1/day=1/half.parquet", "PAR1")?;
        let message = format!("{:#}", watcher.finish().unwrap_err());
        ensure!(message.contains("is not whole"), "{message}");
        Ok(())
    });
}

#[test]
fn a_watcher_is_content_with_what_is_not_data() {
    scenario("watcher-content", |folder| {
        let output = folder.dir("out")?;
        folder.dir("out/_tips/raw")?;
        folder.file("out/_tips/raw/half", "")?;
        let seen = Watcher::start(folder, &output, Merging::None)?.finish()?;
        let looks: u32 = seen.split(' ').next().context("no count")?.parse()?;
        ensure!(looks >= 1 && seen.ends_with("0 files, 0 rows"), "{seen}");
        Ok(())
    });
}
