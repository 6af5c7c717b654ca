//! The map of `local --serve`: its figures are those of the files, in a real browser too, which may ask nobody else.

mod files;
mod page;
mod query;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use reqwest::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
use serde_json::{Value, json};
use tips_e2e::browser::Browser;
use tips_e2e::served::{DEMO, Served, local};
use tips_e2e::worker::Data;
use tips_e2e::{Folder, cache, scenario};

use files::{figures, last_hours};
use page::{Page, colour_of, luminance};

const PATIENCE: Duration = Duration::from_secs(120);
/// Few enough trips that some neighbourhoods have none.
const DATA: [&str; 6] = ["--seed", "51", "--rate", "2", "--span", "5h"];
/// Several batches of records: enough to see windows while they are open.
const LONG: [&str; 6] = ["--seed", "52", "--rate", "40", "--span", "2h"];
/// Raw files are small and slow, and the reader waits for them.
const SLOW: (&str, &str) = ("FAILPOINTS", "raw::after-file=sleep(1000)");

fn ended(folder: &Folder) -> Result<Served> {
    let data = Data::generate(folder, &DATA)?;
    let mut served = Served::start(folder, "output", DEMO, &data, &[])?;
    served.process.until_said("until Ctrl-C", PATIENCE)?;
    Ok(served)
}

#[test]
fn the_figures_are_those_of_the_files() {
    scenario("map-figures", |folder| {
        let served = ended(folder)?;
        let figures = figures(&served.output)?;
        let list = served.json("windows")?;
        let listed: Vec<Value> =
            figures.keys().map(|start| json!({ "start": start, "final": true })).collect();
        ensure!(list["windows"] == Value::Array(listed), "{list:#}");
        ensure!(list["windowSeconds"] == 1800 && list["last"] == *figures.keys().last().context("none")?);
        for (start, cells) in &figures {
            let window = served.json(&format!("windows/{start}"))?;
            let expected: Vec<Value> = cells
                .iter()
                .map(|(name, (average, trips))| {
                    json!({ "neighbourhood": name, "averageTip": average, "trips": trips })
                })
                .collect();
            ensure!(window["cells"] == Value::Array(expected), "{window:#}");
        }
        let until = figures.keys().nth_back(1).context("two windows")?;
        let history = served.json(&format!("history?neighbourhood=Hell%27s+Kitchen&until={until}"))?;
        let points: Vec<Value> = last_hours(&figures, until)?
            .into_iter()
            .map(|(start, cells)| {
                let (average, trips) = cells.get("Hell's Kitchen").map_or((None, 0), |(a, n)| (Some(*a), *n));
                json!({ "start": start, "final": true, "averageTip": average, "trips": trips })
            })
            .collect();
        ensure!(points.len() < figures.len() - 1, "no window is too old for the line");
        ensure!(history["points"] == Value::Array(points), "{history:#}");
        Ok(())
    });
}

#[test]
fn an_answer_is_tagged_and_a_refusal_says_why() {
    scenario("map-answers", |folder| {
        let served = ended(folder)?;
        for target in ["", "map.js", "map.css", "map.svg", "api/neighbourhoods", "api/windows"] {
            let answer = served.get(target, None)?;
            ensure!(answer.status() == StatusCode::OK, "{target}: {}", answer.status());
            ensure!(answer.headers()[CACHE_CONTROL] == "no-cache", "{target}");
            let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str()?.to_owned();
            ensure!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            let tag = answer.headers()[ETAG].to_str()?.to_owned();
            let again = served.get(target, Some((IF_NONE_MATCH, tag.as_str())))?;
            ensure!(again.status() == StatusCode::NOT_MODIFIED, "{target}: {}", again.status());
            ensure!(again.bytes()?.is_empty());
            let other = served.get(target, Some((IF_NONE_MATCH, "\"other\"")))?;
            ensure!(other.status() == StatusCode::OK, "{target}: {}", other.status());
        }
        for (target, status, text) in [
            ("windows/yesterday", StatusCode::BAD_REQUEST, "write for example 2013-01-01T03:20:00Z"),
            ("windows?until=soon", StatusCode::BAD_REQUEST, "until"),
            ("windows/2013-06-01T00:00:00Z", StatusCode::NOT_FOUND, "no window that holds a trip"),
            ("history?neighbourhood=Atlantis", StatusCode::NOT_FOUND, "no neighbourhood \"Atlantis\""),
        ] {
            let answer = served.get(&format!("api/{target}"), None)?;
            ensure!(answer.status() == status, "{target}: {}", answer.status());
            let said = answer.text()?;
            ensure!(said.contains(text), "{target}: {said}");
        }
        Ok(())
    });
}

