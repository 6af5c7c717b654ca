//! What the chart grants the operator.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tips_e2e::kubernetes::{Asked, Cluster};
use tips_e2e::operator::NAMESPACE;

/// To own what blocks a deletion is a right that only an admission plugin asks for, which is off here.
const FOR_OWNERS: &str = "tipspipelines/finalizers";

/// The rights of the operator's service account, but those that no request uses.
pub(crate) fn granted(cluster: &Cluster) -> Result<BTreeSet<Asked>> {
    let mut granted = BTreeSet::new();
    for role in [vec!["clusterrole/tipstream"], vec!["role/tipstream-leader", "--namespace", NAMESPACE]] {
        let role: Value =
            serde_json::from_str(&cluster.kubectl(&[&["get", "--output=json"], &role[..]].concat())?)?;
        for rule in role["rules"].as_array().context("rules")? {
            let texts = |name: &str| {
                let list = rule[name].as_array().into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
            };
            for (group, resource) in texts("apiGroups").iter().flat_map(|group| {
                texts("resources").into_iter().map(move |resource| (group.clone(), resource))
            }) {
                let rights = texts("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb));
                granted.extend(rights.filter(|(_, resource, _)| resource != FOR_OWNERS));
            }
        }
    }
    Ok(granted)
}
