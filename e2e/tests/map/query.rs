//! The map of the query service.

use anyhow::{Context, Result, bail};
use tips_e2e::browser::Browser;
use tips_e2e::ports::Port;
use tips_e2e::query::Query;
use tips_e2e::worker::Data;
use tips_e2e::{Servers, scenario};

use super::PATIENCE;
use super::files::Figures;
use super::page::{Page, State};

const DATA: [&str; 6] = ["--seed", "53", "--rate", "1", "--span", "3h"];

/// What SQL says of the windows that are `open`, or of those that are final.
fn figures(query: &Query, state: State) -> Result<Figures> {
    let is_final = state == State::Final;
    let sql = format!("SELECT window_start, stop_nbhd, avg_tip, trips FROM tips WHERE final = {is_final}");
    let mut figures = Figures::new();
    for row in query.rows(&sql)? {
        let [start, name, average, trips] = &row[..] else { bail!("{row:?}") };
        // 2013-01-01 00:10:00+00
        let start = format!("{}T{}Z", &start[..10], &start[11..19]);
        figures.entry(start).or_default().insert(name.clone(), (average.parse()?, trips.parse()?));
    }
    Ok(figures)
}

#[test]
fn the_page_of_the_query_service_shows_what_sql_says() {
    scenario("map-query", |folder| {
        let servers = Servers::start(folder)?;
        let data = Data::generate(folder, &DATA)?;
        data.produce(&servers.kafka, "map")?;
        let mut pipeline = servers.pipeline("map", &[])?;
        pipeline.catch_up(1, PATIENCE)?;
        let port = Port::reserve()?;
        let log = folder.path().join("query.log");
        let query = Query::open(&pipeline, &log, &["--map", &port.address()])?;
        let url = format!("http://{}/", port.address());
        let page = Page::open(Browser::start(folder)?, &url)?;
        let (open, closed) = (figures(&query, State::Open)?, figures(&query, State::Final)?);
        let (next, cells) = open.first_key_value().context("no open window")?;
        page.shows_as(State::Open, next, cells)?;
        page.tab_to("slider")?;
        for (start, cells) in closed.iter().rev().take(5) {
            page.browser.press("ArrowLeft", 37)?;
            page.shows(start, cells)?;
        }
        page.is_quiet(&url)
    });
}
