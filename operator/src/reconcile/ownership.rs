//! Whose an object is, and taking back what was edited by hand.
//!
//! Server-side apply resets the fields that it sends and leaves those that somebody else has added. Where that is
//! kubectl, the additions are made the operator's own, and so go with the next apply, which does not send them. Other
//! managers, such as controllers that inject something, keep theirs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Resource as _, ResourceExt};
use serde_json::{Map, Value, json};
use tipstream_crds::TipsPipeline;

use super::apply::Owner;
use crate::build::names::MANAGER;
use crate::cluster::views::is_by_hand;

const APPLY: &str = "Apply";

/// Whose an object is that a pipeline would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The pipeline's, or the operator has made it and somebody has taken the owner away.
    Ours,
    /// A pipeline's of the same name that is gone: it is on its way out.
    Predecessors,
    /// That of somebody who has made it.
    SomebodyElses,
}

/// Whose `object` is that `owner` would have.
pub(super) fn of(object: &impl ResourceExt, owner: Owner<'_>) -> Ownership {
    match object.owner_references().iter().find(|reference| reference.controller == Some(true)) {
        Some(controller) if controller.uid == owner.uid => Ownership::Ours,
        Some(controller) if controller.kind == TipsPipeline::kind(&()) && controller.name == owner.name => {
            Ownership::Predecessors
        }
        None if object.managed_fields().iter().any(is_ours) => Ownership::Ours,
        _ => Ownership::SomebodyElses,
    }
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some(APPLY)
}

/// Makes the fields that were set with kubectl the operator's.
pub(super) async fn take_back(api: &Api<DynamicObject>, name: &str) -> kube::Result<()> {
    let Some(object) = api.get_opt(name).await? else { return Ok(()) };
    let patch = json!({"metadata": {
        "managedFields": taken_back(object.managed_fields()),
        "resourceVersion": object.metadata.resource_version,
    }});
    api.patch(name, &PatchParams::apply(MANAGER), &Patch::Merge(patch)).await.map(|_| ())
}

/// The entries with those of kubectl merged into the operator's.
fn taken_back(entries: &[ManagedFieldsEntry]) -> Vec<ManagedFieldsEntry> {
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
    fn what_the_operator_did_not_make_is_somebody_elses() {
        let of = |metadata: Value| {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
            let object: DynamicObject = serde_json::from_value(object).expect("an object");
            super::of(&object, Owner { name: "nyc", uid: "u" })
        };
        let by = |kind: &str, name: &str, uid: &str| {
            let owner =
                json!({"apiVersion": "x/v1", "kind": kind, "name": name, "uid": uid, "controller": true});
            json!({"name": "nyc-worker", "ownerReferences": [owner]})
        };
        assert_eq!(of(by("TipsPipeline", "nyc", "u")), Ownership::Ours);
        assert_eq!(of(by("TipsPipeline", "nyc", "v")), Ownership::Predecessors);
        assert_eq!(of(by("TipsPipeline", "other", "v")), Ownership::SomebodyElses);
        assert_eq!(of(by("Rollout", "nyc", "v")), Ownership::SomebodyElses);
        let made_by = |manager: &str| json!({"name": "nyc-worker", "managedFields": [{"manager": manager, "operation": "Apply"}]});
        assert_eq!(of(made_by(MANAGER)), Ownership::Ours);
        assert_eq!(of(made_by("kubectl")), Ownership::SomebodyElses);
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
