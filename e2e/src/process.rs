//! A child process that cannot outlive its guard, nor the test process.
//!
//! The child leads a process group of its own, so that signals reach what it started as well and a Ctrl-C at the
//! terminal reaches only the test. It runs under `setpriv --pdeathsig KILL`: should the test process be killed, the
//! kernel ends the child. That signal is tied to the *thread* that forked, and tests' threads end early, so all
//! children are started by one thread that lives as long as the process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cache;

/// How long a server may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 25;

/// A running child, ended when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output appended to `log`.
    pub fn start(name: &str, command: Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut command = dying_with_us(command)?;
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("sharing the log")?)
            .stderr(output);
        let child = spawn(command)?.with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has ever had resident, in MiB: anonymous, shared, and mapped pages of files. `None` where
    /// it has ended.
    pub fn peak_mib(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = peak.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// SIGSTOP: it neither runs nor ends until [`Process::cont`].
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn cont(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits for its end; `None` when the time is up first.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) =
                self.child.try_wait().with_context(|| format!("waiting for {}", self.name))?
            {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it still runs (or is stopped).
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Polls `ready` until it holds. Fails, with the end of the log, when the process ends or the time is up.
    pub fn until(&mut self, what: &str, timeout: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while !ready() {
            if let Some(status) = self.wait(Duration::ZERO)? {
                bail!("{} ended ({status}) before it {what}; {}", self.name, self.last_lines());
            }
            if Instant::now() >= deadline {
                bail!("{} has not {what} in {timeout:?}; {}", self.name, self.last_lines());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The last lines of its log, for an error message.
    pub fn last_lines(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        format!("the last lines of {}:\n{}", self.log.display(), tail.join("\n"))
    }

    /// All that it has written so far.
    pub fn output(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until it has written `text`.
    pub fn until_said(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let log = self.log.clone();
        let said = || fs::read(&log).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text));
        self.until(&format!("said {text:?}"), timeout, said)
    }

    /// SIGTERM, then SIGKILL for what does not listen.
    pub fn end(&mut self) -> Result<()> {
        // A stopped process does not see SIGTERM before it is woken.
        for signal in [Signal::TERM, Signal::CONT] {
            self.signal_if_running(signal)?;
        }
        if self.wait(PATIENCE)?.is_none() {
            self.signal_if_running(Signal::KILL)?;
            self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.signal_if_running(signal)? {
            bail!("{} has ended already; {}", self.name, self.last_lines());
        }
        Ok(())
    }

    fn signal_if_running(&mut self, signal: Signal) -> Result<bool> {
        // Only while it is not reaped is its number certainly its own.
        if self.wait(Duration::ZERO)?.is_some() {
            return Ok(false);
        }
        let group = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a pid that is none")?;
        kill_process_group(group, signal).with_context(|| format!("{signal:?} to {}", self.name))?;
        Ok(true)
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a drop has nobody else to tell")]
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{} may still run: {error:#}", self.name);
        }
    }
}

/// The same command, which the kernel kills when our spawning thread, that is this process, ends.
fn dying_with_us(command: Command) -> Result<Command> {
    let mut wrapped = Command::new(cache::program("setpriv")?);
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    Ok(wrapped)
}

type Request = (Command, mpsc::Sender<io::Result<Child>>);

fn spawn(command: Command) -> Result<io::Result<Child>> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                // A caller that is gone has dropped its end; the child then ends with the process.
                answer.send(command.spawn()).ok();
            }
        });
        requests
    });
    let (answer, child) = mpsc::channel();
    let gone = || anyhow!("the spawning thread is gone");
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())
}

/// The same command with a terminal for its input and its outputs, as a person has it; what it writes to either comes
/// out on standard output.
pub fn at_terminal(command: &Command) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--flush", "--return", "--command", &line.join(" "), "/dev/null"]);
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    terminal
}

/// Runs a command to its end and returns what it printed; fails with its error output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    printed(command, output)
}

/// [`run`] for a command that reads `input` before it prints.
pub fn run_with(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let mut stdin = child.stdin.take().context("a command without its input")?;
    // One that has ended before it has read all says why in its output.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("waiting for {command:?}"))?;
    printed(command, output)
}

fn printed(command: &Command, output: Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}):\n{stdout}{stderr}", output.status);
    }
    Ok(stdout.into_owned())
}
