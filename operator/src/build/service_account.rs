//! The ServiceAccount of all pods of a pipeline: no rights, no token.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::Plan;
use super::names::Component;

pub(super) fn build(plan: &Plan<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: plan.metadata(Component::Worker),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
