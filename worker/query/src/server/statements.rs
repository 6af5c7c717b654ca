//! Statements of one client, given to its session; what there is to say beside the answer is said before it.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_partial_query_response,
};
use datafusion_postgres::pgwire::api::results::{FieldInfo, QueryResponse, Response};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::Execute;
use datafusion_postgres::{DfSessionService, Parser, QueryHook};
use futures::{Sink, SinkExt};

use crate::connection::Client;
use crate::cursors::Cursors;
use crate::dialect::{too_much, understood};
use crate::engine::Engine;
use crate::error::told;
use crate::readonly::{MOST_FETCHED, ReadOnly};
use crate::types::{self, Queries};

type DfStatement = <DfSessionService as ExtendedQueryHandler>::Statement;

/// The session of one client.
pub(super) struct Statements {
    service: DfSessionService,
    session: Arc<SessionContext>,
    cursors: Arc<Cursors>,
    client: Arc<Client>,
}

impl Statements {
    pub(super) fn new(engine: &Engine, client: &Arc<Client>) -> Self {
        let cursors = Arc::new(Cursors::default());
        let hooks: Vec<Arc<dyn QueryHook>> = vec![
            Arc::new(ReadOnly),
            Arc::clone(&cursors) as Arc<dyn QueryHook>,
            Arc::new(CursorStatementHook),
            Arc::new(SetShowHook),
            Arc::new(TransactionStatementHook),
            Arc::new(Queries),
        ];
        let session = Arc::new(engine.session(client));
        let service = DfSessionService::new_with_hooks(Arc::clone(&session), hooks);
        Statements { service, session, cursors, client: Arc::clone(client) }
    }

    /// The rows of a query, which come as they are read.
    async fn begin<C>(&self, client: &mut C, portal: &Portal<DfStatement>) -> PgWireResult<QueryResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = DfStatement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.client.next_statement();
        let cancelled = self.client.cancelled();
        let answered = tokio::select! {
            answered = ExtendedQueryHandler::do_query(self, client, portal, 0) => answered?,
            () = cancelled => return Err(PgWireError::QueryCanceled),
        };
        match answered {
            Response::Query(rows) => Ok(rows),
            _ => Err(told("ERROR", "XX000", "a query without rows")),
        }
    }

    async fn warn<C>(&self, to: &mut C) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        for warning in self.client.take_warnings() {
            let notice = ErrorInfo::new("WARNING".to_owned(), "01000".to_owned(), warning);
            to.feed(PgWireBackendMessage::NoticeResponse(notice.into())).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl SimpleQueryHandler for Statements {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        check(&self.client, query)?;
        self.client.next_statement();
        let answer = SimpleQueryHandler::do_query(&self.service, client, &understood(query)).await;
        self.warn(client).await?;
        answer
    }
}

#[async_trait]
impl ExtendedQueryHandler for Statements {
    type Statement = DfStatement;
    type QueryParser = Understanding;

    fn query_parser(&self) -> Arc<Understanding> {
        Arc::new(Understanding {
            client: Arc::clone(&self.client),
            parser: self.service.query_parser(),
            session: Arc::clone(&self.session),
            cursors: Arc::clone(&self.cursors),
        })
    }

    /// Rows are passed on as they come, all or as many as are asked for; the library would gather them first.
    async fn on_execute<C>(&self, client: &mut C, mut message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let most = message.max_rows.max(0) as usize;
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) if is_query(&portal) => portal,
            _ => {
                message.max_rows = message.max_rows.clamp(0, MOST_FETCHED as i32);
                return self._on_execute(client, message).await;
            }
        };
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let suspended = std::mem::take(&mut *portal.state().lock().await);
        let mut rows = match suspended {
            PortalExecutionState::Suspended(rows) => rows,
            PortalExecutionState::Initial | PortalExecutionState::Finished => {
                self.begin(client, &portal).await?
            }
        };
        if !send_partial_query_response(client, &mut rows, most).await? {
            rows = QueryResponse::new(rows.row_schema(), futures::stream::empty());
        }
        portal.start(rows).await;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let answer = ExtendedQueryHandler::do_query(&self.service, client, portal, max_rows).await;
        self.warn(client).await?;
        answer
    }
}

/// What is told to who has not logged in, and to who asks for more than can be read.
fn check(client: &Client, sql: &str) -> PgWireResult<()> {
    if !client.is_admitted() {
        return Err(told("FATAL", "28000", "log in first"));
    }
    match too_much(sql) {
        Some(message) => Err(told("ERROR", "54001", message)),
        None => Ok(()),
    }
}

fn is_query(portal: &Portal<DfStatement>) -> bool {
    matches!(portal.statement.statement, (_, Some((Statement::Query(_), _))))
}

/// The library's parser, given what it understands, and told what it does not know of cursors.
pub(super) struct Understanding {
    client: Arc<Client>,
    parser: Arc<Parser>,
    session: Arc<SessionContext>,
    cursors: Arc<Cursors>,
}

impl Understanding {
    /// What has no types without its parameters is settled by the engine when it has them.
    fn settled(&self, (query, planned): DfStatement) -> DfStatement {
        let planned = planned.map(|(statement, plan)| match statement {
            Statement::Query(_) => {
                let settled = types::settled(plan.clone(), &self.session.state());
                (statement, settled.unwrap_or(plan))
            }
            _ => (statement, plan),
        });
        (query, planned)
    }
}

#[async_trait]
impl QueryParser for Understanding {
    type Statement = <Parser as QueryParser>::Statement;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        check(&self.client, sql)?;
        let parsed = self.parser.parse_sql(client, &understood(sql), types).await?;
        Ok(parsed.map(|statement| self.settled(statement)))
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        self.parser.get_parameter_types(statement)
    }

    /// A cursor's rows are text, whatever the client would like.
    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        match statement {
            (query, None) => Ok(self.cursors.columns_for(query)),
            (_, Some((Statement::Fetch { name, .. }, _))) => Ok(self.cursors.columns(&name.value)),
            _ => self.parser.get_result_schema(statement, format),
        }
    }
}