#[test]
fn the_page_shows_the_figures_and_asks_nobody_else() {
    scenario("map-page", |folder| {
        let served = ended(folder)?;
        let figures = figures(&served.output)?;
        let page = Page::open(Browser::start(folder)?, &served.url)?;
        let (last, cells) = figures.last_key_value().context("no window")?;
        page.shows(last, cells)?;
        page.tab_to("slider")?;
        let mut seen_empty = false;
        for (start, cells) in figures.iter().rev().skip(1).take(8) {
            page.browser.press("ArrowLeft", 37)?;
            page.shows(start, cells)?;
            let legend = page.legend()?;
            for (name, fill) in page.fills()? {
                let average = cells.get(&name).map(|(average, _)| *average);
                seen_empty |= average.is_none();
                ensure!(fill == colour_of(&legend, average)?, "{start} {name}: {fill} for {average:?}");
            }
        }
        ensure!(seen_empty, "every neighbourhood had a trip, so none without was seen");
        page.is_quiet(&served.url)
    });
}

#[test]
fn a_day_can_be_chosen_and_one_without_windows_left_again() {
    scenario("map-day", |folder| {
        let served = ended(folder)?;
        let figures = figures(&served.output)?;
        let page = Page::open(Browser::start(folder)?, &served.url)?;
        let first_day = &figures.keys().next().context("no window")?[..10];
        page.browser.until("the line is drawn", "return document.querySelector('#line circle') !== null")?;
        page.choose_day(&first_day.parse::<jiff::civil::Date>()?.yesterday()?.to_string())?;
        page.shows_none()?;
        let limits = page
            .browser
            .run("const {min, disabled} = document.getElementById('day'); return [min, disabled]")?;
        ensure!(limits == json!([first_day, false]), "{limits}");
        page.choose_day(first_day)?;
        let (start, cells) = figures
            .iter()
            .rfind(|(start, _)| start.starts_with(first_day))
            .context("no window on the first day")?;
        page.shows(start, cells)?;
        page.is_quiet(&served.url)
    });
}

#[test]
fn a_neighbourhood_is_chosen_by_mouse_and_by_keyboard() {
    scenario("map-choose", |folder| {
        let served = ended(folder)?;
        let figures = figures(&served.output)?;
        let page = Page::open(Browser::start(folder)?, &served.url)?;
        page.shows(figures.keys().last().context("no window")?, figures.values().last().context("none")?)?;
        let [x, y] = page.point_in("Chelsea")?;
        page.browser.click(x, y)?;
        page.has_chosen("Chelsea", &figures)?;
        // From there with the arrow keys and Enter, as whoever has no mouse.
        page.browser.press("ArrowUp", 38)?;
        let next = page.focused()?;
        ensure!(next != "Chelsea", "the arrow key goes nowhere");
        page.browser.press("Enter", 13)?;
        page.has_chosen(&next, &figures)?;
        // And in the table.
        page.browser.run("document.querySelector('tr[data-name=Harlem] button').focus()")?;
        page.browser.press("Enter", 13)?;
        page.has_chosen("Harlem", &figures)?;
        page.is_quiet(&served.url)
    });
}

