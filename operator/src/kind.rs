//! The kinds of objects that the operator makes.

use std::fmt;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{ApiResource, GroupVersionKind};

/// A kind of object that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Who the workers are to the API server: nobody.
    ServiceAccount,
    /// The manifest that the pods read.
    ConfigMap,
    /// Who may reach the pods.
    NetworkPolicy,
    /// Addresses of the pods.
    Service,
    /// How many pods a drain may take at once.
    PodDisruptionBudget,
    /// The workers, and the query service.
    Deployment,
    /// The compaction.
    CronJob,
    /// The removal of the state.
    Job,
    /// Scraping by the Prometheus operator, where it is installed.
    PodMonitor,
}

impl Kind {
    /// Those that every cluster has.
    pub const BUILT_IN: [Kind; 8] = [
        Kind::ServiceAccount,
        Kind::ConfigMap,
        Kind::NetworkPolicy,
        Kind::Service,
        Kind::PodDisruptionBudget,
        Kind::Deployment,
        Kind::CronJob,
        Kind::Job,
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Kind> {
        Kind::BUILT_IN.into_iter().chain([Kind::PodMonitor])
    }

    /// Group, version and plural.
    pub fn resource(self) -> ApiResource {
        match self {
            Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Kind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Kind::Service => ApiResource::erase::<Service>(&()),
            Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Kind::Deployment => ApiResource::erase::<Deployment>(&()),
            Kind::CronJob => ApiResource::erase::<CronJob>(&()),
            Kind::Job => ApiResource::erase::<Job>(&()),
            Kind::PodMonitor => {
                let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor");
                ApiResource::from_gvk_with_plural(&kind, "podmonitors")
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
