//! The PodDisruptionBudget: a drain takes one pod at a time, and always can.
//!
//! `maxUnavailable` and not `minAvailable`: a single worker may be evicted (its partitions wait, nothing is lost),
//! and a pod that is broken anyway does not stand in the way.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Plan;
use super::names::Component;

pub(super) fn build(plan: &Plan<'_>, component: Component) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: plan.metadata(component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(component.selector(&plan.name())),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
