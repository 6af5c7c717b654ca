//! The page itself, which is in the binary.

use axum::http::HeaderMap;
use axum::response::Response;

use super::answer::answer;

pub(super) async fn html(asked: HeaderMap) -> Response {
    let page: &[u8] = include_bytes!("../../assets/map/index.html");
    answer(&asked, "text/html; charset=utf-8", page)
}

pub(super) async fn css(asked: HeaderMap) -> Response {
    let css: &[u8] = include_bytes!("../../assets/map/map.css");
    answer(&asked, "text/css; charset=utf-8", css)
}

pub(super) async fn script(asked: HeaderMap) -> Response {
    let script: &[u8] = include_bytes!("../../assets/map/map.js");
    answer(&asked, "text/javascript; charset=utf-8", script)
}

pub(super) async fn icon(asked: HeaderMap) -> Response {
    let icon: &[u8] = include_bytes!("../../assets/map/map.svg");
    answer(&asked, "image/svg+xml", icon)
}
