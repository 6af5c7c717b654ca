//! A Kafka broker of one node (KRaft), with an admin and a producer for the test.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;

use crate::ports::Port;
use crate::process::run;
use crate::tls::{Certificates, KEYSTORE_PASSWORD};
use crate::{Folder, Process, cache};

mod client;
pub use client::Record;

/// A JVM on a busy machine takes its time.
const READY: Duration = Duration::from_secs(120);
const CLUSTER_ID: &str = "dGlwc3RyZWFtLWUyZS0wMQ";

/// What a broker is started with.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Where it listens, and what it tells its clients.
    pub host: Ipv4Addr,
    /// A second listener: SASL_SSL with SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN; and a third: SSL, which asks for a certificate.
    pub secure: bool,
    /// When a silent member of a group of the new protocol (KIP-848) is given up. Members of the classic protocol
    /// say it themselves (`session.timeout.ms`, 1 s at least).
    pub session_timeout: Duration,
    /// `-Xmx` in MiB.
    pub heap: u32,
    /// More lines of server.properties.
    pub config: Vec<String>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST,
            secure: false,
            session_timeout: Duration::from_secs(6),
            heap: 512,
            config: Vec::new(),
        }
    }
}

/// How to reach the secure listeners.
#[derive(Debug)]
pub struct Secure {
    port: Port,
    mutual: Port,
    certificates: Certificates,
}

impl Secure {
    /// `<host>:<port>`.
    pub fn bootstrap(&self) -> String {
        self.port.address()
    }

    /// `<host>:<port>` of the listener that asks for a certificate.
    pub fn mutual_bootstrap(&self) -> String {
        self.mutual.address()
    }

    /// Among them one that a client may show.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// What a client must trust.
    pub fn ca(&self) -> PathBuf {
        self.certificates.ca()
    }

    /// The user of all mechanisms.
    pub fn username(&self) -> &'static str {
        "alice"
    }

    /// Its password.
    pub fn password(&self) -> &'static str {
        "alice-secret"
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    dir: PathBuf,
    heap: u32,
    port: Port,
    secure: Option<Secure>,
    // Reserved for as long as the broker may be restarted.
    _controller: Port,
}

impl Kafka {
    /// Starts a broker and waits until it answers an admin client.
    pub fn start(folder: &Folder) -> Result<Self> {
        Self::start_with(folder, &KafkaOptions::default())
    }

    /// The same with options.
    pub fn start_with(folder: &Folder, options: &KafkaOptions) -> Result<Self> {
        let dir = folder.dir("kafka")?;
        let (port, controller) = (Port::reserve_at(options.host)?, Port::reserve()?);
        let secure = if options.secure {
            let certificates = Certificates::create_at(folder, "kafka-tls", options.host)?;
            let (port, mutual) = (Port::reserve_at(options.host)?, Port::reserve_at(options.host)?);
            Some(Secure { port, mutual, certificates })
        } else {
            None
        };
        fs::write(
            dir.join("server.properties"),
            properties(&dir, options, &port, &controller, secure.as_ref()),
        )
        .context("writing server.properties")?;
        format(&dir, secure.as_ref())?;
        let process = launch(&dir, options.heap)?;
        let mut started = Self { process, dir, heap: options.heap, port, secure, _controller: controller };
        started.await_answer()?;
        Ok(started)
    }

    /// `<host>:<port>` of the listener without security.
    pub fn bootstrap(&self) -> String {
        self.port.address()
    }

    /// The secure listeners, where they were asked for.
    pub fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    /// The broker process, to stop and wake it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The least of a client's configuration.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    /// Ends without a warning, and stays down until [`Kafka::up`].
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Ends in good order, and stays down until [`Kafka::up`].
    pub fn down(&mut self) -> Result<()> {
        self.process.end()
    }

    /// Starts again with the same topics on the same ports.
    pub fn up(&mut self) -> Result<()> {
        self.process.end()?;
        self.process = launch(&self.dir, self.heap)?;
        self.await_answer()
    }

    /// Down and up.
    pub fn restart(&mut self) -> Result<()> {
        self.down()?;
        self.up()
    }

    fn await_answer(&mut self) -> Result<()> {
        let config = self.client();
        self.process.until("answered an admin client", READY, || client::answers(&config))
    }
}

