//! `spec.workload`, and the resources of the part, merged into the pods, by the keys of Kubernetes' strategic merge:
//! maps by key, lists of named things by name, everything else whole.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceRequirements, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use tipstream_crds::Workload;

/// Merges all of `workload` but its resources, which are the workers'; those of the part are `resources`, and its
/// pods are the `selected` ones.
pub(super) fn merge(
    workload: &Workload,
    resources: Option<&ResourceRequirements>,
    selected: &BTreeMap<String, String>,
    template: &mut PodTemplateSpec,
) {
    let metadata = template.metadata.get_or_insert_default();
    extend(&mut metadata.labels, &workload.labels);
    extend(&mut metadata.annotations, &workload.annotations);

    let pod = template.spec.get_or_insert_default();
    extend(&mut pod.node_selector, &workload.node_selector);
    if !workload.tolerations.is_empty() {
        pod.tolerations = Some(workload.tolerations.clone());
    }
    if workload.affinity.is_some() {
        pod.affinity.clone_from(&workload.affinity);
    }
    let spread = workload.topology_spread_constraints.iter().map(|constraint| over(selected, constraint));
    merge_list(&mut pod.topology_spread_constraints, &spread.collect::<Vec<_>>(), |constraint| {
        (constraint.topology_key.clone(), constraint.when_unsatisfiable.clone())
    });
    if workload.service_account_name.is_some() {
        pod.service_account_name.clone_from(&workload.service_account_name);
    }
    if workload.priority_class_name.is_some() {
        pod.priority_class_name.clone_from(&workload.priority_class_name);
    }
    merge_list(&mut pod.volumes, &workload.volumes, |volume| volume.name.clone());

    for container in &mut pod.containers {
        merge_list(&mut container.env, &workload.env, |variable| variable.name.clone());
        merge_list(&mut container.volume_mounts, &workload.volume_mounts, |mount| mount.mount_path.clone());
        if let Some(resources) = resources {
            merge_resources(container.resources.get_or_insert_default(), resources);
        }
    }
}

/// Without a selector a constraint is of no pods at all.
fn over(
    selected: &BTreeMap<String, String>,
    constraint: &TopologySpreadConstraint,
) -> TopologySpreadConstraint {
    let pods = || LabelSelector { match_labels: Some(selected.clone()), ..LabelSelector::default() };
    let label_selector = Some(constraint.label_selector.clone().unwrap_or_else(pods));
    TopologySpreadConstraint { label_selector, ..constraint.clone() }
}

/// Of a resource that is named, request and limit are those of `from` alone: a request above the limit that happened
/// to be there would be refused.
fn merge_resources(into: &mut ResourceRequirements, from: &ResourceRequirements) {
    let given = [&from.requests, &from.limits];
    let is_named = |name: &String| given.iter().copied().flatten().any(|amounts| amounts.contains_key(name));
    for (into, from) in [&mut into.requests, &mut into.limits].into_iter().zip(given) {
        let mut amounts = into.take().unwrap_or_default();
        amounts.retain(|name, _| !is_named(name));
        extend(into, &amounts);
        extend(into, from.as_ref().unwrap_or(&BTreeMap::new()));
    }
    if from.claims.is_some() {
        into.claims.clone_from(&from.claims);
    }
}

fn extend<V: Clone>(into: &mut Option<BTreeMap<String, V>>, from: &BTreeMap<String, V>) {
    if !from.is_empty() {
        into.get_or_insert_default().extend(from.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

/// What has the key of an item already there takes its place; the rest comes behind.
fn merge_list<T: Clone, K: PartialEq>(into: &mut Option<Vec<T>>, from: &[T], key: impl Fn(&T) -> K) {
    for item in from {
        let list = into.get_or_insert_default();
        match list.iter_mut().find(|present| key(present) == key(item)) {
            Some(present) => *present = item.clone(),
            None => list.push(item.clone()),
        }
    }
}
