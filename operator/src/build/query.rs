//! The query service: a Deployment.
//!
//! A pod of the new template answers before one of the old is ended (`maxSurge` 1, none unavailable), so that a
//! roll takes the service from nobody but those whose connection was on that pod.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use tipstream_crds::ByteSize;

use super::names::Component;
use super::{PORT, PORT_NAME, Plan, files, pod};

const QUERY: Component = Component::Query;
const POSTGRES_PORT: i32 = 5432;
const MAP_PORT: i32 = 8081;
/// What else is in /tmp, before the kubelet evicts the pod.
const SCRATCH: ByteSize = ByteSize::mebibytes(3072);

/// SQL by the protocol of PostgreSQL; metrics and probes, and the map where it is asked for, by HTTP.
pub(super) fn ports(plan: &Plan<'_>) -> Vec<(&'static str, i32)> {
    let map = plan.pipeline.spec.query.map.then_some(("map", MAP_PORT));
    [("postgres", POSTGRES_PORT), (PORT_NAME, PORT)].into_iter().chain(map).collect()
}

/// `references_digest` stands for what the query service reads when it starts.
pub(super) fn deployment(plan: &Plan<'_>, references_digest: &str) -> Deployment {
    Deployment {
        metadata: plan.metadata(QUERY),
        spec: Some(DeploymentSpec {
            replicas: Some(plan.pipeline.spec.query.replicas),
            selector: LabelSelector {
                match_labels: Some(QUERY.selector(&plan.name())),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(3),
            template: template(plan, references_digest),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn template(plan: &Plan<'_>, references_digest: &str) -> PodTemplateSpec {
    let query = &plan.pipeline.spec.query;
    let container = Container {
        resources: Some(pod::resources("250m", "512Mi", "1Gi")),
        ..pod::probed(pod::container(plan, QUERY, "query", &flags(plan), &ports(plan)))
    };
    let mut spec = PodSpec {
        topology_spread_constraints: pod::spread(plan, QUERY),
        ..pod::spec(plan, QUERY, container, &query.limits.spill.plus(SCRATCH).to_string())
    };
    if let Some(secret) = query.users() {
        spec.volumes.get_or_insert_default().push(files::users(secret));
        for container in &mut spec.containers {
            let mount = pod::mount(files::USERS, files::USERS_PATH, true);
            container.volume_mounts.get_or_insert_default().push(mount);
        }
    }
    let hash = pod::config_hash(plan, QUERY, references_digest);
    pod::template(plan, QUERY, hash, query.resources.as_ref(), spec)
}

fn flags(plan: &Plan<'_>) -> Vec<String> {
    let query = &plan.pipeline.spec.query;
    let limits = &query.limits;
    let mut flags = vec![
        format!("--postgres=0.0.0.0:{POSTGRES_PORT}"),
        format!("--listen=0.0.0.0:{PORT}"),
        format!("--max-connections={}", limits.connections),
        format!("--max-queries={}", limits.queries),
        format!("--query-timeout={}", limits.timeout),
        format!("--max-rows={}", limits.rows),
        format!("--memory={}", limits.memory),
        format!("--spill={}", limits.spill),
    ];
    if query.map {
        flags.push(format!("--map=0.0.0.0:{MAP_PORT}"));
    }
    if query.insecure && query.auth.is_none() {
        flags.push("--no-auth".to_owned());
    }
    if query.insecure && query.tls.is_none() {
        flags.push("--no-tls".to_owned());
    }
    flags
}
