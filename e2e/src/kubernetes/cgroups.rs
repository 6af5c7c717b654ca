//! The control groups below which a node's kubelet puts its pods, in each hierarchy of the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";
/// What the kubelet wants to be able to limit.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "memory", "hugetlb", "pids"];
/// How long the kernel may hold a group whose last process is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Groups of one name.
#[derive(Debug)]
pub(super) struct Cgroups {
    groups: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes them, after those are removed that a killed test has left.
    pub(super) fn create(name: &str) -> Result<Self> {
        let made = Self { groups: hierarchies()?.into_iter().map(|dir| dir.join(name)).collect() };
        made.remove()?;
        for group in &made.groups {
            fs::create_dir_all(group).with_context(|| format!("creating {}", group.display()))?;
        }
        Ok(made)
    }

    fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for group in &self.groups {
            while let Err(error) = remove_all(group) {
                if Instant::now() >= deadline {
                    return Err(error).with_context(|| format!("removing {}", group.display()));
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

impl Drop for Cgroups {
    #[expect(clippy::print_stderr, reason = "a drop has nobody else to tell")]
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{error:#}");
        }
    }
}

/// The one hierarchy of cgroup v2, or the several of v1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) {
        let wanted = controllers.split_whitespace().filter(|name| CONTROLLERS.contains(name));
        for controller in wanted {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
                .with_context(|| format!("enabling the {controller} controller in {ROOT}"))?;
        }
        return Ok(vec![root.to_owned()]);
    }
    let entries = fs::read_dir(root).with_context(|| format!("reading {ROOT}"))?;
    let dirs = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(dirs.into_iter().filter(|dir| dir.join("cgroup.procs").exists()).collect())
}

/// A group cannot be removed before those in it; its files are not there to be removed.
fn remove_all(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_all(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
