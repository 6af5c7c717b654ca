//! A Redis server, alone or as a building block of a cluster or a Sentinel set.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use redis::Connection;

use crate::ports::Port;
use crate::tls::Certificates;
use crate::{Folder, Process, cache};

mod cluster;
mod sentinel;
pub use cluster::RedisCluster;
pub use sentinel::Sentinel;

const READY: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(10);

/// What a server is started with. The default is a server without a password that keeps an append-only file.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Names its folder; give each server of a test its own.
    pub name: String,
    /// Where it listens.
    pub host: Ipv4Addr,
    /// The default user's password.
    pub password: Option<String>,
    /// A user besides the default one; [`Redis::url`] is then that user's.
    pub user: Option<User>,
    /// Clients speak TLS with these, and so do servers with each other. The harness itself keeps a plain port.
    pub certificates: Option<Certificates>,
    /// `maxmemory`, such as `64mb`.
    pub maxmemory: Option<String>,
    /// `maxmemory-policy`.
    pub maxmemory_policy: Option<String>,
    /// Keeps an append-only file, synchronised every second. Without it a restart is empty.
    pub appendonly: bool,
    /// More lines of redis.conf.
    pub config: Vec<String>,
}

/// A user of the access control list.
#[derive(Debug, Clone)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// What it may do, such as `~{tips*}:* +@all -@dangerous`.
    pub rules: String,
}

impl User {
    /// One that may do what the README says that workers of the pipeline `default/<pipeline>` have to, and no more.
    pub fn of_pipeline(pipeline: &str) -> Self {
        let rules = format!(
            "~tipstream:{{default.{pipeline}/* -@all +info +evalsha +script|load +hget +hmget +hgetall +hkeys +hlen \
             +hset +hdel +hincrby +zadd +zrem +zrangebyscore +append +strlen +getrange +del"
        );
        Self { name: "worker".to_owned(), password: "worker-secret".to_owned(), rules }
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            name: "redis".to_owned(),
            host: Ipv4Addr::LOCALHOST,
            password: None,
            user: None,
            certificates: None,
            maxmemory: None,
            maxmemory_policy: None,
            appendonly: true,
            config: Vec::new(),
        }
    }
}

impl RedisOptions {
    /// The default under another name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// CPU time that a server has used, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct CpuSeconds {
    /// All threads.
    pub process: f64,
    /// The one thread that runs commands and scripts.
    pub main_thread: f64,
}

/// The append-only file as it was when [`Redis::copy`] was called.
#[derive(Debug)]
pub struct Copy(PathBuf);