#[test]
fn the_page_is_accessible_in_the_light_and_in_the_dark() {
    scenario("map-accessible", |folder| {
        let served = ended(folder)?;
        let page = Page::open(Browser::start(folder)?, &served.url)?;
        page.browser.until("the line is drawn", "return document.querySelector('#line circle') !== null")?;
        page.browser.run("document.querySelector('details').open = true")?;
        let axe = std::fs::read_to_string(cache::axe()?)?;
        let mut backgrounds = Vec::new();
        for scheme in ["light", "dark"] {
            page.browser.prefer(scheme)?;
            page.browser.run(&axe)?;
            let found = page.browser.run(
                "return axe.run().then(({violations, passes}) => ({passes: passes.map(({id}) => id), violations: \
                 violations.map(({id, help, nodes}) => ({id, help, nodes: nodes.map(({html, any}) => [html, any])}))}))",
            )?;
            ensure!(found["violations"] == json!([]), "{scheme}: {:#}", found["violations"]);
            let looked = found["passes"].as_array().is_some_and(|ids| ids.contains(&json!("color-contrast")));
            ensure!(looked, "contrast was not looked at: {}", found["passes"]);
            let background = luminance(&page.colour("html", "background-color")?)?;
            backgrounds.push(background);
            // Colour-blind people see the order: each class is farther from the background than the one before.
            let classes = page.legend()?.into_iter().filter(|class| class.bounds.is_some());
            let lightness = classes.map(|class| luminance(&class.colour)).collect::<Result<Vec<_>>>()?;
            for pair in lightness.windows(2) {
                let (nearer, farther) = ((pair[0] - background).abs(), (pair[1] - background).abs());
                ensure!(farther - nearer > 0.02, "{scheme}: {lightness:?} on {background}");
            }
            let border = luminance(&page.colour("#map path", "stroke")?)?;
            let (light, dark) = (border.max(background), border.min(background));
            ensure!((light + 0.05) / (dark + 0.05) > 3.0, "{scheme}: borders are hardly seen");
        }
        ensure!(backgrounds[0] > 0.8 && backgrounds[1] < 0.1, "{backgrounds:?}");
        page.is_quiet(&served.url)
    });
}

#[test]
fn a_running_job_is_shown_and_the_end_is_noticed() {
    scenario("map-live", |folder| {
        let data = Data::generate(folder, &LONG)?;
        let yaml = std::fs::read_to_string(DEMO).context("reading the demo's manifest")?;
        let manifest = folder.file("small.yaml", format!("{yaml}  raw: {{maxFileBytes: 1Mi}}\n"))?;
        let manifest = manifest.display().to_string();
        let browser = Browser::start(folder)?;
        let mut served = Served::start(folder, "output", &manifest, &data, &[SLOW])?;
        let page = Page::open(browser, &served.url)?;
        page.browser.until(
            "an open window",
            "return document.getElementById('window').value.endsWith('still open')",
        )?;
        page.browser.until("its figures", "return document.querySelector('#cells tr') !== null")?;
        ensure!(served.process.is_running());
        ensure!(!served.process.output()?.contains("until Ctrl-C"), "the run had ended");
        served.process.until_said("until Ctrl-C", PATIENCE)?;
        let figures = figures(&served.output)?;
        let (last, cells) = figures.last_key_value().context("no window")?;
        page.shows(last, cells)?;
        page.is_quiet(&served.url)?;
        served.process.terminate()?;
        let ended = served.process.wait(PATIENCE)?.context("it does not end")?;
        ensure!(ended.code() == Some(0), "{ended}; {}", served.process.last_lines());
        page.browser.until(
            "the end",
            "return document.getElementById('status').textContent.includes('does not answer')",
        )?;
        page.shows(last, cells)
    });
}

#[test]
fn a_run_that_is_interrupted_ends_its_map_too() {
    scenario("map-interrupted", |folder| {
        let data = Data::generate(folder, &LONG)?;
        let mut served = Served::start(folder, "output", DEMO, &data, &[SLOW])?;
        served.json("windows")?;
        served.process.terminate()?;
        let ended = served.process.wait(PATIENCE)?.context("it does not end")?;
        ensure!(ended.code() == Some(130), "{ended}; {}", served.process.last_lines());
        Ok(())
    });
}

#[test]
fn a_port_that_is_taken_is_said_before_anything_is_written() {
    scenario("map-taken", |folder| {
        let data = Data::generate(folder, &DATA)?;
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let output = folder.path().join("output");
        let mut command: Command = local(&output, DEMO, &data)?;
        let ran = command.arg(format!("--serve={address}")).output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        ensure!(ran.status.code() == Some(1), "{}: {said}", ran.status);
        ensure!(said.contains(&format!("cannot listen on {address}")), "{said}");
        ensure!(said.contains("--serve=127.0.0.1:0"), "{said}");
        let left: BTreeMap<_, _> = files::below(&output)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    });
}
