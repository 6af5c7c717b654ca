//! The ConfigMap that the pods of a part read when they start: their part of the manifest, and the polygons.
//!
//! That of the workers is never changed: a worker that starts again while others are rolled out, or because what is new
//! does not work, finds what it has read before. So its name tells its content, and one takes the place of another.
//!
//! The polygons are a copy of the ConfigMap that the spec refers to, so that a pod that starts again after a wrong
//! edit of that one still finds the last good ones.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde_json::{Value, json};
use tipstream_crds::TipsPipeline;

use super::files::{MANIFEST, POLYGONS};
use super::names::Component;
use super::{Plan, short_hash};

pub(super) fn build(plan: &Plan<'_>, component: Component) -> ConfigMap {
    let mut data = BTreeMap::from([(MANIFEST.to_owned(), manifest(plan.pipeline, component))]);
    if let Some(polygons) = plan.polygons {
        data.insert(POLYGONS.to_owned(), polygons.to_owned());
    }
    ConfigMap {
        metadata: ObjectMeta { name: Some(name(plan, component)), ..plan.metadata(component) },
        immutable: is_replaced(component).then_some(true),
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// Its name.
pub(super) fn name(plan: &Plan<'_>, component: Component) -> String {
    let name = component.name(&plan.name());
    if is_replaced(component) {
        let content = [&*manifest(plan.pipeline, component), plan.polygons.unwrap_or_default()];
        format!("{name}-{}", short_hash(&content, 5))
    } else {
        name
    }
}

/// Whether it is replaced, not changed.
const fn is_replaced(component: Component) -> bool {
    matches!(component, Component::Worker)
}

/// What is read of the spec. The rest is left out, since a change of the manifest rolls the pods (O4).
const fn sections(component: Component) -> &'static [&'static str] {
    match component {
        Component::Worker | Component::Purge => &["epoch", "kafka", "redis", "sink", "job", "raw"],
        Component::Query => &["epoch", "kafka", "redis", "sink", "job"],
        Component::Compact => &["epoch", "kafka", "redis", "sink", "job", "raw", "compaction"],
    }
}

/// What a manifest must have, or may have, and queries go by nothing of.
const UNREAD_BY_QUERIES: [(&str, &[&str]); 2] = [
    ("kafka", &["bootstrapServers", "groupId", "startFrom", "tls", "sasl", "properties"]),
    ("job", &["idleTimeout", "maxDrift"]),
];

/// The part of the pipeline that `component` is given.
pub(super) fn manifest(pipeline: &TipsPipeline, component: Component) -> String {
    written(pipeline, spec(pipeline, component))
}

/// The part of it that `component` goes by: a change of anything else restarts nothing (O4).
pub(super) fn decisive(pipeline: &TipsPipeline, component: Component) -> String {
    let mut spec = spec(pipeline, component);
    if component == Component::Query {
        for (section, unread) in UNREAD_BY_QUERIES {
            if let Some(fields) = spec[section].as_object_mut() {
                fields.retain(|name, _| !unread.contains(&name.as_str()));
            }
        }
    }
    written(pipeline, spec)
}

fn spec(pipeline: &TipsPipeline, component: Component) -> Value {
    let mut spec = serde_json::to_value(&pipeline.spec).expect("a spec serializes");
    if let Value::Object(fields) = &mut spec {
        fields.retain(|name, _| sections(component).contains(&name.as_str()));
    }
    spec
}

fn written(pipeline: &TipsPipeline, spec: Value) -> String {
    let manifest = json!({
        "apiVersion": TipsPipeline::api_version(&()),
        "kind": TipsPipeline::kind(&()),
        "metadata": {"name": pipeline.metadata.name, "namespace": pipeline.metadata.namespace},
        "spec": spec,
    });
    serde_saphyr::to_string(&manifest).expect("JSON is YAML")
}
