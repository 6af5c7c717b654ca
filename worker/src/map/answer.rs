//! How the map answers: with an ETag, and with headers that keep the page to itself.

use std::fmt::Write;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Unavailable;

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Bytes of the digest in an ETag.
const TAG: usize = 12;

pub(super) const GEOJSON: &str = "application/geo+json";
pub(super) const JSON: &str = "application/json";

/// `body`, or 304 where `asked` names it.
pub(super) fn answer(asked: &HeaderMap, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let body = body.into();
    let tag = tag(&body);
    let known = asked.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let known =
        known.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag));
    let head = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let tagged = [(ETAG, tag)];
    if known {
        return (StatusCode::NOT_MODIFIED, head, tagged).into_response();
    }
    (head, tagged, body).into_response()
}

fn tag(body: &[u8]) -> String {
    let mut tag = String::from("\"");
    // Writing to a String cannot fail.
    Sha256::digest(body).iter().take(TAG).for_each(|byte| _ = write!(tag, "{byte:02x}"));
    tag.push('"');
    tag
}

/// Why a question about figures has no answer; the text is for people.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The question makes no sense.
    Question(String),
    /// There is nothing of that name.
    Absent(String),
    /// Not now.
    Unavailable(Unavailable),
}

impl From<Unavailable> for Refusal {
    fn from(unavailable: Unavailable) -> Self {
        Refusal::Unavailable(unavailable)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Refusal::Question(text) => (StatusCode::BAD_REQUEST, text),
            Refusal::Absent(text) => (StatusCode::NOT_FOUND, text),
            Refusal::Unavailable(Unavailable(text)) => (StatusCode::SERVICE_UNAVAILABLE, text),
        };
        (status, [(CACHE_CONTROL, "no-store")], format!("{text}\n")).into_response()
    }
}
