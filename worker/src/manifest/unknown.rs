//! Fields that no TipsPipeline has: what the API server would drop or refuse, told with the name
//! that was most likely meant.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::{
    node::{Node, Segment, Value},
    problem::Problems,
};

/// Tells every field of `document` that the schema of the CRD does not know.
pub(super) fn check(document: &Node, problems: &mut Problems<'_>) {
    Walk { document, problems }.visit(document, &tipstream_crds::schema(), &mut Vec::new());
}

struct Walk<'a, 'p, 'f> {
    document: &'a Node,
    problems: &'p mut Problems<'f>,
}

impl<'a> Walk<'a, '_, '_> {
    fn visit(&mut self, node: &'a Node, schema: &JSONSchemaProps, path: &mut Vec<Segment<'a>>) {
        match &node.value {
            Value::Scalar(_) => {}
            Value::List(items) => {
                let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items else {
                    return;
                };
                for (index, item) in items.iter().enumerate() {
                    path.push(Segment::Index(index));
                    self.visit(item, schema, path);
                    path.pop();
                }
            }
            Value::Map(fields) => {
                for (name, value) in fields {
                    path.push(Segment::Key(name));
                    match known(schema, name) {
                        Known::As(schema) => self.visit(value, schema, path),
                        Known::AsAnything => {}
                        Known::Not => self.unknown(schema, name, path),
                    }
                    path.pop();
                }
            }
        }
    }

    fn unknown(&mut self, schema: &JSONSchemaProps, name: &str, path: &[Segment<'a>]) {
        let names = || schema.properties.iter().flat_map(|p| p.keys());
        let message = match nearest(name, names()) {
            Some(nearest) => format!("is not a field here; did you mean {nearest}?"),
            None => {
                let names: Vec<_> = names().map(String::as_str).collect();
                format!("is not a field here; there are {}", names.join(", "))
            }
        };
        self.problems.push(self.document, path, message);
    }
}

enum Known<'a> {
    As(&'a JSONSchemaProps),
    AsAnything,
    Not,
}

fn known<'a>(schema: &'a JSONSchemaProps, name: &str) -> Known<'a> {
    let property = schema.properties.as_ref().and_then(|p| p.get(name));
    match (property, &schema.additional_properties, &schema.properties) {
        (Some(property), _, _) => Known::As(property),
        (None, Some(JSONSchemaPropsOrBool::Schema(values)), _) => Known::As(values),
        // Where there should be no map at all, the type says so later.
        (None, _, None) => Known::AsAnything,
        (None, _, Some(_)) if schema.x_kubernetes_preserve_unknown_fields == Some(true) => Known::AsAnything,
        (None, _, Some(_)) => Known::Not,
    }
}

/// The name that `name` was most likely meant to be: one that differs by case, or by few letters.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    names
        .map(|known| {
            let distance = strsim::damerau_levenshtein(&lower, &known.to_lowercase());
            (distance, known.as_str())
        })
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, known)| known)
}
