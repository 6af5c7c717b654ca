//! A whole node: containerd, kubelet, kube-proxy and DNS on a [`Machine`] of its own, under a [`ControlPlane`].

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::cgroups::Cgroups;
use super::control_plane::{ADMIN, Files, NODE, PROXY, Place, SCHEDULER, file};
use super::image::{Image, PAUSE};
use super::machine::Machine;
use super::network::Network;
use super::{Cluster, ControlPlane, Part};
use crate::process::run;
use crate::{Folder, cache};

const READY: Duration = Duration::from_secs(120);
const DNS_PORT: u16 = 1053;

/// A running cluster of one node.
#[derive(Debug)]
pub struct Node {
    // They end in this order: clients before the servers that they would miss.
    _dns: Part,
    proxy: Part,
    kubelet: Part,
    _scheduler: Part,
    control_plane: ControlPlane,
    containerd: Part,
    machine: Machine,
    _cgroups: Cgroups,
    network: Network,
}

impl Node {
    /// Starts a node and waits until it takes pods. On a machine that cannot, it says so and returns nothing.
    pub fn start(folder: &Folder) -> Result<Option<Self>> {
        Self::start_or_say(folder, "")
    }

    /// The same, and what there is to do `instead` is said, too.
    pub(super) fn start_or_say(folder: &Folder, instead: &str) -> Result<Option<Self>> {
        if Machine::is_possible()? {
            return Self::start_here(folder).map(Some);
        }
        // Not by a macro: the test runner would keep that to itself.
        writeln!(
            io::stderr(),
            "SKIPPED, {:?}: only root who may make namespaces can start a node. Run the tests as such{instead}",
            folder.path().file_name().unwrap_or_default()
        )
        .context("writing to stderr")?;
        Ok(None)
    }

    fn start_here(folder: &Folder) -> Result<Self> {
        let dir = folder.dir("node")?;
        let network = Network::reserve()?;
        let cgroups = Cgroups::create(&network.name())?;
        let machine = Machine::start(&dir)?;
        machine.connect(&network)?;
        let mut containerd = Part::start("containerd", containerd(&machine, &dir, &network)?, &dir)?;
        let place =
            Place { address: network.host(), service: network.api_server(), node: Some(network.node()) };
        let control_plane = ControlPlane::start_at(folder, &place)?;
        containerd.process().until("answered", READY, || ctr(&machine, &["version"]).is_ok())?;
        Image::pause(folder)?.load(&machine)?;
        let files = control_plane.files();
        control_plane.cluster().apply(&dns_service(&network))?;
        let mut started = Self {
            _dns: Part::start("coredns", dns(&machine, &dir, files)?, &dir)?,
            proxy: Part::start("kube-proxy", proxy(&machine, &network, files)?, &dir)?,
            kubelet: Part::start("kubelet", kubelet(&machine, &dir, &network, files)?, &dir)?,
            _scheduler: Part::start("kube-scheduler", scheduler(files)?, &dir)?,
            control_plane,
            containerd,
            machine,
            _cgroups: cgroups,
            network,
        };
        started.await_ready()?;
        Ok(started)
    }

    /// The cluster, as its administrator.
    pub fn cluster(&self) -> &Cluster {
        self.control_plane.cluster()
    }

