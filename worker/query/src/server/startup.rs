//! How a connection begins: encrypted, as a known user, if there is room.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::sasl::SASLAuthStartupHandler;
use datafusion_postgres::pgwire::api::auth::sasl::scram::ScramAuth;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, PgWireConnectionState,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::Sink;

use super::Clients;
use crate::connection::Client;
use crate::error::told;
use crate::login::Users;

/// The beginning of one connection.
pub(super) struct Startup {
    clients: Arc<Clients>,
    client: Arc<Client>,
    parameters: Arc<DefaultServerParameterProvider>,
    login: Option<SASLAuthStartupHandler<DefaultServerParameterProvider>>,
    encrypted: bool,
    /// The limit, where it is reached.
    full: Option<usize>,
}

impl Startup {
    pub(super) fn new(
        clients: Arc<Clients>,
        client: Arc<Client>,
        users: Option<Users>,
        encrypted: bool,
        full: Option<usize>,
    ) -> Self {
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        parameters.time_zone = "UTC".to_owned();
        let parameters = Arc::new(parameters);
        let login = users.map(|users| {
            SASLAuthStartupHandler::new(Arc::clone(&parameters))
                .with_scram(ScramAuth::new(Arc::new(users)))
                .with_pid_secret_key_generator(Arc::clone(&clients.keys))
                .with_connection_manager(Arc::clone(&clients.manager))
        });
        Startup { clients, client, parameters, login, encrypted, full }
    }

    fn check<C: ClientInfo>(&self, client: &C) -> PgWireResult<()> {
        if self.encrypted && !client.is_secure() {
            let message =
                "this server takes encrypted connections only: connect with sslmode=require or better";
            return Err(told("FATAL", "28000", message));
        }
        if let Some(limit) = self.full {
            let message = format!(
                "too many connections: {limit} are open; close some, or raise --max-connections (spec.query.limits.connections)"
            );
            return Err(told("FATAL", "53300", message));
        }
        Ok(())
    }

    async fn admit<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (pid, key) = self.clients.keys.generate(client);
        client.set_pid_and_secret_key(pid, key.clone());
        let (handle, guard) = self.clients.manager.register(pid, key);
        client.session_extensions().insert::<Arc<ConnectionHandle>>(handle);
        client.session_extensions().insert::<ConnectionGuard>(guard);
        finish_authentication(client, &*self.parameters).await
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.check(client)?;
        match (&self.login, &message) {
            (Some(login), _) => login.on_startup(client, message).await?,
            (None, PgWireFrontendMessage::Startup(startup)) => {
                protocol_negotiation(client, startup).await?;
                save_startup_parameters_to_metadata(client, startup);
                self.admit(client).await?;
            }
            (None, _) => {}
        }
        if matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            self.client.admit();
            self.clients.remember(client.pid_and_secret_key().0, &self.client);
        }
        Ok(())
    }
}
