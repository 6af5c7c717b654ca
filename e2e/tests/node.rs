//! The node of the harness runs pods, and keeps them while parts of it are gone; nothing of it is left in the end.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use tips_e2e::kafka::{Kafka, KafkaOptions};
use tips_e2e::kubernetes::{Cluster, Image, KUBECONFIG, Namespace, Node, PAUSE, Pods};
use tips_e2e::redis::{Redis, RedisOptions};
use tips_e2e::s3::S3;
use tips_e2e::worker::{Bucket, Data, Pipeline, Settings, Target, watermark};
use tips_e2e::{Folder, Process, scenario, worker};

const SOON: Duration = Duration::from_secs(60);

/// Runs a test on a node of its own, where one can be started.
fn on_a_node(name: &str, test: impl FnOnce(&Folder, &mut Node) -> Result<()>) {
    scenario(name, |folder| match Node::start(folder)? {
        Some(mut node) => test(folder, &mut node),
        None => Ok(()),
    });
}

fn pod(namespace: &Namespace, name: &str, image: &str, arguments: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {}}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: main
      image: {image}
      imagePullPolicy: IfNotPresent
      args: {arguments}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {{drop: [ALL]}}
",
        namespace.name()
    )
}

fn phase(cluster: &Cluster, namespace: &Namespace, pod: &str, wanted: &str) -> Result<()> {
    let query = ["get", "pod", pod, "--namespace", namespace.name(), "--output=jsonpath={.status.phase}"];
    cluster.until(&query, SOON, |phase| phase == wanted).map(drop)
}

/// The worker, under the name that it has in its image.
fn program(folder: &Folder) -> Result<PathBuf> {
    let program = folder.path().join("tips-worker");
    fs::copy(worker::binary()?, &program).context("copying the worker")?;
    Ok(program)
}

fn worker_image(folder: &Folder, node: &Node) -> Result<String> {
    let image = Image::make(folder, "tipstream.test/tips-worker:e2e", &program(folder)?)?;
    node.load(&image)?;
    Ok(image.name().to_owned())
}

#[test]
fn a_pod_of_the_worker_runs_without_rights() {
    scenario("node-worker", |folder| {
        let Some(pods) = Pods::start(folder)? else {
            return Ok(());
        };
        let image = pods.image(folder, &program(folder)?)?;
        let cluster = pods.cluster();
        let namespace = Namespace::create(cluster, "tips-worker")?;
        cluster.apply(&pod(&namespace, "version", &image, "[--version]"))?;
        phase(cluster, &namespace, "version", "Succeeded")?;
        let said = namespace.kubectl(&["logs", "version"])?;
        ensure!(said.starts_with("tips-worker "), "{said}");
        let with_rights = pod(&namespace, "root", &image, "[]").replace("NonRoot: true", "NonRoot: false");
        let refused = cluster.apply(&with_rights).map_err(|error| error.to_string());
        ensure!(refused.as_ref().is_err_and(|error| error.contains("violates PodSecurity")), "{refused:?}");
        Ok(())
    });
}

#[test]
fn workers_in_pods_do_the_job_on_servers_of_the_host() {
    on_a_node("node-job", |folder, node| {
        let host = node.host();
        let kafka = Kafka::start_with(folder, &KafkaOptions { host, ..KafkaOptions::default() })?;
        let redis = Redis::start(folder, RedisOptions { host, ..RedisOptions::default() })?;
        let s3 = S3::start_at(folder, host)?;
        let data =
            Data::generate(folder, &["--seed", "5", "--rate", "12", "--span", "2h", "--disorder", "10m"])?;
        data.produce(&kafka, "pods")?;
        let settings = Settings {
            kafka: kafka.bootstrap(),
            redis: format!("{{urls: [\"{}\"]}}", redis.url()),
            more: Vec::new(),
        };
        let pipeline = Pipeline::new(folder, "pods", &settings, Target::S3(Bucket::of(&s3)))?;

        let image = worker_image(folder, node)?;
        let namespace = Namespace::create(node.cluster(), "tips-job")?;
        let manifest = format!("--from-file=pipeline.yaml={}", pipeline.manifest().display());
        namespace.kubectl(&["create", "configmap", "pipeline", &manifest])?;
        let variables =
            pipeline.environment().iter().map(|(name, value)| format!("{{name: {name}, value: {value}}}"));
        let variables = variables.collect::<Vec<_>>().join(", ");
        let arguments = "[stream, -f, /etc/tips/pipeline.yaml, --until-caught-up]";
        let workers = ["first", "second"];
        for name in workers {
            let pod = pod(&namespace, name, &image, arguments)
                + &format!("      env: [{variables}]\n")
                + "      volumeMounts: [{name: pipeline, mountPath: /etc/tips}]\n"
                + "  volumes: [{name: pipeline, configMap: {name: pipeline}}]\n";
            node.cluster().apply(&pod)?;
        }
        for name in workers {
            phase(node.cluster(), &namespace, name, "Succeeded").with_context(|| {
                namespace.kubectl(&["logs", name]).unwrap_or_else(|error| format!("{error:#}"))
            })?;
        }
        let closed = watermark(&mut redis.connection()?, "pods")?;
        data.oracle("pods", Some(closed)).check(&pipeline.output()?).map(drop)
    });
}

