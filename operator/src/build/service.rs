//! The Services: a name for each worker, for scraping and for a person, and one name for the query service.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::Component;
use super::{PORT, PORT_NAME, Plan, query};

/// Headless: each worker answers for itself.
pub(super) fn of_workers(plan: &Plan<'_>) -> Service {
    let mut service = build(plan, Component::Worker, &[(PORT_NAME, PORT)]);
    service.spec.get_or_insert_default().cluster_ip = Some("None".to_owned());
    service
}

/// Any query pod answers as well as another.
pub(super) fn of_query(plan: &Plan<'_>) -> Service {
    build(plan, Component::Query, &query::ports(plan))
}

fn build(plan: &Plan<'_>, component: Component, ports: &[(&str, i32)]) -> Service {
    let port = |&(name, port): &(&str, i32)| ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    Service {
        metadata: plan.metadata(component),
        spec: Some(ServiceSpec {
            selector: Some(component.selector(&plan.name())),
            ports: Some(ports.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
