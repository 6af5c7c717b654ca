//! etcd, the API server and the controllers.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::asked::{self, Asked};
use super::{Cluster, Part};
use crate::ports::Port;
use crate::tls::Certificates;
use crate::{Folder, cache};

const READY: Duration = Duration::from_secs(120);
const TOKENS: &str = "tokens.csv";

/// Where a control plane listens, and what it tells pods.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The address of the API server: loopback, unless pods are to reach it.
    pub(super) address: Ipv4Addr,
    /// The first address of the Services, which is that of the API server to pods.
    pub(super) service: Ipv4Addr,
    /// The node's address, where there is one: the node's kubelet has the same certificate.
    pub(super) node: Option<Ipv4Addr>,
}

/// A running control plane, with no node. What needs no pods is tested on it: Deployments get their Pods, which stay
/// Pending.
#[derive(Debug)]
pub struct ControlPlane {
    // They end in this order.
    controllers: Part,
    api_server: Part,
    etcd: Part,
    cluster: Cluster,
    files: Files,
    _ports: [Port; 3],
}

impl ControlPlane {
    /// Starts one on loopback and waits until it answers.
    pub fn start(folder: &Folder) -> Result<Self> {
        let loopback =
            Place { address: Ipv4Addr::LOCALHOST, service: Ipv4Addr::new(10, 96, 0, 1), node: None };
        Self::start_at(folder, &loopback)
    }

    pub(super) fn start_at(folder: &Folder, place: &Place) -> Result<Self> {
        let [client, peer, api] = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let files = Files::create(folder, place, api.number())?;
        let etcd = Part::start("etcd", etcd(&files.dir, &client, &peer)?, &files.dir)?;
        let command = api_server(&files, place, &client.address(), api.number())?;
        let mut api_server = Part::start("kube-apiserver", command, &files.dir)?;
        let cluster = files.cluster(ADMIN)?;
        // The controllers wait ten seconds for it, and then end.
        await_answers(&mut api_server, &cluster)?;
        let controllers = Part::start("kube-controller-manager", controllers(&files)?, &files.dir)?;
        let mut started = Self { controllers, api_server, etcd, cluster, files, _ports: [client, peer, api] };
        started.await_ready()?;
        Ok(started)
    }

    /// The cluster, as its administrator.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// etcd: while it is down the API server answers nothing.
    pub fn etcd(&mut self) -> &mut Part {
        &mut self.etcd
    }

    /// The API server.
    pub fn api_server(&mut self) -> &mut Part {
        &mut self.api_server
    }

    /// The controllers: while they are down Deployments get no Pods and namespaces do not go.
    pub fn controllers(&mut self) -> &mut Part {
        &mut self.controllers
    }

    /// What the service account `name` has used of its rights so far.
    pub fn asked_by(&self, namespace: &str, name: &str) -> Result<BTreeSet<Asked>> {
        asked::by(&self.files.dir, namespace, name)
    }

    /// Waits until the API server is ready and the controllers work.
    pub fn await_ready(&mut self) -> Result<()> {
        await_answers(&mut self.api_server, &self.cluster)?;
        // Without it no pod is admitted; a controller makes it.
        let cluster = self.cluster.clone();
        let works = || cluster.kubectl(&["get", "serviceaccount", "default"]).is_ok();
        self.controllers.process().until("made the first service account", READY, works)
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }
}

fn await_answers(api_server: &mut Part, cluster: &Cluster) -> Result<()> {
    let ready = || cluster.kubectl(&["get", "--raw", "/readyz"]).is_ok();
    api_server.process().until("was ready", READY, ready)
}

/// The users of the cluster, each with the groups that make it what it is.
const USERS: [(&str, &str, &str); 5] = [
    (ADMIN, "admin", "system:masters"),
    (CONTROLLERS, "system:kube-controller-manager", ""),
    (SCHEDULER, "system:kube-scheduler", ""),
    (NODE, "system:node:node1", "system:nodes"),
    (PROXY, "system:kube-proxy", ""),
];
pub(super) const ADMIN: &str = "admin";
const CONTROLLERS: &str = "controllers";
pub(super) const SCHEDULER: &str = "scheduler";
pub(super) const NODE: &str = "node";
pub(super) const PROXY: &str = "proxy";

