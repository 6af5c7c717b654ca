//! A Redis Cluster: masters that share out the slots, with or without replicas.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Redis, RedisOptions};
use crate::Folder;
use crate::ports::Port;

const SLOTS: usize = 16_384;
const READY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A running cluster.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    masters: usize,
    // One a node, reserved for as long as the node may be restarted.
    buses: Vec<Port>,
}

impl RedisCluster {
    /// `masters` masters without replicas.
    pub fn start(folder: &Folder, masters: usize) -> Result<Self> {
        Self::start_with(folder, masters, 0, &RedisOptions::default())
    }

    /// `masters` masters, each with `replicas` replicas, every node with the same options.
    pub fn start_with(
        folder: &Folder,
        masters: usize,
        replicas: usize,
        options: &RedisOptions,
    ) -> Result<Self> {
        let count = masters * (1 + replicas);
        let buses = (0..count).map(|_| Port::reserve()).collect::<Result<Vec<_>>>()?;
        let start = |(index, bus): (usize, &Port)| Redis::start(folder, node(options, index, bus));
        let nodes = buses.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let cluster = Self { nodes, masters, buses };
        cluster.form()?;
        Ok(cluster)
    }

    /// The nodes' URLs, masters first.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The nodes, masters first as they were at the start.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// Waits until every node that runs says that all slots are served.
    pub fn await_ok(&self) -> Result<()> {
        until("the cluster is ok", || {
            let states = self.nodes.iter().filter_map(|node| self.ask(node, "INFO").ok());
            states
                .map(|state| state.contains("cluster_state:ok"))
                .reduce(|all, one| all && one)
                .unwrap_or(false)
        })
    }

    /// Waits until the others have given the slots of the master `index`, which is down, to its replica.
    pub fn await_failover(&self, index: usize) -> Result<()> {
        let down = format!(":{}@", self.nodes.get(index).context("no such node")?.port());
        until("a replica has taken over", || {
            self.nodes.iter().filter_map(|node| self.ask(node, "NODES").ok()).all(|nodes| {
                // `<id> <address> <flags> … <slots>`: a failed master that has lost its slots ends with its state.
                let line = nodes.lines().find(|line| line.contains(&down)).unwrap_or_default();
                line.contains("fail") && line.ends_with("connected")
            })
        })?;
        self.await_ok()
    }

    /// What `redis-cli --cluster create` does, with bus ports of our choice and without its pauses.
    fn form(&self) -> Result<()> {
        for (index, node) in self.nodes.iter().enumerate() {
            redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(index + 1).exec(&mut node.connection()?)?;
        }
        let masters = &self.nodes[..self.masters];
        for (index, node) in masters.iter().enumerate() {
            let (first, last) = (SLOTS * index / self.masters, SLOTS * (index + 1) / self.masters - 1);
            redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(last).exec(&mut node.connection()?)?;
        }
        let mut first = masters.first().context("a cluster without masters")?.connection()?;
        for (node, bus) in self.nodes.iter().zip(&self.buses).skip(1) {
            let meet = ("MEET", "127.0.0.1", node.port(), bus.number());
            redis::cmd("CLUSTER").arg(meet).exec(&mut first)?;
        }
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        until("all nodes know each other", || {
            self.nodes.iter().all(|node| self.ask(node, "INFO").is_ok_and(|info| info.contains(&known)))
        })?;
        self.await_ok()?;
        for (index, replica) in self.nodes.iter().enumerate().skip(self.masters) {
            let master: String = redis::cmd("CLUSTER")
                .arg("MYID")
                .query(&mut self.nodes[index % self.masters].connection()?)?;
            redis::cmd("CLUSTER").arg("REPLICATE").arg(master).exec(&mut replica.connection()?)?;
        }
        let replicas = &self.nodes[self.masters..];
        until("all replicas are in step", || replicas.iter().all(is_in_step))
    }

    fn ask(&self, node: &Redis, what: &str) -> Result<String> {
        Ok(redis::cmd("CLUSTER").arg(what).query(&mut node.connection()?)?)
    }
}

fn node(options: &RedisOptions, index: usize, bus: &Port) -> RedisOptions {
    let mut options = options.clone();
    options.name = format!("{}-{index}", options.name);
    options.config.extend([
        "cluster-enabled yes".to_owned(),
        format!("cluster-port {}", bus.number()),
        // Seconds until a failover, instead of half a minute.
        "cluster-node-timeout 2000".to_owned(),
    ]);
    if options.certificates.is_some() {
        options.config.push("tls-cluster yes".to_owned());
    }
    if let Some(password) = &options.password {
        options.config.push(format!("masterauth {password}"));
    }
    options
}

/// Whether a replica has the whole of its master's data.
pub(super) fn is_in_step(replica: &Redis) -> bool {
    let info = replica.info("replication");
    info.is_ok_and(|info| info.get::<String>("master_link_status").as_deref() == Some("up"))
}

pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + READY;
    while !holds() {
        if Instant::now() >= deadline {
            bail!("waited {READY:?} until {what}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}
