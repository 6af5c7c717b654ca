//! The command line of the query service.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;
use tipstream_crds::{ByteSize, Duration, QueryLimits};

/// Answers SQL over the PostgreSQL protocol: live windows from Redis, the archive from the sink, as one.
#[derive(Parser, Debug)]
#[command(version, name = "tips-query", bin_name = "tips-worker query")]
pub struct Args {
    /// Manifest: the YAML of a TipsPipeline, `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// GeoJSON of the neighbourhoods [default: the file that TIPS_NEIGHBOURHOODS names, or Manhattan, built in].
    #[arg(long, value_name = "FILE")]
    pub neighbourhoods: Option<PathBuf>,
    /// Address of the PostgreSQL protocol.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:5432")]
    pub postgres: SocketAddr,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Address of the map, for whoever reaches it: it has neither login nor encryption [default: none].
    #[arg(long, value_name = "ADDRESS")]
    pub map: Option<SocketAddr>,
    /// Folder of the users: a file for each, its name the user's, its content the password.
    #[arg(long, value_name = "FOLDER", env = "TIPS_QUERY_USERS")]
    pub users: Option<PathBuf>,
    /// Let everybody in who can reach the address.
    #[arg(long)]
    pub no_auth: bool,
    /// Certificate of the server with its chain, PEM.
    #[arg(long, value_name = "FILE", env = "TIPS_QUERY_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", env = "TIPS_QUERY_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let queries and answers travel in the clear.
    #[arg(long)]
    pub no_tls: bool,
    /// Connections at once.
    #[arg(long, value_name = "NUMBER", default_value_t = at_once(limits().connections))]
    pub max_connections: NonZeroUsize,
    /// Queries at once; others wait their turn, within their timeout.
    #[arg(long, value_name = "NUMBER", default_value_t = at_once(limits().queries))]
    pub max_queries: NonZeroUsize,
    /// How long a query may take, waiting its turn and reading its rows included.
    #[arg(long, value_name = "DURATION", default_value_t = limits().timeout)]
    pub query_timeout: Duration,
    /// Rows that an answer may have.
    #[arg(long, value_name = "NUMBER", default_value_t = limits().rows.unsigned_abs())]
    pub max_rows: u64,
    /// Memory of all queries together. Sorts, joins and aggregates beyond a query's part go to disk.
    #[arg(long, value_name = "SIZE", default_value_t = limits().memory)]
    pub memory: ByteSize,
    /// Disk for what does not fit into memory.
    #[arg(long, value_name = "SIZE", default_value_t = limits().spill)]
    pub spill: ByteSize,
    /// Folder for it [default: the system's folder for temporary files].
    #[arg(long, value_name = "FOLDER")]
    pub spill_dir: Option<PathBuf>,
    /// How long queries that run may take to end after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "25s")]
    pub drain_timeout: Duration,
}

/// What a manifest has that says nothing of limits: the flags have the same.
fn limits() -> QueryLimits {
    QueryLimits::default()
}

fn at_once(number: i32) -> NonZeroUsize {
    let number = usize::try_from(number).ok().and_then(NonZeroUsize::new);
    number.expect("the rules of the manifest admit 1 or more")
}

#[cfg(test)]
mod tests {
    use tipstream_crds::Duration;

    use super::*;

    #[test]
    fn the_flags_default_to_the_limits_of_a_manifest_and_the_document_says_so() {
        let args = Args::try_parse_from(["tips-query", "-f", "taxi.yaml"]).expect("no flag is needed");
        let QueryLimits { connections, queries, timeout, rows, memory, spill } = limits();
        assert_eq!(args.max_connections.to_string(), connections.to_string());
        assert_eq!(args.max_queries.to_string(), queries.to_string());
        assert_eq!(args.query_timeout, timeout);
        assert_eq!(args.max_rows.to_string(), rows.to_string());
        assert_eq!((args.memory, args.spill), (memory, spill));
        let document = include_str!("../../../docs/query.md");
        let default = |flag: &str| {
            let row = document.lines().find(|line| line.starts_with(&format!("| `--{flag}`")));
            row.and_then(|row| row.split('|').nth(3)).expect(flag).trim()
        };
        assert_eq!(default("max-connections"), connections.to_string());
        assert_eq!(default("max-queries"), queries.to_string());
        assert_eq!(default("query-timeout").parse::<Duration>(), Ok(timeout));
        assert_eq!(default("max-rows"), rows.to_string());
        assert_eq!(default("memory").parse::<ByteSize>(), Ok(memory));
        assert!(default("spill").starts_with(&spill.to_string()));
    }
}
