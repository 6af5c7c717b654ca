//! A node that has the project's images, and servers on the host that its pods reach.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kafka::{Kafka, KafkaOptions};
use crate::kubernetes::{Cluster, Image, Node};
use crate::redis::{Redis, RedisOptions};
use crate::s3::S3;
use crate::{Folder, operator, worker};
use anyhow::{Context, Result};

/// Long enough for pods that start or end, and for partitions that are handed over.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Selects the worker pods.
pub const WORKERS: &str = "--selector=app.kubernetes.io/component=worker";

/// A node and the servers beside it.
#[derive(Debug)]
pub struct Site {
    /// Kafka.
    pub kafka: Kafka,
    /// Redis.
    pub redis: Redis,
    /// S3.
    pub s3: S3,
    /// The node.
    pub node: Node,
}

impl Site {
    /// Starts it all, where a node can be started. Its namespaces take only pods of the level `restricted`.
    pub fn start(folder: &Folder) -> Result<Option<Self>> {
        Self::start_with(folder, &[])
    }

    /// The same with more programs in the worker's image.
    pub fn start_with(folder: &Folder, more: &[&Path]) -> Result<Option<Self>> {
        let Some(node) = node(folder, more)? else {
            return Ok(None);
        };
        let host = node.host();
        Ok(Some(Site {
            kafka: Kafka::start_with(folder, &KafkaOptions { host, ..KafkaOptions::default() })?,
            redis: Redis::start(folder, RedisOptions { host, ..RedisOptions::default() })?,
            s3: S3::start_at(folder, host)?,
            node,
        }))
    }

    /// The cluster, as its administrator.
    pub fn cluster(&self) -> &Cluster {
        self.node.cluster()
    }
}

/// The node without servers beside it, for a test that has others.
pub fn node(folder: &Folder, more: &[&Path]) -> Result<Option<Node>> {
    let Some(node) = Node::start(folder)? else {
        return Ok(None);
    };
    node.load(&image(folder, "tips-operator", operator::binary()?, &[])?)?;
    node.load(&image(folder, "tips-worker", worker::binary()?, more)?)?;
    node.cluster().kubectl(&["create", "namespace", operator::NAMESPACE])?;
    for namespace in ["default", operator::NAMESPACE] {
        let level = "pod-security.kubernetes.io/enforce=restricted";
        node.cluster().kubectl(&["label", "namespace", namespace, level])?;
    }
    Ok(Some(node))
}

/// Under the name by which the chart and the operator ask for it.
fn image(folder: &Folder, name: &str, binary: PathBuf, more: &[&Path]) -> Result<Image> {
    let program = folder.path().join(name);
    fs::copy(&binary, &program).with_context(|| format!("copying {}", binary.display()))?;
    let reference = format!("ghcr.io/tipstream/{name}:{}", env!("CARGO_PKG_VERSION"));
    Image::make_with(folder, &reference, &program, more)
}

/// The names of the worker pods that are there and not about to end.
pub fn workers(cluster: &Cluster) -> Result<Vec<String>> {
    let query =
        "--output=jsonpath={range .items[*]}{.metadata.deletionTimestamp} {.metadata.name}{'\\n'}{end}";
    let text = cluster.kubectl(&["get", "pods", WORKERS, query])?;
    Ok(text.lines().filter_map(|line| line.strip_prefix(' ')).map(str::to_owned).collect())
}

/// Waits until no worker pod is there.
pub fn await_none(cluster: &Cluster) -> Result<()> {
    cluster.until(&["get", "pods", WORKERS, "--output=name"], PATIENCE, str::is_empty).map(drop)
}
