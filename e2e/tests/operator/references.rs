//! Secrets and ConfigMaps that a spec refers to: each thing that can be wrong has its reason, and each change rolls
//! the pods.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tips_e2e::kubernetes::Cluster;

use crate::operator::pipeline::{
    SOON, becomes, condition, config_map, field, manifest, merge, message, object, with_operator,
};

const POLYGONS: &str = include_str!("../../../worker/assets/manhattan.geojson");
const REFERRING: &str = "  replicas: 1
  kafka:
    bootstrapServers: 'kafka:9092'
    ridesTopic: rides
    faresTopic: fares
    sasl: {mechanism: SCRAM-SHA-512, secretRef: {name: kafka}}
  job: {neighbourhoods: {configMapKeyRef: {name: polygons, key: nyc.geojson}}}
";

const HASH: &str = r"{.spec.template.metadata.annotations.tipstream\.dev/config-hash}";

fn referring() -> String {
    let kafka = "  kafka: {bootstrapServers: 'kafka:9092', ridesTopic: rides, faresTopic: fares}\n";
    manifest("nyc", REFERRING).replace(kafka, "")
}

fn polygons(cluster: &Cluster, text: &str) -> Result<()> {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "polygons", "namespace": "default"},
        "data": {"nyc.geojson": text},
    });
    cluster.apply(&object.to_string()).map(drop)
}

/// The Secret of `spec.kafka.sasl`, whole.
fn login(cluster: &Cluster) -> Result<()> {
    let keys = ["--from-literal=username=tips", "--from-literal=password=p"];
    cluster.kubectl(&[&["create", "secret", "generic", "kafka"], &keys[..]].concat()).map(drop)
}

fn hash(cluster: &Cluster) -> Result<String> {
    field(cluster, "deployment/nyc-worker", HASH)
}