    /// The API server and what is beside it.
    pub fn control_plane(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// The kubelet: while it is down the pods run on, unwatched.
    pub fn kubelet(&mut self) -> &mut Part {
        &mut self.kubelet
    }

    /// containerd: while it is down the pods run on, and none starts or ends.
    pub fn containerd(&mut self) -> &mut Part {
        &mut self.containerd
    }

    /// An address of ours that pods reach, for the servers of a test.
    pub fn host(&self) -> Ipv4Addr {
        self.network.host()
    }

    /// Makes an image known to the node; pods are to have `imagePullPolicy: IfNotPresent` or `Never`.
    pub fn load(&self, image: &Image) -> Result<()> {
        image.load(&self.machine)
    }

    /// Ends the container of a pod at once, which the kubelet then starts again.
    pub fn kill_container(&self, pod: &str) -> Result<()> {
        let id = "--output=jsonpath={.status.containerStatuses[0].containerID}";
        let id = self.cluster().kubectl(&["get", "pod", pod, id])?;
        let id = id.strip_prefix("containerd://").with_context(|| format!("{pod} has no container: {id}"))?;
        ctr(&self.machine, &["tasks", "kill", "--signal=SIGKILL", id]).map(drop)
    }

    /// Waits until the node is ready and its Services and DNS answer.
    pub fn await_ready(&mut self) -> Result<()> {
        self.control_plane.await_ready()?;
        let cluster = self.control_plane.cluster();
        let ready = || {
            let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
            cluster.kubectl(&["get", "node", "node1", "-o", condition]).is_ok_and(|status| status == "True")
        };
        self.kubelet.process().until("was ready", READY, ready)?;
        let dns = (self.network.dns(), 53).into();
        let answers = || TcpStream::connect_timeout(&dns, Duration::from_secs(1)).is_ok();
        self.proxy.process().until("led to the DNS server", READY, answers)
    }
}

/// containerd's client, on the machine.
pub(super) fn ctr(machine: &Machine, arguments: &[&str]) -> Result<String> {
    run(machine.command(cache::program("ctr")?)?.args(["--namespace", "k8s.io"]).args(arguments))
}

fn containerd(machine: &Machine, dir: &Path, network: &Network) -> Result<Command> {
    let net = dir.join("net.d");
    fs::create_dir_all(&net).with_context(|| format!("creating {}", net.display()))?;
    let bridge = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{
        "type": "bridge",
        "bridge": "pods",
        "isGateway": true,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": network.pods()}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }]});
    write(&net.join("pods.conflist"), &bridge.to_string())?;
    let config = dir.join("containerd.toml");
    write(
        &config,
        &format!(
            r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Who may not lower it, as in a container, can still start pods.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{}"
conf_dir = "{}"
"#,
            cni_plugins()?.display(),
            net.display()
        ),
    )?;
    let mut command = machine.command(cache::program("containerd")?)?;
    command.arg("--config").arg(config);
    Ok(command)
}

fn cni_plugins() -> Result<PathBuf> {
    // Debian's folder, and that of the project itself.
    let known = ["/usr/lib/cni", "/opt/cni/bin"].map(PathBuf::from);
    let found = known.into_iter().find(|dir| dir.join("bridge").exists());
    found.context("no CNI plugins in /usr/lib/cni or /opt/cni/bin: run `make setup` as root")
}

fn kubelet(machine: &Machine, dir: &Path, network: &Network, files: &Files) -> Result<Command> {
    let config = dir.join("kubelet.json");
    let contents = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": files.pki.ca()}},
        "tlsCertFile": files.pki.certificate(),
        "tlsPrivateKeyFile": files.pki.key(),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", network.name()),
        "clusterDNS": [network.dns()],
        "clusterDomain": "cluster.local",
        // Pods that want the host's resolver get none: there is nothing to ask outside.
        "resolvConf": "",
        "failSwapOn": false,
        "oomScoreAdj": 0,
        // The disk is the developer's, and full when it is full.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    });
    write(&config, &contents.to_string())?;
    let mut command = machine.command(cache::binary("kubelet")?)?;
    command
        .arg(file("--config", &config))
        .arg(file("--kubeconfig", &files.kubeconfig(NODE)?))
        .arg("--hostname-override=node1")
        .arg(format!("--node-ip={}", network.node()));
    Ok(command)
}

fn proxy(machine: &Machine, network: &Network, files: &Files) -> Result<Command> {
    let mut command = machine.command(cache::binary("kube-proxy")?)?;
    command
        .arg(file("--kubeconfig", &files.kubeconfig(PROXY)?))
        .args(["--proxy-mode=nftables", "--hostname-override=node1", "--conntrack-max-per-core=0"])
        .arg(format!("--cluster-cidr={}", network.pods()));
    Ok(command)
}

fn scheduler(files: &Files) -> Result<Command> {
    let mut command = Command::new(cache::binary("kube-scheduler")?);
    command
        .arg(file("--kubeconfig", &files.kubeconfig(SCHEDULER)?))
        .args(["--leader-elect=false", "--secure-port=0"]);
    Ok(command)
}

fn dns(machine: &Machine, dir: &Path, files: &Files) -> Result<Command> {
    let corefile = dir.join("Corefile");
    let kubeconfig = files.kubeconfig(ADMIN)?;
    let zones = format!("kubernetes cluster.local in-addr.arpa {{\n kubeconfig {}\n}}", kubeconfig.display());
    write(&corefile, &format!(".:{DNS_PORT} {{\nerrors\n{zones}\n}}\n"))?;
    let mut command = machine.command(cache::binary("coredns")?)?;
    command.arg("-conf").arg(corefile);
    Ok(command)
}

/// DNS runs on the node itself, so its Service has no pods to select, and its endpoint is written here.
fn dns_service(network: &Network) -> String {
    let (service, node) = (network.dns(), network.node());
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {service}
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {{kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{{addresses: [{node}], conditions: {{ready: true}}}}]
ports: [{{name: dns, port: {DNS_PORT}, protocol: UDP}}, {{name: dns-tcp, port: {DNS_PORT}, protocol: TCP}}]
"
    )
}

fn write(path: &Path, contents: &str) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("writing {}", path.display()))
}
