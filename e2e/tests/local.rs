//! `local` on files: the same input makes the same files, whatever comes between, and other input makes none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tips_e2e::books::Books;
use tips_e2e::oracle::is_answer;
use tips_e2e::process::at_terminal;
use tips_e2e::worker::{Data, MIXED, binary, died_with_its_kind};
use tips_e2e::{Folder, Process, scenario};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo.yaml");
const PATIENCE: Duration = Duration::from_secs(120);
/// Some files of 1 MiB in each partition.
const DATA: [&str; 8] = ["--seed", "31", "--rate", "20", "--span", "3h", "--invalid", "0.01"];
const FEW: [&str; 6] = ["--seed", "32", "--rate", "2", "--span", "3h"];

/// Runs over the same files, each into a directory of its own.
struct Runs<'a> {
    folder: &'a Folder,
    manifest: PathBuf,
    data: Data,
}

impl<'a> Runs<'a> {
    fn new(folder: &'a Folder, data: &[&str]) -> Result<Self> {
        let yaml = std::fs::read_to_string(DEMO).context("reading the demo's manifest")?;
        let manifest = folder.file("small.yaml", format!("{yaml}  raw: {{maxFileBytes: 1Mi}}\n"))?;
        Ok(Runs { folder, manifest, data: Data::generate(folder, data)? })
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, name: &str) -> Result<Command> {
        let mut command = self.bare(name)?;
        command.arg("-f").arg(&self.manifest).arg("--rides").args(&self.data.rides);
        command.arg("--fares").args(&self.data.fares);
        Ok(command)
    }

    /// One that shows its progress.
    fn spoken(&self, name: &str) -> Result<Command> {
        let quiet = self.command(name)?;
        let mut command = Command::new(quiet.get_program());
        command.args(quiet.get_args().filter(|argument| *argument != "--quiet"));
        Ok(command)
    }

    /// Without input.
    fn bare(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(["local", "--quiet", "--output"]).arg(self.output(name));
        Ok(command)
    }

    fn run(&self, name: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        succeeds(self.command(name)?)?;
        files(&self.output(name))
    }
}

/// A person at a terminal sees how far it is, and then what came out.
fn is_shown(mut command: Command, records: usize) -> Result<()> {
    let output = command.output()?;
    let shown = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{shown}");
    let (progress, result) = shown.split_once("records in").context("no result")?;
    let is_bar = |line: &&str| ["iB/", " records  ", "/s  ", " left"].iter().all(|part| line.contains(part));
    ensure!(progress.split(['\r', '\n']).any(|line| is_bar(&line)), "no bar:\n{progress:?}");
    ensure!(!result.contains(" left"), "the bar stays:\n{result:?}");
    let books = Books::of_table(result)?;
    let consumed: i64 = ["rides", "fares"].iter().map(|topic| books.get(topic, "consumed")).sum();
    ensure!(consumed == records as i64 && result.contains("Highest average tip"), "{result}");
    Ok(())
}

fn succeeds(mut command: Command) -> Result<String> {
    let ran = command.output()?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn refused(mut command: Command, text: &str) -> Result<()> {
    let Output { status, stderr, .. } = command.output()?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.code() == Some(2), "it ended with {status} in place of 2:\n{said}");
    ensure!(said.contains(text), "it does not say {text:?}:\n{said}");
    Ok(())
}