#[test]
fn a_pod_runs_on_while_the_kubelet_and_the_api_server_are_gone() {
    on_a_node("node-parts", |_, node| {
        let cluster = node.cluster().clone();
        let namespace = Namespace::create(&cluster, "tips-parts")?;
        cluster.apply(&pod(&namespace, "first", PAUSE, "[]"))?;
        phase(&cluster, &namespace, "first", "Running")?;

        node.kubelet().down()?;
        cluster.apply(&pod(&namespace, "second", PAUSE, "[]"))?;
        node.control_plane().api_server().kill9()?;
        ensure!(namespace.kubectl(&["get", "pods"]).is_err(), "the API server should be down");
        node.control_plane().api_server().up()?;
        node.await_ready()?;
        phase(&cluster, &namespace, "second", "Pending")?;
        node.kubelet().up()?;
        node.await_ready()?;
        phase(&cluster, &namespace, "second", "Running")?;

        node.containerd().down()?;
        node.containerd().up()?;
        cluster.apply(&pod(&namespace, "third", PAUSE, "[]"))?;
        phase(&cluster, &namespace, "third", "Running")?;
        let restarts = "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}";
        ensure!(namespace.kubectl(&["get", "pods", restarts])? == "0 0 0");
        namespace.kubectl(&["delete", "pods", "--all", "--timeout=60s"]).map(drop)
    });
}

#[test]
fn the_name_of_a_service_leads_to_its_address() {
    on_a_node("node-dns", |_, node| {
        let cluster = node.cluster();
        let address = |namespace: &str, service: &str| -> Result<Ipv4Addr> {
            let query = ["get", "service", service, "--namespace", namespace];
            let text = cluster.kubectl(&[&query[..], &["--output=jsonpath={.spec.clusterIP}"]].concat())?;
            text.parse().with_context(|| format!("{service} has the address {text:?}"))
        };
        let dns = address("kube-system", "kube-dns")?;
        let answer = resolve(dns, "kubernetes.default.svc.cluster.local")?;
        ensure!(answer == address("default", "kubernetes")?, "it is {answer}");
        Ok(())
    });
}

/// Asks a DNS server for the one IPv4 address of `name`.
fn resolve(server: Ipv4Addr, name: &str) -> Result<Ipv4Addr> {
    // Recursion desired, one question: type A, class IN.
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("binding a UDP socket")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.send_to(&question, (server, 53)).context("asking")?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).context("waiting for an answer")?;
    ensure!(answer[7] == 1, "{} answers in {:02x?}", answer[7], &answer[..length]);
    let [.., a, b, c, d] = answer[..length] else { bail!("an empty answer") };
    Ok(Ipv4Addr::new(a, b, c, d))
}

/// Whether the link to the node that has given us this address is there.
fn is_linked(host: Ipv4Addr) -> bool {
    UdpSocket::bind((host, 0)).is_ok()
}

#[test]
fn nothing_of_a_node_outlives_the_test_process() {
    scenario("node-orphan", |folder| {
        let file = folder.path().join("host");
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["--ignored", "--exact", "node::holds_a_node"])
            .env(HOLDER, &file)
            .env("TIPSTREAM_E2E_DIR", folder.path());
        let mut holder = Process::start("holder", command, &folder.path().join("log"))?;
        holder.until("had its node or could not", 3 * SOON, || file.exists())?;
        let Ok(host) = fs::read_to_string(&file)?.parse::<Ipv4Addr>() else {
            // It has said why.
            return Ok(());
        };
        ensure!(is_linked(host), "it should be linked");
        holder.kill9()?;
        let deadline = Instant::now() + SOON;
        while is_linked(host) {
            ensure!(Instant::now() < deadline, "the node lives on");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
}

#[test]
fn a_machine_that_cannot_have_a_node_is_told_so_loudly() {
    scenario("node-skipped", |folder| {
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-sys_admin").arg(env::current_exe()?);
        let names = ["the_name_of_a_service_leads_to_its_address", "a_pod_of_the_worker_runs_without_rights"];
        command.arg("--exact").args(names.map(|name| format!("node::{name}")));
        command.env_remove(KUBECONFIG).env("TIPSTREAM_E2E_DIR", folder.path());
        let output = command.output().context("starting setpriv")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        for (test, instead) in
            [("node-dns", "as such"), ("node-worker", "or name a cluster that lends itself")]
        {
            let line = said.lines().find(|line| line.starts_with(&format!("SKIPPED, \"{test}-")));
            ensure!(line.is_some_and(|line| line.contains(instead)), "{test}: {said}");
        }
        Ok(())
    });
}

/// Where the test process that is to be killed says what its node calls us.
const HOLDER: &str = "TIPS_E2E_NODE_HOLDER";

#[test]
#[ignore = "the victim of nothing_of_a_node_outlives_the_test_process"]
fn holds_a_node() {
    let Some(file) = env::var_os(HOLDER).map(PathBuf::from) else {
        return;
    };
    let say = |text: String| {
        let half = file.with_extension("half");
        fs::write(&half, text).unwrap();
        fs::rename(half, &file).unwrap();
    };
    let folder = Folder::new("node-held").unwrap();
    let Some(node) = Node::start(&folder).unwrap() else {
        return say(String::new());
    };
    let namespace = Namespace::create(node.cluster(), "tips-held").unwrap();
    node.cluster().apply(&pod(&namespace, "held", PAUSE, "[]")).unwrap();
    phase(node.cluster(), &namespace, "held", "Running").unwrap();
    say(node.host().to_string());
    thread::sleep(Duration::from_secs(600));
}
