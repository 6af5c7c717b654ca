//! A pipeline that the API server lets in and the operator does not understand, as where the CRD is of another version.

use anyhow::{Result, ensure};
use serde_json::json;
use tips_e2e::kubernetes::Cluster;

use crate::operator::deletion::nothing_is_left;
use crate::operator::pipeline::{
    SOON, becomes, condition, events, field, manifest, message, patch, with_operator,
};

/// Has the API server take anything at all as the image.
fn loosen(cluster: &Cluster) -> Result<()> {
    let workload = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/workload";
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([
        {"op": "remove", "path": format!("{workload}/x-kubernetes-validations")},
        {"op": "replace", "path": format!("{workload}/properties/image"), "value": anything},
    ]);
    let crd = ["patch", "crd", "tipspipelines.tipstream.dev", "--type=json", "--patch"];
    cluster.kubectl(&[&crd[..], &[&patch.to_string()]].concat()).map(drop)
}

#[test]
fn who_is_not_understood_is_told_so_runs_on_and_can_be_deleted() {
    const STRANGE: &str = r#"{"spec": {"workload": {"image": {"name": "mine"}}}}"#;
    with_operator("operator-stranger", |cluster| {
        cluster.apply(&manifest("nyc", "  replicas: 1\n  deletionPolicy: Delete\n"))?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let deployment = field(cluster, "deployment/nyc-worker", "{.metadata.generation}")?;
        let audited = json!([{"op": "add", "path": "/status/conditions/-", "value": {
            "type": "Audited", "status": "True", "reason": "Seen", "message": "",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        }}]);
        let add = ["patch", "tips", "nyc", "--subresource=status", "--type=json", "--patch"];
        cluster.kubectl(&[&add[..], &[&audited.to_string()]].concat())?;
        loosen(cluster)?;
        // The API server goes by the new schema a moment later.
        let strange = ["patch", "tips", "nyc", "--type=merge", "--patch", STRANGE];
        cluster.until(&strange, SOON, |_| true)?;
        condition(cluster, "nyc", "Ready", "False/NotUnderstood")?;
        let said = message(cluster, "nyc", "Degraded")?;
        let field = "cannot be understood: spec.workload.image: invalid type: map, expected a string; ";
        ensure!(said.starts_with(field) && said.contains("kubectl edit tips nyc"), "{said}");
        condition(cluster, "nyc", "Audited", "True/Seen")?;
        ensure!(events(cluster)?.contains("NotUnderstood"), "{}", events(cluster)?);
        becomes(cluster, "deployment/nyc-worker", "{.metadata.generation}", &deployment)?;

        patch(cluster, "nyc", r#"{"spec": {"workload": null}}"#)?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;
        condition(cluster, "nyc", "Audited", "True/Seen")?;

        patch(cluster, "nyc", STRANGE)?;
        condition(cluster, "nyc", "Ready", "False/NotUnderstood")?;
        cluster.kubectl(&["delete", "tips", "nyc", "--timeout=30s"])?;
        ensure!(events(cluster)?.contains("StateLeft"), "{}", events(cluster)?);
        nothing_is_left(cluster)
    });
}