#[test]
fn each_bad_reference_has_its_reason_and_is_over_when_it_is_put_right() {
    with_operator("operator-references", |cluster| {
        cluster.apply(&referring())?;
        condition(cluster, "nyc", "Degraded", "True/SecretNotFound")?;
        condition(cluster, "nyc", "Ready", "False/SecretNotFound")?;
        let said = message(cluster, "nyc", "Degraded")?;
        let both = "spec.kafka.sasl.secretRef names the Secret kafka, \
            spec.job.neighbourhoods.configMapKeyRef names the ConfigMap polygons, none of which exists";
        ensure!(said.starts_with(both), "{said}");
        cluster.kubectl(&["create", "secret", "generic", "kafka", "--from-literal=username=tips"])?;
        condition(cluster, "nyc", "Degraded", "True/ConfigMapNotFound")?;
        polygons(cluster, POLYGONS)?;
        condition(cluster, "nyc", "Degraded", "True/SecretKeyNotFound")?;
        cluster.kubectl(&["patch", "secret", "kafka", "--patch", r#"{"stringData": {"password": "p"}}"#])?;
        condition(cluster, "nyc", "Degraded", "False/AsExpected")?;
        let events = ["get", "events", "--field-selector=involvedObject.kind=TipsPipeline", "--output=name"];
        let with_reason = "--output=jsonpath={.items[*].reason}";
        ensure!(cluster.kubectl(&[&events[..3], &[with_reason]].concat())?.contains("SecretKeyNotFound"));
        Ok(())
    });
}

#[test]
fn what_the_pods_read_rolls_them_and_nothing_else_does() {
    with_operator("operator-roll", |cluster| {
        login(cluster)?;
        polygons(cluster, POLYGONS)?;
        cluster.apply(&referring())?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let before = hash(cluster)?;
        cluster.kubectl(&["label", "secret", "kafka", "team=taxi"])?;
        cluster.kubectl(&["patch", "secret", "kafka", "--patch", r#"{"stringData": {"other": "key"}}"#])?;
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=2"])?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "2")?;
        ensure!(hash(cluster)? == before, "the pods roll though nothing that they read has changed");
        cluster.kubectl(&["patch", "secret", "kafka", "--patch", r#"{"stringData": {"password": "q"}}"#])?;
        let query = ["get", "deployment/nyc-worker", "--output=jsonpath={.metadata.generation}"];
        cluster.until(&query, SOON, |generation| generation == "3")?;
        ensure!(hash(cluster)? != before, "a new password does not roll the pods");

        let hdfs = object(
            "lake",
            &json!({"replicas": 0, "sink": {"hdfs": {
                "nameNode": "hdfs://nn:8020", "path": "/lake", "configMapRef": {"name": "hadoop"},
            }}}),
        );
        let configured = |text: &str| {
            let data = json!({"core-site.xml": text, "hdfs-site.xml": "<configuration/>"});
            let metadata = json!({"name": "hadoop", "namespace": "default"});
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
            cluster.apply(&object.to_string())
        };
        configured("<configuration/>")?;
        cluster.apply(&hdfs.to_string())?;
        let hash = ["get", "deployment/lake-worker", &format!("--output=jsonpath={HASH}")];
        let before = cluster.until(&hash, SOON, |_| true)?;
        configured("<configuration></configuration>")?;
        cluster.until(&hash, SOON, |now| now != before).map(drop)
    });
}

#[test]
fn polygons_that_cannot_be_used_leave_the_last_good_ones_running() {
    with_operator("operator-polygons", |cluster| {
        login(cluster)?;
        polygons(cluster, POLYGONS)?;
        cluster.apply(&referring())?;
        condition(cluster, "nyc", "Progressing", "True/Starting")?;
        let before = hash(cluster)?;
        polygons(cluster, "{\"type\": \"FeatureCollection\", \"features\": []}")?;
        condition(cluster, "nyc", "Degraded", "True/InvalidNeighbourhoods")?;
        cluster.kubectl(&["delete", "configmap", "polygons"])?;
        condition(cluster, "nyc", "Degraded", "True/ConfigMapNotFound")?;
        cluster.kubectl(&["scale", "tips/nyc", "--replicas=3"])?;
        becomes(cluster, "deployment/nyc-worker", "{.spec.replicas}", "3")?;
        ensure!(hash(cluster)? == before, "the pods roll");
        let kept =
            field(cluster, &config_map(cluster, "default", "nyc")?, r"{.data.neighbourhoods\.geojson}")?;
        ensure!(kept == POLYGONS, "a worker that starts again does not find the last good polygons");
        Ok(())
    });
}

/// A spec for each reference that there is, each to `missing` and to nothing else that is not there.
fn each_reference() -> Vec<(&'static str, &'static str, Value)> {
    let secret = || json!({"secretRef": {"name": "missing"}});
    let key = || json!({"name": "missing", "key": "its.key"});
    let url = json!(["rediss://redis:6379"]);
    let hdfs = |more: Value| {
        let mut hdfs = json!({"nameNode": "hdfs://nn:8020", "path": "/lake"});
        merge(&mut hdfs, &more);
        json!({"sink": {"hdfs": hdfs}})
    };
    let kerberos = |keytab: &str, config: Option<&str>| {
        let mut kerberos =
            json!({"principal": "tips@X", "keytabSecretRef": {"name": keytab, "key": "its.key"}});
        if let Some(name) = config {
            kerberos["configMapRef"] = json!({"name": name});
        }
        hdfs(json!({"kerberos": kerberos}))
    };
    let sentinel = json!({"masterName": "mymaster", "auth": secret()});
    vec![
        ("kafka.tls.caSecretRef", "Secret", json!({"kafka": {"tls": {"caSecretRef": key()}}})),
        (
            "kafka.tls.clientCertificate.secretRef",
            "Secret",
            json!({"kafka": {"tls": {"clientCertificate": secret()}}}),
        ),
        (
            "kafka.sasl.secretRef",
            "Secret",
            json!({"kafka": {"sasl": {"mechanism": "PLAIN", "secretRef": {"name": "missing"}}}}),
        ),
        ("redis.tls.caSecretRef", "Secret", json!({"redis": {"urls": url, "tls": {"caSecretRef": key()}}})),
        (
            "redis.tls.clientCertificate.secretRef",
            "Secret",
            json!({"redis": {"urls": url, "tls": {"clientCertificate": secret()}}}),
        ),
        ("redis.auth.secretRef", "Secret", json!({"redis": {"auth": secret()}})),
        (
            "redis.sentinel.auth.secretRef",
            "Secret",
            json!({"redis": {"mode": "Sentinel", "sentinel": sentinel}}),
        ),
        (
            "sink.s3.credentials.secretRef",
            "Secret",
            json!({"sink": {"s3": {"bucket": "taxi", "region": "x", "credentials": secret()}}}),
        ),
        ("sink.hdfs.configMapRef", "ConfigMap", hdfs(json!({"configMapRef": {"name": "missing"}}))),
        ("sink.hdfs.kerberos.keytabSecretRef", "Secret", kerberos("missing", None)),
        ("sink.hdfs.kerberos.configMapRef", "ConfigMap", kerberos("keytab", Some("missing"))),
        (
            "job.neighbourhoods.configMapKeyRef",
            "ConfigMap",
            json!({"job": {"neighbourhoods": {"configMapKeyRef": key()}}}),
        ),
    ]
}

/// The paths of the references in a schema: a field that ends so names an object.
fn reference_fields(path: &str, schema: &Value, found: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let lower = name.to_lowercase();
        if ["secretref", "configmapref", "configmapkeyref"].iter().any(|ending| lower.ends_with(ending)) {
            found.push(path);
        } else {
            reference_fields(&path, field, found);
        }
    }
}

#[test]
fn every_reference_is_named_that_is_missing_or_lacks_a_key() {
    with_operator("operator-each-reference", |cluster| {
        let cases = each_reference();
        let crd = serde_json::to_value(tipstream_crds::crd())?;
        let mut fields = Vec::new();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        for part in ["kafka", "redis", "sink", "job"] {
            reference_fields(part, &spec["properties"][part], &mut fields);
        }
        ensure!(fields.len() >= 12, "{fields:?}");
        let untold = fields.iter().find(|field| !cases.iter().any(|(of, ..)| of == field));
        ensure!(untold.is_none(), "no case here has the reference {untold:?}: add one to `each_reference`");

        cluster.kubectl(&["create", "secret", "generic", "keytab", "--from-literal=its.key=x"])?;
        let names: Vec<_> = (0..cases.len()).map(|number| format!("nyc-{number}")).collect();
        for (name, (.., spec)) in names.iter().zip(&cases) {
            let mut more = json!({"replicas": 0});
            merge(&mut more, spec);
            if more["sink"].is_null() {
                more["sink"] = json!({"volume": {"claimName": "lake"}});
            }
            cluster.apply(&object(name, &more).to_string())?;
        }
        let says = |reason: &str, message: &dyn Fn(&str, &str) -> String| {
            for (name, (field, kind, _)) in names.iter().zip(&cases) {
                condition(cluster, name, "Degraded", &format!("True/{kind}{reason}"))?;
                let (said, wanted) = (self::message(cluster, name, "Degraded")?, message(field, kind));
                ensure!(said.contains(&wanted), "{said:?} should say {wanted:?}");
            }
            Ok(())
        };
        says("NotFound", &|field, kind| {
            format!("spec.{field} names the {kind} missing, which does not exist")
        })?;
        cluster.kubectl(&["create", "secret", "generic", "missing"])?;
        cluster.kubectl(&["create", "configmap", "missing"])?;
        says("KeyNotFound", &|field, _| format!("spec.{field} needs the key "))
    });
}
