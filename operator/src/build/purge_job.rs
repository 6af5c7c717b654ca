//! The Job that removes a deleted pipeline's state from Redis, and the NetworkPolicy of its pod.
//!
//! They stand alone: they have no owner, no ConfigMap and no ServiceAccount of the pipeline, all of which a deletion
//! may take first, and none of the volumes that the spec adds, which may be gone, too. Whoever takes the finalizer away
//! deletes them before; the Job's own time to live is for the case that nobody does.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use tipstream_crds::{TipsPipeline, Workload};

use super::names::{Component, MANIFEST};
use super::{Object, config_map, environment, files, network_policy, overrides, pod};

/// The name of the Job: another one for each of the pipelines that come to have the same name.
pub fn name(pipeline: &TipsPipeline) -> String {
    let uid = pipeline.uid().unwrap_or_default();
    let short = uid.split('-').next().unwrap_or_default();
    format!("{}-{short}", Component::Purge.name(&pipeline.name_any()))
}

/// The objects of `pipeline`, in the order in which they are applied. The Job gives up after `deadline_seconds`.
pub fn objects(pipeline: &TipsPipeline, default_image: &str, deadline_seconds: i64) -> [Object; 2] {
    let name = pipeline.name_any();
    let metadata = ObjectMeta {
        name: Some(self::name(pipeline)),
        namespace: pipeline.namespace(),
        labels: Some(Component::Purge.labels(&name)),
        ..ObjectMeta::default()
    };
    let policy = network_policy::closed(metadata.clone(), Component::Purge.selector(&name));
    let job = job(pipeline, metadata, default_image, deadline_seconds);
    [Object::NetworkPolicy(policy), Object::Job(Box::new(job))]
}

fn job(pipeline: &TipsPipeline, metadata: ObjectMeta, default_image: &str, deadline_seconds: i64) -> Job {
    let annotations =
        BTreeMap::from([(MANIFEST.to_owned(), config_map::manifest(pipeline, Component::Purge))]);
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: metadata.labels.clone(),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(pipeline, default_image)),
    };
    let workload =
        Workload { volumes: Vec::new(), volume_mounts: Vec::new(), ..pipeline.spec.workload.clone() };
    let selector = Component::Purge.selector(&pipeline.name_any());
    overrides::merge(&workload, None, &selector, &mut template);
    Job {
        metadata,
        spec: Some(JobSpec {
            active_deadline_seconds: Some(deadline_seconds),
            backoff_limit: Some(5),
            ttl_seconds_after_finished: Some(3600),
            template,
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

fn spec(pipeline: &TipsPipeline, default_image: &str) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(pod::pod_security()),
        containers: vec![Container {
            name: Component::Purge.as_str().to_owned(),
            image: Some(pipeline.spec.workload.image.clone().unwrap_or_else(|| default_image.to_owned())),
            args: Some(vec!["purge".to_owned(), format!("--file={}/{}", files::MOUNT_PATH, files::MANIFEST)]),
            env: pod::given(environment::redis(&pipeline.spec)),
            resources: Some(pod::resources("50m", "64Mi", "128Mi")),
            security_context: Some(pod::container_security()),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(vec![pod::mount(files::VOLUME, files::MOUNT_PATH, true)]),
            ..Container::default()
        }],
        volumes: Some(vec![files::purge(&pipeline.spec)]),
        ..PodSpec::default()
    }
}
