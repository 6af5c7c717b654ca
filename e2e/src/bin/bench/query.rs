//! How fast live windows are answered.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::figure::{Figure, Limit};
use tips_e2e::process::run;
use tips_e2e::query::Query;
use tips_e2e::worker::binary;
use tips_e2e::{Folder, Servers};

const PATIENCE: Duration = Duration::from_secs(600);
const CLIENTS: &str = "30";
const SECONDS: &str = "20";
/// Columns and rows of a grid of neighbourhoods: with the windows that are open, more than 10,000 cells.
const GRID: (u32, u32) = (30, 30);

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
    let query = Query::open(&pipeline, &folder.path().join("query.log"), &[])?;
    let cells: u64 = query.value("SELECT count(*) FROM tips_live")?.parse()?;
    ensure!(cells >= 10_000, "{cells} open cells");
    let told = query.client("load.py", &[CLIENTS, SECONDS])?;
    let p99: f64 = told.split(' ').next().context("no figure")?.parse()?;
    Ok(vec![
        Figure {
            name: "live_query_p99_of_30_clients".to_owned(),
            value: p99,
            unit: "ms",
            limit: Limit::AtMost(50.0),
        },
        Figure {
            name: "live_query_open_cells".to_owned(),
            value: cells as f64,
            unit: "cells",
            limit: Limit::AtLeast(10_000.0),
        },
    ])
}
