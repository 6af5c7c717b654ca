//! The NetworkPolicy of a part: its ports, for pods of the cluster. A policy of one's own beside it opens more.
//!
//! What the pods may reach is left to the platform's own policies: brokers, data nodes and stores answer at addresses
//! and ports that only they announce, and a policy cannot name hosts. A policy of Egress beside this one narrows it.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
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
    NetworkPolicy {
        metadata: plan.metadata(component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(component.selector(&plan.name())),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![anywhere_in_the_cluster]),
                ports: Some(ports.iter().map(open).collect()),
            }]),
            ..NetworkPolicySpec::default()
        }),
    }
}
