//! `has_table_privilege` and its like: whoever is connected may read all there is, and nobody may do more.

use std::sync::Arc;

use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// Those that clients call.
pub(super) const NAMES: [&str; 5] = [
    "has_table_privilege",
    "has_any_column_privilege",
    "has_column_privilege",
    "has_schema_privilege",
    "has_database_privilege",
];
/// What it takes to read.
const READING: [&str; 3] = ["select", "usage", "connect"];

/// `has_…_privilege([user,] of_what, privileges)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Privilege {
    name: &'static str,
    signature: Signature,
}

impl Privilege {
    pub(super) fn new(name: &'static str) -> Self {
        Privilege { name, signature: Signature::variadic_any(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Privilege {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(asked) = args.args.last() else { return plan_err!("{} of what?", self.name) };
        let asked = cast(&asked.to_array(args.number_rows)?, &DataType::Utf8)?;
        let held: BooleanArray = as_string_array(&asked)?.iter().map(|asked| asked.map(is_held)).collect();
        Ok(ColumnarValue::Array(Arc::new(held)))
    }
}

/// Of several, with commas between them, one is enough.
fn is_held(privileges: &str) -> bool {
    privileges.split(',').any(|one| READING.iter().any(|reading| one.trim().eq_ignore_ascii_case(reading)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_may_be_read_and_nothing_changed() {
        for (privileges, held) in [
            ("SELECT", true),
            ("insert, select", true),
            ("USAGE", true),
            ("update", false),
            ("CREATE", false),
            ("SELECT WITH GRANT OPTION", false),
        ] {
            assert_eq!(is_held(privileges), held, "{privileges}");
        }
    }
}
