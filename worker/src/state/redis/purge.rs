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
    let link = Link::connect(config).await?;
    let pattern = format!("tipstream:{{{pipeline}/*");
    let mut removed = 0;
    loop {
        let mut found = 0;
        for node in nodes(&link).await? {
            found += purge_node(&link, &node, &pattern).await?;
        }
        if found == 0 {
            return Ok(removed);
        }
        removed += found;
    }
}

async fn purge_node(link: &Link, node: &Node, pattern: &str) -> Result<u64, StateError> {
    let (mut cursor, mut removed) = (0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
        let (next, keys): (u64, Vec<Vec<u8>>) = read(on(link, node, scan).await?)?;
        // One call a key: those of a Cluster's node lie in many slots.
        let unlinked = try_join_all(keys.iter().map(|key| async move {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(key);
            read::<u64>(call(&mut link.clone(), &unlink).await?)
        }))
        .await?;
        removed += unlinked.iter().sum::<u64>();
        if next == 0 {
            return Ok(removed);
        }
        cursor = next;
    }
}

async fn on(link: &Link, node: &Node, cmd: Cmd) -> Result<Value, StateError> {
    match (link.clone(), node) {
        (Link::Cluster(mut cluster), Some((host, port))) => {
            let node = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
            cluster.route_command(cmd, RoutingInfo::SingleNode(node)).await.map_err(link::error)
        }
        (mut link, _) => call(&mut link, &cmd).await,
    }
}

async fn call(link: &mut Link, cmd: &Cmd) -> Result<Value, StateError> {
    link.req_packed_command(cmd).await.and_then(Value::extract_error).map_err(link::error)
}

async fn nodes(link: &Link) -> Result<Vec<Node>, StateError> {
    let Link::Cluster(_) = link else { return Ok(vec![None]) };
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    let ranges: Vec<(u16, u16, Value)> = read(first_of_each(call(&mut link.clone(), &slots).await?))?;
    let mut masters = Vec::new();
    for (_, _, master) in ranges {
        let Value::Array(fields) = master else { return Err(StateError::Corrupt("CLUSTER SLOTS".into())) };
        let mut fields = fields.into_iter();
        let address = fields.next().zip(fields.next());
        let Some((host, port)) = address else { return Err(StateError::Corrupt("CLUSTER SLOTS".into())) };
        masters.push(Some((read::<String>(host)?, read::<u16>(port)?)));
    }
    masters.sort();
    masters.dedup();
    Ok(masters)
}

/// Of each range of slots the bounds and the master, without its replicas.
fn first_of_each(ranges: Value) -> Value {
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
