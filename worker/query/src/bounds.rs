//! What a query's filters say of a time column: the interval outside of which no row is wanted. It decides which
//! folders are listed and which files are opened.

use std::ops::RangeInclusive;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use tips_worker::core::time::{EventTime, Span};

/// Times from the first to the last that a query wants of a column; open where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// No earlier row is wanted.
    pub from: Option<EventTime>,
    /// No later row is wanted.
    pub to: Option<EventTime>,
}

impl Bounds {
    /// Those of `times`.
    pub fn within(times: &RangeInclusive<EventTime>) -> Self {
        Bounds { from: Some(*times.start()), to: Some(*times.end()) }
    }

    /// The bounds of `column` in the conjunction of `filters`. A filter that says something else, or says it in
    /// another way than by comparing the column with a time, bounds nothing.
    pub fn of(column: &str, filters: &[Expr]) -> Self {
        let all = filters.iter().map(|filter| Self::of_one(column, filter).unwrap_or_default());
        all.fold(Bounds::default(), Bounds::and)
    }

    /// Both at once.
    pub fn and(self, other: Self) -> Self {
        Bounds { from: self.from.max(other.from), to: least(self.to, other.to) }
    }

    /// The same, `seconds` earlier: what bounds on the end of a window say of its start.
    pub fn earlier(self, span: Span) -> Self {
        Bounds { from: self.from.map(|t| t.minus(span)), to: self.to.map(|t| t.minus(span)) }
    }

    /// Whether a row of these times may be wanted.
    pub fn meet(self, times: &RangeInclusive<EventTime>) -> bool {
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            return false;
        }
        self.from.is_none_or(|from| from <= *times.end()) && self.to.is_none_or(|to| *times.start() <= to)
    }

    fn of_one(column: &str, filter: &Expr) -> Option<Self> {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                let side = |side| Self::of_one(column, side).unwrap_or_default();
                Some(side(left).and(side(right)))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
                (Expr::Column(found), Expr::Literal(value, _)) if found.name == column => {
                    Self::compared(*op, seconds(value)?)
                }
                (Expr::Literal(value, _), Expr::Column(found)) if found.name == column => {
                    Self::compared(op.swap()?, seconds(value)?)
                }
                _ => None,
            },
            Expr::Between(Between { expr, negated: false, low, high }) => match (&**expr, &**low, &**high) {
                (Expr::Column(found), Expr::Literal(low, _), Expr::Literal(high, _))
                    if found.name == column =>
                {
                    Some(Bounds { from: Some(seconds(low)?), to: Some(seconds(high)?) })
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn compared(op: Operator, time: EventTime) -> Option<Self> {
        match op {
            Operator::Eq => Some(Bounds { from: Some(time), to: Some(time) }),
            Operator::Gt | Operator::GtEq => Some(Bounds { from: Some(time), to: None }),
            Operator::Lt | Operator::LtEq => Some(Bounds { from: None, to: Some(time) }),
            _ => None,
        }
    }
}

fn least(a: Option<EventTime>, b: Option<EventTime>) -> Option<EventTime> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Rounded down: the last second that is wanted is wanted whole.
fn seconds(value: &ScalarValue) -> Option<EventTime> {
    match value {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            Some(EventTime::from_seconds(micros.div_euclid(1_000_000)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::simplify::SimplifyContext;
    use datafusion::logical_expr::utils::split_conjunction_owned;
    use datafusion::optimizer::simplify_expressions::ExprSimplifier;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// As the optimizer hands filters to a table: literals of the column's type.
    fn bounds(sql: &str) -> Bounds {
        let context = SessionContext::new();
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Schema::new(vec![Field::new("t", time, false), Field::new("n", DataType::Int64, false)]);
        let schema = Arc::new(DFSchema::try_from(schema).expect("a schema"));
        let expr = context.parse_sql_expr(sql, &schema).expect(sql);
        let simplifier =
            ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(&schema)).build());
        let coerced = simplifier.coerce(expr, &schema).expect("types that compare");
        let conjuncts = split_conjunction_owned(simplifier.simplify(coerced).expect("a simple expression"));
        Bounds::of("t", &conjuncts)
    }

    fn at(text: &str) -> Option<EventTime> {
        EventTime::parse(text.as_bytes())
    }

    #[test]
    fn comparisons_with_a_time_bound_it() {
        let day = bounds("t >= '2013-01-05' AND t < '2013-01-06' AND n > 3");
        assert_eq!(day.from, at("2013-01-05 00:00:00"));
        assert!(day.to >= at("2013-01-05 23:59:59") && day.to <= at("2013-01-06 00:00:00"), "{day:?}");
        assert_eq!(bounds("t BETWEEN '2013-01-05' AND '2013-01-06'").to, at("2013-01-06 00:00:00"));
        assert_eq!(bounds("t = '2013-01-05 10:00:00'").from, at("2013-01-05 10:00:00"));
        assert_eq!(bounds("'2013-01-05' <= t"), Bounds { from: at("2013-01-05 00:00:00"), to: None });
    }

    #[test]
    fn what_says_nothing_of_the_time_bounds_nothing() {
        for sql in [
            "n > 3",
            "t > '2013-01-05' OR n > 3",
            "t IS NOT NULL",
            "t <> '2013-01-05'",
            "t::date = '2013-01-05'",
            "CAST(t AS bigint) / 86400000000 = 15710",
            "NOT t BETWEEN '2013-01-05' AND '2013-01-06'",
            "date_trunc('day', t) = '2013-01-05'",
        ] {
            assert_eq!(bounds(sql), Bounds::default(), "{sql}");
        }
    }

    #[test]
    fn a_contradiction_meets_nothing() {
        let none = bounds("t > '2013-01-06' AND t < '2013-01-05'");
        let day = at("2013-01-05 00:00:00").expect("a time")..=at("2013-01-06 23:59:59").expect("a time");
        assert!(!none.meet(&day), "{none:?}");
    }
}
