//! The ends of the archive of windows, for the map. They are found by the names of folders and by what the outermost days
//! hold: an archive of years is not listed for them.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tips_worker::compact::folder::Folder;
use tips_worker::core::time::EventTime;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::archive::{Table, day_times};
use crate::bounds::Bounds;
use crate::own_sink::ArchiveError;
use crate::source::Sources;

/// How long they are believed: they move with the day.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a viewer waits for them where none are known yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the folders of a day begin with, from the outer to the inner.
const LEVELS: [&str; 3] = ["year=", "month=", "day="];

/// The starts of the first and the last window; `None` where there is none.
pub type Extent = Option<RangeInclusive<EventTime>>;

/// The ends of the archive, as they were found last.
pub struct Ends {
    sources: Arc<Sources>,
    /// Held by who looks for them.
    look: Arc<Mutex<()>>,
    known: watch::Sender<Known>,
}

#[derive(Default)]
struct Known {
    found: Option<(Instant, Extent)>,
    /// Why they could not be found, where that was so the last time.
    trouble: Option<String>,
}

#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

impl Ends {
    /// Those of `sources`.
    pub fn new(sources: Arc<Sources>) -> Arc<Self> {
        let (look, known) = (Arc::default(), watch::Sender::default());
        Arc::new(Ends { sources, look, known })
    }

    /// Those that are known. Where that was long ago they are looked for meanwhile, however long it takes.
    pub async fn get(self: &Arc<Self>) -> Extent {
        let mut news = self.known.subscribe();
        let found = self.known.borrow().found.as_ref().map(|(when, _)| when.elapsed());
        if found.is_none_or(|age| age > BELIEVED)
            && let Ok(look) = Arc::clone(&self.look).try_lock_owned()
        {
            let ends = Arc::clone(self);
            tokio::spawn(async move {
                let found = ends.find().await;
                drop(look);
                ends.note(found);
            });
        }
        if found.is_none() {
            // What is not found in time is found for those who ask later.
            _ = timeout(PATIENCE, news.changed()).await;
        }
        self.known.borrow().found.as_ref().and_then(|(_, extent)| extent.clone())
    }

    /// Holds back who looks for them until this is dropped.
    #[cfg(test)]
    pub async fn held(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.look).lock_owned().await
    }

    /// Why they could not be found, where that was so the last time.
    pub fn trouble(&self) -> Option<String> {
        self.known.borrow().trouble.clone()
    }

    fn note(&self, found: Result<Extent, ArchiveError>) {
        self.known.send_modify(|known| match found {
            Ok(extent) => *known = Known { found: Some((Instant::now(), extent)), trouble: None },
            Err(error) => known.trouble = Some(error.to_string()),
        });
    }

    async fn find(&self) -> Result<Extent, ArchiveError> {
        let (first, last) = tokio::try_join!(self.outermost(End::First), self.outermost(End::Last))?;
        Ok(first.zip(last).map(|(first, last)| first..=last))
    }

    /// Of the outermost day that has a window, the outermost; of a day that is compacted its first or last second.
    async fn outermost(&self, end: End) -> Result<Option<EventTime>, ArchiveError> {
        let mut folders = vec![Table::Tips.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            let Some(level) = LEVELS.get(folder.matches('/').count()) else {
                let times = self.times_of(&folder, end).await?;
                if times.is_some() {
                    return Ok(times);
                }
                continue;
            };
            let below = self.sources.dirs(&folder).await?;
            let number = |path: &str| path.rsplit_once('/')?.1.strip_prefix(level)?.parse::<i32>().ok();
            let mut below: Vec<(i32, String)> =
                below.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
            below.sort_unstable();
            if matches!(end, End::First) {
                below.reverse();
            }
            folders.extend(below.into_iter().map(|(_, path)| path));
        }
        Ok(None)
    }

    async fn times_of(&self, folder: &str, end: End) -> Result<Option<EventTime>, ArchiveError> {
        let Some((Folder { day, .. }, _)) = Folder::of(&format!("{folder}/")) else { return Ok(None) };
        let listed = self.sources.list(Table::Tips, Bounds::within(&day_times(day))).await?;
        let times = listed.files.iter().filter_map(|file| file.times.as_ref());
        Ok(match end {
            End::First => times.map(|times| *times.start()).min(),
            End::Last => times.map(|times| *times.end()).max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::source::tests::sources_of;

    fn at(text: &str) -> EventTime {
        EventTime::parse(text.as_bytes()).expect(text)
    }

    fn put(root: &Path, path: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, "a file").expect("written");
    }

    async fn ends(root: &Path) -> Extent {
        let ends = Ends::new(sources_of(root));
        let extent = ends.get().await;
        assert_eq!(ends.trouble(), None);
        extent
    }

    #[tokio::test]
    async fn the_ends_are_those_of_the_outermost_days_that_have_a_window() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(ends(dir.path()).await, None);
        for window in [
            "year=2012/month=9/day=30/window=23-50/tips.parquet",
            "year=2012/month=10/day=1/window=00-00/tips.parquet",
            "year=2013/month=2/day=9/window=10-20/tips.parquet",
            "year=2013/month=2/day=10/window=10-20/tips.parquet",
            "year=2013/month=2/day=10/window=09-10/tips.parquet",
            "year=2013/month=2/day=10/window=09-10/stray",
            "year=2013/month=2/x/window=09-10/tips.parquet",
            "year=2014/stray",
        ] {
            put(dir.path(), &format!("tips/{window}"));
        }
        std::fs::create_dir_all(dir.path().join("tips/year=2013/month=2/day=11")).expect("an empty day");
        std::fs::create_dir_all(dir.path().join("tips/year=2011/month=2")).expect("an empty month");
        let expected = at("2012-09-30 23:50:00")..=at("2013-02-10 10:20:00");
        assert_eq!(ends(dir.path()).await, Some(expected));
    }

    /// Paths in it are longer than the system takes, so that whoever lists it all fails.
    fn make_unlistable(folder: &Path) {
        const LONG: usize = 2200;
        let deep = |top: &Path| (0..LONG / 200).fold(top.to_owned(), |path, _| path.join("x".repeat(200)));
        let aside = folder.with_extension("aside");
        std::fs::create_dir_all(deep(folder)).expect("made");
        std::fs::create_dir_all(deep(&aside)).expect("made");
        std::fs::rename(aside, deep(folder).join("more")).expect("moved");
    }

    #[tokio::test]
    async fn what_is_between_the_ends_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let start = |year| format!("tips/year={year}/month=1/day=1/window=00-00/tips.parquet");
        [2012, 2014].iter().for_each(|year| put(dir.path(), &start(year)));
        make_unlistable(&dir.path().join("tips/year=2013/month=1/day=1"));
        let sources = sources_of(dir.path());
        assert!(sources.list(Table::Tips, Bounds::default()).await.is_err(), "all of it can be listed");
        assert_eq!(ends(dir.path()).await, Some(at("2012-01-01 00:00:00")..=at("2014-01-01 00:00:00")));
    }
}
