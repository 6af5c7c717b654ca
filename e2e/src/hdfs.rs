//! HDFS of one NameNode and one DataNode.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::ports::Port;
use crate::process::run;
use crate::{Folder, Process, cache, http};

mod files;

pub use files::Files;

/// Two JVMs on a busy machine take their time.
const READY: Duration = Duration::from_secs(180);
/// A live bean; those of FSNamesystem are cached for ten seconds.
const NAME_NODE_INFO: &str = "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo";
const NAME_NODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATA_NODE: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";

/// A running file system.
#[derive(Debug)]
pub struct Hdfs {
    name_node: Process,
    data_node: Process,
    dir: PathBuf,
    ports: Ports,
}

#[derive(Debug)]
struct Ports {
    name: Port,
    name_http: Port,
    data: Port,
    data_http: Port,
    data_ipc: Port,
}

impl Hdfs {
    /// Starts both nodes and waits until the one knows the other and takes writes.
    pub fn start(folder: &Folder) -> Result<Self> {
        Self::start_at(folder, Ipv4Addr::LOCALHOST)
    }

    /// The same, listening elsewhere.
    pub fn start_at(folder: &Folder, host: Ipv4Addr) -> Result<Self> {
        let dir = folder.dir("hdfs")?;
        let ports = Ports {
            name: Port::reserve_at(host)?,
            name_http: Port::reserve_at(host)?,
            data: Port::reserve_at(host)?,
            data_http: Port::reserve_at(host)?,
            data_ipc: Port::reserve_at(host)?,
        };
        configure(&dir, &ports)?;
        let mut format = java(&dir, 128)?;
        run(format.args([NAME_NODE, "-format", "-force", "-nonInteractive"]))
            .context("formatting the NameNode")?;
        let name_node = launch(&dir, "namenode", NAME_NODE)?;
        let data_node = launch(&dir, "datanode", DATA_NODE)?;
        let mut started = Self { name_node, data_node, dir, ports };
        started.await_ready()?;
        Ok(started)
    }

    /// Its files, for who reads and writes them while the nodes come and go.
    pub fn files(&self) -> Files {
        Files::new(self.ports.name.address(), self.ports.name_http.address())
    }

    /// Writes into `dir` what clients read of it that know it as the name service `service`: `core-site.xml` and
    /// `hdfs-site.xml`.
    pub fn write_site(&self, dir: &Path, service: &str) -> Result<()> {
        let site = properties(&[
            ("dfs.nameservices", service.to_owned()),
            (&format!("dfs.ha.namenodes.{service}"), "one".to_owned()),
            (&format!("dfs.namenode.rpc-address.{service}.one"), self.ports.name.address()),
        ]);
        for (name, contents) in [("core-site.xml", properties(&[])), ("hdfs-site.xml", site)] {
            fs::write(dir.join(name), contents).with_context(|| format!("writing {name}"))?;
        }
        Ok(())
    }

    /// The NameNode's process, to stop and wake it.
    pub fn name_node(&mut self) -> &mut Process {
        &mut self.name_node
    }

    /// The DataNode's process, to stop and wake it.
    pub fn data_node(&mut self) -> &mut Process {
        &mut self.data_node
    }

    /// Both end without a warning, and stay down until [`Hdfs::up`].
    pub fn kill9(&mut self) -> Result<()> {
        self.name_node.kill9()?;
        self.data_node.kill9()
    }

    /// Both end in good order, and stay down until [`Hdfs::up`].
    pub fn down(&mut self) -> Result<()> {
        self.data_node.end()?;
        self.name_node.end()
    }

    /// Starts what has ended again, with the same files on the same ports.
    pub fn up(&mut self) -> Result<()> {
        if !self.name_node.is_running() {
            self.name_node = launch(&self.dir, "namenode", NAME_NODE)?;
        }
        if !self.data_node.is_running() {
            self.data_node = launch(&self.dir, "datanode", DATA_NODE)?;
        }
        self.await_ready()
    }

    /// Down and up.
    pub fn restart(&mut self) -> Result<()> {
        self.down()?;
        self.up()
    }

