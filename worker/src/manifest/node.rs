//! YAML as a tree in which every value knows its line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess},
};
use serde_json::{Map, Number, Value as Json};
use serde_saphyr::{
    MessageFormatter as _, NonFiniteFloatPolicy, Spanned, UserMessageFormatter, from_multiple_with_options,
};

use super::problem::Problems;

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The line on which it begins, from 1; for a value under a key, the line of the key.
    pub(super) line: u64,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Null, a boolean, a number or a string.
    Scalar(Json),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// One step from a value into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// What stands at a path, or at the nearest value around it.
pub(super) struct At {
    pub(super) line: u64,
    /// The scalar at the path itself.
    pub(super) found: Option<String>,
}

impl<'a> Segment<'a> {
    pub(super) fn key(key: &'a str) -> Self {
        Self::Key(key)
    }

    pub(super) fn of_serde(segment: &'a serde_path_to_error::Segment) -> Option<Self> {
        use serde_path_to_error::Segment as S;
        match segment {
            S::Map { key } => Some(Self::Key(key)),
            S::Enum { variant } => Some(Self::Key(variant)),
            S::Seq { index } => Some(Self::Index(*index)),
            S::Unknown => None,
        }
    }
}

/// A path as people write it: `spec.redis.urls[0]`.
pub(super) fn dotted(path: &[Segment<'_>]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Index(index) => text.extend(["[", &index.to_string(), "]"]),
            Segment::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&printable(key));
            }
        }
    }
    text
}

/// What was written, without control characters and not at any length.
fn printable(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.escape_debug().take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

impl Node {
    /// The documents in `yaml` that are not empty.
    pub(super) fn parse_documents(yaml: &[u8], problems: &mut Problems<'_>) -> Option<Vec<Self>> {
        let text = match std::str::from_utf8(yaml) {
            Ok(text) => text,
            Err(error) => {
                let before = &yaml[..error.valid_up_to()];
                let line = 1 + before.iter().filter(|&&b| b == b'\n').count() as u64;
                problems.push_line(Some(line), "", "is not UTF-8; save the file as UTF-8");
                return None;
            }
        };
        let options = serde_saphyr::options! {
            with_snippet: false,
            non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        };
        match from_multiple_with_options::<Spanned<Value>>(text, options) {
            Ok(documents) => {
                Some(documents.into_iter().map(Self::from).filter(|document| !document.is_null()).collect())
            }
            Err(error) => {
                let line = error.location().map(|location| location.line());
                let message = UserMessageFormatter.format_message(&error);
                problems.push_line(line, "", message.escape_debug().to_string());
                None
            }
        }
    }

    fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Json::Null))
    }

    fn child(&self, segment: Segment<'_>) -> Option<&Self> {
        match (&self.value, segment) {
            (Value::Map(entries), Segment::Key(key)) => {
                entries.iter().find_map(|(k, v)| (k == key).then_some(v))
            }
            (Value::List(items), Segment::Index(index)) => items.get(index),
            _ => None,
        }
    }

    /// The string under `key`.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.child(Segment::Key(key))?.value {
            Value::Scalar(Json::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn at(&self, path: &[Segment<'_>]) -> At {
        let mut node = self;
        for segment in path {
            let Some(child) = node.child(*segment) else {
                return At { line: node.line, found: None };
            };
            node = child;
        }
        let found = match &node.value {
            Value::Scalar(Json::String(text)) if text.is_empty() => Some("\"\"".to_owned()),
            Value::Scalar(Json::String(text)) => Some(printable(text)),
            Value::Scalar(scalar) => Some(scalar.to_string()),
            Value::List(_) | Value::Map(_) => None,
        };
        At { line: node.line, found }
    }

    /// The same without lines. A null is an absent field, as it is for the API server.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(scalar) => scalar.clone(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| (key.clone(), value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: spanned.referenced.line(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Scalar(Json::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Scalar(Json::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(|number| Value::Scalar(Json::Number(number)))
            .ok_or_else(|| E::custom("infinities and NaN are no settings"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(item.into());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let node = Node { line: key.referenced.line(), value: entries.next_value()? };
            map.push((key.value, node));
        }
        Ok(Value::Map(map))
    }
}
