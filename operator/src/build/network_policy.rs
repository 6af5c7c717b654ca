//! The NetworkPolicy of a part: its ports, for pods of the cluster, or none. A policy of one's own beside it opens more.
//!
//! What the pods may reach is left to the platform's own policies: brokers, data nodes and stores answer at addresses
//! and ports that only they announce, and a policy cannot name hosts. A policy of Egress beside this one narrows it.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Plan;
use super::names::Component;

pub(super) fn build(plan: &Plan<'_>, component: Component, ports: &[i32]) -> NetworkPolicy {
    let anywhere_in_the_cluster = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let open = |port: &i32| NetworkPolicyPort {
        port: Some(IntOrString::Int(*port)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    let rule = NetworkPolicyIngressRule {
        from: Some(vec![anywhere_in_the_cluster]),
        ports: Some(ports.iter().map(open).collect()),
    };
    policy(plan.metadata(component), component.selector(&plan.name()), Some(vec![rule]))
}

/// That of pods which nobody asks anything.
pub(super) fn closed(metadata: ObjectMeta, selector: BTreeMap<String, String>) -> NetworkPolicy {
    policy(metadata, selector, None)
}

fn policy(
    metadata: ObjectMeta,
    selector: BTreeMap<String, String>,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(selector), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress,
            ..NetworkPolicySpec::default()
        }),
    }
}
