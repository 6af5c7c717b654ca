//! The removal of a pipeline's state, of all its epochs, whatever shards and format they had.
//!
//! Keys are found by their prefix, server by server, and unlinked, which frees memory in the background and is
//! taken by a server that is full. A listing may miss what moves between the nodes of a Cluster meanwhile, so it is
//! done again until it finds nothing.

use futures::future::try_join_all;
use redis::aio::ConnectionLike as _;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue, Value};

use super::link::{self, Link, RedisConfig};
use crate::state::StateError;

/// Keys that a server looks at in one call.
const SCAN_COUNT: u32 = 1000;

/// A node of a Cluster; `None`: the one server.
type Node = Option<(String, u16)>;

/// Removes every key of `pipeline`, which is `<namespace>.<name>`, and returns how many there were.
///
/// The workers must have ended: one that runs would write the keys anew.
///
/// # Errors
/// Where a server cannot be reached or refuses; what was removed until then stays removed.
pub async fn purge(config: &RedisConfig, pipeline: &str) -> Result<u64, StateError> {
    let servers = Servers { link: Link::connect(config).await?, names: link::servers(config) };
    let pattern = format!("tipstream:{{{pipeline}/*");
    let mut removed = 0;
    loop {
        let mut found = 0;
        for node in servers.nodes().await? {
            found += servers.purge_node(&node, &pattern).await?;
        }
        if found == 0 {
            return Ok(removed);
        }
        removed += found;
    }
}

struct Servers {
    link: Link,
    /// For errors.
    names: String,
}

impl Servers {
    async fn purge_node(&self, node: &Node, pattern: &str) -> Result<u64, StateError> {
        let (mut cursor, mut removed) = (0_u64, 0);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<Vec<u8>>) = read(self.call_on(node, scan).await?)?;
            // One call a key: those of a Cluster's node lie in many slots.
            let unlinked = try_join_all(keys.iter().map(|key| async move {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(key);
                read::<u64>(self.call(&unlink).await?)
            }))
            .await?;
            removed += unlinked.iter().sum::<u64>();
            if next == 0 {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    async fn nodes(&self) -> Result<Vec<Node>, StateError> {
        let Link::Cluster(_) = self.link else { return Ok(vec![None]) };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let ranges: Vec<(u16, u16, Value)> = read(without_replicas(self.call(&slots).await?))?;
        let masters = ranges.into_iter().map(|(_, _, master)| address(master));
        let mut masters = masters.map(|address| address.map(Some)).collect::<Result<Vec<_>, _>>()?;
        masters.sort();
        masters.dedup();
        Ok(masters)
    }

    async fn call_on(&self, node: &Node, cmd: Cmd) -> Result<Value, StateError> {
        match (self.link.clone(), node) {
            (Link::Cluster(mut cluster), Some((host, port))) => {
                let node = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                let reply = cluster.route_command(cmd, RoutingInfo::SingleNode(node)).await;
                reply.map_err(|failed| link::error(&self.names, failed))
            }
            _ => self.call(&cmd).await,
        }
    }

    async fn call(&self, cmd: &Cmd) -> Result<Value, StateError> {
        let reply = self.link.clone().req_packed_command(cmd).await.and_then(Value::extract_error);
        reply.map_err(|failed| link::error(&self.names, failed))
    }
}

fn address(master: Value) -> Result<(String, u16), StateError> {
    if let Value::Array(fields) = master {
        let mut fields = fields.into_iter();
        if let (Some(host), Some(port)) = (fields.next(), fields.next()) {
            return Ok((read(host)?, read(port)?));
        }
    }
    Err(StateError::Corrupt("CLUSTER SLOTS names a node without an address".into()))
}

/// Of each range of slots the bounds and the master, without its replicas.
fn without_replicas(ranges: Value) -> Value {
    let Value::Array(ranges) = ranges else { return ranges };
    let cut = |range| match range {
        Value::Array(fields) => Value::Array(fields.into_iter().take(3).collect()),
        other => other,
    };
    Value::Array(ranges.into_iter().map(cut).collect())
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, StateError> {
    T::from_redis_value(value).map_err(|error| StateError::Corrupt(error.to_string()))
}
