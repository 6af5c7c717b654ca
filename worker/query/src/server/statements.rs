//! Statements of one client, given to its session; what there is to say beside the answer is said before it.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::arrow_pg::datatypes::arrow_schema_to_pg_fields;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, Type};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::{DfSessionService, Parser, QueryHook};
use futures::{Sink, SinkExt};

use crate::connection::Client;
use crate::cursors::Cursors;
use crate::dialect::understood;
use crate::engine::Engine;
use crate::readonly::ReadOnly;

/// The session of one client.
pub(super) struct Statements {
    service: DfSessionService,
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
        ];
        let service = DfSessionService::new_with_hooks(Arc::new(engine.session(client)), hooks);
        Statements { service, cursors, client: Arc::clone(client) }
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
        self.client.next_statement();
        let answer = SimpleQueryHandler::do_query(&self.service, client, &understood(query)).await;
        self.warn(client).await?;
        answer
    }
}

#[async_trait]
impl ExtendedQueryHandler for Statements {
    type Statement = <DfSessionService as ExtendedQueryHandler>::Statement;
    type QueryParser = Understanding;

    fn query_parser(&self) -> Arc<Understanding> {
        let (parser, cursors) = (self.service.query_parser(), Arc::clone(&self.cursors));
        Arc::new(Understanding { parser, cursors })
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
        self.client.next_statement();
        let answer = ExtendedQueryHandler::do_query(&self.service, client, portal, max_rows).await;
        self.warn(client).await?;
        answer
    }
}

/// The library's parser, given what it understands, and told what it does not know of cursors.
pub(super) struct Understanding {
    parser: Arc<Parser>,
    cursors: Arc<Cursors>,
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
        self.parser.parse_sql(client, &understood(sql), types).await
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
            (query, None) => match self.cursors.columns(query) {
                Some(columns) => arrow_schema_to_pg_fields(columns.as_arrow(), &Format::UnifiedText, None),
                None => Ok(Vec::new()),
            },
            (_, Some((Statement::Fetch { .. }, _))) => self.parser.get_result_schema(statement, None),
            _ => self.parser.get_result_schema(statement, format),
        }
    }
}
