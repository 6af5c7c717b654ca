//! The page in a browser, as a person finds things in it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tips_e2e::browser::Browser;

use crate::map::files::{Cells, Figures, last_hours};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Stops of the Tab key from the top of the page to the table.
const STOPS: usize = 8;

pub(crate) struct Page {
    pub(crate) browser: Browser,
}

/// A line of the legend.
pub(crate) struct Class {
    pub(crate) colour: String,
    /// Averages from and below; none for what has no trips.
    pub(crate) bounds: Option<(f64, f64)>,
}

/// Of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Final,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            State::Open => "UTC, still open",
            State::Final => "UTC, final",
        }
    }
}

#[derive(Deserialize, Debug, PartialEq)]
struct Row(String, String, String);

impl Page {
    /// Opens the map at `url`, which ends with a slash, and waits until it shows a window.
    pub(crate) fn open(browser: Browser, url: &str) -> Result<Self> {
        browser.open(url)?;
        browser.until("a window", "return !document.getElementById('slider').disabled")?;
        Ok(Page { browser })
    }

    fn read<T: DeserializeOwned>(&self, script: &str, arguments: &[Value]) -> Result<T> {
        let value = self.browser.run_with(script, arguments)?;
        serde_json::from_value(value.clone()).with_context(|| format!("{script} returned {value}"))
    }

