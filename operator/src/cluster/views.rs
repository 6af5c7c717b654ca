//! What matters of a child, a Deployment and a pod.

mod job;
mod pod;

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::apps::v1::DeploymentStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::Value;

pub use self::job::{CronJobView, JobState, JobView};
pub use self::pod::{PodView, Trouble, pod};
use super::Key;
use super::mirror::View;
use crate::build::names::{COMPONENT, Component, EPOCH, INSTANCE};
use crate::kind::Kind;

/// Longest message of a pod that is passed on.
const MESSAGE_LIMIT: usize = 500;

/// What the Deployment's controller writes with every roll.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// An object that the operator made.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildView {
    /// The pipeline that its label names.
    pub pipeline: Option<String>,
    /// The part of it that its label names.
    pub component: Option<Component>,
    /// The UID of its controller.
    pub controller: Option<String>,
    /// Hash of all of it but its status and bookkeeping: changes with whatever anybody changes.
    pub hash: u64,
    /// Whether somebody has edited it with kubectl.
    pub hand_edited: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// Where it stands, for the kinds that go through something.
    pub progress: Progress,
}

/// Where an object stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It only is.
    Still,
    /// A Deployment.
    Deployment(DeploymentView),
    /// A CronJob.
    CronJob(CronJobView),
    /// A Job.
    Job(JobView),
}

/// Where a Deployment stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentView {
    /// The epoch of its pods.
    pub epoch: Option<i64>,
    /// Whether it replaces all pods at once.
    pub recreates: bool,
    /// Whether its controller has not seen it yet at all.
    pub new: bool,
    /// Whether its controller has seen the latest spec.
    pub observed: bool,
    /// Replicas that the spec asks for.
    pub wanted: i32,
    /// Replicas that exist.
    pub existing: i32,
    /// Of those, the ones with the present template.
    pub updated: i32,
    /// Of those that exist, the ones that are ready.
    pub ready: i32,
    /// Whether the controller has given up waiting.
    pub stalled: bool,
    /// Why pods cannot be made.
    pub failure: Option<String>,
}

impl DeploymentView {
    /// Whether exactly the wanted pods exist, all with the present template.
    pub fn is_rolled_out(&self) -> bool {
        self.observed && self.updated == self.wanted && self.existing == self.wanted
    }
}

impl View for ChildView {
    fn pipeline(&self) -> Option<&str> {
        self.pipeline.as_deref()
    }
}

/// What matters of an object of `kind`.
pub fn child(kind: Kind, object: &DynamicObject) -> (Key, ChildView) {
    let progress = match kind {
        Kind::Deployment => Progress::Deployment(deployment(object)),
        Kind::CronJob => Progress::CronJob(job::cron_job(object)),
        Kind::Job => Progress::Job(job::job(object)),
        _ => Progress::Still,
    };
    let controller =
        object.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|o| o.uid.clone());
    let view = ChildView {
        pipeline: object.labels().get(INSTANCE).cloned(),
        component: component(object),
        controller,
        hash: content_hash(object),
        hand_edited: object.managed_fields().iter().any(is_by_hand),
        terminating: object.metadata.deletion_timestamp.is_some(),
        progress,
    };
    (key(object), view)
}

/// Hash of an object without what its own controllers and the API server write.
pub fn content_hash(object: &DynamicObject) -> u64 {
    let mut hash = DefaultHasher::new();
    let metadata = &object.metadata;
    metadata.labels.hash(&mut hash);
    for annotation in metadata.annotations.iter().flatten().filter(|(name, _)| *name != REVISION) {
        annotation.hash(&mut hash);
    }
    metadata.finalizers.hash(&mut hash);
    metadata.uid.hash(&mut hash);
    for owner in metadata.owner_references.iter().flatten() {
        (&owner.uid, owner.controller, owner.block_owner_deletion).hash(&mut hash);
    }
    for (field, value) in
        object.data.as_object().into_iter().flatten().filter(|(field, _)| *field != "status")
    {
        (field, value.to_string()).hash(&mut hash);
    }
    hash.finish()
}

/// Whether the fields of an entry were set with kubectl: `kubectl-edit`, `kubectl-patch`, `kubectl`, ….
pub fn is_by_hand(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref().is_some_and(|manager| manager.starts_with("kubectl"))
        && entry.subresource.is_none()
}

/// The namespaced name of an object.
pub fn key(object: &impl kube::ResourceExt) -> Key {
    Key::new(object.meta().namespace.as_deref().unwrap_or_default(), &object.name_any())
}

fn component(object: &impl kube::ResourceExt) -> Option<Component> {
    object.labels().get(COMPONENT).and_then(|label| Component::of_label(label))
}

fn status<T: serde::de::DeserializeOwned + Default>(object: &DynamicObject) -> T {
    object
        .data
        .get("status")
        .cloned()
        .and_then(|status| serde_json::from_value(status).ok())
        .unwrap_or_default()
}

fn deployment(object: &DynamicObject) -> DeploymentView {
    let status: DeploymentStatus = status(object);
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let mut view = DeploymentView {
        epoch: object.annotations().get(EPOCH).and_then(|epoch| epoch.parse().ok()),
        recreates: spec["strategy"]["type"] == "Recreate",
        new: status.observed_generation.is_none(),
        observed: status.observed_generation == object.metadata.generation,
        wanted: spec["replicas"].as_i64().and_then(|n| n.try_into().ok()).unwrap_or(1),
        existing: status.replicas.unwrap_or(0),
        updated: status.updated_replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        ..DeploymentView::default()
    };
    for condition in status.conditions.unwrap_or_default() {
        match (&*condition.type_, &*condition.status) {
            ("Progressing", "False") => view.stalled = true,
            ("ReplicaFailure", "True") => view.failure = Some(short(condition.message.as_deref())),
            _ => {}
        }
    }
    view
}

fn short(message: Option<&str>) -> String {
    let message = message.unwrap_or_default().trim();
    match message.char_indices().nth(MESSAGE_LIMIT) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn only_what_somebody_changes_changes_the_hash() {
        let base = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "resourceVersion": "1", "generation": 1, "managedFields": []},
            "spec": {"clusterIP": "None"},
            "status": {"loadBalancer": {}},
        });
        let hash = |change: fn(&mut Value)| {
            let mut value = base.clone();
            change(&mut value);
            content_hash(&object(value))
        };
        let same = hash(|_| ());
        assert_eq!(same, hash(|v| v["metadata"]["resourceVersion"] = json!("2")));
        assert_eq!(same, hash(|v| v["status"] = json!({"loadBalancer": {"ingress": []}})));
        assert_eq!(same, hash(|v| v["metadata"]["managedFields"] = json!([{"manager": "x"}])));
        assert_ne!(same, hash(|v| v["spec"]["clusterIP"] = json!("10.0.0.1")));
        assert_ne!(same, hash(|v| v["metadata"]["labels"] = json!({"a": "b"})));
        assert_ne!(
            same,
            hash(|v| v["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "u"}]))
        );
    }
}
