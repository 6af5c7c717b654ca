//! The map: a page that shows the neighbourhoods coloured by average tip, and the figures that it asks for.
//!
//! Whoever has windows serves it: [`routes`] over an implementation of [`Windows`]. The page and its script are in the
//! binary, ask nobody else, and are bound to that by their Content-Security-Policy.
//!
//! The page asks every two seconds what is new, while somebody looks at it. No stream of events: a window changes
//! seldom and its figures are small, a question needs no connection that proxies and drains have to know of, and
//! where nothing is new the answer is a 304.
//!
//! Every answer has an ETag and is to be asked for again (`no-cache`), those of closed windows too: a window is final
//! within an epoch, but not at an address, which serves another pipeline or another run of `local` tomorrow.

mod answer;
mod figures;
mod page;
#[cfg(test)]
mod tests;
mod windows;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use self::windows::{Cells, Unavailable, Window, Windows};
use crate::settings::Setup;

/// The windows, and what the page has to know beside them.
struct Map<W> {
    windows: W,
    setup: Setup,
}

/// The page at `/`, and its figures below `/api/`.
pub fn routes<W: Windows>(windows: W, setup: Setup) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/map.css", get(page::css))
        .route("/map.js", get(page::script))
        .route("/map.svg", get(page::icon))
        .route("/api/neighbourhoods", get(figures::neighbourhoods::<W>))
        .route("/api/windows", get(figures::windows::<W>))
        .route("/api/windows/{start}", get(figures::window::<W>))
        .route("/api/history", get(figures::history::<W>))
        .with_state(Arc::new(Map { windows, setup }))
}
