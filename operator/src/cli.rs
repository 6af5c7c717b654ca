//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use tipstream_crds::Duration;

const AFTER_HELP: &str = "\
The API server is found as kubectl finds it: by KUBECONFIG, ~/.kube/config, or from within a pod.
Environment: RUST_LOG sets what is logged (default info); text on a terminal, JSON elsewhere.
Exit codes: 0 stopped by SIGTERM or SIGINT; 1 failed, or another operator leads: start it again; 2 usage.";

/// A pod has to start in a part of it.
const SHORTEST_PURGE: Duration = Duration::seconds(10);

/// Runs TipsPipelines: makes their workers, keeps them as the spec says, tells how they are doing.
#[derive(Parser, Debug)]
#[command(version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Something else than to run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What else there is to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print what the operator has to be allowed, as rules of a role: for its pipelines, and in its own namespace.
    Rbac,
    /// Print the CustomResourceDefinition of TipsPipelines.
    Crd,
    /// Say whether the API server serves TipsPipelines, the rights suffice and an operator leads; exit status 1 if not.
    Check(ScopeArgs),
}

/// Which pipelines an operator looks after, and what it leads by.
#[derive(Args, Debug)]
pub struct ScopeArgs {
    /// Only the TipsPipelines of this namespace [default: those of all].
    #[arg(long, value_name = "NAMESPACE", env = "TIPS_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the Lease by which one of several operators leads. Operators of other namespaces need another one.
    #[arg(long, value_name = "NAME", default_value = "tips-operator")]
    pub lease: String,
    /// Namespace of the Lease [default: the operator's own].
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
}

impl ScopeArgs {
    /// The namespace of the Lease, to who talks to the cluster by `client`.
    pub fn lease_namespace(&self, client: &kube::Client) -> String {
        self.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned())
    }
}

/// How to run.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Where.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Image of workers whose spec names none.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "TIPS_WORKER_IMAGE",
        default_value = concat!("ghcr.io/tipstream/tips-worker:", env!("CARGO_PKG_VERSION"))
    )]
    pub worker_image: String,
    /// How long a TipsPipeline that is deleted may wait for the removal of its state, 10s or longer. It goes then all
    /// the same, and an Event says that the state stays in Redis.
    #[arg(
        long,
        value_name = "DURATION",
        env = "TIPS_PURGE_TIMEOUT",
        default_value = "5m",
        value_parser = purge_timeout
    )]
    pub purge_timeout: Duration,
    /// Reconciles at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

fn purge_timeout(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(timeout) if timeout < SHORTEST_PURGE => {
            Err("must be 10s or longer; write for example 5m".to_owned())
        }
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(format!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_has_ten_seconds_at_least() {
        let given = |timeout| Cli::try_parse_from(["tips-operator", "--purge-timeout", timeout]);
        assert_eq!(given("10s").map(|cli| cli.run.purge_timeout.as_secs()).ok(), Some(10));
        let refused = given("9s").map(drop).map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|error| error.contains("must be 10s or longer")), "{refused:?}");
    }
}
