//! Functions of PostgreSQL that clients call and the kept library lacks. There are no indexes, constraints, comments
//! or functions of users here, so what describes those has one answer.

mod format;
mod privilege;

use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::common::cast::as_string_array;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;

use self::format::Format;
use self::privilege::Privilege;

/// What clients recognise a server by: some refuse what they cannot read a version from.
const VERSION: &str = concat!("PostgreSQL 16.6 (tipstream ", env!("CARGO_PKG_VERSION"), ")");

/// Adds them to a session.
pub fn register(context: &SessionContext) {
    for (name, value) in constants() {
        context.register_udf(ScalarUDF::new_from_impl(Constant::new(name, value)));
    }
    for name in privilege::NAMES {
        context.register_udf(ScalarUDF::new_from_impl(Privilege::new(name)));
    }
    context.register_udf(ScalarUDF::new_from_impl(CurrentSetting::new()));
    context.register_udf(ScalarUDF::new_from_impl(Format::new()));
}

fn constants() -> Vec<(&'static str, ScalarValue)> {
    let no_text = || ScalarValue::Utf8(None);
    let no_size = || ScalarValue::Int64(None);
    vec![
        ("version", ScalarValue::from(VERSION)),
        ("pg_is_in_recovery", ScalarValue::from(false)),
        ("pg_function_is_visible", ScalarValue::from(true)),
        ("pg_type_is_visible", ScalarValue::from(true)),
        ("pg_get_function_result", no_text()),
        ("pg_get_function_arguments", no_text()),
        ("pg_get_function_identity_arguments", no_text()),
        ("pg_get_indexdef", no_text()),
        ("pg_get_viewdef", no_text()),
        ("pg_get_serial_sequence", no_text()),
        ("pg_get_function_sqlbody", no_text()),
        ("pg_tablespace_location", no_text()),
        // Tables have no files of their own.
        ("pg_table_size", no_size()),
        ("pg_relation_size", no_size()),
        ("pg_total_relation_size", no_size()),
        ("pg_database_size", no_size()),
        ("pg_tablespace_size", no_size()),
        ("pg_size_pretty", no_text()),
        ("obj_description", no_text()),
        ("col_description", no_text()),
        ("shobj_description", no_text()),
        ("_pg_expandarray", no_element()),
        // Of the columns of indexes.
        ("generate_subscripts", ScalarValue::Int32(None)),
        // Types of extensions, which clients look for; there are none.
        ("to_regtype", ScalarValue::Int32(None)),
    ]
}

/// A row of an array's element and its index.
fn no_element() -> ScalarValue {
    let fields =
        Fields::from(vec![Field::new("x", DataType::Int16, true), Field::new("n", DataType::Int32, true)]);
    ScalarValue::try_from(&DataType::Struct(fields)).unwrap_or(ScalarValue::Null)
}

/// Settings of PostgreSQL that clients read, and that have one value here.
pub(crate) const SETTINGS: [(&str, &str); 10] = [
    ("search_path", "\"$user\", public"),
    ("server_version", "16.6"),
    ("server_version_num", "160006"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("transaction_read_only", "on"),
    ("timezone", "UTC"),
    ("max_index_keys", "32"),
    ("max_identifier_length", "63"),
];

/// `current_setting(name [, missing_ok])`: null where it has none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentSetting(Signature);

impl CurrentSetting {
    fn new() -> Self {
        let forms = [vec![DataType::Utf8], vec![DataType::Utf8, DataType::Boolean]].map(TypeSignature::Exact);
        CurrentSetting(Signature::one_of(forms.into(), Volatility::Stable))
    }
}

impl ScalarUDFImpl for CurrentSetting {
    fn name(&self) -> &'static str {
        "current_setting"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args[..1])?;
        let setting = |name: &str| SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let names = as_string_array(&arrays[0])?.iter();
        let values: StringArray = names.map(|name| name.and_then(setting).map(|(_, value)| *value)).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// A function that has one value, whatever it is asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl Constant {
    fn new(name: &'static str, value: ScalarValue) -> Self {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        Constant { name, value, signature: Signature::one_of(any, Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}
