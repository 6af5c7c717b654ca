//! How a test talks to a cluster: by kubectl and Helm, as a person would.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::process::{run, run_with};
use crate::tls::Certificates;

/// Names the kubeconfig of a cluster to test on, in place of one that the tests start.
pub const KUBECONFIG: &str = "TIPS_TEST_KUBECONFIG";

const POLL: Duration = Duration::from_millis(200);

/// A cluster, as somebody.
#[derive(Debug, Clone)]
pub struct Cluster {
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Cluster {
    /// The cluster and user of `kubeconfig`. What clients remember of the cluster goes beside the file `cache`:
    /// another test's cluster may have the same address.
    pub(super) fn new(kubeconfig: PathBuf, cache: PathBuf) -> Self {
        Self { kubeconfig, cache }
    }

    /// The one that `TIPS_TEST_KUBECONFIG` names, if it is set; `dir` takes what clients remember.
    pub fn lent(dir: &Path) -> Option<Self> {
        let kubeconfig = env::var_os(KUBECONFIG)?;
        Some(Self::new(kubeconfig.into(), dir.join("kube-cache")))
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of this cluster, `kubectl` or `helm`.
    pub fn client(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(cache::binary(program)?);
        command.envs(self.environment());
        Ok(command)
    }

    /// The variables by which clients find this cluster.
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("KUBECONFIG", &self.kubeconfig), ("KUBECACHEDIR", &self.cache)]
    }

    /// What `kubectl` prints; fails with what it says.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(self.client("kubectl")?.args(arguments))
    }

    /// What `helm` prints; fails with what it says.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        run(self.client("helm")?.args(arguments))
    }

    /// What `kubectl` prints when it reads `input`, for example `["apply", "-f", "-"]` and a manifest.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        run_with(self.client("kubectl")?.args(arguments), input)
    }

    /// Applies a manifest, on the server's side.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], manifest)
    }

    /// Creates a Secret of these keys and values.
    pub fn create_secret(&self, name: &str, values: &BTreeMap<String, String>) -> Result<String> {
        let mut command = self.client("kubectl")?;
        command.args(["create", "secret", "generic", name]);
        run(command.args(values.iter().map(|(key, value)| format!("--from-literal={key}={value}"))))
    }

    /// Creates a Secret of type `kubernetes.io/tls` of the server's certificate and key.
    pub fn create_tls_secret(&self, name: &str, made: &Certificates) -> Result<String> {
        let mut command = self.client("kubectl")?;
        command.args(["create", "secret", "tls", name]);
        run(command.arg("--cert").arg(made.certificate()).arg("--key").arg(made.key()))
    }

    /// Asks `kubectl` until its answer is `ready`, and returns that; fails with the last answer.
    pub fn until(
        &self,
        arguments: &[&str],
        timeout: Duration,
        ready: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let answer = self.kubectl(arguments);
            if let Ok(text) = &answer
                && ready(text)
            {
                return answer;
            }
            if Instant::now() >= deadline {
                let last = answer.unwrap_or_else(|error| format!("{error:#}"));
                bail!(
                    "`kubectl {}` is not as expected after {timeout:?}; it says:\n{last}",
                    arguments.join(" ")
                );
            }
            thread::sleep(POLL);
        }
    }

    /// The same cluster, as the service account `name` with a token of its own: with its rights and no more.
    pub fn as_service_account(&self, namespace: &str, name: &str) -> Result<Self> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace])?;
        let kubeconfig = self.cache.with_file_name(format!("{namespace}-{name}.kubeconfig"));
        let whole = self.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "--output=json"])?;
        let mut config: serde_json::Value = serde_json::from_str(&whole).context("kubectl config view")?;
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        fs::write(&kubeconfig, config.to_string())
            .with_context(|| format!("writing {}", kubeconfig.display()))?;
        Ok(Self::new(kubeconfig, self.cache.clone()))
    }
}
