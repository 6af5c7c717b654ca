//! What all pods have in common: locked down (O5), spread over nodes, and then as the spec's overrides say.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tipstream_crds::SinkKind;

use super::names::{CONFIG_HASH, Component};
use super::{PORT_NAME, Plan, config_map, environment, files, overrides, short_hash};

/// The user and group of the image.
const NONROOT: i64 = 65532;
const SCRATCH: &str = "tipstream-tmp";
const SINK_VOLUME: &str = "tipstream-sink";

/// The template of `component`, with the overrides of the spec; `annotations` are of [`config_hash`] where a change
/// of the configuration is to roll the pods, and `resources` the overrides of the part.
pub(super) fn template(
    plan: &Plan<'_>,
    component: Component,
    annotations: impl Into<Option<BTreeMap<String, String>>>,
    resources: Option<&ResourceRequirements>,
    spec: PodSpec,
) -> PodTemplateSpec {
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(component.labels(&plan.name())),
            annotations: annotations.into(),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    let selected = component.selector(&plan.name());
    overrides::merge(&plan.pipeline.spec.workload, resources, &selected, &mut template);
    template
}

/// An annotation that changes with everything that a pod of `component` reads when it starts and that the template
/// does not show; `references_digest` stands for what it refers to.
pub(super) fn config_hash(
    plan: &Plan<'_>,
    component: Component,
    references_digest: &str,
) -> BTreeMap<String, String> {
    let manifest = config_map::decisive(plan.pipeline, component);
    let hash = short_hash(&[&manifest, plan.polygons.unwrap_or_default(), references_digest], 8);
    BTreeMap::from([(CONFIG_HASH.to_owned(), hash)])
}

/// A pod of one container, which may write `scratch_limit` into /tmp. Where the sink is a volume, it has that, too.
pub(super) fn spec(
    plan: &Plan<'_>,
    component: Component,
    mut container: Container,
    scratch_limit: &str,
) -> PodSpec {
    let spec = &plan.pipeline.spec;
    let mut volumes = vec![
        files::of(component, spec, plan.sink, &config_map::name(plan, component)),
        scratch(scratch_limit),
    ];
    let mut mounts = vec![mount(files::VOLUME, files::MOUNT_PATH, true), mount(SCRATCH, "/tmp", false)];
    let mut security = pod_security();
    if let SinkKind::Volume(sink) = plan.sink {
        let claim =
            PersistentVolumeClaimVolumeSource { claim_name: sink.claim_name.clone(), read_only: None };
        volumes.push(Volume {
            name: SINK_VOLUME.to_owned(),
            persistent_volume_claim: Some(claim),
            ..Volume::default()
        });
        mounts.push(mount(SINK_VOLUME, environment::VOLUME_PATH, component == Component::Query));
        // So that the volume can be written by a user that is not root.
        security.fs_group = Some(NONROOT);
        security.fs_group_change_policy = Some("OnRootMismatch".to_owned());
    }
    container.volume_mounts = Some(mounts);
    PodSpec {
        service_account_name: Some(Component::Worker.name(&plan.name())),
        automount_service_account_token: Some(false),
        // Not the environment variables of all Services of the namespace.
        enable_service_links: Some(false),
        security_context: Some(security),
        containers: vec![container],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// The container of `component`, which runs `command` on the manifest with `flags`.
pub(super) fn container(
    plan: &Plan<'_>,
    component: Component,
    command: &str,
    flags: &[String],
    ports: &[(&str, i32)],
) -> Container {
    let spec = &plan.pipeline.spec;
    let mut args = vec![command.to_owned(), format!("--file={}/{}", files::MOUNT_PATH, files::MANIFEST)];
    args.extend_from_slice(flags);
    let port = |&(name, port): &(&str, i32)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        name: component.as_str().to_owned(),
        image: Some(spec.workload.image.clone().unwrap_or_else(|| plan.default_image.to_owned())),
        args: Some(args),
        env: given(environment::of(component, spec, plan.sink)),
        ports: Some(ports.iter().map(port).collect()),
        security_context: Some(container_security()),
        // The last words are the reason, for the pipeline's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// `container` with the probes of one that serves: what it needs is connected to before it listens. A server that
/// swallows what it is asked is given up after some four minutes, and who gave it up says so; the startup probe, which
/// would end the container without a word, is more patient.
pub(super) fn probed(container: Container) -> Container {
    Container {
        startup_probe: Some(probe("/healthz", 2, 150)),
        liveness_probe: Some(probe("/healthz", 10, 3)),
        readiness_probe: Some(probe("/readyz", 5, 3)),
        ..container
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
pub(super) fn spread(plan: &Plan<'_>, component: Component) -> Option<Vec<TopologySpreadConstraint>> {
    Some(vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(component.selector(&plan.name())),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }])
}

fn scratch(limit: &str) -> Volume {
    let empty = EmptyDirVolumeSource {
        size_limit: Some(Quantity(limit.to_owned())),
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
