//! What matters of a pod.

use k8s_openapi::api::core::v1::{ContainerState, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::{component, key, short};
use crate::build::names::{Component, INSTANCE};
use crate::cluster::Key;
use crate::cluster::mirror::View;

/// What a Deployment's controller tells the pods of its templates apart by.
const TEMPLATE: &str = "pod-template-hash";

/// A pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    /// The pipeline that its label names.
    pub pipeline: Option<String>,
    /// The part of it that its label names.
    pub component: Option<Component>,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Hash of the template that it was made from, where that can change.
    pub template: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// What keeps it from running.
    pub trouble: Option<Trouble>,
}

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// In one word, such as ImagePullBackOff.
    pub reason: String,
    /// In its own words.
    pub message: String,
    /// The exit code of its last run.
    pub exit_code: Option<i32>,
}

impl View for PodView {
    fn pipeline(&self) -> Option<&str> {
        self.pipeline.as_deref()
    }
}

/// What matters of a pod.
pub fn pod(pod: &Pod) -> (Key, PodView) {
    let status = pod.status.as_ref();
    let conditions = || status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let ready = conditions().any(|c| c.type_ == "Ready" && c.status == "True");
    let component = component(pod);
    let phase = status.and_then(|s| s.phase.as_deref());
    // One that was evicted has a successor and may lie about for long: its address is somebody else's by then. Only
    // a run of the compaction is meant to end.
    let replaced = matches!(phase, Some("Failed" | "Succeeded")) && component != Some(Component::Compact);
    let view = PodView {
        pipeline: pod.labels().get(INSTANCE).cloned(),
        component,
        name: pod.name_any(),
        created: pod.creation_timestamp().map(|Time(created)| created),
        template: pod.labels().get(TEMPLATE).cloned(),
        address: status.and_then(|s| s.pod_ip.clone()).filter(|_| !replaced),
        ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        trouble: if ready || replaced { None } else { trouble(pod, component) },
    };
    (key(pod), view)
}

fn trouble(pod: &Pod, component: Option<Component>) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        let reason = condition.reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
        return Some(Trouble { reason, message: short(condition.message.as_deref()), exit_code: None });
    }
    // Others may stand beside it, such as a mesh's proxy.
    let containers = || status.container_statuses.iter().flatten();
    let ours = component.and_then(|component| containers().find(|c| c.name == component.as_str()));
    let container = ours.or_else(|| containers().next())?;
    let ended = |state: &Option<ContainerState>| state.as_ref().and_then(|s| s.terminated.clone());
    let last =
        ended(&container.state).or_else(|| ended(&container.last_state)).filter(|end| end.exit_code != 0);
    let waiting = container.state.as_ref().and_then(|state| state.waiting.clone());
    let waiting = waiting.filter(|waiting| {
        !matches!(waiting.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing"))
    });
    match (waiting, last) {
        (waiting, Some(last)) => Some(Trouble {
            reason: waiting
                .and_then(|waiting| waiting.reason)
                .or(last.reason)
                .unwrap_or_else(|| "Error".to_owned()),
            message: last_line(last.message.as_deref()),
            exit_code: Some(last.exit_code),
        }),
        (Some(waiting), None) => Some(Trouble {
            reason: waiting.reason.unwrap_or_default(),
            message: short(waiting.message.as_deref()),
            exit_code: None,
        }),
        (None, None) => None,
    }
}

/// A program that ends says why at last.
fn last_line(message: Option<&str>) -> String {
    short(message.and_then(|message| message.trim_end().lines().next_back()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::build::names::COMPONENT;

    fn worker(status: Value) -> PodView {
        let labels = json!({INSTANCE: "nyc", COMPONENT: "worker"});
        let worker =
            json!({"metadata": {"name": "w", "namespace": "ns", "labels": labels}, "status": status});
        pod(&serde_json::from_value(worker).expect("a pod")).1
    }

    fn ended(name: &str, message: &str) -> Value {
        json!({
            "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": message}},
        })
    }

    #[test]
    fn a_worker_that_ended_is_quoted() {
        let log = "{\"level\":\"INFO\"}\ntips-worker: the state in Redis belongs to other settings\n";
        let view = worker(json!({"containerStatuses": [ended("a-proxy", "proxied"), ended("worker", log)]}));
        let trouble = view.trouble.expect("it does not run");
        assert_eq!(trouble.reason, "CrashLoopBackOff");
        assert_eq!(trouble.message, "tips-worker: the state in Redis belongs to other settings");
        assert_eq!(trouble.exit_code, Some(3));
    }

    #[test]
    fn one_that_was_evicted_is_neither_asked_nor_held_against_its_successor() {
        let status = |phase: &str| {
            worker(json!({"phase": phase, "podIP": "10.0.0.1", "containerStatuses": [ended("worker", "")]}))
        };
        assert_eq!(status("Running").address.as_deref(), Some("10.0.0.1"));
        assert!(status("Running").trouble.is_some());
        assert_eq!((status("Failed").address, status("Failed").trouble), (None, None));
    }
}
