//! The Job that removes a deleted pipeline's state from Redis.
//!
//! It stands alone: it has no owner, no ConfigMap and no ServiceAccount of the pipeline, all of which a deletion
//! may take first. Whoever takes the finalizer away deletes it before; its own time to live is for the case that
//! nobody does.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use tipstream_crds::TipsPipeline;

use super::names::{Component, MANIFEST};
use super::{Object, config_map, environment, files, pod};

/// The Job of `pipeline`, which gives up after `deadline_seconds`.
pub fn build(pipeline: &TipsPipeline, default_image: &str, deadline_seconds: i64) -> Object {
    let name = pipeline.name_any();
    let labels = Component::Purge.labels(&name);
    let annotations =
        BTreeMap::from([(MANIFEST.to_owned(), config_map::manifest(pipeline, Component::Purge))]);
    Object::Job(Box::new(Job {
        metadata: ObjectMeta {
            name: Some(Component::Purge.name(&name)),
            namespace: pipeline.namespace(),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: Some(deadline_seconds),
            backoff_limit: Some(5),
            ttl_seconds_after_finished: Some(3600),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(spec(pipeline, default_image)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }))
}

fn spec(pipeline: &TipsPipeline, default_image: &str) -> PodSpec {
    let workload = &pipeline.spec.workload;
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(pod::pod_security()),
        containers: vec![Container {
            name: Component::Purge.as_str().to_owned(),
            image: Some(workload.image.clone().unwrap_or_else(|| default_image.to_owned())),
            args: Some(vec!["purge".to_owned(), format!("--file={}/{}", files::MOUNT_PATH, files::MANIFEST)]),
            env: pod::given(environment::redis(&pipeline.spec)),
            resources: Some(pod::resources("50m", "64Mi", "128Mi")),
            security_context: Some(pod::container_security()),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(vec![pod::mount(files::VOLUME, files::MOUNT_PATH, true)]),
            ..Container::default()
        }],
        node_selector: (!workload.node_selector.is_empty()).then(|| workload.node_selector.clone()),
        tolerations: pod::given(workload.tolerations.clone()),
        volumes: Some(vec![files::purge(&pipeline.spec)]),
        ..PodSpec::default()
    }
}
