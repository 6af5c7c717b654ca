//! What PostgreSQL understands and the engine does not: such parts of a statement are put in words that both have.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr, Statement, Value,
    VisitMut, VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::tables::SCHEMA;

/// Bytes of a statement.
const LONGEST: usize = 1 << 20;
/// Operators of a statement: each is a level of its tree, which is walked by recursion.
const MOST_OPERATORS: usize = 1000;

/// What a statement has too much of.
pub fn too_much(sql: &str) -> Option<String> {
    if sql.len() > LONGEST {
        return Some(format!("a statement has at most {LONGEST} bytes"));
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().ok()?;
    let operators = tokens.iter().filter(|token| is_operator(token)).count();
    (operators > MOST_OPERATORS).then(|| {
        format!("a statement has at most {MOST_OPERATORS} operators; a long list is better written with IN")
    })
}

/// Whether a chain of such makes a deep tree. Parentheses do too, and the parser itself bounds them.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::COLLATE
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::JOIN
        ),
        Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::Placeholder(_) => false,
        _ => true,
    }
}

/// `sql`, put so that the engine understands it; as it is where there is nothing to change, or no SQL.
pub fn understood(sql: &str) -> String {
    let Ok(mut statements) = Parser::parse_sql(&PostgreSqlDialect {}, sql) else { return sql.to_owned() };
    let mut changed = false;
    for statement in &mut statements {
        let mut words = Words::default();
        _ = statement.visit(&mut words);
        changed |= words.changed | says_time_zone(statement);
    }
    if !changed {
        return sql.to_owned();
    }
    statements.iter().map(Statement::to_string).collect::<Vec<_>>().join("; ")
}

/// `SHOW timezone` is `SHOW TIME ZONE`.
fn says_time_zone(statement: &mut Statement) -> bool {
    match statement {
        Statement::ShowVariable { variable } if is_called(variable, "timezone") => {
            *variable = vec![Ident::new("TIME"), Ident::new("ZONE")];
            true
        }
        _ => false,
    }
}

fn is_called(variable: &[Ident], name: &str) -> bool {
    matches!(variable, [one] if one.value.eq_ignore_ascii_case(name))
}

#[derive(Default)]
struct Words {
    changed: bool,
}

impl VisitorMut for Words {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // The kept library knows what psql asks of publications as a whole, as it is written.
        if let SetExpr::Select(select) = &mut *query.body
            && !select.from.iter().any(|from| from.relation.to_string().contains("pg_publication"))
        {
            self.changed |= name_nulls(&mut select.projection);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { data_type, .. } = expr
            && *data_type == DataType::Float(ExactNumberInfo::None)
        {
            // The engine's has half the bits.
            *data_type = DataType::DoublePrecision;
            self.changed = true;
        }
        let other = match expr {
            Expr::Function(function) if is_of_columns(function) => Some(Expr::value(Value::Null)),
            Expr::Function(function) if is_array_of_what_is_not_here(function) => no_elements(),
            Expr::Subquery(query) if is_of_what_is_not_here(query) => Some(null_of(query)),
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_flag(left) && is_true(right) => {
                Some((**left).clone())
            }
            Expr::Cast { expr: name, data_type, .. }
                if data_type.to_string().eq_ignore_ascii_case("regproc") =>
            {
                function_name(name)
            }
            Expr::CompoundFieldAccess { root, access_chain } => field_of(root, access_chain),
            Expr::InSubquery { expr, subquery, negated } if is_search_path(subquery) => {
                Some(Expr::InList { expr: expr.clone(), list: vec![text(SCHEMA)], negated: *negated })
            }
            _ => None,
        };
        if let Some(other) = other {
            *expr = other;
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

/// Columns without a name are told apart by what they say, and two that say `NULL` cannot be.
fn name_nulls(projection: &mut [SelectItem]) -> bool {
    let nulls = projection.iter_mut().filter(|item| item.to_string() == "NULL");
    let mut named = false;
    for (n, item) in nulls.enumerate().skip(1) {
        let alias = Ident::with_quote('"', format!("?column?{n}"));
        *item = SelectItem::ExprWithAlias { expr: Expr::value(Value::Null), alias };
        named = true;
    }
    named
}

/// What a column has of sequences, of defaults, and of collations other than its type's: none has.
fn is_of_what_is_not_here(query: &Query) -> bool {
    let SetExpr::Select(select) = &*query.body else { return false };
    let is_not_here =
        |name: &str| ["pg_sequence", "pg_attrdef", "pg_collation"].iter().any(|not| name.contains(not));
    select.from.iter().any(|from| is_not_here(&from.relation.to_string()))
}

/// An array of a role's groups, of policies, of labels, of rights of columns, of options: there are none.
fn is_array_of_what_is_not_here(function: &Function) -> bool {
    let FunctionArguments::Subquery(query) = &function.args else { return false };
    let text = query.to_string();
    let is_not_here = |name: &&str| text.contains(*name);
    function.name.to_string().eq_ignore_ascii_case("array")
        && ["pg_auth_members", "pg_policy", "pg_enum", "attacl", "reloptions"].iter().any(is_not_here)
}

/// An array of texts.
fn no_elements() -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql("ARRAY[]::text[]").ok()?.parse_expr().ok()
}

/// Whether it is a flag of an index, which the ODBC driver compares with `'t'`.
fn is_flag(expr: &Expr) -> bool {
    matches!(expr, Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|name| name.value.starts_with("indis")))
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::SingleQuotedString("t".to_owned()))
}