/// The certificate, the users and their kubeconfigs.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) dir: PathBuf,
    pub(super) pki: Certificates,
    server: String,
}

impl Files {
    fn create(folder: &Folder, place: &Place, port: u16) -> Result<Self> {
        let dir = folder.dir("kubernetes")?;
        let mut names = format!(
            "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
             DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:{},IP:{}",
            place.address, place.service
        );
        if let Some(node) = place.node {
            names.push_str(&format!(",DNS:node1,IP:{node}"));
        }
        // One certificate serves all: as the API server's, as the kubelet's, and as the former's to the latter, which
        // is what the group is for.
        let pki =
            Certificates::issue(folder, "kubernetes/pki", "/O=system:masters/CN=kube-apiserver", &names)?;
        let line =
            |(user, name, group): &(&str, &str, &str)| format!("{},{name},{user},{group}\n", token(user));
        let tokens: String = USERS.iter().map(line).collect();
        fs::write(dir.join(TOKENS), tokens).context("writing the users")?;
        Ok(Self { dir, pki, server: format!("https://{}:{port}", place.address) })
    }

    /// The kubeconfig of one of [`USERS`].
    pub(super) fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{user}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {
                "server": self.server,
                "certificate-authority": self.pki.ca(),
            }}],
            "users": [{"name": user, "user": {"token": token(user)}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
            "current-context": "e2e",
        });
        fs::write(&path, config.to_string()).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn cluster(&self, user: &str) -> Result<Cluster> {
        Ok(Cluster::new(self.kubeconfig(user)?, self.dir.join("cache")))
    }
}

fn token(user: &str) -> String {
    format!("e2e-{user}")
}

fn etcd(dir: &Path, client: &Port, peer: &Port) -> Result<Command> {
    let (client, peer) = (format!("http://{}", client.address()), format!("http://{}", peer.address()));
    let mut command = Command::new(cache::binary("etcd")?);
    command
        .arg(file("--data-dir", &dir.join("etcd")))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // The machine does not lose power; only processes die here.
        .arg("--unsafe-no-fsync");
    Ok(command)
}

fn api_server(files: &Files, place: &Place, etcd: &str, port: u16) -> Result<Command> {
    let Files { dir, pki, .. } = files;
    let services = Ipv4Addr::from_bits(place.service.to_bits() & !0xff);
    let mut command = Command::new(cache::binary("kube-apiserver")?);
    command
        .arg(format!("--etcd-servers=http://{etcd}"))
        .arg(format!("--bind-address={}", place.address))
        .arg(format!("--advertise-address={}", place.address))
        .arg(format!("--secure-port={port}"))
        .arg(format!("--service-cluster-ip-range={services}/24"))
        .arg(file("--token-auth-file", &dir.join(TOKENS)))
        .arg(file("--client-ca-file", &pki.ca()))
        .arg(file("--tls-cert-file", &pki.certificate()))
        .arg(file("--tls-private-key-file", &pki.key()))
        .arg(file("--kubelet-certificate-authority", &pki.ca()))
        .arg(file("--kubelet-client-certificate", &pki.certificate()))
        .arg(file("--kubelet-client-key", &pki.key()))
        .arg("--kubelet-preferred-address-types=InternalIP")
        .arg(file("--service-account-key-file", &pki.certificate()))
        .arg(file("--service-account-signing-key-file", &pki.key()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]);
    command.args(asked::flags(dir)?);
    if place.node.is_none() {
        // A loopback address cannot be an endpoint, and without a node nobody is there to use it.
        command.arg("--endpoint-reconciler-type=none");
    }
    Ok(command)
}

fn controllers(files: &Files) -> Result<Command> {
    let mut command = Command::new(cache::binary("kube-controller-manager")?);
    command
        .arg(file("--kubeconfig", &files.kubeconfig(CONTROLLERS)?))
        .arg(file("--root-ca-file", &files.pki.ca()))
        .arg(file("--service-account-private-key-file", &files.pki.key()))
        .args(["--use-service-account-credentials", "--leader-elect=false", "--secure-port=0"])
        // Autoscalers look every 15 s else.
        .arg("--horizontal-pod-autoscaler-sync-period=2s");
    Ok(command)
}

/// `<flag>=<path>`.
pub(super) fn file(flag: &str, path: &Path) -> String {
    format!("{flag}={}", path.display())
}