/// A JVM for a test server: quick to start, modest, one garbage collector thread.
fn java(heap: u32) -> Result<Command> {
    let mut command = Command::new(cache::program("java")?);
    command.args(["-XX:+UseSerialGC", &format!("-Xmx{heap}m"), "-cp", &cache::jars(cache::KAFKA)?]).args([
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
    ]);
    Ok(command)
}

fn format(dir: &Path, secure: Option<&Secure>) -> Result<()> {
    let mut command = java(128)?;
    command
        .args(["-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(dir.join("server.properties"));
    if let Some(secure) = secure {
        for hash in ["512", "256"] {
            let login =
                format!("SCRAM-SHA-{hash}=[name={},password={}]", secure.username(), secure.password());
            command.args(["--add-scram", &login]);
        }
    }
    run(&mut command).context("formatting Kafka's storage").map(drop)
}

fn launch(dir: &Path, heap: u32) -> Result<Process> {
    let mut command = java(heap)?;
    command.arg("kafka.Kafka").arg(dir.join("server.properties"));
    Process::start("kafka", command, &dir.join("kafka.log"))
}

fn properties(
    dir: &Path,
    options: &KafkaOptions,
    port: &Port,
    controller: &Port,
    secure: Option<&Secure>,
) -> String {
    let mut listeners = format!("INT://{}", port.address());
    let mut protocols = "INT:PLAINTEXT,CTL:PLAINTEXT".to_owned();
    let mut lines = Vec::new();
    if let Some(secure) = secure {
        listeners += &format!(",SEC://{},MUTUAL://{}", secure.bootstrap(), secure.mutual_bootstrap());
        protocols += ",SEC:SASL_SSL,MUTUAL:SSL";
        lines.extend(secure_lines(secure));
    }
    let session = options.session_timeout.as_millis();
    let heartbeat = (session / 5).clamp(100, 5000);
    lines.extend([
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.voters=1@{}", controller.address()),
        format!("listeners={listeners},CTL://{}", controller.address()),
        format!("advertised.listeners={listeners}"),
        format!("listener.security.protocol.map={protocols}"),
        "controller.listener.names=CTL".to_owned(),
        "inter.broker.listener.name=INT".to_owned(),
        format!("log.dirs={}", dir.join("data").display()),
        "auto.create.topics.enable=false".to_owned(),
        "offsets.topic.replication.factor=1".to_owned(),
        "offsets.topic.num.partitions=4".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        "transaction.state.log.num.partitions=4".to_owned(),
        "share.coordinator.state.topic.replication.factor=1".to_owned(),
        "share.coordinator.state.topic.min.isr=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
        "group.min.session.timeout.ms=1000".to_owned(),
        format!("group.consumer.min.session.timeout.ms={session}"),
        format!("group.consumer.session.timeout.ms={session}"),
        format!("group.consumer.min.heartbeat.interval.ms={heartbeat}"),
        format!("group.consumer.heartbeat.interval.ms={heartbeat}"),
        // A broker that was killed may register again only when the session of its former self has ended: 9 s.
        "broker.session.timeout.ms=3000".to_owned(),
        "broker.heartbeat.interval.ms=500".to_owned(),
        "num.network.threads=2".to_owned(),
        "num.io.threads=2".to_owned(),
        // The default of 128 MB would be most of the heap.
        "log.cleaner.dedupe.buffer.size=16777216".to_owned(),
        "log.segment.bytes=67108864".to_owned(),
    ]);
    lines.extend(options.config.iter().cloned());
    lines.join("\n") + "\n"
}

fn secure_lines(secure: &Secure) -> Vec<String> {
    let (user, password) = (secure.username(), secure.password());
    let modules = "org.apache.kafka.common.security";
    let shown = ["sec", "mutual"].map(|name| {
        let ssl = format!("listener.name.{name}.ssl");
        [
            format!("{ssl}.keystore.location={}", secure.certificates.keystore().display()),
            format!("{ssl}.keystore.password={KEYSTORE_PASSWORD}"),
            format!("{ssl}.keystore.type=PKCS12"),
        ]
    });
    let sasl = "listener.name.sec";
    let asked = "listener.name.mutual.ssl";
    let more = [
        format!("{sasl}.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN"),
        format!("{sasl}.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;"),
        format!("{sasl}.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;"),
        format!(
            "{sasl}.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{user}=\"{password}\";"
        ),
        format!("{asked}.client.auth=required"),
        format!("{asked}.truststore.type=PEM"),
        format!("{asked}.truststore.location={}", secure.certificates.ca().display()),
    ];
    shown.into_iter().flatten().chain(more).collect()
}
