//! An S3 endpoint: a gateway over a folder, so a test may also read a bucket as plain files.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ports::Port;
use crate::{Folder, Process, cache};

const READY: Duration = Duration::from_secs(30);
const BUCKET: &str = "tips";

/// A running gateway with one bucket.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    dir: PathBuf,
    port: Port,
}

impl S3 {
    /// Starts a gateway with an empty bucket.
    pub fn start(folder: &Folder) -> Result<Self> {
        Self::start_at(folder, Ipv4Addr::LOCALHOST)
    }

    /// The same, listening elsewhere.
    pub fn start_at(folder: &Folder, host: Ipv4Addr) -> Result<Self> {
        let dir = folder.dir("s3")?;
        // To this gateway a bucket is a folder.
        folder.dir(&format!("s3/data/{BUCKET}"))?;
        let port = Port::reserve_at(host)?;
        let process = launch(&dir, &port)?;
        let mut started = Self { process, dir, port };
        started.await_listening()?;
        Ok(started)
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// The bucket as a folder of files.
    pub fn bucket_dir(&self) -> PathBuf {
        self.dir.join("data").join(BUCKET)
    }

    /// `http://<host>:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// The region that signatures name.
    pub fn region(&self) -> &'static str {
        "us-east-1"
    }

    /// The access key.
    pub fn access_key(&self) -> &'static str {
        "e2e-access"
    }

    /// The secret key.
    pub fn secret_key(&self) -> &'static str {
        "e2e-secret"
    }

    /// The process, to stop and wake it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Refuses connections until [`S3::up`].
    pub fn down(&mut self) -> Result<()> {
        self.process.end()
    }

    /// Ends without a warning, in the middle of uploads.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Answers again, at the same endpoint.
    pub fn up(&mut self) -> Result<()> {
        self.process.end()?;
        self.process = launch(&self.dir, &self.port)?;
        self.await_listening()
    }

    fn await_listening(&mut self) -> Result<()> {
        let address = self.port.address().parse().context("a port's address")?;
        let connects = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        self.process.until("listened", READY, connects)
    }
}

fn launch(dir: &Path, port: &Port) -> Result<Process> {
    let mut command = Command::new(cache::binary("versitygw")?);
    command
        .args(["--access", "e2e-access", "--secret", "e2e-secret", "--region", "us-east-1"])
        .args(["--port", &port.address(), "posix"])
        .arg(dir.join("data"));
    Process::start("versitygw", command, &dir.join("versitygw.log"))
}
