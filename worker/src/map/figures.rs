//! The figures as JSON. Times are `yyyy-MM-ddTHH:mm:ssZ`; `docs/map.md` describes the answers.

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::answer::{GEOJSON, JSON, Refusal, answer};
use super::{Cells, Map, Window, Windows};
use crate::core::amount::TipSum;
use crate::core::locate::OTHER;
use crate::core::time::{EventTime, Span};

/// What the slider of the page spans: the windows that start in so long before the newest that is asked for.
const SLIDER: Span = Span::from_seconds(24 * 3600);
/// What a line spans.
const HISTORY: Span = Span::from_seconds(6 * 3600);

/// Up to which window, by its start; left out, the last.
#[derive(Deserialize)]
pub(super) struct Until {
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Of {
    neighbourhood: String,
    until: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    /// Length of a window.
    window_seconds: i64,
    /// Start of the first window of all.
    first: Option<Timestamp>,
    /// Start of the last.
    last: Option<Timestamp>,
    windows: Vec<Listed>,
    /// What is missing, in words.
    notice: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    start: Timestamp,
    #[serde(rename = "final")]
    closed: bool,
}

#[derive(Serialize)]
struct Figures {
    start: Timestamp,
    end: Timestamp,
    #[serde(rename = "final")]
    closed: bool,
    cells: Vec<Cell>,
}

#[derive(Serialize)]
struct Cell {
    neighbourhood: String,
    #[serde(flatten)]
    tips: Tips,
}

#[derive(Serialize)]
struct Line {
    neighbourhood: String,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    #[serde(flatten)]
    window: Listed,
    #[serde(flatten)]
    tips: Tips,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tips {
    /// None where there is no trip.
    average_tip: Option<f64>,
    trips: u64,
}

impl From<TipSum> for Tips {
    fn from(sum: TipSum) -> Self {
        Tips { average_tip: (sum.trips > 0).then(|| sum.average()), trips: sum.trips }
    }
}

pub(super) async fn neighbourhoods<W: Windows>(State(map): State<Arc<Map<W>>>, asked: HeaderMap) -> Response {
    answer(&asked, GEOJSON, map.setup.polygons.clone())
}

pub(super) async fn windows<W: Windows>(
    State(map): State<Arc<Map<W>>>,
    Query(Until { until }): Query<Until>,
    asked: HeaderMap,
) -> Result<Response, Refusal> {
    let extent = map.windows.extent().await?;
    let windows = match &extent {
        Some(extent) => map.windows.list(up_to(until, extent, SLIDER)).await?,
        None => Vec::new(),
    };
    let list = List {
        window_seconds: map.setup.job.rules.window.seconds(),
        first: extent.as_ref().map(|extent| timestamp(*extent.start())),
        last: extent.as_ref().map(|extent| timestamp(*extent.end())),
        windows: windows.into_iter().map(listed).collect(),
        notice: map.windows.notice().await,
    };
    Ok(json(&asked, &list))
}

pub(super) async fn window<W: Windows>(
    State(map): State<Arc<Map<W>>>,
    Path(start): Path<String>,
    asked: HeaderMap,
) -> Result<Response, Refusal> {
    let start: Timestamp = start.parse().map_err(|_| {
        Refusal::Question(format!("{start:?} is no time: write for example 2013-01-01T03:20:00Z"))
    })?;
    let at = event_time(start);
    let Some(Cells { closed, sums }) = map.windows.cells(at).await? else {
        return Err(Refusal::Absent(format!("no window that holds a trip starts at {start}")));
    };
    let cells = sums.into_iter().map(|(neighbourhood, sum)| Cell { neighbourhood, tips: sum.into() });
    let end = timestamp(at.plus(map.setup.job.rules.window));
    Ok(json(&asked, &Figures { start, end, closed, cells: cells.collect() }))
}

pub(super) async fn history<W: Windows>(
    State(map): State<Arc<Map<W>>>,
    Query(Of { neighbourhood, until }): Query<Of>,
    asked: HeaderMap,
) -> Result<Response, Refusal> {
    let known = map.setup.job.neighbourhoods.names().chain([OTHER]).any(|name| name == neighbourhood);
    if !known {
        return Err(Refusal::Absent(format!("there is no neighbourhood {neighbourhood:?}")));
    }
    let points = match map.windows.extent().await? {
        Some(extent) => map.windows.history(&neighbourhood, up_to(until, &extent, HISTORY)).await?,
        None => Vec::new(),
    };
    let points = points.into_iter().map(|(window, sum)| Point { window: listed(window), tips: sum.into() });
    Ok(json(&asked, &Line { neighbourhood, points: points.collect() }))
}

/// The starts of windows within `span` before `until`.
fn up_to(
    until: Option<Timestamp>,
    extent: &RangeInclusive<EventTime>,
    span: Span,
) -> RangeInclusive<EventTime> {
    let until = until.map_or(*extent.end(), event_time);
    let after = EventTime::from_seconds(until.minus(span).seconds() + 1);
    after..=until
}

fn listed(Window { start, closed }: Window) -> Listed {
    Listed { start: timestamp(start), closed }
}

fn event_time(time: Timestamp) -> EventTime {
    EventTime::from_seconds(time.as_second())
}

/// Of a window, which is of a time that was read.
fn timestamp(time: EventTime) -> Timestamp {
    Timestamp::from_second(time.seconds()).unwrap_or(Timestamp::MAX)
}

fn json(asked: &HeaderMap, figures: &impl Serialize) -> Response {
    answer(asked, JSON, serde_json::to_vec(figures).expect("text and numbers are always JSON"))
}
