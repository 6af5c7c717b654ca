//! Statements that are no queries: refused, or answered with nothing done where drivers send them as a matter of
//! course.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::{DFSchema, ParamValues};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{FetchDirection, Query, Set, SetExpr, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::error::PgWireResult;

use crate::error::told;

/// Rows of a cursor that are fetched at once, at most: they are held until all are there.
pub const MOST_FETCHED: i64 = 100_000;

/// Lets queries pass, and what concerns the session only.
#[derive(Debug)]
pub struct ReadOnly;

enum Verdict {
    Pass,
    /// Done by doing nothing, with this tag.
    Done(&'static str),
    /// With this SQLSTATE and message.
    Refuse(&'static str, String),
}

fn judge(statement: &Statement) -> Verdict {
    match statement {
        Statement::Query(query) if selects_into(query) => refused("SELECT INTO"),
        Statement::Explain { statement, .. } => judge(statement),
        Statement::Set(set) => judge_set(set),
        Statement::Declare { stmts }
            if stmts.iter().filter_map(|cursor| cursor.for_query.as_ref()).any(selects_into) =>
        {
            refused("SELECT INTO")
        }
        Statement::Fetch { direction, .. } => judge_fetch(direction),
        Statement::Discard { .. } => Verdict::Done("DISCARD ALL"),
        Statement::Reset(_) => Verdict::Done("RESET"),
        Statement::Deallocate { .. } => Verdict::Done("DEALLOCATE"),
        Statement::Savepoint { .. } => Verdict::Done("SAVEPOINT"),
        Statement::ReleaseSavepoint { .. } => Verdict::Done("RELEASE"),
        Statement::Query(_)
        | Statement::ShowVariable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowCatalogs { .. }
        | Statement::ExplainTable { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Declare { .. }
        | Statement::Close { .. } => Verdict::Pass,
        other => {
            let text = other.to_string();
            refused(text.split_whitespace().next().unwrap_or("this statement"))
        }
    }
}

fn refused(what: &str) -> Verdict {
    Verdict::Refuse(
        "25006",
        format!("cannot execute {what}: the query service answers queries and changes nothing"),
    )
}

fn selects_into(query: impl AsRef<Query>) -> bool {
    fn body(expr: &SetExpr) -> bool {
        match expr {
            SetExpr::Select(select) => select.into.is_some(),
            SetExpr::Query(query) => body(&query.body),
            SetExpr::SetOperation { left, right, .. } => body(left) || body(right),
            _ => false,
        }
    }
    body(&query.as_ref().body)
}

/// Of the session's settings those that the library knows; of others nothing comes, as of those of PostgreSQL that have
/// no meaning here. Times are UTC: a zone that was taken and not applied would shift days unseen.
fn judge_set(set: &Set) -> Verdict {
    let (name, zone) = match set {
        Set::SingleAssignment { variable, values, .. } => {
            let parts: Vec<&str> = variable
                .0
                .iter()
                .filter_map(|part| part.as_ident())
                .map(|ident| ident.value.as_str())
                .collect();
            (parts.join(".").to_lowercase(), values.first().map(ToString::to_string))
        }
        Set::SetTimeZone { value, .. } => ("timezone".to_owned(), Some(value.to_string())),
        _ => return Verdict::Done("SET"),
    };
    match name.as_str() {
        "timezone" if !zone.as_deref().is_some_and(is_utc) => {
            Verdict::Refuse("0A000", "times are UTC here: convert a column with AT TIME ZONE".to_owned())
        }
        "timezone" | "statement_timeout" | "datestyle" | "bytea_output" | "intervalstyle"
        | "application_name" | "extra_float_digits" | "search_path" => Verdict::Pass,
        name if name.starts_with("datafusion") => Verdict::Refuse(
            "42501",
            "settings of the engine are those of the service and cannot be set by a client".to_owned(),
        ),
        _ => Verdict::Done("SET"),
    }
}

fn is_utc(zone: &str) -> bool {
    let zone = zone.trim_matches(['\'', '"']).to_lowercase();
    matches!(zone.as_str(), "utc" | "gmt" | "etc/utc" | "z" | "default" | "local")
}

/// So many rows are held at once.
fn judge_fetch(direction: &FetchDirection) -> Verdict {
    let (FetchDirection::Forward { limit: Some(limit) } | FetchDirection::Count { limit }) = direction else {
        return Verdict::Pass;
    };
    let count = limit.to_string().parse::<i64>();
    if count.is_ok_and(|count| (0..=MOST_FETCHED).contains(&count)) {
        return Verdict::Pass;
    }
    Verdict::Refuse("54000", format!("at most {MOST_FETCHED} rows are fetched at once"))
}

/// Frees what the client has done with.
fn release(statement: &Statement, client: &mut dyn HookClient) {
    match statement {
        Statement::Deallocate { name, .. } => client.portal_store().rm_statement(&name.value),
        Statement::Discard { .. } => client.portal_store().clear_portals(),
        _ => {}
    }
}

fn answer(statement: &Statement) -> Option<PgWireResult<Response>> {
    match judge(statement) {
        Verdict::Pass => None,
        Verdict::Done(tag) => Some(Ok(Response::Execution(Tag::new(tag)))),
        Verdict::Refuse(state, message) => Some(Err(told("ERROR", state, message))),
    }
}

#[async_trait]
impl QueryHook for ReadOnly {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        release(statement, client);
        answer(statement)
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        let nothing = || {
            LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema: Arc::new(DFSchema::empty()),
            })
        };
        answer(statement).map(|answered| answered.map(|_| nothing()))
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        _: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        release(statement, client);
        answer(statement)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn verdict(sql: &str) -> &'static str {
        let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect(sql);
        match judge(&statements[0]) {
            Verdict::Pass => "pass",
            Verdict::Done(_) => "done",
            Verdict::Refuse(..) => "refuse",
        }
    }

