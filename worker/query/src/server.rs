//! The PostgreSQL protocol: connections, logins, statements, cancellation. What a statement means is the engine's.

mod startup;
mod statements;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::StartupHandler;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ConnectionManager, ErrorHandler, PgWireServerHandlers, PidSecretKeyGenerator,
    RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::PgWireError;
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::tokio::process_socket;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::startup::Startup;
use self::statements::Statements;
use crate::connection::Client;
use crate::engine::Engine;
use crate::error::for_client;
use crate::login::Users;
use crate::metrics::Metrics;
use crate::tls::Certificate;

/// How many connections beyond the limit are told so; more are just closed.
const TOLD: usize = 32;
/// How long connections are still accepted after the end was announced: a Service sends some until it has heard of it.
const LINGER: Duration = Duration::from_secs(2);
/// After so long without a word a peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// What the last rows of a query take to reach the client after it has ended here.
const FLUSH: Duration = Duration::from_millis(250);

/// Serves clients.
pub struct Server {
    /// What answers.
    pub engine: Engine,
    /// Who may connect; `None`: everybody.
    pub users: Option<Users>,
    /// `None`: in the clear.
    pub certificate: Option<Certificate>,
    /// Connections at once.
    pub max_connections: usize,
    /// Of the service.
    pub metrics: Metrics,
    clients: Arc<Clients>,
}

/// The connected clients, by the number that a request to cancel names.
pub struct Clients {
    manager: Arc<ConnectionManager>,
    keys: Arc<dyn PidSecretKeyGenerator>,
    connected: Mutex<HashMap<i32, Arc<Client>>>,
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 6)
}

impl Server {
    /// A server without clients.
    pub fn new(
        engine: Engine,
        users: Option<Users>,
        certificate: Option<Certificate>,
        max_connections: usize,
        metrics: Metrics,
    ) -> Self {
        let clients = Clients {
            manager: Arc::new(ConnectionManager::new()),
            keys: Arc::new(RandomPidSecretKeyGenerator::default()),
            connected: Mutex::default(),
        };
        Server { engine, users, certificate, max_connections, metrics, clients: Arc::new(clients) }
    }

    /// Accepts connections until a moment after `stop`, then lets running queries end, for as long as `drain`. Idle
    /// connections are closed at once.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken, drain: Duration) {
        let server = Arc::new(self);
        let mut connections = JoinSet::new();
        let ending = CancellationToken::new();
        let lingered = async {
            stop.cancelled().await;
            tokio::time::sleep(LINGER).await;
        };
        tokio::pin!(lingered);
        loop {
            let accepted = tokio::select! {
                () = &mut lingered => break,
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: some will be given back.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if let Err(error) = SockRef::from(&socket).set_tcp_keepalive(&keepalive()) {
                tracing::debug!(%error, %address, "a peer that vanishes will not be noticed");
            }
            let full = connections.len() >= server.max_connections;
            if full {
                server.metrics.connections_refused.inc();
            }
            if connections.len() < server.max_connections + TOLD {
                let stop = ending.clone();
                let server = Arc::clone(&server);
                connections.spawn(async move { server.connection(socket, address, full, stop).await });
            }
        }
        drop(listener);
        ending.cancel();
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::warn!("queries were cut off: they took longer than {drain:?} to end");
        }
    }

    async fn connection(&self, socket: TcpStream, address: SocketAddr, full: bool, stop: CancellationToken) {
        let client = Arc::new(Client::default());
        let _connected = Connected::new(self, &client);
        let handlers = Arc::new(Handlers {
            statements: Arc::new(Statements::new(&self.engine, &client)),
            startup: Arc::new(self.startup(&client, full)),
            cancel: Arc::new(Cancel(Arc::clone(&self.clients))),
            errors: Arc::new(Errors { metrics: self.metrics.clone(), client: Arc::clone(&client) }),
        });
        let acceptor = self.certificate.as_ref().map(Certificate::acceptor);
        let ends = async {
            tokio::select! {
                () = async { stop.cancelled().await; client.idle().await } => {}
                () = client.turned_away() => {}
            }
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            served = process_socket(socket, acceptor, handlers) => {
                if let Err(error) = served {
                    tracing::debug!(%address, %error, "a connection has broken");
                }
            }
            () = ends => {}
        }
    }

    fn startup(&self, client: &Arc<Client>, full: bool) -> Startup {
        Startup::new(
            Arc::clone(&self.clients),
            Arc::clone(client),
            self.users.clone(),
            self.certificate.is_some(),
            full.then_some(self.max_connections),
        )
    }
}

/// Counts a connection while it lasts, however it ends.
struct Connected<'a> {
    server: &'a Server,
    client: Arc<Client>,
}

impl<'a> Connected<'a> {
    fn new(server: &'a Server, client: &Arc<Client>) -> Self {
        server.metrics.connections.inc();
        Connected { server, client: Arc::clone(client) }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.server.clients.forget(&self.client);
        self.server.metrics.connections.dec();
    }
}

impl Clients {
    fn remember(&self, pid: i32, client: &Arc<Client>) {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, Arc::clone(client));
    }

    fn forget(&self, client: &Arc<Client>) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.retain(|_, other| !Arc::ptr_eq(other, client));
    }

    fn get(&self, pid: i32) -> Option<Arc<Client>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).get(&pid).cloned()
    }
}

/// Of one connection: a login has steps, a session has settings.
struct Handlers {
    statements: Arc<Statements>,
    startup: Arc<Startup>,
    cancel: Arc<Cancel>,
    errors: Arc<Errors>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.statements)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.statements)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.startup)
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::clone(&self.errors)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::clone(&self.cancel)
    }
}

/// A request to cancel comes by a connection of its own and proves itself by the key that the client was given.
struct Cancel(Arc<Clients>);

#[async_trait]
impl CancelHandler for Cancel {
    async fn on_cancel_request(&self, request: CancelRequest) {
        // The library ends what is planned, the client what already returns rows.
        if self.0.manager.cancel(request.pid, &request.secret_key).await
            && let Some(client) = self.0.get(request.pid)
        {
            client.cancel();
        }
    }
}

/// Gives errors the code and the text that a client can use.
struct Errors {
    metrics: Metrics,
    client: Arc<Client>,
}

impl ErrorHandler for Errors {
    fn on_error<C: ClientInfo>(&self, client: &C, error: &mut PgWireError) {
        match error {
            PgWireError::ApiError(cause) => {
                let told = for_client(cause.as_ref());
                *error = PgWireError::UserError(Box::new(told));
            }
            PgWireError::InvalidPassword(_) => self.metrics.logins_refused.inc(),
            _ => {}
        }
        // The library would go on reading from who could not log in.
        if !self.client.is_admitted() {
            self.client.turn_away();
        }
        tracing::debug!(client = %client.socket_addr(), %error, "an error was sent");
    }
}
