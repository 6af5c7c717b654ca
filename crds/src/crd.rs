//! The CustomResourceDefinition that is installed in a cluster: the derived one, made lean.
//!
//! - An absent field and `null` are one thing. schemars marks every `Option` as nullable; without
//!   that mark the API server drops a null and applies the default, and `has()` in a rule is true
//!   only of what was written.
//! - The parts of a Pod under `spec.workload` keep their shape and lose their descriptions, four
//!   fifths of the whole: `kubectl explain pod.spec` has them.
//! - Descriptions are paragraphs, not lines as they are wrapped in the source.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::TipsPipeline;

/// The CustomResourceDefinition of TipsPipelines.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = TipsPipeline::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            tidy(schema);
            if let Some(workload) = property(schema, "spec").and_then(|s| property(s, "workload")) {
                for field in workload.properties.iter_mut().flat_map(|p| p.values_mut()) {
                    for_each_child(field, &mut strip_descriptions);
                }
            }
        }
    }
    crd
}

/// [`crd`] as the YAML that is committed, `crds/tipspipelines.yaml`.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&crd())
}

/// The schema of a whole TipsPipeline, as the API server holds it.
pub fn schema() -> JSONSchemaProps {
    crd()
        .spec
        .versions
        .into_iter()
        .find_map(|version| version.schema?.open_api_v3_schema)
        .expect("the derived CRD has one version and it has a schema")
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}

fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.description = schema.description.as_deref().map(unwrapped);
    for_each_child(schema, &mut tidy);
}

fn strip_descriptions(schema: &mut JSONSchemaProps) {
    schema.description = None;
    for_each_child(schema, &mut strip_descriptions);
}

fn unwrapped(description: &str) -> String {
    let paragraphs = description.split("\n\n");
    let joined: Vec<_> = paragraphs.map(|lines| lines.replace('\n', " ")).collect();
    joined.join("\n\n")
}

fn for_each_child(schema: &mut JSONSchemaProps, visit: &mut dyn FnMut(&mut JSONSchemaProps)) {
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        visit(property);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        visit(values);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => visit(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(visit),
        None => {}
    }
}
