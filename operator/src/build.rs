//! The objects of a pipeline, from its spec alone: pure, one file an object.
//!
//! What comes in, a [`Plan`], has been checked; what comes out is the whole of what the operator owns of each
//! object, for server-side apply.

mod config_map;
mod cron_job;
mod disruption_budget;
mod environment;
mod files;
pub mod names;
mod network_policy;
mod overrides;
mod pod;
mod pod_monitor;
pub mod purge_job;
mod query;
mod service;
mod service_account;
mod worker;

#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::DynamicObject;
use kube::{Resource as _, ResourceExt as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tipstream_crds::{SinkKind, TipsPipeline, hex};

pub use self::files::{HADOOP_KEYS, KRB5_KEY};
use self::names::Component;
pub use self::worker::wanted_replicas;
use crate::kind::Kind;

/// The port of every pod's `/metrics`, and of what else it tells by HTTP: `/healthz`, `/readyz`, a worker's `/status`.
pub const PORT: i32 = 8080;
const PORT_NAME: &str = "http";

/// All that the objects of a pipeline are made from.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The pipeline, whose spec keeps every rule.
    pub pipeline: &'a TipsPipeline,
    /// Its one sink.
    pub sink: SinkKind<'a>,
    /// Image of the worker where the spec names none.
    pub default_image: &'a str,
    /// The GeoJSON that the spec refers to.
    pub polygons: Option<&'a str>,
    /// Stands for the content of the Secrets and ConfigMaps that the workers read.
    pub references_digest: &'a str,
    /// The same of the query service; `None` where it is not to be built.
    pub query_digest: Option<&'a str>,
    /// How workers are replaced.
    pub replacement: Replacement,
    /// Whether the cluster has PodMonitors.
    pub pod_monitors: bool,
}

/// How workers are replaced by those of a changed spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// A few at a time: old and new ones share the group and the state.
    Rolling,
    /// All old ones end before a new one begins: those of another epoch write the same windows (I8).
    AllAtOnce,
}

/// An object of a pipeline.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Object {
    ServiceAccount(ServiceAccount),
    ConfigMap(ConfigMap),
    NetworkPolicy(NetworkPolicy),
    Service(Box<Service>),
    PodDisruptionBudget(PodDisruptionBudget),
    Deployment(Box<Deployment>),
    CronJob(Box<CronJob>),
    Job(Box<Job>),
    PodMonitor(Box<DynamicObject>),
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::ServiceAccount(_) => Kind::ServiceAccount,
            Object::ConfigMap(_) => Kind::ConfigMap,
            Object::NetworkPolicy(_) => Kind::NetworkPolicy,
            Object::Service(_) => Kind::Service,
            Object::PodDisruptionBudget(_) => Kind::PodDisruptionBudget,
            Object::Deployment(_) => Kind::Deployment,
            Object::CronJob(_) => Kind::CronJob,
            Object::Job(_) => Kind::Job,
            Object::PodMonitor(_) => Kind::PodMonitor,
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Object::ServiceAccount(object) => &object.metadata,
            Object::ConfigMap(object) => &object.metadata,
            Object::NetworkPolicy(object) => &object.metadata,
            Object::Service(object) => &object.metadata,
            Object::PodDisruptionBudget(object) => &object.metadata,
            Object::Deployment(object) => &object.metadata,
            Object::CronJob(object) => &object.metadata,
            Object::Job(object) => &object.metadata,
            Object::PodMonitor(object) => &object.metadata,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// As it is sent.
    pub fn to_json(&self) -> Value {
        let json = match self {
            Object::ServiceAccount(object) => serde_json::to_value(object),
            Object::ConfigMap(object) => serde_json::to_value(object),
            Object::NetworkPolicy(object) => serde_json::to_value(object),
            Object::Service(object) => serde_json::to_value(object),
            Object::PodDisruptionBudget(object) => serde_json::to_value(object),
            Object::Deployment(object) => serde_json::to_value(object),
            Object::CronJob(object) => serde_json::to_value(object),
            Object::Job(object) => serde_json::to_value(object),
            Object::PodMonitor(object) => serde_json::to_value(object),
        };
        json.expect("a Kubernetes object serializes")
    }
}

/// The objects of a running pipeline, in the order in which they are applied: the workers come first, and what pods
/// need before them.
pub fn objects(plan: &Plan<'_>) -> Vec<Object> {
    let mut objects = workers(plan);
    if let Some(digest) = plan.query_digest {
        objects.extend(query(plan, digest));
    }
    if plan.pipeline.spec.compaction.enabled {
        objects.extend(compaction(plan));
    }
    objects
}

fn workers(plan: &Plan<'_>) -> Vec<Object> {
    let mut objects = Vec::new();
    if plan.pipeline.spec.workload.service_account_name.is_none() {
        objects.push(Object::ServiceAccount(service_account::build(plan)));
    }
    objects.extend(around(plan, Component::Worker, &[PORT]));
    objects.push(Object::Service(Box::new(service::of_workers(plan))));
    objects.push(Object::PodDisruptionBudget(disruption_budget::build(plan, Component::Worker)));
    objects.push(Object::Deployment(Box::new(worker::deployment(plan))));
    objects
}

fn query(plan: &Plan<'_>, references_digest: &str) -> Vec<Object> {
    let mut objects =
        around(plan, Component::Query, &query::ports(plan).iter().map(|(_, port)| *port).collect::<Vec<_>>());
    objects.push(Object::Service(Box::new(service::of_query(plan))));
    if plan.pipeline.spec.query.replicas > 1 {
        objects.push(Object::PodDisruptionBudget(disruption_budget::build(plan, Component::Query)));
    }
    objects.push(Object::Deployment(Box::new(query::deployment(plan, references_digest))));
    objects
}

fn compaction(plan: &Plan<'_>) -> Vec<Object> {
    let mut objects = around(plan, Component::Compact, &[PORT]);
    objects.push(Object::CronJob(Box::new(cron_job::build(plan))));
    objects
}

/// What the pods of every part have: something to read, who may reach them, and somebody who looks after them.
fn around(plan: &Plan<'_>, component: Component, ports: &[i32]) -> Vec<Object> {
    let mut objects = vec![
        Object::ConfigMap(config_map::build(plan, component)),
        Object::NetworkPolicy(network_policy::build(plan, component, ports)),
    ];
    if plan.pod_monitors {
        objects.push(Object::PodMonitor(Box::new(pod_monitor::build(plan, component))));
    }
    objects
}

impl Plan<'_> {
    fn name(&self) -> String {
        self.pipeline.name_any()
    }

    /// Metadata of an object of `component`.
    fn metadata(&self, component: Component) -> ObjectMeta {
        ObjectMeta {
            name: Some(component.name(&self.name())),
            namespace: self.pipeline.namespace(),
            labels: Some(component.labels(&self.name())),
            owner_references: Some(vec![owner(self.pipeline)]),
            ..ObjectMeta::default()
        }
    }
}

/// The first bytes of a hash of `parts`, in hexadecimal.
fn short_hash(parts: &[&str], bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..bytes])
}

/// The reference by which an object goes when its pipeline goes.
fn owner(pipeline: &TipsPipeline) -> OwnerReference {
    OwnerReference {
        api_version: TipsPipeline::api_version(&()).into_owned(),
        kind: TipsPipeline::kind(&()).into_owned(),
        name: pipeline.name_any(),
        uid: pipeline.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