    #[test]
    fn what_changes_something_is_refused() {
        for sql in [
            "INSERT INTO tips VALUES (1)",
            "UPDATE tips SET trips = 0",
            "DELETE FROM tips",
            "CREATE TABLE t (n INT)",
            "CREATE VIEW v AS SELECT 1",
            "DROP TABLE tips",
            "COPY tips TO '/tmp/tips.csv'",
            "COPY tips FROM STDIN",
            "SELECT * INTO t FROM tips",
            "EXPLAIN ANALYZE DELETE FROM tips",
            "SET datafusion.runtime.memory_limit = '100G'",
            "SET \"datafusion\".\"runtime\".\"memory_limit\" = '100G'",
            "SET TIME ZONE 'America/New_York'",
            "SET SESSION timezone TO 'America/New_York'",
            "DECLARE c CURSOR FOR SELECT * INTO t FROM tips",
            "FETCH 10000000000000 FROM c",
            "CREATE EXTENSION x",
            "ALTER TABLE tips ADD COLUMN n INT",
            "TRUNCATE tips",
        ] {
            assert_eq!(verdict(sql), "refuse", "{sql}");
        }
    }

    #[test]
    fn what_asks_or_concerns_the_session_passes() {
        for sql in [
            "SELECT 1",
            "WITH t AS (SELECT 1) SELECT * FROM t",
            "BEGIN",
            "SHOW TimeZone",
            "SET extra_float_digits = 3",
            "SET timezone = 'UTC'",
            "SET TIME ZONE 'UTC'",
            "FETCH FORWARD 100 FROM c",
            "DECLARE c CURSOR FOR SELECT 1",
            "EXPLAIN SELECT 1",
        ] {
            assert_eq!(verdict(sql), "pass", "{sql}");
        }
        for sql in
            ["DISCARD ALL", "SET lock_timeout = 0", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"]
        {
            assert_eq!(verdict(sql), "done", "{sql}");
        }
    }
}
