//! The connection: one server, a Sentinel's master, or a Cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    Pipeline, RedisError, RedisFuture, ServerErrorKind, TlsCertificates, TlsMode, Value,
};
use tokio::sync::Mutex;

use crate::state::StateError;

/// Longer than a script of a full batch takes on a busy server.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Standalone, Sentinel or Cluster.
    pub mode: RedisMode,
    /// `redis://host:port`, or `rediss://` for TLS: the server; any of the sentinels; any of the nodes.
    pub urls: Vec<String>,
    /// Of the servers.
    pub login: Login,
    /// PEM of the CA that signed the servers' certificates; `None`: the public ones.
    pub ca: Option<Vec<u8>>,
    /// What is shown to servers that want to see a certificate.
    pub client: Option<ClientPem>,
}

/// Who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// ACL user; `None`: the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// A certificate and its private key, in PEM.
#[derive(Clone)]
pub struct ClientPem {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientPem")
    }
}

/// The shape of a Redis installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// A master that sentinels watch.
    Sentinel {
        /// Its name, as they know it.
        master: String,
        /// Of the sentinels.
        login: Login,
    },
    /// A Redis Cluster.
    Cluster,
}

/// A connection that comes back by itself; clones share it.
#[derive(Clone)]
pub(super) enum Link {
    Server(Arc<Server>),
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) async fn connect(config: &RedisConfig) -> Result<Self, StateError> {
        let nodes = nodes(config)?;
        let link = match &config.mode {
            RedisMode::Standalone => standalone(config, nodes).await,
            RedisMode::Sentinel { master, login } => sentinel(config, nodes, master, login).await,
            RedisMode::Cluster => cluster(config, nodes).await,
        };
        link.map_err(|failed| error(&servers(config), failed))
    }

    /// What each server says to `INFO memory`, which is allowed where `CONFIG` is not.
    pub(super) async fn memory(&self, servers: &str) -> Result<Vec<String>, StateError> {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let reply = match self.clone() {
            Link::Cluster(mut cluster) => {
                let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                cluster.route_command(info, everywhere).await
            }
            mut link => link.req_packed_command(&info).await,
        };
        reply
            .and_then(Value::extract_error)
            .map(|reply| texts(&reply))
            .map_err(|failed| error(servers, failed))
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::Map(all) => all.iter().flat_map(|(_, value)| texts(value)).collect(),
        _ => Vec::new(),
    }
}

fn nodes(config: &RedisConfig) -> Result<Vec<ConnectionInfo>, StateError> {
    if config.urls.is_empty() {
        return Err(StateError::Config("urls is empty; write for example redis://redis:6379".into()));
    }
    let read = |url: &String| {
        let mut info = url.as_str().into_connection_info()?;
        let mut login = info.redis_settings().clone();
        if let Some(username) = &config.login.username {
            login = login.set_username(username);
        }
        if let Some(password) = &config.login.password {
            login = login.set_password(password);
        }
        info = info.set_redis_settings(login);
        Ok(info)
    };
    config
        .urls
        .iter()
        .map(|url| {
            read(url).map_err(|e: RedisError| StateError::Config(format!("{}: {e}", without_login(url))))
        })
        .collect()
}

/// Where the servers are, for people.
pub(super) fn servers(config: &RedisConfig) -> String {
    let urls: Vec<String> = config.urls.iter().map(|url| without_login(url)).collect();
    match &config.mode {
        RedisMode::Standalone | RedisMode::Cluster => urls.join(", "),
        RedisMode::Sentinel { master, .. } => format!("{master} of {}", urls.join(", ")),
    }
}

/// A password has no place in a URL, and still less in a log.
fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
    format!("{scheme}://{server}")
}

fn certificates(config: &RedisConfig) -> TlsCertificates {
    let client_tls = config
        .client
        .clone()
        .map(|ClientPem { certificate, key }| ClientTlsConfig { client_cert: certificate, client_key: key });
    TlsCertificates { client_tls, root_cert: config.ca.clone() }
}

fn uses_tls(config: &RedisConfig) -> bool {
    config.urls.iter().any(|url| url.starts_with("rediss://"))
}

async fn standalone(config: &RedisConfig, mut nodes: Vec<ConnectionInfo>) -> Result<Link, RedisError> {
    let node = nodes.swap_remove(0);
    let client = if uses_tls(config) {
        Client::build_with_tls(node, certificates(config))
    } else {
        Client::open(node)
    }?;
    Server::link(Found::ByUrl(Box::new(client))).await
}

async fn cluster(config: &RedisConfig, nodes: Vec<ConnectionInfo>) -> Result<Link, RedisError> {
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(RESPONSE_TIMEOUT)
        .retries(3);
    if uses_tls(config) {
        builder = builder.tls(TlsMode::Secure).certs(certificates(config));
    }
    Ok(Link::Cluster(builder.build()?.get_async_connection().await?))
}

