//! Functions of PostgreSQL that clients call and the kept library lacks. There are no indexes, constraints, comments
//! or functions of users here, so what describes those has one answer.

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;

/// What clients recognise a server by: some refuse what they cannot read a version from.
const VERSION: &str = concat!("PostgreSQL 16.6 (tipstream ", env!("CARGO_PKG_VERSION"), ")");

/// Adds them to a session.
pub fn register(context: &SessionContext) {
    for (name, value) in constants() {
        context.register_udf(ScalarUDF::new_from_impl(Constant::new(name, value)));
    }
}

fn constants() -> Vec<(&'static str, ScalarValue)> {
    let no_text = || ScalarValue::Utf8(None);
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
        ("obj_description", no_text()),
        ("col_description", no_text()),
        ("shobj_description", no_text()),
        ("_pg_expandarray", no_element()),
    ]
}

/// A row of an array's element and its index.
fn no_element() -> ScalarValue {
    let fields =
        Fields::from(vec![Field::new("x", DataType::Int16, true), Field::new("n", DataType::Int32, true)]);
    ScalarValue::try_from(&DataType::Struct(fields)).unwrap_or(ScalarValue::Null)
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
