//! The CustomResourceDefinition that is installed in a cluster: the derived one, made lean.
//!
//! - An absent field and `null` are one thing. schemars marks every `Option` as nullable; without
//!   that mark the API server drops a null and applies the default, and `has()` in a rule is true
//!   only of what was written.
//! - The parts of a Pod, under `spec.workload` and as `resources`, keep their shape and lose their
//!   descriptions, more than half of the whole: `kubectl explain pod.spec` has them.
//! - Descriptions are paragraphs, not lines as they are wrapped in the source.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResourceExt;
use schemars::generate::SchemaSettings;

use crate::{TipsPipeline, rule::Rule, spec::NAMED};

/// The CustomResourceDefinition of TipsPipelines.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = TipsPipeline::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
            schema.x_kubernetes_validations = Some(NAMED.iter().map(Rule::of_object).collect());
            if let Some(spec) = property(schema, "spec") {
                for_each_part_of_a_pod(spec, &mut |part| for_each_child(part, &mut strip_descriptions));
                for part in ["workload", "query", "compaction"] {
                    property(spec, part).into_iter().for_each(bound_amounts);
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

/// The schema of a whole TipsPipeline, with the metadata that every Kubernetes object has.
pub fn schema() -> JSONSchemaProps {
    let mut schema = crd()
        .spec
        .versions
        .into_iter()
        .find_map(|version| version.schema?.open_api_v3_schema)
        .expect("the derived CRD has one version and it has a schema");
    let generator =
        SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true).into_generator();
    let metadata = generator.into_root_schema_for::<ObjectMeta>();
    let properties = schema.properties.get_or_insert_default();
    for name in ["apiVersion", "kind"] {
        properties.insert(name.to_owned(), JSONSchemaProps::default());
    }
    properties.insert(
        "metadata".to_owned(),
        serde_json::from_value(metadata.to_value()).expect("one schema is like the other"),
    );
    schema
}

/// What has the names and the meaning that it has in a Pod.
fn for_each_part_of_a_pod(spec: &mut JSONSchemaProps, visit: &mut dyn FnMut(&mut JSONSchemaProps)) {
    if let Some(workload) = property(spec, "workload") {
        for_each_child(workload, visit);
    }
    for service in ["query", "compaction"] {
        if let Some(resources) = property(spec, service).and_then(|part| property(part, "resources")) {
            visit(resources);
        }
    }
}

/// Bounds amounts, so that the API server can tell beforehand what the rules on them cost.
fn bound_amounts(part: &mut JSONSchemaProps) {
    let Some(resources) = property(part, "resources") else { return };
    for name in ["limits", "requests"] {
        let Some(amounts) = property(resources, name) else { continue };
        amounts.max_properties = Some(16);
        if let Some(JSONSchemaPropsOrBool::Schema(amount)) = &mut amounts.additional_properties {
            amount.max_length = Some(32);
        }
    }
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
