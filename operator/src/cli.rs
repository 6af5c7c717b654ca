//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

const AFTER_HELP: &str = "\
The API server is found as kubectl finds it: by KUBECONFIG, ~/.kube/config, or from within a pod.
Environment: RUST_LOG sets what is logged (default info); text on a terminal, JSON elsewhere.
Exit codes: 0 stopped by SIGTERM or SIGINT; 1 failed, or another operator leads: start it again; 2 usage.";

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
}

/// How to run.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Only the TipsPipelines of this namespace [default: those of all].
    #[arg(long, value_name = "NAMESPACE", env = "TIPS_NAMESPACE")]
    pub namespace: Option<String>,
    /// Image of workers whose spec names none.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "TIPS_WORKER_IMAGE",
        default_value = concat!("ghcr.io/tipstream/tips-worker:", env!("CARGO_PKG_VERSION"))
    )]
    pub worker_image: String,
    /// Name of the Lease by which one of several operators leads. Operators of other namespaces need another one.
    #[arg(long, value_name = "NAME", default_value = "tips-operator")]
    pub lease: String,
    /// Namespace of the Lease [default: the operator's own].
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Reconciles at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}