/// All that a reader can see: each file, with what is in it.
fn files(output: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![output.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.strip_prefix(output)?.display().to_string();
            if path.is_dir() && name != "_tips" {
                dirs.push(path);
            } else if path.is_file() {
                all.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(all)
}

fn ensure_same(is: &BTreeMap<String, Vec<u8>>, should: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let (is_names, names): (Vec<_>, Vec<_>) = (is.keys().collect(), should.keys().collect());
    ensure!(is_names == names, "{} files in place of {}: {is_names:#?}", is_names.len(), names.len());
    let differ: Vec<_> = names.into_iter().filter(|name| is[*name] != should[*name]).collect();
    ensure!(differ.is_empty(), "other bytes in {differ:?}");
    Ok(())
}

/// The generator has counted in its own way.
#[test]
fn the_results_are_what_the_generator_expects() {
    scenario("answer", |folder| {
        let runs = Runs::new(folder, &[&FEW[..], &MIXED].concat())?;
        runs.run("out")?;
        is_answer(&runs.output("out"), &runs.data.answer()?)
    });
}

#[test]
fn the_same_input_makes_the_same_files() {
    scenario("local-same", |folder| {
        let runs = Runs::new(folder, &DATA)?;
        let first = runs.run("first")?;
        let parts = first.keys().filter(|name| name.starts_with("rides/")).count();
        ensure!(parts > 2 * runs.data.rides.len(), "{parts} files are too few to show where they are cut");
        is_shown(at_terminal(&runs.spoken("second")?), runs.data.records()?)?;
        ensure_same(&files(&runs.output("second"))?, &first)
    });
}

/// Each point, and how often it is passed before the run dies there.
const POINTS: [(&str, usize); 6] = [
    ("raw::after-range", 3),
    ("raw::after-file", 9),
    ("raw::before-prune", 5),
    ("tips::after-window", 2),
    ("sink::before-publish/rides", 5),
    ("sink::mid-upload/tips", 3),
];

#[test]
fn a_run_that_was_ended_midway_is_finished_as_if_it_had_not_been() {
    scenario("local-interrupted", |folder| {
        let runs = Runs::new(folder, &DATA)?;
        let undisturbed = runs.run("undisturbed")?;
        for (number, (point, passes)) in POINTS.into_iter().enumerate() {
            let name = format!("died-{number}");
            let mut command = runs.command(&name)?;
            command.env("FAILPOINTS", format!("{point}={passes}*off->return"));
            let died = command.output()?;
            ensure!(!died.status.success(), "it did not pass {point} so often");
            died_with_its_kind(&String::from_utf8_lossy(&died.stderr), point)?;
            ensure_same(&runs.run(&name)?, &undisturbed).with_context(|| format!("after {point}"))?;
            let half_written = std::fs::read_dir(runs.output(&name).join("_tips/tmp"))?.count();
            ensure!(half_written == 0, "{half_written} half-written files are left after {point}");
        }
        // As by a person, a moment after the first raw files are there.
        let mut command = runs.command("stopped")?;
        command.env("FAILPOINTS", "raw::after-file=6*off->sleep(300)");
        let mut run = Process::start("local", command, &folder.path().join("stopped.log"))?;
        let rides = runs.output("stopped").join("rides");
        run.until("written a file", PATIENCE, || rides.exists())?;
        run.terminate()?;
        let ended = run.wait(PATIENCE)?.context("it does not end")?;
        ensure!(ended.code() == Some(130), "it ended with {ended}; {}", run.last_lines());
        ensure_same(&runs.run("stopped")?, &undisturbed).context("after SIGTERM")
    });
}

#[test]
fn other_content_under_the_same_name_is_other_input() {
    scenario("local-content", |folder| {
        let runs = Runs::new(folder, &FEW)?;
        runs.run("output")?;
        let rides = &runs.data.rides[0];
        let mut lines = std::fs::read(rides)?;
        let middle = lines.len() / 2;
        let digit = lines[middle..].iter().position(u8::is_ascii_digit).context("a digit")? + middle;
        lines[digit] = b'0' + (lines[digit] - b'0' + 1) % 10;
        std::fs::write(rides, lines)?;
        refused(runs.command("output")?, "results of another run")
    });
}

#[test]
fn a_pipe_is_read_into_a_new_directory_only() {
    scenario("local-pipe", |folder| {
        let runs = Runs::new(folder, &FEW)?;
        let piped = || -> Result<Command> {
            let mut command = runs.bare("output")?;
            command.arg("-f").arg(&runs.manifest).args(["--rides", "-", "--fares"]).args(&runs.data.fares);
            command.stdin(Stdio::from(std::fs::File::open(&runs.data.rides[0])?));
            Ok(command)
        };
        succeeds(piped()?)?;
        refused(piped()?, "rides - (a stream, read once)")
    });
}

#[test]
fn standard_input_can_be_named_once() {
    scenario("local-stdin", |folder| {
        let runs = Runs::new(folder, &FEW)?;
        let twice = |manifest: &str, rides: &str, fares: &str| -> Result<()> {
            let mut command = runs.bare("output")?;
            command.args(["-f", manifest, "--rides", rides, "--fares", fares]).stdin(Stdio::null());
            refused(command, "standard input (-) is named 2 times")
        };
        twice(DEMO, "-", "-")?;
        twice("-", "-", "fares.csv")
    });
}

/// One START of a ride, far in the future: the rides of its file that follow are late, but those that come in one
/// batch with it.
#[test]
fn a_line_that_makes_others_late_is_shown() {
    scenario("local-late", |folder| {
        let input = folder.path().join("input");
        let mut generate = Command::new(binary()?);
        generate.args(["generate", "--seed", "33", "--rate", "15", "--span", "3h", "--partitions", "1"]);
        generate.arg("--output").arg(&input);
        succeeds(generate)?;
        let rides = input.join("rides-0.csv");
        let text = std::fs::read_to_string(&rides)?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let is_start = |index: &usize| lines[*index].contains(",START,2013");
        let index = (lines.len() / 10..lines.len()).find(is_start).context("a START")?;
        lines[index] = lines[index].replace(",START,2013", ",START,2031");
        std::fs::write(&rides, lines.join("\n"))?;
        let mut command = Command::new(binary()?);
        command.args(["local", "--quiet", "-f", DEMO, "--rides"]).arg(&rides).arg("--fares");
        command.arg(input.join("fares-0.csv")).arg("--output").arg(folder.path().join("output"));
        let said = succeeds(command)?;
        for text in ["WARNING: ", &format!("rides-0.csv, line {}, is dated 2031-", index + 1)] {
            ensure!(said.contains(text), "it does not say {text:?}:\n{said}");
        }
        Ok(())
    });
}
