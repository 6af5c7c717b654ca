//! The workers: a Deployment.
//!
//! A roll never has more consumers than were asked for (`maxSurge` 0): a worker beyond them would take partitions
//! over only to give them back, two rebalances for nothing. A quarter at a time bounds both the lost capacity and
//! the number of rebalances; of few workers Kubernetes takes one. The only worker is not taken until its successor is
//! ready, so that settings that do not work leave it running (O1); except where both would need one volume, which the
//! nodes of both may not be able to attach.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tipstream_crds::{SinkKind, TipsPipelineSpec};

use super::names::{Component, EPOCH};
use super::{PORT, PORT_NAME, Plan, Replacement, pod};

const WORKER: Component = Component::Worker;
/// How long a worker publishes what it has read after SIGTERM.
const DRAIN_SECONDS: i64 = 25;
/// Beyond it, for leaving the group and for the kubelet.
const DRAIN_MARGIN_SECONDS: i64 = 10;

pub(super) fn deployment(plan: &Plan<'_>) -> Deployment {
    let mut metadata = plan.metadata(WORKER);
    metadata.annotations = Some(BTreeMap::from([(EPOCH.to_owned(), plan.pipeline.spec.epoch.to_string())]));
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(wanted_replicas(&plan.pipeline.spec)),
            selector: LabelSelector {
                match_labels: Some(WORKER.selector(&plan.name())),
                ..LabelSelector::default()
            },
            strategy: Some(strategy(plan)),
            revision_history_limit: Some(3),
            template: template(plan),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// The number of workers that the spec asks for.
pub fn wanted_replicas(spec: &TipsPipelineSpec) -> i32 {
    if spec.suspend { 0 } else { spec.replicas }
}

fn strategy(plan: &Plan<'_>) -> DeploymentStrategy {
    let succeeds = plan.pipeline.spec.replicas == 1 && !matches!(plan.sink, SinkKind::Volume(_));
    let (max_surge, max_unavailable) = match succeeds {
        true => (IntOrString::Int(1), IntOrString::Int(0)),
        false => (IntOrString::Int(0), IntOrString::String("25%".to_owned())),
    };
    match plan.replacement {
        Replacement::AllAtOnce => {
            DeploymentStrategy { type_: Some("Recreate".to_owned()), ..DeploymentStrategy::default() }
        }
        Replacement::Rolling => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(max_surge),
                max_unavailable: Some(max_unavailable),
            }),
        },
    }
}

fn template(plan: &Plan<'_>) -> PodTemplateSpec {
    let flags = [format!("--drain-timeout={DRAIN_SECONDS}s"), format!("--listen=0.0.0.0:{PORT}")];
    let container = Container {
        resources: Some(pod::resources("250m", "256Mi", "512Mi")),
        ..pod::probed(pod::container(plan, WORKER, "stream", &flags, &[(PORT_NAME, PORT)]))
    };
    let spec = PodSpec {
        termination_grace_period_seconds: Some(DRAIN_SECONDS + DRAIN_MARGIN_SECONDS),
        topology_spread_constraints: pod::spread(plan, WORKER),
        ..pod::spec(plan, WORKER, container, "64Mi")
    };
    let hash = pod::config_hash(plan, WORKER, plan.references_digest);
    pod::template(plan, WORKER, hash, plan.pipeline.spec.workload.resources.as_ref(), spec)
}