/// A running server.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    options: RedisOptions,
    dir: PathBuf,
    port: Port,
    secure: Option<(Port, Certificates)>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start(folder: &Folder, options: RedisOptions) -> Result<Self> {
        let dir = folder.dir(&options.name)?;
        let port = Port::reserve_at(options.host)?;
        let secure = match &options.certificates {
            Some(certificates) => Some((Port::reserve_at(options.host)?, certificates.clone())),
            None => None,
        };
        fs::create_dir_all(dir.join("data")).context("creating Redis' data folder")?;
        fs::write(dir.join("redis.conf"), config(&dir, &options, &port, secure.as_ref()))
            .context("writing redis.conf")?;
        let process = launch(&dir)?;
        let mut started = Self { process, options, dir, port, secure };
        started.await_answer()?;
        Ok(started)
    }

    /// `redis://…` or `rediss://…` with the credentials of a client.
    pub fn url(&self) -> String {
        let login = match (&self.options.user, &self.options.password) {
            (Some(user), _) => format!("{}:{}@", user.name, user.password),
            (None, Some(password)) => format!(":{password}@"),
            (None, None) => String::new(),
        };
        let scheme = if self.secure.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{login}{}/", self.client_port().address())
    }

    /// Where clients connect, and other servers.
    fn client_port(&self) -> &Port {
        self.secure.as_ref().map_or(&self.port, |(port, _)| port)
    }

    /// `<host>:<port>` of the port without TLS.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The number of the port without TLS.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The certificates, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.secure.as_ref().map(|(_, certificates)| certificates)
    }

    /// The server process, to stop and wake it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A connection of the harness, as the default user and without TLS.
    pub fn connection(&self) -> Result<Connection> {
        let login =
            self.options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{login}{}/", self.port.address()))?;
        let connection = client.get_connection_with_timeout(ANSWER).context("connecting to Redis")?;
        connection.set_read_timeout(Some(ANSWER))?;
        Ok(connection)
    }

    /// A section of INFO, such as `memory`.
    pub fn info(&self, section: &str) -> Result<redis::InfoDict> {
        Ok(redis::cmd("INFO").arg(section).query(&mut self.connection()?)?)
    }

    /// CPU time used since its start.
    pub fn cpu_seconds(&self) -> Result<CpuSeconds> {
        let info = self.info("cpu")?;
        let seconds = |name: &str| info.get::<f64>(name).with_context(|| format!("INFO without {name}"));
        Ok(CpuSeconds {
            process: seconds("used_cpu_sys")? + seconds("used_cpu_user")?,
            main_thread: seconds("used_cpu_sys_main_thread")? + seconds("used_cpu_user_main_thread")?,
        })
    }

    /// Loses everything that it holds.
    pub fn flushall(&self) -> Result<()> {
        Ok(redis::cmd("FLUSHALL").exec(&mut self.connection()?)?)
    }

    /// Ends without a warning, and stays down until [`Redis::up`].
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Ends in good order, and stays down until [`Redis::up`].
    pub fn down(&mut self) -> Result<()> {
        self.process.end()
    }

    /// Starts again with the same data on the same port.
    pub fn up(&mut self) -> Result<()> {
        self.process.end()?;
        self.process = launch(&self.dir)?;
        self.await_answer()
    }

    /// Down and up.
    pub fn restart(&mut self) -> Result<()> {
        self.down()?;
        self.up()
    }

    /// Keeps what is on disk now. To lose the last second: copy, let time pass, [`Redis::restart_from`] the copy.
    ///
    /// A kill alone loses nothing of an append-only file, since the kernel still writes what it was given; a machine
    /// that loses power with `appendfsync everysec` comes back with the file of a moment ago.
    pub fn copy(&self) -> Result<Copy> {
        let copy = self.dir.join("copy");
        if copy.exists() {
            fs::remove_dir_all(&copy).context("removing the old copy")?;
        }
        copy_dir(&self.data(), &copy)?;
        Ok(Copy(copy))
    }

    /// Kills the server and starts it with the data of the copy.
    pub fn restart_from(&mut self, copy: &Copy) -> Result<()> {
        if self.process.is_running() {
            self.kill9()?;
        }
        fs::remove_dir_all(self.data()).context("removing Redis' data")?;
        copy_dir(&copy.0, &self.data())?;
        self.up()
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn await_answer(&mut self) -> Result<()> {
        let login =
            self.options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{login}{}/", self.port.address()))?;
        // While it loads its data it connects but refuses to answer.
        let answers = || {
            client
                .get_connection_with_timeout(ANSWER)
                .and_then(|mut connection| redis::cmd("PING").exec(&mut connection))
                .is_ok()
        };
        self.process.until("answered", READY, answers)
    }
}

fn launch(dir: &Path) -> Result<Process> {
    let mut command = Command::new(cache::program("redis-server")?);
    command.arg(dir.join("redis.conf"));
    Process::start("redis", command, &dir.join("redis.log"))
}

fn config(dir: &Path, options: &RedisOptions, port: &Port, secure: Option<&(Port, Certificates)>) -> String {
    let mut lines = vec![
        format!("bind {}", port.host()),
        // The addresses are only this machine's.
        "protected-mode no".to_owned(),
        format!("port {}", port.number()),
        format!("dir {}", dir.join("data").display()),
        "save \"\"".to_owned(),
        format!("appendonly {}", if options.appendonly { "yes" } else { "no" }),
        "appendfsync everysec".to_owned(),
        // A rewrite in the middle of a copy would tear it.
        "auto-aof-rewrite-percentage 0".to_owned(),
    ];
    lines.extend(options.password.iter().map(|password| format!("requirepass {password}")));
    lines.extend(
        options.user.iter().map(|user| format!("user {} on >{} {}", user.name, user.password, user.rules)),
    );
    lines.extend(options.maxmemory.iter().map(|limit| format!("maxmemory {limit}")));
    lines.extend(options.maxmemory_policy.iter().map(|policy| format!("maxmemory-policy {policy}")));
    if let Some((port, certificates)) = secure {
        lines.extend(tls(port, certificates));
        lines.push("tls-replication yes".to_owned());
    }
    lines.extend(options.config.iter().cloned());
    lines.join("\n") + "\n"
}

/// Lines for a server, or a sentinel, that listens there too.
fn tls(port: &Port, certificates: &Certificates) -> [String; 5] {
    [
        format!("tls-port {}", port.number()),
        format!("tls-cert-file {}", certificates.certificate().display()),
        format!("tls-key-file {}", certificates.key().display()),
        format!("tls-ca-cert-file {}", certificates.ca().display()),
        "tls-auth-clients no".to_owned(),
    ]
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copying to {}", target.display()))?;
        }
    }
    Ok(())
}
