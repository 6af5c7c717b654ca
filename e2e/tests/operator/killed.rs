//! The life of a pipeline in which every operator dies: one behind each write, and the next goes on from there (O2).

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator};
use tips_e2e::{Folder, scenario};

use crate::operator::children::{CHILDREN, of_workers};
use crate::operator::deletion::nothing_is_left;
use crate::operator::pipeline::{
    SOON, becomes, condition, config_map, end_job, events, install_pod_monitors, manifest, patch, purge,
};
use crate::operator::rights;

/// The writes of a reconcile that makes everything, each with how often it was done then: `operator/src/crash.rs` tells
/// them. The objects of the workers come first, then those of the query service, then those of the compaction.
const CREATION: [(&str, usize); 20] = [
    ("lease::after-acquire", 1),
    ("finalizer::after-change", 1),
    ("apply::after-ServiceAccount", 1),
    ("apply::after-ConfigMap", 1),
    ("apply::after-NetworkPolicy", 1),
    ("apply::after-PodMonitor", 1),
    ("apply::after-Service", 1),
    ("apply::after-PodDisruptionBudget", 1),
    ("apply::after-Deployment", 1),
    ("apply::after-ConfigMap", 2),
    ("apply::after-NetworkPolicy", 2),
    ("apply::after-PodMonitor", 2),
    ("apply::after-Service", 2),
    ("apply::after-PodDisruptionBudget", 2),
    ("apply::after-Deployment", 2),
    ("apply::after-ConfigMap", 3),
    ("apply::after-NetworkPolicy", 3),
    ("apply::after-PodMonitor", 3),
    ("apply::after-CronJob", 1),
    ("status::after-write", 1),
];
/// What they make beside the workers' objects.
const BESIDE: [&str; 11] = [
    "configmap/nyc-query",
    "networkpolicy/nyc-query",
    "podmonitor/nyc-query",
    "service/nyc-query",
    "poddisruptionbudget/nyc-query",
    "deployment/nyc-query",
    "configmap/nyc-compact",
    "networkpolicy/nyc-compact",
    "podmonitor/nyc-compact",
    "cronjob/nyc-compact",
    "podmonitor/nyc-worker",
];
/// All that an operator makes but the removal of the state.
const KINDS: &str = "configmaps,cronjobs,deployments,networkpolicies,poddisruptionbudgets,podmonitors,services,serviceaccounts";

struct Life<'a> {
    folder: &'a Folder,
    cluster: &'a Cluster,
    rights: Cluster,
    deaths: usize,
}

impl Life<'_> {
    /// An operator starts, and dies at `point`.
    fn die_at(&mut self, point: &str) -> Result<()> {
        self.die_at_nth(point, 1)
    }

    /// The same, when it comes to `point` for the `nth` time.
    fn die_at_nth(&mut self, point: &str, nth: usize) -> Result<()> {
        self.deaths += 1;
        let name = format!("operator-{}", self.deaths);
        operator::die_at(self.folder, &self.rights, &name, point, nth)
            .with_context(|| format!("death {}, at {point} for the {nth}. time", self.deaths))?;
        // Nobody gave the Lease up, and it would be held for 15 s.
        self.cluster.kubectl(&["delete", "lease", "tipstream", "--namespace=tips-system"]).map(drop)
    }

    /// An operator that lives.
    fn operator(&self) -> Result<Operator> {
        Operator::start(self.folder, &self.rights, "survivor")
    }
}

/// Addresses, and the hash of the manifest, which has the namespace in it.
const OWN: [&str; 4] = [
    "/spec/clusterIP",
    "/spec/clusterIPs",
    "/spec/template/metadata/annotations",
    "/spec/jobTemplate/spec/template/metadata/annotations",
];