async fn sentinel(
    config: &RedisConfig,
    nodes: Vec<ConnectionInfo>,
    name: &str,
    login: &Login,
) -> Result<Link, RedisError> {
    let sentinels = nodes.iter().map(|node| node.addr().clone());
    let mut builder = SentinelClientBuilder::new(sentinels, name, SentinelServerType::Master)?;
    // All URLs name the same one.
    if let Some(node) = nodes.first() {
        builder = builder.set_client_to_redis_db(node.redis_settings().db());
    }
    if let Some(username) = &config.login.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &config.login.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(username) = &login.username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &login.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if uses_tls(config) {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates(config))
            .set_client_to_sentinel_certificates(certificates(config));
    }
    Server::link(Found::BySentinels(Box::new(builder.build()?))).await
}

/// How the server that takes writes is found.
enum Found {
    /// It is where the URL leads, though that may be another server after a while: a Service, or the endpoint of a
    /// managed primary.
    ByUrl(Box<Client>),
    /// It is the master that the sentinels name.
    BySentinels(Box<SentinelClient>),
}

/// The connection to the server that takes writes, which is looked for again after an error.
pub(super) struct Server {
    found: Mutex<Found>,
    current: Mutex<Option<MultiplexedConnection>>,
}

impl Server {
    async fn link(found: Found) -> Result<Link, RedisError> {
        let server = Server { found: Mutex::new(found), current: Mutex::new(None) };
        server.connection().await?;
        Ok(Link::Server(Arc::new(server)))
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = match &mut *self.found.lock().await {
            Found::ByUrl(client) => client.get_multiplexed_async_connection_with_config(&settings).await?,
            Found::BySentinels(client) => client.get_async_connection_with_config(&settings).await?,
        };
        Ok(current.insert(connection).clone())
    }

    /// After a failover the old master refuses writes or is gone: forget it. What a server refuses comes as a
    /// value, not as an error.
    async fn forget_on(&self, result: Result<Value, RedisError>) -> Result<Value, RedisError> {
        let result = result.and_then(Value::extract_error);
        if result.as_ref().is_err_and(is_lost) {
            *self.current.lock().await = None;
        }
        result
    }
}

fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Link::Cluster(link) => link.req_packed_command(cmd),
            Link::Server(server) => Box::pin(async move {
                let result = server.connection().await?.req_packed_command(cmd).await;
                server.forget_on(result).await
            }),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipe: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Link::Cluster(link) => link.req_packed_commands(pipe, offset, count),
            Link::Server(server) => Box::pin(async move {
                let result = server.connection().await?.req_packed_commands(pipe, offset, count).await;
                match server.forget_on(result.map(Value::Array)).await? {
                    Value::Array(values) => Ok(values),
                    other => Ok(vec![other]),
                }
            }),
        }
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// What an error of the client library means here. An unknown one is worth another try: it may be the server's
/// state, and it is logged each time.
pub(super) fn error(servers: &str, error: RedisError) -> StateError {
    let text = format!("{servers}: {error}");
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
            StateError::Denied(text)
        }
        ErrorKind::InvalidClientConfig => StateError::Config(text),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => StateError::Corrupt(text),
        _ => match error.code() {
            Some("OOM") => StateError::OutOfMemory(text),
            Some("WRONGPASS" | "NOAUTH") => StateError::Denied(text),
            Some("WRONGTYPE") => StateError::Corrupt(text),
            // An error inside a script carries that of the command in its text.
            _ if text.contains("The user executing the script can't") => StateError::Denied(text),
            _ if text.contains("OOM command not allowed") => StateError::OutOfMemory(text),
            _ => StateError::Unreachable(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

    use super::*;

    #[tokio::test]
    async fn a_master_that_refuses_writes_is_lost() {
        let sentinels = vec![ConnectionAddr::Tcp("127.0.0.1".into(), 1)];
        let builder = SentinelClientBuilder::new(sentinels, "tips", SentinelServerType::Master);
        let client = builder.and_then(SentinelClientBuilder::build).expect("it does not connect yet");
        let found = Mutex::new(Found::BySentinels(Box::new(client)));
        let master = Server { found, current: Mutex::new(None) };
        let answer = redis::parse_redis_value(b"-READONLY You can't write against a read only replica.\r\n");
        let told = master.forget_on(answer).await.expect_err("what is refused is no success");
        assert!(is_lost(&told));
    }

    #[test]
    fn a_password_in_a_url_is_not_told() {
        assert_eq!(without_login("redis://user:p@ss@redis:6379/3"), "redis://redis:6379/3");
        assert_eq!(without_login("rediss://redis:6379"), "rediss://redis:6379");
        assert_eq!(without_login(":secret@redis"), "redis://redis");
    }
}
