//! Where a window's file belongs: in a folder of its own, or, once its day was compacted, in the file of the day.
//!
//! A window that is written for the first time is looked for in the file of its day before, and after: if compaction came
//! between the two, the day has it, and the file of its own goes again.
//!
//! A window of an older epoch is replaced where it is. If its day is being merged meanwhile, what is put into the day's
//! file may be what was read before. So with an epoch that was raised, a window counts as placed only if no plan of an
//! older epoch was open, before and after, and none has come and gone between: every merge that comes later reads ours.

use bytes::Bytes;
use parquet::errors::ParquetError;
use tokio::sync::Mutex;

use super::day_file::{self, DayFileError, Windows};
use super::window_file;
use crate::compact::folder::{Dataset, Folder};
use crate::compact::journal::{Id, Journal, JournalError};
use crate::core::time::EventTime;
use crate::crash;
use crate::sink::{Entry, Put, Sink, SinkError};

/// Why a window is not surely where it belongs.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The journal of compaction.
    #[error(transparent)]
    Journal(JournalError),
    /// A file that is in the way and was not written here.
    #[error("{path} is no Parquet file of ours ({error}): move it away, and the window is published")]
    Taken {
        /// Which file.
        path: String,
        /// What is wrong.
        error: ParquetError,
    },
    /// A merge of another epoch is not done.
    #[error(
        "the windows of {0} are being merged by compact with the manifest of an older epoch: the window is looked at again when that is done; if no compact runs, start it"
    )]
    Merging(Folder),
}

impl From<JournalError> for ShelfError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Sink(error) => ShelfError::Sink(error),
            error => ShelfError::Journal(error),
        }
    }
}

impl ShelfError {
    /// Whether the sink answers, and this window cannot be placed: others may have more luck.
    pub fn is_of_its_window(&self) -> bool {
        match self {
            ShelfError::Sink(error) => !error.is_transient(),
            ShelfError::Journal(_) | ShelfError::Taken { .. } | ShelfError::Merging(_) => true,
        }
    }
}

/// Puts the windows of an epoch where they belong.
pub struct Shelf {
    sink: Sink,
    journal: Journal,
    epoch: u64,
    /// Held by whoever looks at, and perhaps replaces, the file of a day: many windows of a day come at once, and each
    /// that is overtaken reads all of the file again.
    of_day: Mutex<()>,
}

impl Shelf {
    /// Of windows of `epoch`, in `sink`.
    pub fn new(sink: Sink, epoch: u64) -> Self {
        Shelf { journal: Journal::new(sink.clone()), sink, epoch, of_day: Mutex::default() }
    }

    /// Sees to it that the window that starts at `start` is there, which `file` has; `true`: by this call.
    ///
    /// # Errors
    /// Where the sink fails, something else is in the way, or it may have been overtaken by a merge.
    pub async fn put(&self, start: EventTime, file: &Bytes) -> Result<bool, ShelfError> {
        if self.epoch == 0 {
            return self.place(start, file).await;
        }
        let folder = Folder { dataset: Dataset::Tips, day: start.day() };
        let before = self.quiet(folder).await?;
        let by_us = self.place(start, file).await?;
        if before.is_none() || self.quiet(folder).await? != before {
            return Err(ShelfError::Merging(folder));
        }
        Ok(by_us)
    }

    /// The number of the newest plan of the day, or `None` while one of an older epoch is open.
    async fn quiet(&self, folder: Folder) -> Result<Option<u32>, ShelfError> {
        let newest = self.journal.newest().await?.get(&folder).copied().unwrap_or_default();
        if newest.is_open()
            && let Some(plan) = self.journal.read(Id { folder, number: newest.number }).await?
            && plan.epoch < self.epoch
        {
            return Ok(None);
        }
        Ok(Some(newest.number))
    }

    async fn place(&self, start: EventTime, file: &Bytes) -> Result<bool, ShelfError> {
        let path = window_file::path(start);
        let created = loop {
            if let Some(by_us) = self.in_day_file(start, file).await? {
                return Ok(by_us);
            }
            crash::point("tips::before-window");
            match self.sink.put_if_absent(&path, file.clone()).await? {
                Put::Created => break true,
                Put::Exists => {
                    // `None`: merged meanwhile.
                    if let Some(by_us) = self.replace_older(&path, file).await? {
                        break by_us;
                    }
                }
            }
        };
        crash::point("tips::after-window");
        if created && self.in_day_file(start, file).await?.is_some() {
            self.sink.delete(&path).await?;
        }
        Ok(created)
    }

    /// Whether the window is in a file of its day, under `window=all`, where it is brought to our epoch if it is older;
    /// `true`: by this call. `None`: it is in none.
    async fn in_day_file(&self, start: EventTime, file: &Bytes) -> Result<Option<bool>, ShelfError> {
        for Entry { path, .. } in self.sink.list(&day_file::folder(start.day())).await? {
            let taken = |error: DayFileError| ShelfError::Taken {
                path: path.clone(),
                error: ParquetError::External(error.into()),
            };
            let _alone = self.of_day.lock().await;
            while let Some((there, version)) = self.sink.read_version(&path).await? {
                let there = Windows::read(there).map_err(taken)?;
                let Some(made) = there.made().get(&start) else { break };
                if made.epoch >= self.epoch {
                    return Ok(Some(false));
                }
                let ours =
                    Windows::read(file.clone()).and_then(|ours| there.with(ours)?.encode()).map_err(taken)?;
                crash::point("tips::before-replace");
                if self.sink.replace(&path, version, ours).await? {
                    return Ok(Some(true));
                }
            }
        }
        Ok(None)
    }

