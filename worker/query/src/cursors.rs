//! The columns of cursors, which a client is told before it fetches rows; the kept library does not know them then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion::common::{DFSchemaRef, ParamValues};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{CloseCursor, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::results::Response;
use datafusion_postgres::pgwire::error::PgWireResult;

/// The columns of a connection's cursors, by name. What they do is the library's.
#[derive(Debug, Default)]
pub struct Cursors(Mutex<HashMap<String, Cursor>>);

#[derive(Debug)]
struct Cursor {
    query: String,
    schema: DFSchemaRef,
}

impl Cursors {
    /// The columns of a cursor for `query`, written as the library writes it.
    pub fn columns(&self, query: &str) -> Option<DFSchemaRef> {
        self.known().values().find(|cursor| cursor.query == query).map(|cursor| Arc::clone(&cursor.schema))
    }

    /// A cursor whose query cannot be planned is refused when it is declared.
    async fn note(&self, statement: &Statement, session: &SessionContext) {
        match statement {
            Statement::Declare { stmts } => {
                for cursor in stmts {
                    let (Some(name), Some(query)) = (cursor.names.first(), &cursor.for_query) else {
                        continue;
                    };
                    let query = query.to_string();
                    if let Ok(plan) = session.state().create_logical_plan(&query).await {
                        self.known()
                            .insert(name.value.clone(), Cursor { query, schema: Arc::clone(plan.schema()) });
                    }
                }
            }
            Statement::Close { cursor: CloseCursor::All } => self.known().clear(),
            Statement::Close { cursor: CloseCursor::Specific { name } } => {
                _ = self.known().remove(&name.value)
            }
            _ => {}
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Cursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl QueryHook for Cursors {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        self.note(statement, session).await;
        None
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        self.note(statement, session).await;
        let Statement::Fetch { name, .. } = statement else { return None };
        let schema = Arc::clone(&self.known().get(&name.value)?.schema);
        Some(Ok(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema })))
    }

    async fn handle_extended_query(
        &self,
        _: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        None
    }
}
