//! How fast live windows are answered, and how soon they have what came.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tips_e2e::figure::{Figure, Limit};
use tips_e2e::kafka::Record;
use tips_e2e::ports::Port;
use tips_e2e::process::run;
use tips_e2e::query::Query;
use tips_e2e::worker::binary;
use tips_e2e::{Folder, Servers};

const PATIENCE: Duration = Duration::from_secs(600);
const CLIENTS: &str = "30";
const SECONDS: &str = "20";
/// Columns and rows of a grid of neighbourhoods: with the windows that are open, more than 10,000 cells.
const GRID: (u32, u32) = (30, 30);
/// Trips that are sent one by one to see when they are in an answer.
const TRIPS: u64 = 50;
/// Looks at the map, one after the other.
const LOOKS: usize = 100;

fn grid(folder: &Folder) -> Result<PathBuf> {
    let mut features = String::new();
    for (x, y) in (0..GRID.0).flat_map(|x| (0..GRID.1).map(move |y| (x, y))) {
        let west = -74.0 + f64::from(x) * 0.002;
        let south = 40.7 + f64::from(y) * 0.002;
        let (east, north) = (west + 0.002, south + 0.002);
        let comma = if features.is_empty() { "" } else { "," };
        write!(
            features,
            "{comma}{{\"type\":\"Feature\",\"properties\":{{\"name\":\"cell {x} {y}\"}},\"geometry\":{{\"type\":\
             \"Polygon\",\"coordinates\":[[[{west},{south}],[{east},{south}],[{east},{north}],[{west},{north}],\
             [{west},{south}]]]}}}}"
        )?;
    }
    folder.file("grid.geojson", format!("{{\"type\":\"FeatureCollection\",\"features\":[{features}]}}"))
}

/// 30 clients that look at the live windows once a second, as a dashboard does.
pub(super) fn query(folder: &Folder) -> Result<Vec<Figure>> {
    let servers = Servers::start(folder)?;
    let grid = grid(folder)?.display().to_string();
    let mut generate = Command::new(binary()?);
    generate.args(["generate", "--seed", "6", "--rate", "60", "--span", "2h", "--pattern", "uniform"]);
    generate.args(["--neighbourhoods", &grid, "--kafka", &servers.kafka.bootstrap()]);
    generate.args(["--rides-topic", "query-rides", "--fares-topic", "query-fares"]);
    run(&mut generate)?;
    let mut pipeline = servers.pipeline("query", &["raw: {enabled: false}"])?;
    pipeline.set("TIPS_NEIGHBOURHOODS", &grid);
    pipeline.catch_up(1, PATIENCE)?;
    let map = Port::reserve()?;
    let query = Query::open(&pipeline, &folder.path().join("query.log"), &["--map", &map.address()])?;
    let cells: u64 = query.value("SELECT count(*) FROM tips_live")?.parse()?;
    ensure!(cells >= 10_000, "{cells} open cells");
    let told = query.client("load.py", &[CLIENTS, SECONDS])?;
    let p99: f64 = told.split(' ').next().context("no figure")?.parse()?;
    let map_p99 = map_p99(&query, &map)?;
    let _worker = pipeline.start(&[])?;
    let mut slowest = Duration::ZERO;
    for trip in 0..TRIPS {
        slowest = slowest.max(until_seen(&servers, &query, trip)?);
    }
    Ok(vec![
        Figure {
            name: "live_query_p99_of_30_clients".to_owned(),
            value: p99,
            unit: "ms",
            limit: Limit::AtMost(50.0),
        },
        Figure {
            name: "map_answer_p99".to_owned(),
            value: map_p99.as_secs_f64() * 1e3,
            unit: "ms",
            limit: Limit::AtMost(50.0),
        },
        Figure {
            name: "live_query_open_cells".to_owned(),
            value: cells as f64,
            unit: "cells",
            limit: Limit::AtLeast(10_000.0),
        },
        Figure {
            name: format!("record_in_kafka_to_live_query_slowest_of_{TRIPS}"),
            value: slowest.as_secs_f64(),
            unit: "s",
            limit: Limit::AtMost(1.0),
        },
    ])
}

/// How long the map waits for the list of windows, and for the figures of the last one, where it waits longest but for one
/// time in a hundred: with what making the connection takes.
fn map_p99(query: &Query, map: &Port) -> Result<Duration> {
    let mut times = Vec::new();
    let mut timed = |target: &str| -> Result<serde_json::Value> {
        let asked = Instant::now();
        let answer = query.map(map, target)?;
        times.push(asked.elapsed());
        Ok(answer)
    };
    for _ in 0..LOOKS {
        let list = timed("windows")?;
        let last = list["windows"].as_array().and_then(|windows| windows.last()).context("no window")?;
        timed(&format!("windows/{}", last["start"].as_str().context("no start")?))?;
    }
    times.sort_unstable();
    Ok(times[times.len() * 99 / 100])
}

/// From when Kafka has both sides of a trip until it is in the answer that a client of its own gets: with what starting
/// the client takes.
fn until_seen(servers: &Servers<'_>, query: &Query, trip: u64) -> Result<Duration> {
    let count = || -> Result<u64> { Ok(query.value("SELECT sum(trips) FROM tips_live")?.parse()?) };
    let (before, id) = (count()?, 1_000_000_000 + trip);
    let (start, end) = ("2013-01-01 02:20:00", "2013-01-01 02:30:00");
    let fare = format!("{id},1,1,{start},CSH,1.00,0.00,9.00");
    let ride = format!("{id},END,{end},{start},-73.99,40.71,-73.97,40.73,1,1,1");
    servers.kafka.produce("query-fares", None, [Record::keyed(&fare)])?;
    servers.kafka.produce("query-rides", None, [Record::keyed(&ride)])?;
    let sent = Instant::now();
    while count()? == before {
        ensure!(sent.elapsed() < PATIENCE, "trip {id} is in no answer");
    }
    Ok(sent.elapsed())
}
