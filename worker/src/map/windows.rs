//! What the map shows, wherever it is kept.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures::{StreamExt, TryStreamExt, stream};

use crate::core::amount::TipSum;
use crate::core::fold::Sums;
use crate::core::locate::Neighbourhoods;
use crate::core::time::EventTime;

/// Windows of a history that are read at once.
const AT_ONCE: usize = 8;

/// A window that holds a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its start.
    pub start: EventTime,
    /// Whether it has closed: its figures do not change any more.
    pub closed: bool,
}

/// The figures of a window: of an open one, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// Whether it has closed.
    pub closed: bool,
    /// By neighbourhood, of those that have a trip.
    pub sums: BTreeMap<String, TipSum>,
}

impl Cells {
    /// Sums of the state, under the names of their places.
    pub fn named(neighbourhoods: &Neighbourhoods, closed: bool, sums: Sums) -> Self {
        let name = |place| neighbourhoods.name(place).to_owned();
        Cells { closed, sums: sums.into_iter().map(|(place, sum)| (name(place), sum)).collect() }
    }
}

/// Why there are no figures now, for the person who looks at the map.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Windows by their start, open and closed, from wherever they are kept.
///
/// The calls of one page need not see one moment: it asks again.
pub trait Windows: Send + Sync + 'static {
    /// The starts of the first and the last window; `None` where there is none yet.
    ///
    /// # Errors
    /// Where they are kept cannot be reached; likewise below.
    fn extent(&self) -> impl Future<Output = Result<Option<RangeInclusive<EventTime>>, Unavailable>> + Send;

    /// The windows that start within `starts`, in their order.
    fn list(
        &self,
        starts: RangeInclusive<EventTime>,
    ) -> impl Future<Output = Result<Vec<Window>, Unavailable>> + Send;

    /// The window that starts at `start`; `None` where no window does that holds a trip.
    fn cells(&self, start: EventTime) -> impl Future<Output = Result<Option<Cells>, Unavailable>> + Send;

    /// What is missing in the other answers now, for the person who looks: as open windows, where only the archive can be
    /// reached.
    fn notice(&self) -> impl Future<Output = Option<String>> + Send {
        std::future::ready(None)
    }

    /// The windows that start within `starts`, in their order, each with the sum of `neighbourhood`, which is zero
    /// where it has no trip. Made of the other calls; who has a shorter way takes it.
    fn history(
        &self,
        neighbourhood: &str,
        starts: RangeInclusive<EventTime>,
    ) -> impl Future<Output = Result<Vec<(Window, TipSum)>, Unavailable>> + Send {
        async move {
            let windows = self.list(starts).await?;
            let sums = stream::iter(windows).map(|window| async move {
                let Cells { closed, sums } = self.cells(window.start).await?.unwrap_or_default();
                let sum = sums.get(neighbourhood).copied().unwrap_or_default();
                Ok::<_, Unavailable>((Window { closed, ..window }, sum))
            });
            sums.buffered(AT_ONCE).try_collect().await
        }
    }
}