    /// Waits until `check` holds; it says what is shown in place.
    fn until(&self, mut check: impl FnMut() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = check() {
            if Instant::now() > deadline {
                return Err(error);
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until the window that starts at `start` is shown as final with these figures: in the time, in the table and in
    /// the names of the shapes.
    pub(crate) fn shows(&self, start: &str, cells: &Cells) -> Result<()> {
        self.shows_as(State::Final, start, cells)
    }

    /// The same, of a window in this state.
    pub(crate) fn shows_as(&self, state: State, start: &str, cells: &Cells) -> Result<()> {
        let trips = |name: &str| cells.get(name).map_or(0, |(_, trips)| *trips).to_string();
        let average = |name: &str| cells.get(name).map(|(average, _)| *average);
        let name = format!("{} {}–", &start[..10], &start[11..16]);
        self.until(|| {
            let shown: String = self.read("return document.getElementById('window').value", &[])?;
            let right = shown.starts_with(&name) && shown.ends_with(state.words());
            ensure!(right, "{shown:?} in place of {name} {state:?}");
            let rows: Vec<Row> = self.read(
                "return [...document.querySelectorAll('#cells tr')].map((row) => [...row.cells].map((cell) => \
                 cell.textContent))",
                &[],
            )?;
            for Row(name, shown, count) in &rows {
                ensure!(says(shown, average(name)), "{start} {name}: {shown} for {:?}", average(name));
                ensure!(*count == trips(name), "{start} {name}: {count} trips in place of {}", trips(name));
            }
            let all = cells.keys().all(|name| rows.iter().any(|row| row.0 == *name));
            ensure!(all && rows.len() >= 40, "{} rows", rows.len());
            Ok(())
        })?;
        for (name, label) in self.shapes("path.getAttribute('aria-label')")? {
            let figures = label.strip_prefix(&format!("{name}: ")).unwrap_or_default();
            let (shown, count) = figures.split_once(", ").unwrap_or(("–", figures));
            let expected = match &*trips(&name) {
                "0" => "no trips".to_owned(),
                "1" => "1 trip".to_owned(),
                trips => format!("{trips} trips"),
            };
            ensure!(says(shown, average(&name)) && count == expected, "{label:?} in place of {expected:?}");
        }
        Ok(())
    }

    /// Puts `day` into the field of the date.
    pub(crate) fn choose_day(&self, day: &str) -> Result<()> {
        let script = "const day = document.getElementById('day'); day.value = arguments[0]; \
                      day.dispatchEvent(new Event('change'))";
        self.browser.run_with(script, &[day.into()]).map(drop)
    }

    /// Waits until the page says that there is no window, and shows no figures of another one.
    pub(crate) fn shows_none(&self) -> Result<()> {
        self.until(|| {
            let said: Vec<String> = self.read(
                "return [document.getElementById('status').textContent, document.getElementById('window').value]",
                &[],
            )?;
            ensure!(said == ["No window of that day holds a trip.", "none"], "{said:?}");
            Ok(())
        })?;
        let left: usize =
            self.read("return document.querySelectorAll('#cells tr, #points tr, #line *').length", &[])?;
        ensure!(left == 0, "{left} figures are left");
        for (name, label) in self.shapes("path.getAttribute('aria-label')")? {
            ensure!(label == format!("{name}: no trips"), "{label}");
        }
        Ok(())
    }

    /// Something of each shape of the map, by neighbourhood.
    fn shapes(&self, what: &str) -> Result<Vec<(String, String)>> {
        let script = format!(
            "return [...document.querySelectorAll('#map path[role=button]')].map((path) => \
             [path.getAttribute('aria-label').replace(/: [^:]*$/, ''), {what}])"
        );
        self.read(&script, &[])
    }

    /// The colour of each neighbourhood.
    pub(crate) fn fills(&self) -> Result<Vec<(String, String)>> {
        self.shapes("getComputedStyle(path).fill")
    }

    pub(crate) fn legend(&self) -> Result<Vec<Class>> {
        let lines: Vec<(String, String)> = self.read(
            "return [...document.querySelectorAll('#legend li')].map((line) => [line.textContent, \
             getComputedStyle(line.firstChild).backgroundColor])",
            &[],
        )?;
        lines.into_iter().map(|(text, colour)| Ok(Class { colour, bounds: bounds(&text)? })).collect()
    }

    pub(crate) fn colour(&self, element: &str, property: &str) -> Result<String> {
        self.read(
            "return getComputedStyle(document.querySelector(arguments[0])).getPropertyValue(arguments[1])",
            &[json!(element), json!(property)],
        )
    }

    /// Presses Tab until the element `id` has the focus.
    pub(crate) fn tab_to(&self, id: &str) -> Result<()> {
        for _ in 0..STOPS {
            self.browser.press("Tab", 9)?;
            if self.read::<String>("return document.activeElement.id", &[])? == id {
                return Ok(());
            }
        }
        bail!("the Tab key does not come to {id}")
    }

    /// The neighbourhood of the shape that has the focus.
    pub(crate) fn focused(&self) -> Result<String> {
        let label: String =
            self.read("return document.activeElement.getAttribute('aria-label') ?? ''", &[])?;
        Ok(label.split(": ").next().unwrap_or_default().to_owned())
    }

    /// A point of the window at which this neighbourhood is seen.
    pub(crate) fn point_in(&self, neighbourhood: &str) -> Result<[f64; 2]> {
        self.read(
            "const path = [...document.querySelectorAll('#map path[role=button]')].find((path) => \
             path.getAttribute('aria-label').startsWith(arguments[0])); \
             path.scrollIntoView({block: 'center'}); \
             const {x, y, width, height} = path.getBoundingClientRect(); \
             for (let part = 0; part < 100; part++) { \
               const at = [x + width * (part % 10 + 0.5) / 10, y + height * (Math.floor(part / 10) + 0.5) / 10]; \
               if (document.elementFromPoint(...at) === path) return at; \
             }",
            &[json!(neighbourhood)],
        )
    }

    /// Waits until `neighbourhood` is marked on the map and in the table, with its line.
    pub(crate) fn has_chosen(&self, neighbourhood: &str, figures: &Figures) -> Result<()> {
        let last = figures.keys().last().context("no window")?;
        let expected: Vec<(&str, Option<f64>)> = last_hours(figures, last)?
            .into_iter()
            .map(|(start, cells)| (&start[11..16], cells.get(neighbourhood).map(|(average, _)| *average)))
            .collect();
        self.until(|| {
            let marked: Vec<String> = self.read(
                "return [document.querySelector('#map path[aria-pressed=true]').getAttribute('aria-label').split(': ')[0], \
                 document.querySelector('#cells tr.chosen').dataset.name, \
                 document.querySelector('#cells [aria-pressed=true]').textContent, \
                 document.getElementById('line-title').textContent.split(',')[0]]",
                &[],
            )?;
            ensure!(marked.iter().all(|name| name == neighbourhood), "{marked:?} for {neighbourhood}");
            let points: Vec<(String, String)> = self.read(
                "return [...document.querySelectorAll('#points tr')].map(({cells}) => \
                 [cells[0].textContent.slice(11, 16), cells[1].textContent])",
                &[],
            )?;
            let same = points.len() == expected.len()
                && points.iter().zip(&expected).all(|((clock, shown), (expected, average))| {
                    clock == expected && says(shown, *average)
                });
            ensure!(same, "{neighbourhood}: {points:?} in place of {expected:?}");
            Ok(())
        })?;
        let some = expected.iter().filter(|(_, average)| average.is_some()).count();
        let drawn: usize = self.read("return document.querySelectorAll('#line circle').length", &[])?;
        ensure!(drawn == some, "{drawn} points are drawn of {some}");
        let label: String =
            self.read("return document.getElementById('line').getAttribute('aria-label')", &[])?;
        ensure!(label.contains(neighbourhood), "{label}");
        Ok(())
    }

    /// Nothing on the console, and every request went to the server.
    pub(crate) fn is_quiet(&self, url: &str) -> Result<()> {
        let console = self.browser.console()?;
        ensure!(console.is_empty(), "{console:#?}");
        let requests = self.browser.requests()?;
        // Chromium draws its date field with pictures of its own, which are in their addresses.
        let asks = |url: &&String| !url.starts_with("data:");
        let outside: Vec<_> = requests.iter().filter(asks).filter(|asked| !asked.starts_with(url)).collect();
        ensure!(outside.is_empty(), "{outside:#?}");
        ensure!(
            requests.iter().any(|url| url.ends_with("map.js")),
            "the requests were not seen: {requests:#?}"
        );
        Ok(())
    }
}

/// Whether `shown` is this average with two digits; on which side of a half, JavaScript and Rust do not agree.
fn says(shown: &str, average: Option<f64>) -> bool {
    match (shown.parse::<f64>(), average) {
        (Ok(shown), Some(average)) => (shown - average).abs() < 0.005_000_1,
        (Err(_), None) => shown == "–",
        _ => false,
    }
}

/// What a line of the legend says in words.
fn bounds(text: &str) -> Result<Option<(f64, f64)>> {
    let words: Vec<&str> = text.split(' ').collect();
    Ok(match words[..] {
        ["no", "trips"] => None,
        ["below", high] => Some((f64::NEG_INFINITY, high.parse()?)),
        [low, "to", high] => Some((low.parse()?, high.parse()?)),
        [low, "and", "more"] => Some((low.parse()?, f64::INFINITY)),
        _ => bail!("the legend says {text:?}"),
    })
}

/// What the legend says of an average.
pub(crate) fn colour_of(legend: &[Class], average: Option<f64>) -> Result<String> {
    let holds = |class: &&Class| match (class.bounds, average) {
        (Some((low, high)), Some(average)) => low <= average && average < high,
        (None, None) => true,
        _ => false,
    };
    let class = legend.iter().find(holds).with_context(|| format!("the legend lacks {average:?}"))?;
    Ok(class.colour.clone())
}

/// The relative luminance of WCAG of `rgb(r, g, b)`.
pub(crate) fn luminance(colour: &str) -> Result<f64> {
    let inner = colour.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    let parts = inner.with_context(|| format!("{colour} is no opaque colour"))?.split(", ");
    let linear = |part: &str| -> Result<f64> {
        let part = part.parse::<f64>()? / 255.0;
        Ok(if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) })
    };
    let parts = parts.map(linear).collect::<Result<Vec<_>>>()?;
    ensure!(parts.len() == 3, "{colour}");
    Ok(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])
}
