//! Servers that ask who comes, by TLS, and a name service of HDFS: what the pods need for them is in Secrets and a
//! ConfigMap, as the manifest's reference says. A password that changes there comes to the pods, and one that is wrong
//! is told in words, while the worker that has another runs on.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tips_e2e::hdfs::Hdfs;
use tips_e2e::kafka::{Kafka, KafkaOptions, Secure};
use tips_e2e::kubernetes::{Cluster, Node};
use tips_e2e::operator::{self, Operator};
use tips_e2e::redis::{Redis, RedisOptions, User};
use tips_e2e::sender::Paced;
use tips_e2e::site::{self, PATIENCE, await_none, workers};
use tips_e2e::tls::Certificates;
use tips_e2e::worker::{Data, MIXED, Pipeline, Settings, Target, watermark};
use tips_e2e::{Folder, query, scenario};

use crate::cluster::sql::QueryPod;

const DATA: [&str; 6] = ["--seed", "62", "--rate", "4", "--span", "3h"];
/// Records a second of wall time: there is more to be sent until the passwords have changed.
const PACE: usize = 1000;
const BY_PASSWORD: &str = "tls: {caSecretRef: {name: kafka-ca, key: ca.crt}}, \
                           sasl: {mechanism: SCRAM-SHA-512, secretRef: {name: kafka}}";
const BY_CERTIFICATE: &str = "tls: {caSecretRef: {name: kafka-ca, key: ca.crt}, \
                              clientCertificate: {secretRef: {name: kafka-tls}}}";
const REDIS: &str = "auth: {secretRef: {name: redis}}, tls: {caSecretRef: {name: redis-ca, key: ca.crt}, \
                     clientCertificate: {secretRef: {name: redis-tls}}}";
const NEXT_PASSWORD: &str = "worker-secret-of-tomorrow";

#[test]
fn pods_reach_servers_that_ask_who_comes_and_follow_their_passwords() {
    scenario("cluster-secured", |folder| {
        let Some(secured) = Secured::start(folder)? else {
            return Ok(());
        };
        let cluster = secured.node.cluster();
        let rights = operator::install(cluster)?;
        let _operator = Operator::start(folder, &rights, "operator")?;
        let pipeline = secured.pipeline(folder)?;
        secured.create_references()?;
        let data = Data::generate(folder, &[&DATA[..], &MIXED].concat())?;
        let topics = data.topics(&secured.kafka, "nyc")?;
        apply(cluster, &pipeline)?;
        let sender = Paced::start(secured.kafka.client(), topics, PACE);
        await_ready(cluster)?;

        // Redis has the next password later than the Secret.
        a_wrong_password_is_told(cluster, "redis", NEXT_PASSWORD, "Redis refuses access")?;
        let user = User::of_pipeline("nyc").name;
        let rules = ["resetpass", &format!(">{NEXT_PASSWORD}")];
        redis::cmd("ACL").arg("SETUSER").arg(user).arg(&rules).exec(&mut secured.redis.connection()?)?;
        await_ready(cluster)?;
        a_wrong_password_is_told(cluster, "kafka", "wrong", "Authentication failed")?;
        set_password(cluster, "kafka", secured.broker()?.password())?;
        await_ready(cluster)?;
        operator::await_degraded(cluster, "AsExpected", PATIENCE)?;
        // In place of a password a certificate.
        pipeline.change(BY_PASSWORD, BY_CERTIFICATE)?;
        pipeline.change(&secured.broker()?.bootstrap(), &secured.broker()?.mutual_bootstrap())?;
        apply(cluster, &pipeline)?;
        await_ready(cluster)?;

        ensure!(!sender.is_finished(), "all is sent before the credentials have changed");
        sender.finish()?;
        operator::await_consumed(cluster, data.records()?, PATIENCE)?;
        let pod = QueryPod::ready(cluster, "sslmode=disable")?;
        let status = pod.psql("SELECT state_error, sink_error FROM pipeline_status")?;
        ensure!(status == "|", "{status}");
        operator::suspend(cluster, true)?;
        await_none(cluster)?;
        let mut redis = secured.redis.connection()?;
        let closed = watermark(&mut redis, "nyc")?;
        data.oracle("nyc", Some(closed)).check(&pipeline.output()?)?;
        pipeline.verify()?;

        cluster.kubectl(&["delete", "tips", "nyc", "--timeout=120s"])?;
        let left: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis)?;
        ensure!(left.is_empty(), "the state is still there: {left:?}");
        Ok(())
    });
}

/// The pod that has it ends, and the condition says why. The worker that has the password of before runs on.
fn a_wrong_password_is_told(cluster: &Cluster, secret: &str, password: &str, words: &str) -> Result<()> {
    let before = workers(cluster)?;
    set_password(cluster, secret, password)?;
    let query = "--output=jsonpath={.status.conditions[?(@.type=='Degraded')]['reason','message']}";
    let told = |text: &str| text.starts_with("WorkerFailing") && text.contains(words);
    cluster.until(&["get", "tips", "nyc", query], PATIENCE, told)?;
    let now = workers(cluster)?;
    ensure!(before.iter().all(|name| now.contains(name)), "of {before:?} are left {now:?}");
    Ok(())
}

fn apply(cluster: &Cluster, pipeline: &Pipeline<'_>) -> Result<()> {
    cluster.apply(&fs::read_to_string(pipeline.manifest()).context("reading the manifest")?).map(drop)
}

