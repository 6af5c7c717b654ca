//! The NetworkPolicy of the workers: their one port, for pods of the cluster.
//!
//! What they may reach is left to the platform's own policies: brokers, data nodes and stores answer at addresses
//! and ports that only they announce, and a policy cannot name hosts. A policy of Egress beside this one narrows it.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::Component;
use super::{PORT, Plan};

pub(super) fn build(plan: &Plan<'_>) -> NetworkPolicy {
    let anywhere_in_the_cluster = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let status_and_metrics = NetworkPolicyPort {
        port: Some(IntOrString::Int(PORT)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicy {
        metadata: plan.metadata(),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(Component::Worker.selector(&plan.name())),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![anywhere_in_the_cluster]),
                ports: Some(vec![status_and_metrics]),
            }]),
            ..NetworkPolicySpec::default()
        }),
    }
}
