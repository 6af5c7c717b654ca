//! The pods of the workers: locked down (O5), probed, spread over nodes, and then as the spec's overrides say.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};
use tipstream_crds::SinkKind;

use super::names::{CONFIG_HASH, Component};
use super::{PORT, PORT_NAME, Plan, config_map, environment, files, overrides};

/// Name of the worker's container.
const CONTAINER: &str = "worker";
/// How long a worker publishes what it has read after SIGTERM.
const DRAIN_SECONDS: i64 = 25;
/// Beyond it, for leaving the group and for the kubelet.
const DRAIN_MARGIN_SECONDS: i64 = 10;
/// The user and group of the image.
const NONROOT: i64 = 65532;
const SCRATCH: &str = "tipstream-tmp";
const SINK_VOLUME: &str = "tipstream-sink";

pub(super) fn template(plan: &Plan<'_>) -> PodTemplateSpec {
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(Component::Worker.labels(&plan.name())),
            annotations: Some(BTreeMap::from([(CONFIG_HASH.to_owned(), config_hash(plan))])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(plan)),
    };
    overrides::merge(&plan.pipeline.spec.workload, &mut template);
    template
}

/// Changes with everything that a worker reads when it starts and that the template does not show.
fn config_hash(plan: &Plan<'_>) -> String {
    let mut hash = Sha256::new();
    for part in
        [&config_map::manifest(plan.pipeline), plan.polygons.unwrap_or_default(), plan.references_digest]
    {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spec(plan: &Plan<'_>) -> PodSpec {
    let mut volumes =
        vec![files::worker(&plan.pipeline.spec, plan.sink, &Component::Worker.name(&plan.name())), scratch()];
    let mut security = pod_security();
    if let SinkKind::Volume(sink) = plan.sink {
        let claim =
            PersistentVolumeClaimVolumeSource { claim_name: sink.claim_name.clone(), read_only: None };
        volumes.push(Volume {
            name: SINK_VOLUME.to_owned(),
            persistent_volume_claim: Some(claim),
            ..Volume::default()
        });
        // So that the volume can be written by a user that is not root.
        security.fs_group = Some(NONROOT);
        security.fs_group_change_policy = Some("OnRootMismatch".to_owned());
    }
    PodSpec {
        service_account_name: Some(Component::Worker.name(&plan.name())),
        automount_service_account_token: Some(false),
        // Not the environment variables of all Services of the namespace.
        enable_service_links: Some(false),
        security_context: Some(security),
        termination_grace_period_seconds: Some(DRAIN_SECONDS + DRAIN_MARGIN_SECONDS),
        topology_spread_constraints: Some(spread(&plan.name())),
        containers: vec![container(plan)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn container(plan: &Plan<'_>) -> Container {
    let workload = &plan.pipeline.spec.workload;
    let mut mounts = vec![mount(files::VOLUME, files::MOUNT_PATH, true), mount(SCRATCH, "/tmp", false)];
    if let SinkKind::Volume(_) = plan.sink {
        mounts.push(mount(SINK_VOLUME, environment::VOLUME_PATH, false));
    }
    let args = [
        "stream".to_owned(),
        format!("--file={}/{}", files::MOUNT_PATH, files::MANIFEST),
        format!("--drain-timeout={DRAIN_SECONDS}s"),
        format!("--listen=0.0.0.0:{PORT}"),
    ];
    Container {
        name: CONTAINER.to_owned(),
        image: Some(workload.image.clone().unwrap_or_else(|| plan.default_image.to_owned())),
        args: Some(args.into()),
        env: given(environment::worker(&plan.pipeline.spec, plan.sink)),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        // A worker connects to Redis, sink and Kafka before it listens.
        startup_probe: Some(probe("/healthz", 2, 90)),
        liveness_probe: Some(probe("/healthz", 10, 3)),
        readiness_probe: Some(probe("/readyz", 5, 3)),
        resources: Some(resources("250m", "256Mi", "512Mi")),
        security_context: Some(container_security()),
        // A worker's last words are its reason, for the pipeline's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// What `restricted` Pod Security asks of a pod.
pub(super) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// What it asks of a container, and a root file system that cannot be written.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// A limit of memory and none of CPU: throttling a consumer only makes lag.
pub(super) fn resources(cpu: &str, memory: &str, memory_limit: &str) -> ResourceRequirements {
    let of = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(of(&[("cpu", cpu), ("memory", memory)])),
        limits: Some(of(&[("memory", memory_limit)])),
        ..ResourceRequirements::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(3),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

/// Over nodes as far as it can be had: a pipeline is no reason to add a node.
fn spread(pipeline: &str) -> Vec<TopologySpreadConstraint> {
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(Component::Worker.selector(pipeline)),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }]
}

fn scratch() -> Volume {
    let empty = EmptyDirVolumeSource {
        size_limit: Some(Quantity("64Mi".to_owned())),
        ..EmptyDirVolumeSource::default()
    };
    Volume { name: SCRATCH.to_owned(), empty_dir: Some(empty), ..Volume::default() }
}

/// A list, where there is anything in it.
pub(super) fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
