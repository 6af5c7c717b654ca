//! The README's section on Kubernetes: each of its commands, run as it stands there, prints what stands there.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tips_e2e::kubernetes::Cluster;
use tips_e2e::oracle::Oracle;
use tips_e2e::process::run;
use tips_e2e::site::{PATIENCE, Site, await_none};
use tips_e2e::worker::{Data, watermark};
use tips_e2e::{Folder, cache, operator, scenario, sender};

use crate::cluster::transcript::{self, Block, Step};

/// How long it takes until the partitions of a group that has grown are all where they belong, and are read: two
/// heartbeats of Kafka's, and some.
const MOVED: Duration = Duration::from_secs(12);

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    scenario("cluster-readme", |folder| {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        let text = fs::read_to_string(&readme).context("reading the README")?;
        let blocks = transcript::blocks(&text, "## On Kubernetes")?;
        let Some(site) = Site::start(folder)? else {
            return Ok(());
        };
        let (reader, data) = Reader::prepare(folder, &site)?;
        let mut steps = 0;
        for block in blocks {
            match block {
                Block::Manifest(manifest) => drop(folder.file("nyc.yaml", manifest)?),
                Block::Steps(all) => {
                    for step in all {
                        steps += 1;
                        if step.command.starts_with("kubectl delete") {
                            operator::await_consumed(site.cluster(), data.records()?, PATIENCE)?;
                            // What has moved to a new worker is read once more, for the files.
                            thread::sleep(MOVED);
                        }
                        reader.follow(&step).with_context(|| format!("$ {}", step.command))?;
                    }
                }
            }
        }
        ensure!(steps >= 12, "the README has {steps} commands on Kubernetes");
        await_none(site.cluster())?;
        let closed = watermark(&mut site.redis.connection()?, "nyc")?;
        let topics = ["--ride-topic=rides", "--fare-topic=fares"].map(str::to_owned);
        let oracle = Oracle { settings: topics.into(), ..data.oracle("nyc", Some(closed)) };
        oracle.check(&lake(&site).join("lake")).map(drop)
    });
}

/// The bucket of the README.
fn lake(site: &Site) -> PathBuf {
    site.s3.bucket_dir().with_file_name("taxi")
}

/// Who follows the README.
struct Reader<'a> {
    folder: &'a Folder,
    cluster: Cluster,
    path: String,
    endpoint: String,
    keys: [(&'static str, &'static str); 2],
}

impl<'a> Reader<'a> {
    /// Gives the reader what the README takes for granted: the servers by name, the topics with data, the bucket, the
    /// chart and the clients.
    fn prepare(folder: &'a Folder, site: &Site) -> Result<(Self, Data)> {
        let data = Data::generate(folder, &["--seed", "23", "--rate", "10", "--span", "3h"])?;
        let topics = data.topics_named(&site.kafka, ["rides", "fares"])?;
        sender::send(&site.kafka.client(), &topics, None)?;
        let cluster = site.cluster().clone();
        let endpoint = site.s3.endpoint();
        for (name, port, address) in [
            ("kafka", 9092, site.kafka.bootstrap()),
            ("redis", 6379, site.redis.address()),
            ("minio", 9000, endpoint.replace("http://", "")),
        ] {
            cluster.apply(&service(name, port, &address)?)?;
        }
        // To the gateway a bucket is a folder.
        fs::create_dir(lake(site)).context("making the bucket")?;
        let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts");
        symlink(charts, folder.path().join("charts")).context("linking the charts")?;
        let dirs = [cache::binary("kubectl")?, cache::python()?];
        let dirs = dirs.iter().filter_map(|program| program.parent()).map(Path::to_owned);
        let system: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        let path = env::join_paths(dirs.chain(system))?.to_string_lossy().into_owned();
        let keys =
            [("AWS_ACCESS_KEY_ID", site.s3.access_key()), ("AWS_SECRET_ACCESS_KEY", site.s3.secret_key())];
        folder.file("nyc-s3.env", keys.map(|(name, key)| format!("{name}={key}\n")).concat())?;
        Ok((Reader { folder, cluster, path, endpoint, keys }, data))
    }

    /// Runs a command and compares what it prints. One that only looks may be told the news a little later.
    fn follow(&self, step: &Step) -> Result<()> {
        if let Some(file) = step.command.strip_prefix("cat ") {
            return self.folder.file(file, step.printed.join("\n")).map(drop);
        }
        let looks = ["kubectl get", "kubectl describe", "python3"];
        let again = looks.iter().any(|look| step.command.starts_with(look));
        let deadline = Instant::now() + if again { PATIENCE } else { Duration::ZERO };
        loop {
            let printed = run(&mut self.shell(&step.command))?;
            self.record(&step.command, &printed)?;
            let Err(error) = transcript::is_like(&step.printed, &printed) else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// For a look at what was printed: the README shows it.
    fn record(&self, command: &str, printed: &str) -> Result<()> {
        let path = self.folder.path().join("transcript");
        let mut file = File::options().create(true).append(true).open(&path)?;
        write!(file, "$ {command}\n{printed}").with_context(|| format!("writing {}", path.display()))
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        let kubernetes = self.cluster.environment();
        shell
            .args(["-c", command])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .envs(kubernetes)
            .envs(self.keys)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_REGION", "us-east-1");
        shell
    }
}

/// A Service that leads to a server of the host.
fn service(name: &str, port: u16, address: &str) -> Result<String> {
    let (host, target) = address.split_once(':').context("an address without a port")?;
    Ok(format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{ports: [{{name: main, port: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: [{host}], conditions: {{ready: true}}}}]
ports: [{{name: main, port: {target}}}]
"
    ))
}