/// The kept library has functions by their names.
fn function_name(name: &Expr) -> Option<Expr> {
    let Expr::Value(value) = name else { return None };
    let Value::SingleQuotedString(name) = &value.value else { return None };
    Some(text(name.trim_start_matches("pg_catalog.")))
}

/// Null, by an expression that has the parameters of `query`: they are counted.
fn null_of(query: &mut Query) -> Expr {
    let mut parameters = Vec::new();
    _ = visit_expressions(query, |expr| {
        if let Expr::Cast { expr: inner, .. } = expr
            && is_parameter(inner)
        {
            parameters.push(expr.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    if parameters.is_empty() {
        return Expr::value(Value::Null);
    }
    let mut null = vec![text("")];
    null.extend(parameters);
    call("nullif", [call("concat", null.clone()), call("concat", null)])
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// Columns have no comments, and who asks for one casts names that the engine cannot cast.
fn is_of_columns(function: &Function) -> bool {
    let name = function.name.to_string().to_lowercase();
    name.trim_start_matches("pg_catalog.") == "col_description"
}

/// `(row).field` is `get_field(row, 'field')`.
fn field_of(row: &Expr, fields: &[AccessExpr]) -> Option<Expr> {
    fields.iter().try_fold(row.clone(), |row, field| match field {
        AccessExpr::Dot(Expr::Identifier(field)) => Some(call("get_field", [row, text(&field.value)])),
        _ => None,
    })
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

fn call(name: &str, arguments: impl Into<Vec<Expr>>) -> Expr {
    let arguments = arguments.into();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(|one| FunctionArg::Unnamed(FunctionArgExpr::Expr(one))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Grafana asks for the schemas of the search path by taking the setting apart.
fn is_search_path(query: &Query) -> bool {
    query.to_string().contains("current_setting('search_path')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_lacks_is_said_otherwise() {
        for (sql, expected) in [
            ("SHOW timezone", "SHOW TIME ZONE"),
            ("SELECT col_description(CAST('t' AS regclass), 1) AS comment", "SELECT NULL AS comment"),
            ("SELECT COL_DESCRIPTION(CAST('t' AS regclass), 1) AS comment", "SELECT NULL AS comment"),
            (
                "SELECT array(SELECT b.rolname FROM pg_catalog.pg_auth_members b) AS groups",
                "SELECT ARRAY[]::TEXT[] AS groups",
            ),
            ("SELECT NULL AS a, NULL, NULL, b", "SELECT NULL AS a, NULL, NULL AS \"?column?1\", b"),
            (
                "SELECT (SELECT c.name FROM pg_catalog.pg_collation c WHERE c.oid = a.c) AS c",
                "SELECT NULL AS c",
            ),
            (
                "SELECT (SELECT f($2::VARCHAR) FROM pg_catalog.pg_sequence) AS s, $1",
                "SELECT nullif(concat('', $2::VARCHAR), concat('', $2::VARCHAR)) AS s, $1",
            ),
            ("SELECT typinput = 'pg_catalog.array_in'::regproc", "SELECT typinput = 'array_in'"),
            ("SELECT 1 FROM i WHERE i.indisprimary = 't'", "SELECT 1 FROM i WHERE i.indisprimary"),
            ("SELECT (f(i.keys)).n FROM i", "SELECT get_field((f(i.keys)), 'n') FROM i"),
            ("SELECT tip_sum::float, trips::float4", "SELECT tip_sum::DOUBLE PRECISION, trips::FLOAT4"),
            (
                "SELECT 1 WHERE 'x' IN (SELECT s FROM string_to_array(current_setting('search_path'), ',') s)",
                "SELECT 1 WHERE 'x' IN ('public')",
            ),
        ] {
            assert_eq!(understood(sql), expected);
        }
    }

    #[test]
    fn a_long_list_passes_and_a_long_chain_does_not() {
        assert_eq!(too_much(&format!("SELECT 1 WHERE 1 IN (1{})", ", 1".repeat(50_000))), None);
        for link in ["+1", " OR true", "::int", " UNION SELECT 1", "[1]"] {
            let most = MOST_OPERATORS
                / Tokenizer::new(&PostgreSqlDialect {}, link)
                    .tokenize()
                    .map_or(1, |tokens| tokens.iter().filter(|token| is_operator(token)).count());
            assert_eq!(too_much(&format!("SELECT 1{}", link.repeat(most))), None, "{link}");
            assert!(too_much(&format!("SELECT 1{}", link.repeat(most + 1))).is_some(), "{link}");
        }
        assert!(too_much(&" ".repeat(LONGEST + 1)).is_some());
    }

    #[test]
    fn everything_else_stays_as_it_was_written() {
        for sql in [
            "select  1 ;  -- one",
            "no SQL at all",
            "SELECT ARRAY[1, 2], (f(x))[1]",
            "SELECT array(SELECT trips FROM tips)",
            "",
        ] {
            assert_eq!(understood(sql), sql);
        }
    }
}