/// All of its pods, and those of the present spec.
fn await_ready(cluster: &Cluster) -> Result<()> {
    let waited = cluster.kubectl(&["wait", "tips/nyc", "--for=condition=Ready", "--timeout=120s"]);
    let told =
        || cluster.kubectl(&["get", "tips", "nyc", "--output=jsonpath={.status.conditions[*].message}"]);
    waited.map(drop).with_context(|| told().unwrap_or_default())
}

fn set_password(cluster: &Cluster, secret: &str, password: &str) -> Result<()> {
    let patch = format!(r#"{{"stringData": {{"password": "{password}"}}}}"#);
    cluster.kubectl(&["patch", "secret", secret, "--patch", &patch]).map(drop)
}

/// A node, and servers that ask who comes.
struct Secured {
    kafka: Kafka,
    redis: Redis,
    hdfs: Hdfs,
    /// What clients of HDFS know of it.
    hadoop: PathBuf,
    node: Node,
}

impl Secured {
    fn start(folder: &Folder) -> Result<Option<Self>> {
        let Some(node) = site::node(folder, &[&query::binary()?])? else {
            return Ok(None);
        };
        let host = node.host();
        let kafka = KafkaOptions { host, secure: true, ..KafkaOptions::default() };
        let user = User::of_pipeline("nyc");
        let redis = RedisOptions {
            host,
            password: Some("admin-secret".to_owned()),
            // For the removal of the state, too.
            user: Some(User { rules: format!("{} +scan +unlink", user.rules), ..user }),
            certificates: Some(Certificates::create_at(folder, "redis-tls", host)?),
            config: vec!["tls-auth-clients yes".to_owned()],
            ..RedisOptions::default()
        };
        let hdfs = Hdfs::start_at(folder, host)?;
        let hadoop = folder.dir("hadoop")?;
        hdfs.write_site(&hadoop, "lake")?;
        Ok(Some(Self {
            kafka: Kafka::start_with(folder, &kafka)?,
            redis: Redis::start(folder, redis)?,
            hdfs,
            hadoop,
            node,
        }))
    }

    fn broker(&self) -> Result<&Secure> {
        self.kafka.secure().context("a secure listener")
    }

    fn certificates(&self) -> Result<&Certificates> {
        self.redis.certificates().context("a Redis with TLS")
    }

    /// A pipeline whose manifest refers to what [`Secured::create_references`] creates; commands of ours are told by
    /// variables, as it is at the end.
    fn pipeline<'a>(&self, folder: &'a Folder) -> Result<Pipeline<'a>> {
        let url = self.redis.url();
        let (_, server) = url.rsplit_once('@').context("a URL with a login")?;
        let settings = Settings {
            kafka: self.broker()?.bootstrap(),
            redis: format!("{{urls: [\"rediss://{server}\"], {REDIS}}}"),
            more: [
                "deletionPolicy: Delete",
                "raw: {flushInterval: 3s}",
                "job: {idleTimeout: 1h}",
                "query: {enabled: true, insecure: true}",
            ]
            .map(str::to_owned)
            .into(),
        };
        let files = self.hdfs.files();
        let name_node = format!("nameNode: \"{}\"", files.uri());
        let mut pipeline = Pipeline::new(folder, "nyc", &settings, Target::Hdfs(files))?;
        pipeline.change("ridesTopic", &format!("{BY_PASSWORD}, ridesTopic"))?;
        pipeline.change(&name_node, "nameNode: \"hdfs://lake\", configMapRef: {name: hadoop}")?;
        let (broker, made) = (self.broker()?.certificates(), self.certificates()?);
        pipeline.set("TIPS_REDIS_USERNAME", &User::of_pipeline("nyc").name);
        pipeline.set("TIPS_REDIS_PASSWORD", NEXT_PASSWORD);
        for (name, path) in [
            ("TIPS_KAFKA_CA", broker.ca()),
            ("TIPS_KAFKA_CLIENT_CERT", broker.certificate()),
            ("TIPS_KAFKA_CLIENT_KEY", broker.key()),
            ("TIPS_REDIS_CA", made.ca()),
            ("TIPS_REDIS_CLIENT_CERT", made.certificate()),
            ("TIPS_REDIS_CLIENT_KEY", made.key()),
            ("HADOOP_CONF_DIR", self.hadoop.clone()),
        ] {
            pipeline.set(name, &path.display().to_string());
        }
        Ok(pipeline)
    }

    fn create_references(&self) -> Result<()> {
        let cluster = self.node.cluster();
        let (broker, made, user) = (self.broker()?, self.certificates()?, User::of_pipeline("nyc"));
        let login = |secret: &str, username: &str, password: &str| {
            let pairs = [("username", username), ("password", password)];
            let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
            cluster.create_secret(secret, &pairs.into())
        };
        login("kafka", broker.username(), broker.password())?;
        login("redis", &user.name, &user.password)?;
        for (server, made) in [("kafka", broker.certificates()), ("redis", made)] {
            let from = format!("--from-file=ca.crt={}", made.ca().display());
            cluster.kubectl(&["create", "secret", "generic", &format!("{server}-ca"), &from])?;
            cluster.create_tls_secret(&format!("{server}-tls"), made)?;
        }
        let from = format!("--from-file={}", self.hadoop.display());
        cluster.kubectl(&["create", "configmap", "hadoop", &from]).map(drop)
    }
}
