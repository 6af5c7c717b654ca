//! Files of windows that were read lately, for the map: its viewers ask for the same ones every two seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tips_worker::results::day_file::Windows;
use tips_worker::sink::Entry;

/// Bytes of rows that are kept.
const ROOM: usize = 32 << 20;
/// How long a file counts as unchanged. All but always it is; a raised epoch may put another one of the same length in its
/// place.
const KEPT: Duration = Duration::from_secs(60);

/// Windows by their files: by path and length.
pub struct Kept {
    files: Mutex<BTreeMap<Entry, Read>>,
    /// Bytes of rows.
    room: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Kept { files: Mutex::default(), room: ROOM }
    }
}

struct Read {
    when: Instant,
    windows: Windows,
    bytes: usize,
}

impl Read {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.when) < KEPT
    }
}

impl Kept {
    /// What `file` holds, where it was read lately.
    pub fn get(&self, file: &Entry) -> Option<Windows> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(file).filter(|read| read.is_fresh(Instant::now())).map(|read| read.windows.clone())
    }

    /// Keeps what was read of `file`, in place of what was read first.
    pub fn put(&self, file: &Entry, windows: &Windows) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, bytes) = (Instant::now(), windows.rows().get_array_memory_size());
        files.insert(file.clone(), Read { when, windows: windows.clone(), bytes });
        files.retain(|_, read| read.is_fresh(when));
        let mut bytes: usize = files.values().map(|read| read.bytes).sum();
        while bytes > self.room
            && let Some(oldest) = files.iter().min_by_key(|(_, read)| read.when).map(|(file, _)| file.clone())
        {
            bytes -= files.remove(&oldest).map_or(0, |read| read.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use tips_worker::core::amount::TipSum;
    use tips_worker::core::locate::Place;
    use tips_worker::core::time::EventTime;
    use tips_worker::results::window_file;

    use super::*;
    use crate::source::tests::sources_of;

    fn window() -> Windows {
        let sources = sources_of("/".as_ref());
        let sums = [(Place::new(0), TipSum { micros: 1_000_000, trips: 1 })].into();
        let (start, setup) = (EventTime::from_seconds(0), &sources.setup);
        let neighbourhoods = &setup.job.neighbourhoods;
        let file = window_file::encode(sources.rules(), neighbourhoods, &setup.provenance(), start, &sums);
        Windows::read(file.expect("encoded")).expect("read")
    }

    fn file(number: usize, len: u64) -> Entry {
        Entry { path: format!("tips/{number}"), len }
    }

    #[test]
    fn a_file_is_kept_by_its_path_and_length() {
        let kept = Kept::default();
        kept.put(&file(1, 10), &window());
        assert!(kept.get(&file(1, 10)).is_some());
        assert!(kept.get(&file(1, 11)).is_none(), "it was written anew");
        assert!(kept.get(&file(2, 10)).is_none());
    }

    #[test]
    fn what_was_read_first_goes_where_there_is_no_room() {
        let window = window();
        let kept = Kept { room: 2 * window.rows().get_array_memory_size(), ..Kept::default() };
        (0..3).for_each(|number| kept.put(&file(number, 1), &window));
        assert!(kept.get(&file(0, 1)).is_none());
        assert!(kept.get(&file(1, 1)).is_some() && kept.get(&file(2, 1)).is_some());
    }
}
