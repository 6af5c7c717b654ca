//! A namespace for a test, removed with all that is in it.

use anyhow::Result;

use super::Cluster;

/// A namespace that takes only pods of the level `restricted`.
#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    /// Makes one whose name starts with `prefix`; on a lent cluster another run may be under way.
    pub fn create(cluster: &Cluster, prefix: &str) -> Result<Self> {
        let name = format!("{prefix}-{}", std::process::id());
        cluster.apply(&format!(
            "apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  labels: {{pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}}
"
        ))?;
        Ok(Self { cluster: cluster.clone(), name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `kubectl` prints about this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", &self.name], arguments].concat())
    }
}

impl Drop for Namespace {
    #[expect(clippy::print_stderr, reason = "a drop has nobody else to tell")]
    fn drop(&mut self) {
        if let Err(error) = self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]) {
            eprintln!("{error:#}");
        }
    }
}
