//! Takes back what was edited by hand.
//!
//! Server-side apply resets the fields that it sends and leaves those that somebody else has added. Where that is
//! kubectl, the additions are made the operator's own, and so go with the next apply, which does not send them. Other
//! managers, such as controllers that inject something, keep theirs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use crate::build::names::MANAGER;
use crate::cluster::views::is_by_hand;

const APPLY: &str = "Apply";

/// Makes the fields that were set with kubectl the operator's.
pub(super) async fn take_back(api: &Api<DynamicObject>, name: &str) -> kube::Result<()> {
    let Some(object) = api.get_opt(name).await? else { return Ok(()) };
    let patch = json!({"metadata": {
        "managedFields": taken_back(object.managed_fields()),
        "resourceVersion": object.metadata.resource_version,
    }});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
}

/// The entries with those of kubectl merged into the operator's.
fn taken_back(entries: &[ManagedFieldsEntry]) -> Vec<ManagedFieldsEntry> {
    let is_ours = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some(APPLY)
    };
    let (taken, mut kept): (Vec<_>, Vec<_>) = entries
        .iter()
        .cloned()
        .partition(|entry| is_by_hand(entry) || is_ours(entry) && entry.subresource.is_none());
    let mut fields = Map::new();
    for entry in &taken {
        if let Some(FieldsV1(Value::Object(more))) = &entry.fields_v1 {
            unite(&mut fields, more);
        }
    }
    let like = taken.iter().find(|entry| is_ours(entry)).or(taken.first());
    kept.extend(like.map(|entry| ManagedFieldsEntry {
        manager: Some(MANAGER.to_owned()),
        operation: Some(APPLY.to_owned()),
        fields_v1: Some(FieldsV1(Value::Object(fields))),
        ..entry.clone()
    }));
    kept
}

/// A set of fields is a tree, whose union is that of its branches.
fn unite(into: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, branch) in more {
        match (into.get_mut(name), branch) {
            (Some(Value::Object(into)), Value::Object(more)) => unite(into, more),
            (Some(_), _) => {}
            (None, _) => drop(into.insert(name.clone(), branch.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn what_kubectl_set_becomes_ours_and_nothing_else_does() {
        let entries = [
            entry(MANAGER, APPLY, json!({"f:spec": {"f:ports": {"k:8080": {".": {}}}}})),
            entry("kubectl-patch", "Update", json!({"f:spec": {"f:ports": {"k:9999": {".": {}}}}})),
            entry("kube-controller-manager", "Update", json!({"f:metadata": {}})),
        ];
        let after = taken_back(&entries);
        assert_eq!(after.len(), 2);
        assert_eq!(after[0], entries[2]);
        let ports = json!({"f:spec": {"f:ports": {"k:8080": {".": {}}, "k:9999": {".": {}}}}});
        assert_eq!(after[1], entry(MANAGER, APPLY, ports));
    }
}