    fn await_ready(&mut self) -> Result<()> {
        let address = self.ports.name_http.address();
        let data = self.ports.data.address();
        let ready = || {
            let Ok(body) = http::get(&address, NAME_NODE_INFO) else {
                return false;
            };
            is_ready(&body, &data).unwrap_or(false)
        };
        self.name_node.until("left safe mode with a DataNode", READY, ready)?;
        // One that was there before is taken to live for some minutes.
        let listens = || TcpStream::connect(self.ports.data.address()).is_ok();
        self.data_node.until("listened", READY, listens)
    }
}

/// Out of safe mode, and with the DataNode that listens at `data`: registered, and its disks heard of, which comes
/// with a heartbeat after that.
fn is_ready(body: &[u8], data: &str) -> Option<bool> {
    let info: Value = serde_json::from_slice(body).ok()?;
    let bean = info.get("beans")?.get(0)?;
    // A string that is JSON itself: the nodes by name.
    let nodes: Value = serde_json::from_str(bean.get("LiveNodes")?.as_str()?).ok()?;
    let has_room = |node: &Value| {
        node["xferaddr"] == data && node["remaining"].as_u64().is_some_and(|remaining| remaining > 0)
    };
    Some(bean.get("Safemode")?.as_str()?.is_empty() && nodes.as_object()?.values().any(has_room))
}

fn java(dir: &Path, heap: u32) -> Result<Command> {
    let class_path = format!("{}:{}", dir.join("conf").display(), cache::jars(cache::HADOOP)?);
    let mut command = Command::new(cache::program("java")?);
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]).args([
        &format!("-Xmx{heap}m"),
        "-cp",
        &class_path,
    ]);
    Ok(command)
}

fn launch(dir: &Path, name: &str, class: &str) -> Result<Process> {
    let mut command = java(dir, 256)?;
    command.arg(class);
    Process::start(name, command, &dir.join(format!("{name}.log")))
}

fn configure(dir: &Path, ports: &Ports) -> Result<()> {
    let conf = dir.join("conf");
    // The published jars have no web pages, and the HTTP servers only ask that the folders be there.
    for pages in ["hdfs", "datanode", "static"] {
        fs::create_dir_all(conf.join("webapps").join(pages).join("WEB-INF")).context("creating webapps")?;
    }
    let file = |name: &str, contents: String| {
        fs::write(conf.join(name), contents).with_context(|| format!("writing {name}"))
    };
    file("core-site.xml", core_site(dir, ports))?;
    file("hdfs-site.xml", hdfs_site(dir, ports))?;
    file("log4j.properties", LOG4J.to_owned())
}

fn core_site(dir: &Path, ports: &Ports) -> String {
    properties(&[
        ("fs.defaultFS", format!("hdfs://{}", ports.name.address())),
        ("hadoop.tmp.dir", dir.join("tmp").display().to_string()),
    ])
}

fn hdfs_site(dir: &Path, ports: &Ports) -> String {
    properties(&[
        ("dfs.replication", "1".to_owned()),
        ("dfs.namenode.name.dir", format!("file://{}", dir.join("name").display())),
        ("dfs.datanode.data.dir", format!("file://{}", dir.join("data").display())),
        ("dfs.namenode.rpc-address", ports.name.address()),
        ("dfs.namenode.http-address", ports.name_http.address()),
        ("dfs.datanode.address", ports.data.address()),
        ("dfs.datanode.http.address", ports.data_http.address()),
        ("dfs.datanode.ipc.address", ports.data_ipc.address()),
        ("dfs.datanode.hostname", ports.data.host().to_string()),
        ("dfs.permissions.enabled", "false".to_owned()),
        // All blocks, or with few of them a restarted NameNode is ready before it has heard where they are.
        ("dfs.namenode.safemode.threshold-pct", "1.0".to_owned()),
        // Without these a restart waits half a minute, and a DataNode that died is noticed after ten.
        ("dfs.namenode.safemode.extension", "0".to_owned()),
        ("dfs.heartbeat.interval", "1".to_owned()),
        ("dfs.namenode.datanode.registration.ip-hostname-check", "false".to_owned()),
        ("dfs.namenode.handler.count", "4".to_owned()),
        ("dfs.datanode.handler.count", "4".to_owned()),
    ])
}

fn properties(values: &[(&str, String)]) -> String {
    let property = |(name, value): &(&str, String)| {
        format!("  <property><name>{name}</name><value>{value}</value></property>\n")
    };
    format!("<configuration>\n{}</configuration>\n", values.iter().map(property).collect::<String>())
}

const LOG4J: &str = "\
log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.target=System.err
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d %p %c{1}: %m%n
";
