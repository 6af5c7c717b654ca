//! The ConfigMap that the workers read when they start: the manifest and the polygons.
//!
//! The polygons are a copy of the ConfigMap that the spec refers to, so that a worker that starts again after a
//! wrong edit of that one still finds the last good ones.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use tipstream_crds::TipsPipeline;

use super::Plan;

/// Key of the manifest.
pub(super) const MANIFEST: &str = "pipeline.yaml";
/// Key of the polygons.
pub(super) const POLYGONS: &str = "neighbourhoods.geojson";

pub(super) fn build(plan: &Plan<'_>) -> ConfigMap {
    let mut data = BTreeMap::from([(MANIFEST.to_owned(), manifest(plan.pipeline))]);
    if let Some(polygons) = plan.polygons {
        data.insert(POLYGONS.to_owned(), polygons.to_owned());
    }
    ConfigMap { metadata: plan.metadata(), data: Some(data), ..ConfigMap::default() }
}

/// The part of the pipeline that a worker reads. What only the operator reads is left out, since a change of the
/// manifest rolls the pods (O4).
pub(super) fn manifest(pipeline: &TipsPipeline) -> String {
    const READ_BY_WORKERS: [&str; 6] = ["epoch", "kafka", "redis", "sink", "job", "raw"];
    let mut spec = serde_json::to_value(&pipeline.spec).expect("a spec serializes");
    if let Value::Object(fields) = &mut spec {
        fields.retain(|name, _| READ_BY_WORKERS.contains(&name.as_str()));
    }
    let manifest = json!({
        "apiVersion": "tipstream.dev/v1alpha1",
        "kind": "TipsPipeline",
        "metadata": {"name": pipeline.metadata.name, "namespace": pipeline.metadata.namespace},
        "spec": spec,
    });
    serde_saphyr::to_string(&manifest).expect("JSON is YAML")
}
