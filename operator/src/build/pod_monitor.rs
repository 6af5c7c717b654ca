//! The PodMonitor: the Prometheus operator scrapes the pods of a part.

use kube::core::DynamicObject;
use serde_json::json;

use super::names::Component;
use super::{PORT_NAME, Plan};
use crate::kind::Kind;

pub(super) fn build(plan: &Plan<'_>, component: Component) -> DynamicObject {
    let spec = json!({"spec": {
        "selector": {"matchLabels": component.selector(&plan.name())},
        "podMetricsEndpoints": [{"port": PORT_NAME, "path": "/metrics"}],
    }});
    let mut monitor = DynamicObject::new("", &Kind::PodMonitor.resource()).data(spec);
    monitor.metadata = plan.metadata(component);
    monitor
}
