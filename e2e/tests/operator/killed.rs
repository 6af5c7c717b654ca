//! The life of a pipeline in which every operator dies: one behind each write, and the next goes on from there (O2).

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::operator::{self, Operator};
use tips_e2e::{Folder, scenario};

use crate::operator::children::CHILDREN;
use crate::operator::deletion::nothing_is_left;
use crate::operator::pipeline::{becomes, condition, end_job, events, manifest, patch, purge};

/// The writes of a reconcile that makes everything, each with how often it was done then: `operator/src/crash.rs` tells
/// them. The objects of the workers come first, then those of the query service, then those of the compaction.
const CREATION: [(&str, usize); 16] = [
    ("lease::after-acquire", 1),
    ("finalizer::after-change", 1),
    ("apply::after-ServiceAccount", 1),
    ("apply::after-ConfigMap", 1),
    ("apply::after-NetworkPolicy", 1),
    ("apply::after-Service", 1),
    ("apply::after-PodDisruptionBudget", 1),
    ("apply::after-Deployment", 1),
    ("apply::after-ConfigMap", 2),
    ("apply::after-NetworkPolicy", 2),
    ("apply::after-Service", 2),
    ("apply::after-Deployment", 2),
    ("apply::after-ConfigMap", 3),
    ("apply::after-NetworkPolicy", 3),
    ("apply::after-CronJob", 1),
    ("status::after-write", 1),
];
/// What they make beside the workers' objects.
const BESIDE: [&str; 7] = [
    "configmap/nyc-query",
    "networkpolicy/nyc-query",
    "service/nyc-query",
    "deployment/nyc-query",
    "configmap/nyc-compact",
    "networkpolicy/nyc-compact",
    "cronjob/nyc-compact",
];

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
    let kinds =
        "configmaps,cronjobs,deployments,networkpolicies,poddisruptionbudgets,services,serviceaccounts";
    let of_pipeline = ["--selector=app.kubernetes.io/instance=nyc", "--output=json"];
    let text = cluster.kubectl(&[&["get", kinds, "--namespace", namespace], &of_pipeline[..]].concat())?;
    let mut list: Value = serde_json::from_str(&text.replace("calm", "default"))?;
    let mut items = list["items"].as_array_mut().context("a list")?.split_off(0);
    for item in &mut items {
        let object = item.as_object_mut().context("an object")?;
        let metadata = object.remove("metadata").context("metadata")?;
        object.insert("labels".to_owned(), metadata["labels"].clone());
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
        let rights = operator::install(cluster)?;
        let mut life = Life { folder, cluster, rights, deaths: 0 };

        let spec = "  replicas: 0
  deletionPolicy: Delete
  query: {enabled: true, insecure: true}
  compaction: {enabled: true}
";
        cluster.apply(&manifest("nyc", spec))?;
        for (point, nth) in CREATION {
            life.die_at_nth(point, nth)?;
        }
        let operator = life.operator()?;
        condition(cluster, "nyc", "Progressing", "False/Settled")?;
        for child in CHILDREN.iter().chain(&BESIDE) {
            cluster.kubectl(&["get", child])?;
        }
        drop(operator);

        cluster.kubectl(&["set", "env", "deployment/nyc-worker", "INTRUDER=1"])?;
        life.die_at("apply::after-take-back")?;
        cluster.kubectl(&["create", "serviceaccount", "mine"])?;
        patch(cluster, "nyc", r#"{"spec": {"workload": {"serviceAccountName": "mine"}}}"#)?;
        life.die_at("apply::after-delete")?;
        let out_of_range = r#"{"spec": {"replicas": 2, "scaling": {"maxReplicas": 1, "targetLag": 1}}}"#;
        patch(cluster, "nyc", out_of_range)?;
        life.die_at("scale::after-write")?;
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
            cluster.until(
                &["get", "tips", "nyc", settled, "--namespace", namespace],
                crate::operator::pipeline::SOON,
                |reason| reason == "Settled",
            )?;
        }
        becomes(cluster, "deployment/nyc-worker", "{..env[?(@.name=='INTRUDER')].value}", "")?;
        let (disturbed, calm) = (children(cluster, "default")?, children(cluster, "calm")?);
        ensure!(calm.len() == CHILDREN.len() - 1 + BESIDE.len(), "{calm:?}");
        ensure!(disturbed == calm, "{disturbed:#?}\nis not\n{calm:#?}");
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
        Ok(())
    });
}
