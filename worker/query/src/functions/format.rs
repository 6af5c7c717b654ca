//! `format`, by which clients quote names.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::error::refuse;

/// `format(formatstr, …)`: `%s`, `%I`, `%L` and `%%`, without positions and widths.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Format(Signature);

impl Format {
    pub(super) fn new() -> Self {
        Format(Signature::variadic_any(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<_>>()?;
        let texts = (0..args.number_rows).map(|row| formatted(&arrays, row)).collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(texts))))
    }
}

fn text(array: &dyn Array, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(ArrayFormatter::try_new(array, &FormatOptions::default())?.value(row).try_to_string()?))
}

fn formatted(arguments: &[ArrayRef], row: usize) -> Result<Option<String>> {
    let [form, values @ ..] = arguments else { return exec_err!("format wants a text") };
    let Some(form) = text(form, row)? else { return Ok(None) };
    let mut values = values.iter();
    let (mut made, mut rest) = (String::new(), form.chars());
    while let Some(next) = rest.next() {
        if next != '%' {
            made.push(next);
            continue;
        }
        let kind = rest.next();
        if kind == Some('%') {
            made.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            return Err(refuse("22023", "too few arguments for format()"));
        };
        match (kind, text(value, row)?) {
            (Some('s'), value) => made.push_str(&value.unwrap_or_default()),
            (Some('I'), Some(name)) => made.push_str(&identifier(&name)),
            (Some('I'), None) => {
                return Err(refuse("22004", "null values cannot be formatted as an SQL identifier"));
            }
            (Some('L'), Some(value)) => made.push_str(&format!("'{}'", value.replace('\'', "''"))),
            (Some('L'), None) => made.push_str("NULL"),
            _ => return Err(refuse("22023", "format() knows %s, %I, %L and %% here")),
        }
    }
    Ok(Some(made))
}

/// Between quotes unless it needs none.
fn identifier(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    if name.starts_with(plain) && name.chars().all(|c| plain(c) || c.is_ascii_digit()) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![Some(text)]))
    }

    #[test]
    fn names_and_values_are_quoted_as_they_need() {
        let form = |form: &str, value: &str| formatted(&[one(form), one(value)], 0).expect(form);
        assert_eq!(form("%s is 100 %%", "it"), Some("it is 100 %".to_owned()));
        assert_eq!(form("%I", "tips"), Some("tips".to_owned()));
        assert_eq!(form("%I", "The \"tips\""), Some("\"The \"\"tips\"\"\"".to_owned()));
        assert_eq!(form("%L", "it's"), Some("'it''s'".to_owned()));
        assert!(formatted(&[one("%s%s"), one("one")], 0).is_err());
        assert!(formatted(&[one("%d"), one("one")], 0).is_err());
    }
}
