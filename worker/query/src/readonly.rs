//! Statements that are no queries: refused, or answered with nothing done where drivers send them as a matter of
//! course.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::{DFSchema, ParamValues};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Query, Set, SetExpr, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::error::PgWireResult;

use crate::error::told;

/// Lets queries pass, and what concerns the session only.
#[derive(Debug)]
pub struct ReadOnly;

enum Verdict {
    Pass,
    /// Done by doing nothing, with this tag.
    Done(&'static str),
    Refuse(String),
}

fn judge(statement: &Statement) -> Verdict {
    match statement {
        Statement::Query(query) if selects_into(query) => refused("SELECT INTO"),
        Statement::Explain { statement, .. } => judge(statement),
        Statement::Set(set) if sets_engine(set) => Verdict::Refuse(
            "settings of the engine are those of the service and cannot be set by a client".to_owned(),
        ),
        Statement::Discard { .. } => Verdict::Done("DISCARD ALL"),
        Statement::Reset(_) => Verdict::Done("RESET"),
        Statement::Deallocate { .. } => Verdict::Done("DEALLOCATE"),
        Statement::Savepoint { .. } => Verdict::Done("SAVEPOINT"),
        Statement::ReleaseSavepoint { .. } => Verdict::Done("RELEASE"),
        Statement::Query(_)
        | Statement::Set(_)
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
        | Statement::Fetch { .. }
        | Statement::Close { .. } => Verdict::Pass,
        other => {
            let text = other.to_string();
            refused(text.split_whitespace().next().unwrap_or("this statement"))
        }
    }
}

fn refused(what: &str) -> Verdict {
    Verdict::Refuse(format!("cannot execute {what}: the query service answers queries and changes nothing"))
}

fn selects_into(query: &Query) -> bool {
    fn body(expr: &SetExpr) -> bool {
        match expr {
            SetExpr::Select(select) => select.into.is_some(),
            SetExpr::Query(query) => selects_into(query),
            SetExpr::SetOperation { left, right, .. } => body(left) || body(right),
            _ => false,
        }
    }
    body(&query.body)
}

fn sets_engine(set: &Set) -> bool {
    let text = set.to_string().to_lowercase();
    text.split_whitespace().any(|word| word.trim_matches('"').starts_with("datafusion."))
}

fn answer(statement: &Statement) -> Option<PgWireResult<Response>> {
    match judge(statement) {
        Verdict::Pass => None,
        Verdict::Done(tag) => Some(Ok(Response::Execution(Tag::new(tag)))),
        Verdict::Refuse(message) => Some(Err(told("ERROR", "25006", message))),
    }
}

#[async_trait]
impl QueryHook for ReadOnly {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
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
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
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
            Verdict::Refuse(_) => "refuse",
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
            "EXPLAIN SELECT 1",
        ] {
            assert_eq!(verdict(sql), "pass", "{sql}");
        }
        assert_eq!(verdict("DISCARD ALL"), "done");
    }
}
