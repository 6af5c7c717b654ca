//! The types of a query's columns. The engine's first plan of a statement has those that its parts have by themselves:
//! `CASE … THEN 1 ELSE 0.5 END` is an integer there, and its rows are fractions. What a client is told of rows has to
//! be what it gets, so everything that describes them takes a plan whose types are settled.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::QueryHook;
use datafusion_postgres::arrow_pg::datatypes::df::encode_dataframe;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::types::format::FormatOptions;

/// `plan` with the types that its rows will have.
///
/// # Errors
/// Where what has to be of one type cannot be.
pub fn settled(plan: LogicalPlan, session: &SessionState) -> Result<LogicalPlan> {
    session.analyzer().execute_and_check(plan, session.config_options(), |_, _| {})
}

/// The rows of a query, to be read, as text.
///
/// # Errors
/// Where the engine does not take it.
pub async fn rows(
    query: &Statement,
    session: &SessionContext,
    options: Option<Arc<FormatOptions>>,
) -> PgWireResult<QueryResponse> {
    let planned = planned(query, session).await.map_err(|error| PgWireError::ApiError(Box::new(error)))?;
    encode_dataframe(planned, &Format::UnifiedText, options).await
}

async fn planned(query: &Statement, session: &SessionContext) -> Result<DataFrame> {
    let state = session.state();
    let plan = state.statement_to_plan(parser::Statement::Statement(Box::new(query.clone()))).await?;
    let plan = settled(plan, &state)?;
    Ok(DataFrame::new(state, plan))
}

/// Answers queries of the simple protocol.
#[derive(Debug)]
pub struct Queries;

#[async_trait]
impl QueryHook for Queries {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        let Statement::Query(_) = statement else { return None };
        let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
        Some(rows(statement, session, Some(options)).await.map(Response::Query))
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
        _: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    async fn type_of(sql: &str) -> DataType {
        let state = SessionContext::new().state();
        let plan = state.create_logical_plan(sql).await.expect(sql);
        settled(plan, &state).expect(sql).schema().field(0).data_type().clone()
    }

    #[tokio::test]
    async fn a_column_has_a_type_that_holds_all_of_its_values() {
        for (sql, expected) in [
            ("SELECT CASE WHEN n > 1 THEN 1 ELSE 0.5 END FROM (VALUES (1)) t (n)", DataType::Float64),
            ("SELECT sum(CASE WHEN n > 1 THEN 1 ELSE 0.0 END) FROM (VALUES (1)) t (n)", DataType::Float64),
            ("SELECT CASE WHEN n > 1 THEN $1 ELSE 0.5 END FROM (VALUES (1)) t (n)", DataType::Float64),
            ("SELECT n FROM (VALUES (1)) t (n) WHERE n = $1", DataType::Int64),
        ] {
            assert_eq!(type_of(sql).await, expected, "{sql}");
        }
    }
}
