//! What the operator may do: exactly what it does (O5).
//!
//! The chart's roles are this list: `charts/tipstream/files/rbac.yaml` is generated from it and compared by a test.

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::Serialize;

use crate::kind::Kind;

/// The rules of the two roles.
#[derive(Serialize)]
pub struct Roles {
    /// In every namespace whose pipelines are watched: a ClusterRole, or a Role for `--namespace`.
    pub pipelines: Vec<PolicyRule>,
    /// In the operator's own namespace: leader election.
    pub own: Vec<PolicyRule>,
}

/// Read once for a conflict, watched, and written by server-side apply.
const OWNED: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// What the operator may do.
pub fn roles() -> Roles {
    let mut pipelines = vec![
        // Finalizers are metadata.
        rule("tipstream.dev", &["tipspipelines"], &["list", "watch", "patch"]),
        rule("tipstream.dev", &["tipspipelines/status", "tipspipelines/scale"], &["patch"]),
        // To be named as the owner that blocks deletion, where admission asks for it.
        rule("tipstream.dev", &["tipspipelines/finalizers"], &["update"]),
        // What specs refer to: the hash of its content rolls the pods. ConfigMaps are among the owned kinds.
        rule("", &["secrets"], &["get", "list", "watch"]),
        rule("", &["pods"], &["list", "watch"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ];
    pipelines.extend(Kind::all().map(|kind| {
        let resource = kind.resource();
        // A Job has a name of its own, so nobody else's is looked for.
        let verbs = OWNED.iter().filter(|verb| kind != Kind::Job || **verb != "get");
        rule(&resource.group, &[&resource.plural], &verbs.copied().collect::<Vec<_>>())
    }));
    Roles { pipelines, own: vec![rule("coordination.k8s.io", &["leases"], &["get", "create", "update"])] }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_roles_are_the_ones_in_the_code() {
        let generated = serde_saphyr::to_string(&super::roles()).expect("rules serialize");
        let committed = include_str!("../../charts/tipstream/files/rbac.yaml");
        assert!(generated == committed, "the chart has other rights: run `make crds`");
    }
}
