//! Alerts and dashboards: every alert fires when it should and only then, and says what to do; every panel shows
//! something true of a real run.

mod alerts;
mod dashboards;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

fn path(of_tree: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of_tree)
}

fn read(of_tree: &str) -> Result<String> {
    fs::read_to_string(path(of_tree)).with_context(|| format!("reading {of_tree}"))
}

/// Metrics that a query names and no table of the docs has.
fn undocumented(query: &str) -> Result<BTreeSet<String>> {
    let mut docs = String::new();
    for file in ["metrics", "operator", "monitoring"] {
        docs += &read(&format!("docs/{file}.md"))?;
    }
    let rows: Vec<_> = docs.lines().filter(|line| line.starts_with("| `")).collect();
    let documented = |name: &str| rows.iter().any(|row| row.contains(&format!("`{name}`")));
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| {
        ["tipstream_", "process_", "kube_"].iter().any(|prefix| word.starts_with(prefix)) || *word == "up"
    };
    let parts = ["_bucket", "_count"];
    let name = |word: &str| parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word).to_owned();
    Ok(words.filter(ours).map(name).filter(|name| !documented(name)).collect())
}
