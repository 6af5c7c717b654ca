use std::ops::RangeInclusive;
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::*;
use crate::core::time::EventTime;
use crate::manifest::Manifest;

/// Of which nothing can be had.
struct Down;

impl Windows for Down {
    async fn extent(&self) -> Result<Option<RangeInclusive<EventTime>>, Unavailable> {
        Err(Unavailable("the sink is down".into()))
    }

    async fn list(&self, _: RangeInclusive<EventTime>) -> Result<Vec<Window>, Unavailable> {
        self.extent().await.map(|_| Vec::new())
    }

    async fn cells(&self, _: EventTime) -> Result<Option<Cells>, Unavailable> {
        self.extent().await.map(|_| None)
    }
}

/// An archive before the first trip.
struct Nothing;

impl Windows for Nothing {
    async fn extent(&self) -> Result<Option<RangeInclusive<EventTime>>, Unavailable> {
        Ok(None)
    }

    async fn list(&self, _: RangeInclusive<EventTime>) -> Result<Vec<Window>, Unavailable> {
        Ok(Vec::new())
    }

    async fn cells(&self, _: EventTime) -> Result<Option<Cells>, Unavailable> {
        Ok(None)
    }

    async fn notice(&self) -> Option<String> {
        Some("Redis is down".into())
    }
}

fn map<W>(windows: W) -> State<Arc<Map<W>>> {
    let manifest = FilePath::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/manifests/demo.yaml"));
    let manifest = Manifest::read(manifest).expect("the demo's manifest");
    State(Arc::new(Map { windows, setup: Setup::new(&manifest, None).expect("its settings") }))
}

async fn said(answer: Response) -> (StatusCode, String) {
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn what_cannot_be_had_is_said_to_the_person_at_the_page() {
    let window = figures::window(map(Down), Path("2013-01-01T00:00:00Z".into()), HeaderMap::new()).await;
    let expected = (StatusCode::SERVICE_UNAVAILABLE, "the sink is down\n".to_owned());
    assert_eq!(said(window.into_response()).await, expected);
}

#[tokio::test]
async fn before_the_first_trip_there_are_no_windows_and_what_is_missing_is_said() {
    let until = axum::extract::Query::try_from_uri(&"/".parse().expect("a path")).expect("no question");
    let list = figures::windows(map(Nothing), until, HeaderMap::new()).await;
    let expected = r#"{"windowSeconds":1800,"first":null,"last":null,"windows":[],"notice":"Redis is down"}"#;
    assert_eq!(said(list.into_response()).await, (StatusCode::OK, expected.to_owned()));
}
