//! A master, a replica, and a Sentinel that makes the replica the master when the master is gone.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cluster::{is_in_step, until};
use super::{Redis, RedisOptions, tls};
use crate::ports::Port;
use crate::tls::Certificates;
use crate::{Folder, Process, cache};

const READY: Duration = Duration::from_secs(20);
const MASTER: &str = "tips";

/// The three of them, running.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
    port: Port,
    secure: Option<Port>,
    first: Redis,
    second: Redis,
    password: Option<String>,
}

impl Sentinel {
    /// Starts them and waits until Sentinel knows the replica. Sentinel itself wants the password.
    pub fn start(folder: &Folder, password: Option<&str>) -> Result<Self> {
        Self::start_with(folder, password, None)
    }

    /// The same where clients speak TLS with `certificates`, and so do the three with each other.
    pub fn start_with(
        folder: &Folder,
        password: Option<&str>,
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        let named = |name| RedisOptions { certificates: certificates.cloned(), ..RedisOptions::named(name) };
        let first = Redis::start(folder, named("redis-first"))?;
        let master = first.client_port().number();
        let mut follower = named("redis-second");
        follower.config.push(format!("replicaof 127.0.0.1 {master}"));
        let second = Redis::start(folder, follower)?;
        until("the replica is in step", || is_in_step(&second))?;

        let port = Port::reserve()?;
        let secure = certificates.map(|_| Port::reserve()).transpose()?;
        let dir = folder.dir("sentinel")?;
        let config = dir.join("sentinel.conf");
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("port {}", port.number()),
            format!("dir {}", dir.display()),
            format!("sentinel monitor {MASTER} 127.0.0.1 {master} 1"),
            format!("sentinel down-after-milliseconds {MASTER} 1000"),
            format!("sentinel failover-timeout {MASTER} 5000"),
        ];
        lines.extend(password.map(|password| format!("requirepass {password}")));
        if let (Some(port), Some(certificates)) = (&secure, certificates) {
            lines.extend(tls(port, certificates));
            lines.push("tls-replication yes".to_owned());
        }
        fs::write(&config, lines.join("\n") + "\n").context("writing sentinel.conf")?;
        let mut command = Command::new(cache::program("redis-sentinel")?);
        command.arg(config);
        let process = Process::start("sentinel", command, &dir.join("sentinel.log"))?;
        let password = password.map(str::to_owned);
        let mut started = Self { process, port, secure, first, second, password };
        started.await_replica()?;
        Ok(started)
    }

    /// `redis://127.0.0.1:<port>/` of Sentinel itself, or `rediss://`.
    pub fn url(&self) -> String {
        match &self.secure {
            Some(port) => format!("rediss://{}/", port.address()),
            None => format!("redis://{}/", self.port.address()),
        }
    }

    /// The name of the set.
    pub fn master_name(&self) -> &'static str {
        MASTER
    }

    /// The address that Sentinel gives for the master now.
    pub fn master_address(&self) -> Result<String> {
        let (host, port): (String, String) =
            self.ask(redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(MASTER))?;
        Ok(format!("{host}:{port}"))
    }

    /// The server that is the master now.
    pub fn master(&mut self) -> Result<&mut Redis> {
        let is_first = self.master_address()? == self.first.client_port().address();
        Ok(if is_first { &mut self.first } else { &mut self.second })
    }

    /// Kills the master and waits until the other has its place. The old one stays down until [`Redis::up`].
    pub fn fail_over(&mut self) -> Result<()> {
        let old = self.master_address()?;
        self.master()?.kill9()?;
        until("the replica is the master", || {
            self.master_address().is_ok_and(|address| address != old) && self.takes_writes()
        })
    }

    fn takes_writes(&self) -> bool {
        let master = self.master_address();
        [&self.first, &self.second].iter().any(|server| {
            let is_master = master.as_ref().is_ok_and(|address| *address == server.client_port().address());
            let role = server.info("replication").map(|info| info.get::<String>("role"));
            is_master && role.is_ok_and(|role| role.as_deref() == Some("master"))
        })
    }

    fn await_replica(&mut self) -> Result<()> {
        let client = self.client()?;
        let count = || -> redis::RedisResult<usize> {
            let mut connection = client.get_connection()?;
            let replicas: Vec<redis::Value> =
                redis::cmd("SENTINEL").arg("replicas").arg(MASTER).query(&mut connection)?;
            Ok(replicas.len())
        };
        self.process.until("known the replica", READY, || count().is_ok_and(|count| count == 1))
    }

    fn client(&self) -> Result<redis::Client> {
        let login = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        Ok(redis::Client::open(format!("redis://{login}{}/", self.port.address()))?)
    }

    fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        let mut connection = self.client()?.get_connection().context("connecting to Sentinel")?;
        Ok(command.query(&mut connection)?)
    }
}