    /// A file of an older epoch makes way for ours; the other way round a worker of the older epoch leaves ours
    /// alone, since its own is older. `None`: it is gone.
    async fn replace_older(&self, path: &str, file: &Bytes) -> Result<Option<bool>, ShelfError> {
        while let Some((there, version)) = self.sink.read_version(path).await? {
            let epoch = window_file::epoch_of(there)
                .map_err(|error| ShelfError::Taken { path: path.to_owned(), error })?;
            if epoch >= self.epoch {
                return Ok(Some(false));
            }
            crash::point("tips::before-replace");
            if self.sink.replace(path, version, file.clone()).await? {
                return Ok(Some(true));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::compact::plan::{self, Plan, Source, WindowsFile};
    use crate::results::day_file::tests::file_of;
    use crate::sink::{Merge, SinkConfig};

    const STARTS: [i64; 2] = [0, 600];

    /// A day with two windows of epoch 0.
    async fn day() -> (TempDir, Sink) {
        let dir = tempfile::tempdir().expect("a folder");
        let sink = Sink::open(&SinkConfig::Fs { root: dir.path().to_owned() }).await.expect("a folder");
        for start in STARTS {
            assert!(put(&sink, 0, start).await.expect("written"));
        }
        (dir, sink)
    }

    async fn put(sink: &Sink, epoch: u64, start: i64) -> Result<bool, ShelfError> {
        let file = file_of(start, epoch, 1 + epoch);
        Shelf::new(sink.clone(), epoch).put(EventTime::from_seconds(start), &file).await
    }

    fn planned() -> (Id, Plan) {
        let id = Id { folder: Folder::parse("tips-1970-01-01").expect("a folder"), number: 1 };
        let files = STARTS.map(EventTime::from_seconds).map(|start| WindowsFile {
            source: Source { path: window_file::path(start), bytes: 1 },
            windows: [start].into(),
        });
        (id, plan::tips(id, 0, files.into()))
    }

    /// What a run does that has read the sources and goes on now.
    async fn merge(sink: &Sink, (id, plan): &(Id, Plan), read: Bytes) {
        let step = &plan.merges[0];
        let sources = step.source_paths();
        let step = Merge { dir: &id.folder.path(), sources: &sources, target: &step.target };
        sink.merge(step, Some(read)).await.expect("merged");
        Journal::new(sink.clone()).finish(*id, 0).await.expect("done");
    }

    async fn read_all(sink: &Sink) -> Windows {
        let mut files = Vec::new();
        for Entry { path, .. } in sink.list("tips").await.expect("listed") {
            let file = sink.read(&path).await.expect("read").expect("a file");
            files.push(Windows::read(file).expect("windows"));
        }
        assert_eq!(files.iter().map(|file| file.made().len()).sum::<usize>(), STARTS.len(), "each once");
        Windows::merged(files).expect("merged")
    }

    fn epochs(windows: &Windows) -> Vec<u64> {
        windows.made().values().map(|made| made.epoch).collect()
    }

    #[tokio::test]
    async fn a_window_of_a_day_that_was_merged_is_not_written_again() {
        let (_dir, sink) = day().await;
        let read = read_all(&sink).await.encode().expect("encoded");
        merge(&sink, &planned(), read).await;
        for start in STARTS {
            assert!(!put(&sink, 0, start).await.expect("there"));
        }
        assert!(put(&sink, 0, 1200).await.expect("written"));
        sink.delete(&window_file::path(EventTime::from_seconds(1200))).await.expect("deleted");
        assert!(put(&sink, 1, STARTS[0]).await.expect("replaced in the file of the day"));
        assert_eq!(epochs(&read_all(&sink).await), [1, 0]);
    }

    #[tokio::test]
    async fn a_window_that_is_replaced_while_its_day_is_merged_is_not_lost() {
        let (_dir, sink) = day().await;
        let plan = planned();
        Journal::new(sink.clone()).begin(plan.0, &plan.1).await.expect("begun");
        let read = read_all(&sink).await.encode().expect("encoded");
        let refused = put(&sink, 1, STARTS[0]).await.expect_err("not sure");
        assert!(matches!(refused, ShelfError::Merging(_)) && refused.is_of_its_window(), "{refused}");
        assert!(!put(&sink, 0, STARTS[1]).await.expect("a worker of the older epoch has nothing to fear"));
        merge(&sink, &plan, read).await;
        assert_eq!(epochs(&read_all(&sink).await), [0, 0], "what was read before");
        assert!(put(&sink, 1, STARTS[0]).await.expect("replaced"));
        assert_eq!(epochs(&read_all(&sink).await), [1, 0]);
    }

    /// Compaction comes between the look into the file of the day and the writing.
    #[cfg(debug_assertions)]
    #[tokio::test]
    async fn a_window_that_is_written_while_its_day_is_merged_is_there_once() {
        let (dir, sink) = day().await;
        let merged = read_all(&sink).await.encode().expect("encoded");
        let path = |start| dir.path().join(window_file::path(EventTime::from_seconds(start)));
        let of_day = dir.path().join(planned().1.merges[0].target.clone());
        std::fs::remove_file(path(STARTS[0])).expect("removed");
        let (other, ours) = (path(STARTS[1]), std::thread::current().id());
        fail::cfg_callback("tips::before-window", move || {
            if std::thread::current().id() == ours {
                std::fs::create_dir_all(of_day.parent().expect("a folder")).expect("made");
                std::fs::write(&of_day, &merged).expect("merged");
                std::fs::remove_file(&other).expect("removed");
            }
        })
        .expect("a point");
        put(&sink, 0, STARTS[0]).await.expect("there");
        fail::remove("tips::before-window");
        read_all(&sink).await;
        assert!(!path(STARTS[0]).exists());
    }
}
