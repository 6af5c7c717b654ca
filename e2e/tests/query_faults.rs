//! Half of the results are better than none, where it is said that they are half.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tips_e2e::ports::Port;
use tips_e2e::query::Query;
use tips_e2e::s3::S3;
use tips_e2e::worker::{Bucket, Data, Pipeline, Target};
use tips_e2e::{Servers, scenario, wait};

const PATIENCE: Duration = Duration::from_secs(120);
const DATA: [&str; 6] = ["--seed", "61", "--rate", "3", "--span", "3h"];

/// Waits until a query gives `value`: a connection that was lost comes back by itself.
fn until(query: &Query, sql: &str, value: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = query.psql(sql)?;
        if said == value {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{sql}: {said:?} in place of {value:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn without_redis_the_archive_answers_and_says_what_is_missing() {
    scenario("query-no-redis", |folder| {
        let mut servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        data.produce(&servers.kafka, "half")?;
        let mut pipeline = servers.pipeline("half", &[])?;
        pipeline.catch_up(1, PATIENCE)?;
        let log = folder.path().join("query.log");
        let query = Query::open(&pipeline, &log, &[])?;
        let all = query.value("SELECT count(*) FROM tips")?;
        let archived = query.value("SELECT count(*) FROM tips WHERE final")?;
        servers.redis.down()?;
        let said = query.psql("SELECT count(*) FROM tips")?;
        ensure!(said.contains("WARNING") && said.contains("live windows are missing"), "{said}");
        ensure!(said.lines().any(|line| line == archived), "{said} in place of {archived}");
        let status = query.rows(
            "SELECT watermark IS NULL, state_error IS NOT NULL, sink_error IS NULL FROM pipeline_status",
        )?;
        ensure!(status == [["t", "t", "t"]], "{status:?}");
        // One that starts meanwhile answers as well.
        let second = Query::open(&pipeline, &folder.path().join("second.log"), &[])?;
        ensure!(second.psql("SELECT count(*) FROM tips")?.lines().any(|line| line == archived), "the second");
        servers.redis.up()?;
        until(&query, "SELECT count(*) FROM tips", &all)?;
        until(&second, "SELECT count(*) FROM tips", &all)
    });
}

#[test]
fn without_the_sink_live_windows_answer() {
    scenario("query-no-sink", |folder| {
        let servers = Servers::start(folder)?;
        let mut s3 = S3::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        data.produce(&servers.kafka, "half")?;
        let target = Target::S3(Bucket::of(&s3));
        let mut pipeline = Pipeline::new(folder, "half", &servers.settings(&[]), target)?;
        pipeline.catch_up(1, PATIENCE)?;
        let log = folder.path().join("query.log");
        let map = Port::reserve()?;
        let query = Query::open(&pipeline, &log, &["--query-timeout", "20s", "--map", &map.address()])?;
        let shown = query.map(&map, "windows")?;
        let all = query.value("SELECT count(*) FROM tips")?;
        let live = query.value("SELECT count(*) FROM tips_live")?;
        ensure!(all != live && live != "0", "{live} of {all}");
        s3.down()?;
        ensure!(query.value("SELECT count(*) FROM tips_live")? == live, "live windows need no sink");
        without_sink_the_map_says_so(&query, &map)?;
        let said = query.psql("SELECT count(*) FROM tips")?;
        ensure!(said.contains("ERROR"), "{said}");
        let status = query.rows(
            "SELECT watermark IS NOT NULL, state_error IS NULL, sink_error IS NOT NULL FROM pipeline_status",
        )?;
        ensure!(status == [["t", "t", "t"]], "{status:?}");
        // One that starts meanwhile answers as well.
        let second = Query::open(&pipeline, &folder.path().join("second.log"), &[])?;
        ensure!(second.value("SELECT count(*) FROM tips_live")? == live, "the second");
        s3.up()?;
        until(&query, "SELECT count(*) FROM tips", &all)?;
        until(&second, "SELECT count(*) FROM tips", &all)?;
        wait::until("the map is whole", PATIENCE, || Ok(query.map(&map, "windows")? == shown))
    });
}

fn without_sink_the_map_says_so(query: &Query, map: &Port) -> Result<()> {
    let notice = |list: &serde_json::Value| list["notice"].as_str().unwrap_or_default().to_owned();
    let list = query.map(map, "windows")?;
    ensure!(notice(&list).contains("Only open windows are here"), "{list}");
    let again = query.map(map, "windows")?;
    ensure!(notice(&again) == notice(&list) && again["windows"] == list["windows"], "{again} after {list}");
    Ok(())
}

#[test]
fn the_sink_of_another_pipeline_is_no_empty_archive() {
    scenario("query-owner", |folder| {
        let servers = Servers::start(folder)?;
        let target = Target::Fs(folder.path().join("lake"));
        let pipeline = Pipeline::new(folder, "mine", &servers.settings(&[]), target)?;
        let query = Query::open(&pipeline, &folder.path().join("query.log"), &[])?;
        let status = query.value("SELECT sink_error FROM pipeline_status")?;
        ensure!(status.contains("no files of pipeline default/mine yet"), "{status}");
        let owner = pipeline.output()?.join("_tips/owner");
        std::fs::create_dir_all(owner.parent().context("a folder")?)?;
        std::fs::write(owner, "pipeline default/other\n")?;
        let whose = "belongs to pipeline default/other, and this is pipeline default/mine";
        let said = query.psql("SELECT count(*) FROM tips")?;
        ensure!(said.contains("ERROR") && said.contains(whose), "{said}");
        let status = query.value("SELECT sink_error FROM pipeline_status")?;
        ensure!(status.contains(whose), "{status}");
        match Query::open(&pipeline, &folder.path().join("second.log"), &[]) {
            Ok(_) => bail!("it starts"),
            Err(error) => {
                let error = format!("{error:#}");
                ensure!(error.contains("exit status: 2") && error.contains(whose), "{error}");
            }
        }
        Ok(())
    });
}
