//! Nothing else (I3): whoever lists a data path and reads all of it must meet only files of the pipeline.

use super::path::{Control, Kind, control, kind};
use super::report::Check;
use crate::sink::Entry;

const NAME: &str = "strays";

/// Checks what was listed below the data paths; what lies aside is only told.
pub fn check(data: &[Entry], aside: &[Entry]) -> Check {
    let mut check = Check::new(NAME);
    for entry in data.iter().filter(|entry| kind(&entry.path) == Kind::Stray) {
        check.find(format!("{} is no file of the pipeline", entry.path));
    }
    for Entry { path, len } in aside {
        match control(path) {
            Control::Temporary => {
                check.note(format!("{path}, {len} bytes: being written, or left by a writer that died"))
            }
            Control::Unknown => check.note(format!("{path} is not known to this version")),
            Control::Log(_) | Control::Latest | Control::Owner | Control::Plan => {}
        }
    }
    check.looked_at(format!("{} files, and {} under _tips/", data.len(), aside.len()))
}
