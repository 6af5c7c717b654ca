//! Half of the results are better than none, where it is said that they are half.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tips_e2e::ports::Port;
use tips_e2e::query::Query;
use tips_e2e::s3::S3;
use tips_e2e::worker::{Bucket, Data, Pipeline, Target};
use tips_e2e::{Servers, scenario, wait};

const PATIENCE: Duration = Duration::from_secs(120);
/// A reading of the windows serves other queries for 100 ms.
const SHARED: Duration = Duration::from_millis(150);
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
        let map = Port::reserve()?;
        let query = Query::open(&pipeline, &log, &["--map", &map.address()])?;
        let all = query.value("SELECT count(*) FROM tips")?;
        let archived = query.value("SELECT count(*) FROM tips WHERE final")?;
        servers.redis.process().stop()?;
        without_redis_the_archive_answers(&query, &archived)?;
        without_redis_the_map_says_so(&query, &map)?;
        servers.redis.process().cont()?;
        until(&query, "SELECT count(*) FROM tips", &all)?;
        servers.redis.down()?;
        without_redis_the_archive_answers(&query, &archived)?;
        without_redis_the_map_says_so(&query, &map)?;
        let status = query.rows(
            "SELECT watermark IS NULL, state_error IS NOT NULL, sink_error IS NULL FROM pipeline_status",
        )?;
        ensure!(status == [["t", "t", "t"]], "{status:?}");
        // One that starts meanwhile answers as well.
        let second = Query::open(&pipeline, &folder.path().join("second.log"), &[])?;
        without_redis_the_archive_answers(&second, &archived)?;
        servers.redis.up()?;
        until(&query, "SELECT count(*) FROM tips", &all)?;
        until(&second, "SELECT count(*) FROM tips", &all)
    });
}

fn without_redis_the_archive_answers(query: &Query, archived: &str) -> Result<()> {
    std::thread::sleep(SHARED);
    let asked = Instant::now();
    let said = query.psql("SELECT count(*) FROM tips")?;
    let took = asked.elapsed();
    ensure!(said.contains("WARNING") && said.contains("live windows are missing"), "{said}");
    ensure!(said.lines().any(|line| line == archived), "{said} in place of {archived}");
    ensure!(took < Duration::from_secs(5), "the archive answers after {took:?}");
    Ok(())
}

fn without_redis_the_map_says_so(query: &Query, map: &Port) -> Result<()> {
    let list = query.map(map, "windows")?;
    let notice = list["notice"].as_str().unwrap_or_default();
    ensure!(notice.starts_with("Open windows are missing"), "{list}");
    let windows = list["windows"].as_array().context("no windows")?;
    ensure!(!windows.is_empty() && windows.iter().all(|window| window["final"] == true), "{list}");
    Ok(())
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
        let query = Query::open(&pipeline, &log, &["--max-queries", "2", "--map", &map.address()])?;
        let shown = query.map(&map, "windows")?;
        let all = query.value("SELECT count(*) FROM tips")?;
        let live = query.value("SELECT count(*) FROM tips_live")?;
        ensure!(all != live && live != "0", "{live} of {all}");
        let whole = || -> Result<()> {
            until(&query, "SELECT count(*) FROM tips", &all)?;
            wait::until("the map is whole", PATIENCE, || Ok(query.map(&map, "windows")? == shown))
        };
        s3.process().stop()?;
        without_sink_live_answers(&query, &live)?;
        without_sink_the_map_says_so(&query, &map)?;
        s3.process().cont()?;
        whole()?;
        s3.down()?;
        without_sink_live_answers(&query, &live)?;
        without_sink_the_map_says_so(&query, &map)?;
        let status = query.rows(
            "SELECT watermark IS NOT NULL, state_error IS NULL, sink_error IS NOT NULL FROM pipeline_status",
        )?;
        ensure!(status == [["t", "t", "t"]], "{status:?}");
        // One that starts meanwhile answers as well.
        let second = Query::open(&pipeline, &folder.path().join("second.log"), &[])?;
        ensure!(second.value("SELECT count(*) FROM tips_live")? == live, "the second");
        s3.up()?;
        whole()?;
        until(&second, "SELECT count(*) FROM tips", &all)
    });
}

/// Queries of the archive are more than may run at once.
fn without_sink_live_answers(query: &Query, live: &str) -> Result<()> {
    std::thread::scope(|scope| {
        let archive: Vec<_> =
            (0..4).map(|_| scope.spawn(|| the_archive_fails(query, Duration::from_secs(10)))).collect();
        while !archive.iter().all(|asked| asked.is_finished()) {
            let asked = Instant::now();
            let said = query.value("SELECT count(*) FROM tips_live")?;
            ensure!(said == live, "{said} in place of {live}");
            let took = asked.elapsed();
            ensure!(took < Duration::from_secs(2), "live windows came after {took:?}");
        }
        archive.into_iter().try_for_each(|asked| asked.join().unwrap_or_else(|_| bail!("a panic")))
    })?;
    // Who asks later does not wait.
    the_archive_fails(query, Duration::from_secs(2))
}

fn the_archive_fails(query: &Query, within: Duration) -> Result<()> {
    let asked = Instant::now();
    let mut psql = query.psql_command("SELECT count(*) FROM tips")?;
    let said = psql.args(["--set", "VERBOSITY=verbose"]).output().context("starting psql")?.stderr;
    let (said, took) = (String::from_utf8_lossy(&said), asked.elapsed());
    ensure!(said.contains("ERROR:  58030") && said.contains("does not answer"), "{said}");
    ensure!(took < within, "after {took:?}: {said}");
    Ok(())
}

fn without_sink_the_map_says_so(query: &Query, map: &Port) -> Result<()> {
    let list = query.map(map, "windows")?;
    let notice = list["notice"].as_str().unwrap_or_default();
    ensure!(notice.starts_with("Only the windows in Redis are here"), "{list}");
    // Those that have closed are in Redis for a while.
    let windows = list["windows"].as_array().context("no windows")?;
    for is_final in [false, true] {
        ensure!(windows.iter().any(|window| window["final"] == is_final), "{list}");
    }
    let start = windows[0]["start"].as_str().context("no start")?;
    let figures = query.map(map, &format!("windows/{start}"))?;
    ensure!(figures["final"] == true && figures["cells"] != serde_json::json!([]), "{figures}");
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
