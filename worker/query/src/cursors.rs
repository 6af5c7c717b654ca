//! The cursors of a connection. They are the library's, but that a client is told their columns before it fetches rows,
//! and with the types of these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{CloseCursor, Declare, DeclareType, Query, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::portal::Portal;
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::StoredStatement;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::error::PgWireResult;

use crate::types;

/// By name.
#[derive(Debug, Default)]
pub struct Cursors(Mutex<HashMap<String, Cursor>>);

#[derive(Debug)]
struct Cursor {
    query: String,
    columns: Arc<Vec<FieldInfo>>,
}

impl Cursors {
    /// The columns of a cursor; none where there is no such.
    pub fn columns(&self, name: &str) -> Vec<FieldInfo> {
        self.known().get(name).map(|cursor| cursor.columns.to_vec()).unwrap_or_default()
    }

    /// The columns of a cursor for `query`, written as it was declared.
    pub fn columns_for(&self, query: &str) -> Vec<FieldInfo> {
        let known = self.known();
        known
            .values()
            .find(|cursor| cursor.query == query)
            .map(|cursor| cursor.columns.to_vec())
            .unwrap_or_default()
    }

    async fn declare(
        &self,
        name: &str,
        query: &Query,
        session: &SessionContext,
        client: &dyn HookClient,
    ) -> PgWireResult<Response> {
        let rows = types::rows(&Statement::Query(Box::new(query.clone())), session, None).await?;
        let (query, columns) = (query.to_string(), rows.row_schema());
        let statement = StoredStatement::new(name.to_owned(), (query.clone(), None), Vec::new());
        let portal = Portal::new_cursor(name.to_owned(), Arc::new(statement));
        portal.start(rows).await;
        client.portal_store().put_portal(Arc::new(portal));
        self.known().insert(name.to_owned(), Cursor { query, columns });
        Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
    }

    /// What is not answered here is the library's to answer, or to refuse.
    async fn answer(
        &self,
        statement: &Statement,
        session: &SessionContext,
        client: &dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match statement {
            Statement::Declare { stmts } => {
                let (name, query) = as_cursor(stmts)?;
                return Some(self.declare(name, query, session, client).await);
            }
            Statement::Close { cursor: CloseCursor::All } => self.known().clear(),
            Statement::Close { cursor: CloseCursor::Specific { name } } => {
                _ = self.known().remove(&name.value);
            }
            _ => {}
        }
        None
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Cursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_cursor(declared: &[Declare]) -> Option<(&str, &Query)> {
    let [Declare { names, declare_type: Some(DeclareType::Cursor), for_query: Some(query), .. }] = declared
    else {
        return None;
    };
    Some((&names.first()?.value, query))
}

#[async_trait]
impl QueryHook for Cursors {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        self.answer(statement, session, client).await
    }

    async fn handle_extended_parse_query(
        &self,
        _: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        None
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        self.answer(statement, session, client).await
    }
}