/// What the operator says of the children of a pipeline, without what differs between two namespaces.
fn children(cluster: &Cluster, namespace: &str) -> Result<Vec<Value>> {
    let of_pipeline =
        ["--namespace", namespace, "--selector=app.kubernetes.io/instance=nyc", "--output=json"];
    let text = cluster.kubectl(&[&["get", KINDS], &of_pipeline[..]].concat())?;
    // The name tells the content, which names the namespace.
    let read = config_map(cluster, namespace, "nyc")?.replace("configmap/", "");
    let mut list: Value =
        serde_json::from_str(&text.replace(&read, "nyc-worker-read").replace("calm", "default"))?;
    let mut items = list["items"].as_array_mut().context("a list")?.split_off(0);
    for item in &mut items {
        let object = item.as_object_mut().context("an object")?;
        let metadata = object.remove("metadata").context("metadata")?;
        object.insert("labels".to_owned(), metadata["labels"].clone());
        object.insert("owner".to_owned(), metadata["ownerReferences"][0]["name"].clone());
        object.remove("status");
        for field in OWN {
            item.pointer_mut(field).into_iter().for_each(|own| *own = Value::Null);
        }
    }
    Ok(items)
}

#[test]
fn an_operator_that_dies_behind_any_write_is_replaced_by_one_that_finishes_it() {
    scenario("operator-dies", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        install_pod_monitors(cluster)?;
        let rights = operator::install(cluster)?;
        let mut life = Life { folder, cluster, rights, deaths: 0 };

        let spec = "  replicas: 0
  deletionPolicy: Delete
  query: {enabled: true, insecure: true, replicas: 2}
  compaction: {enabled: true}
";
        cluster.apply(&manifest("nyc", spec))?;
        for (point, nth) in CREATION {
            life.die_at_nth(point, nth)?;
        }
        let told = events(cluster)?;
        ensure!(told.contains("NoReplicas"), "what is written is not told: {told}");
        let operator = life.operator()?;
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        for child in of_workers(cluster, "nyc")?.iter().map(String::as_str).chain(BESIDE) {
            cluster.kubectl(&["get", child])?;
        }
        drop(operator);

        cluster.kubectl(&["set", "env", "deployment/nyc-worker", "INTRUDER=1"])?;
        let all = ["label", KINDS, "--selector=app.kubernetes.io/instance=nyc", "intruder=yes"];
        cluster.kubectl(&all)?;
        life.die_at("apply::after-take-back")?;
        cluster.kubectl(&["create", "serviceaccount", "mine"])?;
        patch(cluster, "nyc", r#"{"spec": {"workload": {"serviceAccountName": "mine"}}}"#)?;
        life.die_at("apply::after-delete")?;
        let out_of_range = r#"{"spec": {"replicas": 2, "scaling": {"maxReplicas": 1, "targetLag": 1}}}"#;
        patch(cluster, "nyc", out_of_range)?;
        life.die_at("scale::after-write")?;
        // Of what cannot be brought about, that many workers are wanted is.
        let wrong = r#"{"spec": {"replicas": 3, "scaling": null, "redis": {"auth": {"secretRef": {"name": "users"}}}}}"#;
        patch(cluster, "nyc", wrong)?;
        life.die_at("apply::after-scale")?;
        patch(cluster, "nyc", r#"{"spec": {"redis": {"auth": null}}}"#)?;
        patch(cluster, "nyc", r#"{"spec": {"suspend": true, "replicas": 0, "scaling": null}}"#)?;
        life.die_at("events::after-tell")?;
        let operator = life.operator()?;
        // One that never saw a death.
        cluster.kubectl(&["create", "namespace", "calm"])?;
        cluster.kubectl(&["create", "serviceaccount", "mine", "--namespace=calm"])?;
        let spec = format!("{spec}  suspend: true\n  workload: {{serviceAccountName: mine}}\n");
        cluster.apply(&manifest("nyc", &spec).replace("namespace: default", "namespace: calm"))?;
        let settled = "--output=jsonpath={.status.conditions[?(@.type=='Progressing')].reason}";
        for namespace in ["default", "calm"] {
            cluster.kubectl(&[
                "wait",
                "tips/nyc",
                "--for=condition=Degraded=False",
                "--namespace",
                namespace,
            ])?;
            cluster.until(&["get", "tips", "nyc", settled, "--namespace", namespace], SOON, |reason| {
                reason == "Settled"
            })?;
        }
        becomes(cluster, "deployment/nyc-worker", "{..env[?(@.name=='INTRUDER')].value}", "")?;
        let (disturbed, calm) = (children(cluster, "default")?, children(cluster, "calm")?);
        ensure!(calm.len() == CHILDREN.len() + BESIDE.len(), "{calm:?}");
        ensure!(calm.iter().all(|child| child["owner"] == "nyc"), "{calm:#?}");
        ensure!(disturbed == calm, "{disturbed:#?}\nis not\n{calm:#?}");
        use_the_other_rights(cluster)?;
        drop(operator);

        cluster.kubectl(&["delete", "tips", "nyc", "--wait=false"])?;
        life.die_at("apply::after-delete")?;
        life.die_at("apply::after-NetworkPolicy")?;
        life.die_at("apply::after-Job")?;
        end_job(cluster, &purge(cluster, "nyc")?, "Complete")?;
        life.die_at("events::after-tell")?;
        life.die_at("apply::after-delete")?;
        // The Job is gone, and with it the knowledge that it was done: it is done again.
        life.die_at("apply::after-Job")?;
        end_job(cluster, &purge(cluster, "nyc")?, "Complete")?;
        life.die_at("finalizer::after-change")?;
        let _operator = life.operator()?;
        nothing_is_left(cluster)?;
        ensure!(events(cluster)?.contains("StateRemoved"));

        let asked = control_plane.asked_by(operator::NAMESPACE, "tipstream")?;
        let granted = rights::granted(cluster)?;
        let beyond: Vec<_> = granted.difference(&asked).collect();
        ensure!(beyond.is_empty(), "granted and never asked for: {beyond:?}");
        ensure!(asked.is_subset(&granted), "{:?}", asked.difference(&granted).collect::<Vec<_>>());
        Ok(())
    });
}

/// What a pipeline is not done for, so that every right has been used in the end.
fn use_the_other_rights(cluster: &Cluster) -> Result<()> {
    let key = ["create", "secret", "generic", "users", "--from-literal=ana=p"];
    cluster.kubectl(&key)?;
    let users = |replicas: i32| {
        let query = format!(r#"{{"replicas": {replicas}, "auth": {{"secretRef": {{"name": "users"}}}}}}"#);
        patch(cluster, "nyc", &format!(r#"{{"spec": {{"query": {query}}}}}"#))
    };
    users(1)?;
    cluster.until(&["get", "poddisruptionbudget/nyc-query", "--ignore-not-found"], SOON, str::is_empty)?;
    let off = r#"{"spec": {"query": {"enabled": false}, "compaction": {"enabled": false}}}"#;
    patch(cluster, "nyc", off)?;
    for child in BESIDE.iter().filter(|child| !child.ends_with("-worker")) {
        cluster.until(&["get", child, "--ignore-not-found"], SOON, str::is_empty)?;
    }
    // The same Event once more is counted on the first.
    for suspend in [false, true] {
        patch(cluster, "nyc", &format!(r#"{{"spec": {{"suspend": {suspend}}}}}"#))?;
        condition(cluster, "nyc", "Ready", if suspend { "False/Suspended" } else { "False/NoReplicas" })?;
    }
    Ok(())
}

/// The names of the crash points that `operator/src/crash.rs` tells.
fn crash_points() -> Vec<String> {
    let table = include_str!("../../../operator/src/crash.rs").lines();
    let names = table.filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    let kinds = include_str!("../../../operator/src/kind.rs");
    let kinds =
        kinds.split("pub enum Kind {").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default();
    let kinds: Vec<_> = kinds.lines().filter_map(|line| line.trim().strip_suffix(',')).collect();
    names
        .flat_map(|name| match name.strip_suffix("<Kind>") {
            Some(name) => kinds.iter().map(|kind| format!("{name}{kind}")).collect(),
            None => vec![name.to_owned()],
        })
        .collect()
}

#[test]
fn an_operator_dies_at_every_crash_point() {
    let (names, here) = (crash_points(), include_str!("killed.rs"));
    assert!(names.len() >= 16, "{names:?}");
    for name in names {
        assert!(
            here.contains(&format!("\"{name}\"")),
            "no operator dies at {name}: add it to the life above"
        );
    }
}
