//! The query service under test, and its clients.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::built::built;
use crate::cache;
use crate::ports::Port;
use crate::process::{Process, run};
use crate::worker::Pipeline;

const READY: Duration = Duration::from_secs(30);
/// The user that the tests log in as, where anybody has to.
pub const USER: &str = "ana";

/// The service's binary: `TIPS_QUERY`, or the one that was built last.
pub fn binary() -> Result<PathBuf> {
    built("TIPS_QUERY", "tips-query")
}

/// A running service.
pub struct Query {
    /// The process.
    pub process: Process,
    port: Port,
    /// More of the connection string.
    options: String,
    password: Option<String>,
}

impl Query {
    /// Starts one without login and encryption.
    pub fn open(pipeline: &Pipeline<'_>, log: &Path, more: &[&str]) -> Result<Self> {
        let more = [&["--no-auth", "--no-tls"], more].concat();
        Self::start(pipeline, log, &more, "sslmode=disable", None)
    }

    /// Starts one. Clients connect with `options`, and with `password` where there is one.
    pub fn start(
        pipeline: &Pipeline<'_>,
        log: &Path,
        more: &[&str],
        options: &str,
        password: Option<&str>,
    ) -> Result<Self> {
        let port = Port::reserve()?;
        let mut command = Command::new(binary()?);
        command.arg("-f").arg(pipeline.manifest()).args(["--listen", "127.0.0.1:0", "--postgres"]);
        command.arg(port.address()).args(more).envs(pipeline.environment()).env("RUST_LOG", "info");
        let mut process = Process::start("query", command, log)?;
        process.until_said("\"serving\"", READY)?;
        Ok(Query { process, port, options: options.to_owned(), password: password.map(str::to_owned) })
    }

    /// Where clients connect, as libpq writes it.
    pub fn connection(&self) -> String {
        format!(
            "host={} port={} user={USER} dbname=tipstream {}",
            self.port.host(),
            self.port.number(),
            self.options
        )
    }

    /// What the map, which has to be at `port`, answers to `target`.
    pub fn map(&self, port: &Port, target: &str) -> Result<serde_json::Value> {
        let url = format!("http://{}/api/{target}", port.address());
        let answer = reqwest::blocking::get(&url).with_context(|| url.clone())?;
        let (status, text) = (answer.status(), answer.text()?);
        ensure!(status.is_success(), "{url}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{url}: {text}"))
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// What `psql` prints for `sql`: rows of values with bars between them; notices and errors too.
    pub fn psql(&self, sql: &str) -> Result<String> {
        let output = self.psql_command(sql)?.output().context("starting psql")?;
        let text = [&output.stdout[..], &output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// A `psql` that runs `sql` and ends.
    pub fn psql_command(&self, sql: &str) -> Result<Command> {
        let mut command = self.psql_interactive()?;
        command.args(["--command", sql]);
        Ok(command)
    }

    /// A `psql` that runs what it reads.
    pub fn psql_interactive(&self) -> Result<Command> {
        let mut command = Command::new(cache::program("psql")?);
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", &self.connection()]);
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        Ok(command)
    }

    /// The rows that `psql` prints for `sql`, which has to succeed without a word beside them.
    pub fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let output = self.psql_command(sql)?.output().context("starting psql")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.is_empty(), "{sql}: {said}");
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
    }

    /// The one value that `sql` gives.
    pub fn value(&self, sql: &str) -> Result<String> {
        let rows = self.rows(sql)?;
        ensure!(rows.len() == 1 && rows[0].len() == 1, "{sql} gives {rows:?}");
        Ok(rows[0][0].clone())
    }

    /// Runs a script of `e2e/clients` with the connection string and `arguments`.
    pub fn client(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let mut command = Command::new(cache::python()?);
        command.arg(clients.join(script)).arg(self.connection()).args(arguments);
        command.env("CLASSPATH", cache::jars(cache::PGJDBC)?);
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        run(&mut command)
    }
}
