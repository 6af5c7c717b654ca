//! The ServiceAccount of the workers: no rights, no token.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::Plan;

pub(super) fn build(plan: &Plan<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: plan.metadata(),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
