//! `verify --local` on what `local` made of what `generate` made: all holds, and whatever is done to the files
//! is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use indicatif::MultiProgress;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{VerifyArgs, run};
use crate::commands::local::{self, LocalArgs};
use crate::failure::Failure;
use crate::generate::{self, GenerateArgs};

const MANIFEST: &str = "\
apiVersion: tipstream.dev/v1alpha1
kind: TipsPipeline
metadata: {name: taxi}
spec:
  kafka: {bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}
  redis: {urls: ['redis://redis:6379']}
  sink: {volume: {claimName: lake}}
  raw: {maxFileBytes: 1Mi}
";
/// Two days, with lines of every kind.
const INPUT: &str =
    "--start 2013-01-01T21:00:00 --span 6h --rate 6 --partitions 2 --invalid 0.01 --duplicates 0.01";

#[derive(Parser)]
struct Cli<T: clap::Args> {
    #[command(flatten)]
    args: T,
}

fn args<T: clap::Args>(flags: &[&str]) -> T {
    let given = ["command"].iter().chain(flags);
    Cli::<T>::try_parse_from(given).map(|cli| cli.args).unwrap_or_else(|error| panic!("{error}"))
}

/// What `local` has written, in a folder of its own.
pub(crate) struct Output {
    dir: TempDir,
}

impl Output {
    pub(crate) async fn make() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("pipeline.yaml"), MANIFEST).expect("written");
        let input = path("input");
        let flags = ["--output", &input].into_iter().chain(INPUT.split_whitespace());
        generate::run(args::<GenerateArgs>(&flags.collect::<Vec<_>>()), &CancellationToken::new())
            .expect("generated");
        let part = |topic: &str, n: u32| path(&format!("input/{topic}-{n}.csv"));
        let (rides, fares) = ([part("rides", 0), part("rides", 1)], [part("fares", 0), part("fares", 1)]);
        let local: LocalArgs = args(&[
            "--quiet",
            "-f",
            &path("pipeline.yaml"),
            "--output",
            &path("output"), //
            "--rides",
            &rides[0],
            &rides[1],
            "--fares",
            &fares[0],
            &fares[1],
        ]);
        local::run(local, CancellationToken::new(), &MultiProgress::new(), &mut Vec::new())
            .await
            .expect("a whole run");
        Output { dir }
    }

    /// What is printed, and whether all holds.
    pub(crate) async fn verify(&self, more: &[&str]) -> (String, bool) {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (file, output) = (path("pipeline.yaml"), path("output"));
        let flags = ["--quiet", "--json", "-f", &file, "--local", &output];
        let verify: VerifyArgs = args(&[&flags, more].concat());
        let mut out = Vec::new();
        let holds = match run(verify, CancellationToken::new(), &mut out).await {
            Ok(()) => true,
            Err(Failure::Verification { .. }) => false,
            Err(failure) => panic!("{failure}"),
        };
        (String::from_utf8(out).expect("text"), holds)
    }

    pub(crate) async fn fails_with(&self, finding: &str) {
        let (report, holds) = self.verify(&[]).await;
        assert!(!holds && report.contains(finding), "{finding:?} is not in {report}");
    }

    /// The output.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    /// All files by their paths in the output.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let relative =
            |file: &PathBuf| file.strip_prefix(self.path()).expect("below it").display().to_string();
        self.files("").iter().map(|file| (relative(file), fs::read(file).expect("a file"))).collect()
    }

    /// The data files by their paths in the output.
    pub(crate) fn data(&self) -> Vec<String> {
        self.contents().into_keys().filter(|path| !path.starts_with('_')).collect()
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path().join(path)).expect("removed");
    }

    /// The files below a folder of the output, with their paths in it.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { walk(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        walk(&self.dir.path().join("output").join(folder), &mut files);
        files.sort();
        files
    }
}

/// Does something to a file, and undoes it.
async fn with_other_content(output: &Output, file: &Path, content: Option<&[u8]>, finding: &str) {
    let was = fs::read(file).expect("a file");
    match content {
        Some(content) => fs::write(file, content).expect("written"),
        None => fs::remove_file(file).expect("removed"),
    }
    output.fails_with(finding).await;
    fs::write(file, was).expect("put back");
}

async fn with_copy(output: &Output, file: &Path, to: &Path, finding: &str) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("made");
    fs::copy(file, to).expect("copied");
    output.fails_with(finding).await;
    fs::remove_file(to).expect("removed");
}

#[tokio::test]
async fn what_local_wrote_holds_and_what_is_done_to_it_is_found() {
    let output = Output::make().await;
    let (report, holds) = output.verify(&[]).await;
    assert!(holds, "{report}");

    let rides = output.files("rides");
    assert!(rides.len() > 4, "several ranges: {rides:?}");
    for folder in ["rides", "fares", "invalid"] {
        for file in output.files(folder).iter().take(3) {
            let was = fs::read(file).expect("a file");
            with_other_content(&output, file, None, "offsets from").await;
            with_other_content(&output, file, Some(&was[..was.len() / 2]), "is not a whole Parquet").await;
        }
    }
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let other_range = rides[0].with_file_name(name(&rides[0]).replace("rides-0-", "rides-7-"));
    with_copy(&output, &rides[0], &other_range, "by its footer").await;
    let other_day = rides[0].parent().expect("a day").with_file_name("day=9").join(name(&rides[0]));
    with_copy(&output, &rides[0], &other_day, "holds event times from").await;
    with_copy(&output, &rides[0], &rides[0].with_extension("bak"), "is no file of the pipeline").await;

    let windows = output.files("tips");
    let was = fs::read(&windows[3]).expect("a file");
    with_other_content(&output, &windows[3], Some(&was[..100]), "is not a whole Parquet").await;
    let other = fs::read(&windows[4]).expect("a file");
    with_other_content(&output, &windows[3], Some(&other), "tips.parquet ends at").await;
    let (report, holds) = output.verify(&[]).await;
    assert!(holds, "all is as it was, but {report}");
}

#[tokio::test]
async fn a_missing_range_is_told_from_a_missing_file() {
    let output = Output::make().await;
    let mut of_range = output.files("rides");
    of_range.retain(|file| file.to_string_lossy().contains("rides-0-00000000000000000000-"));
    of_range.extend(
        output
            .files("invalid")
            .into_iter()
            .filter(|file| file.to_string_lossy().contains("rides-0-00000000000000000000-")),
    );
    of_range.iter().for_each(|file| fs::remove_file(file).expect("removed"));
    output.fails_with("rides/0: no file from 0 to ").await;
}

#[tokio::test]
async fn settings_and_directories_that_do_not_fit_are_told() {
    let output = Output::make().await;
    let manifest = output.dir.path().join("pipeline.yaml");
    fs::write(&manifest, format!("{MANIFEST}  job: {{window: 20m}}\n")).expect("written");
    output.fails_with("was made with other settings").await;
    let flags = ["-f", &manifest.display().to_string(), "--local", &output.dir.path().display().to_string()];
    let refused = run(args(&flags), CancellationToken::new(), &mut Vec::new()).await;
    assert!(matches!(refused, Err(Failure::Usage(_))), "{refused:?}");
}
