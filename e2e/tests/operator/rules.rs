//! What a real API server says of wrong manifests (O1): every rule of the CRD has a case here, and each says what to
//! write.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tips_e2e::kubernetes::{Cluster, ControlPlane};
use tips_e2e::{operator, scenario};

use crate::operator::pipeline::{SOON, object};

/// A wrong setting, which `message` is said of.
struct Wrong {
    /// JSON pointers and what is put there.
    changes: Vec<(&'static str, Value)>,
    message: &'static str,
}

fn wrong(pointer: &'static str, value: Value, message: &'static str) -> Wrong {
    Wrong { changes: vec![(pointer, value)], message }
}

/// What no pipeline may have.
fn never() -> Vec<Wrong> {
    let hdfs = |name_node: &str, path: &str| json!({"hdfs": {"nameNode": name_node, "path": path}});
    let s3 = |field: &str, value: Value| {
        let mut s3 = json!({"bucket": "taxi", "region": "us-east-1"});
        s3[field] = value;
        json!({"s3": s3})
    };
    let one_secret =
        json!({"auth": {"secretRef": {"name": "query"}}, "tls": {"secretRef": {"name": "query"}}});
    let excess = || json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}});
    let scaling = |least: i32, most: i32, lag: i64| json!({"minReplicas": least, "maxReplicas": most, "targetLag": lag});
    vec![
        wrong("/metadata/name", json!("nyc.taxi"), "beginning with a letter"),
        wrong("/spec/replicas", json!(-1), "0 stops the pipeline"),
        wrong("/spec/epoch", json!(-1), "must be 0 or more"),
        wrong("/spec/kafka/bootstrapServers", json!("kafka"), "write for example kafka-0.kafka:9092"),
        wrong("/spec/kafka/ridesTopic", json!("a b"), "must be the name of a topic"),
        wrong("/spec/kafka/faresTopic", json!(""), "must be the name of a topic"),
        wrong("/spec/kafka/faresTopic", json!("rides"), "must differ from ridesTopic"),
        wrong("/spec/kafka/properties", json!({"group.id": "x"}), "use bootstrapServers, groupId"),
        wrong("/spec/redis/urls", json!([]), "must name at least one server"),
        wrong("/spec/redis/urls", json!(["redis://u:p@redis:6379"]), "user and password belong in a Secret"),
        wrong("/spec/redis/urls", json!(["redis://a:1", "redis://b:1"]), "write mode: Cluster"),
        wrong("/spec/redis/tls", json!({}), "must begin with rediss://"),
        wrong("/spec/redis/mode", json!("Sentinel"), "write sentinel: {masterName: mymaster}"),
        wrong("/spec/redis/shards", json!(0), "must be from 1 to 1024"),
        wrong("/spec/sink", json!({}), "must be exactly one of s3, hdfs and volume"),
        wrong("/spec/sink", s3("bucket", json!("B")), "must be the name of a bucket"),
        wrong("/spec/sink", s3("prefix", json!("/lake")), "write for example lake/taxi"),
        wrong(
            "/spec/sink",
            s3("endpoint", json!("minio:9000")),
            "write for example https://minio.storage:9000",
        ),
        wrong("/spec/sink", hdfs("nn:8020", "/lake"), "write for example hdfs://namenode:8020"),
        wrong("/spec/sink", hdfs("hdfs://nn:8020", "lake"), "must be an absolute path"),
        wrong("/spec/sink/volume/claimName", json!(""), "must name a PersistentVolumeClaim"),
        wrong("/spec/sink/volume/path", json!("/a"), "must be a folder"),
        wrong("/spec/job/window", json!("90s"), "from 1m to 24h; write for example 30m"),
        wrong("/spec/job/slide", json!("30s"), "at least 1m; write for example 10m"),
        wrong("/spec/job/slide", json!("20m"), "must divide the window"),
        Wrong {
            changes: vec![("/spec/job/window", json!("14m")), ("/spec/job/slide", json!("7m"))],
            message: "must divide 24h, so that windows begin at midnight UTC",
        },
        wrong("/spec/job/joinWithin", json!("0s"), "must be more than 0s; write for example 2h"),
        wrong("/spec/job/idleTimeout", json!("0s"), "must be more than 0s; write for example 1m"),
        wrong("/spec/job/maxDrift", json!("10m"), "must be longer than watermarkDelay"),
        wrong("/spec/job/area/minLon", json!(-181), "must lie on the globe"),
        wrong("/spec/job/area/minLon", json!(10), "must be less than maxLon"),
        wrong("/spec/job/area/minLat", json!(42), "must be less than maxLat"),
        wrong("/spec/raw/maxFileBytes", json!("1Ki"), "must be from 1Mi to 32Mi"),
        wrong("/spec/raw/flushInterval", json!("0s"), "must be more than 0s; write for example 5m"),
        wrong("/spec/query", json!({"enabled": true}), "auth: {secretRef: {name: query-users}}"),
        wrong("/spec/query", one_secret, "must be another Secret than that of tls"),
        wrong("/spec/query/replicas", json!(0), "to stop the query service write enabled"),
        wrong("/spec/query/limits", json!({"connections": 0}), "must be 1 or more; write for example 100"),
        wrong("/spec/query/limits", json!({"queries": 0}), "must be 1 or more; write for example 32"),
        wrong("/spec/query/limits", json!({"timeout": "0s"}), "must be 1s or more; write for example 60s"),
        wrong("/spec/query/limits", json!({"rows": 0}), "must be 1 or more; write for example 1000000"),
        wrong(
            "/spec/query/limits",
            json!({"memory": "15Mi"}),
            "must be 16Mi or more; write for example 256Mi",
        ),
        wrong("/spec/query/limits", json!({"spill": "1Ki"}), "must be 1Mi or more; write for example 1Gi"),
        wrong("/spec/compaction/schedule", json!("daily"), "must be the five fields of cron"),
        wrong("/spec/compaction/targetFileBytes", json!("1Mi"), "must be from 16Mi to 4Gi"),
        wrong("/spec/compaction/rate", json!("1Ki"), "must be 1Mi a second or more"),
        wrong("/spec/compaction/memory", json!("1Mi"), "must be from 16Mi to 4Gi; write for example 128Mi"),
        wrong("/spec/compaction/successfulJobsHistoryLimit", json!(0), "must be 1 or more: by the runs"),
        wrong("/spec/compaction/failedJobsHistoryLimit", json!(0), "must be 1 or more: by the runs"),
        wrong("/spec/scaling", scaling(0, 4, 1000), "to stop the pipeline write suspend: true"),
        wrong("/spec/scaling", scaling(5, 4, 1000), "must not be less than minReplicas"),
        wrong("/spec/scaling", scaling(1, 4, 0), "must be 1 record or more"),
        wrong("/spec/workload/image", json!("my image"), "must be the name of an image, without blanks"),
        wrong(
            "/spec/workload/resources",
            json!({"requests": {"cpu": "lots"}}),
            "write for example cpu: 250m",
        ),
        wrong("/spec/query/resources", json!({"limits": {"cpu": "-1"}}), "write for example cpu: 250m"),
        wrong("/spec/workload/resources", excess(), "lower the request, or raise the limit"),
        wrong("/spec/query/resources", excess(), "lower the request, or raise the limit"),
        wrong("/spec/compaction/resources", json!({"limits": {"cpu": "-1"}}), "write for example cpu: 250m"),
        wrong("/spec/compaction/resources", excess(), "lower the request, or raise the limit"),
        wrong("/spec/workload/labels", json!({"team": "a b"}), "write for example team: taxi"),
        wrong("/spec/workload/annotations", json!({"a b": "c"}), "write for example example.com/team: taxi"),
        wrong("/spec/workload/serviceAccountName", json!("Taxi"), "must be the name of a service account"),
        wrong("/spec/workload/priorityClassName", json!("a b"), "must be the name of a priority class"),
        wrong("/spec/workload/labels", json!({"tipstream.dev/x": "x"}), "write a label of your own"),
        wrong(
            "/spec/workload/annotations",
            json!({"tipstream.dev/x": "x"}),
            "write an annotation of another prefix",
        ),
        wrong("/spec/workload/env", json!([{"name": "TIPS_REDIS_PASSWORD", "value": "x"}]), "use kafka.sasl"),
        Wrong {
            changes: vec![
                ("/spec/sink", s3("credentials", json!({"secretRef": {"name": "s3"}}))),
                ("/spec/workload/env", json!([{"name": "AWS_ACCESS_KEY_ID", "value": "x"}])),
            ],
            message: "leave out the variable, or the field of the sink",
        },
        wrong(
            "/spec/workload/volumes",
            json!([{"name": "tipstream-config", "emptyDir": {}}]),
            "write a name of your own",
        ),
        wrong(
            "/spec/workload/volumeMounts",
            json!([{"name": "x", "mountPath": "/etc/tipstream"}]),
            "write a path of your own",
        ),
        // By the schema, without a rule.
        wrong("/spec/job/windw", json!("30m"), ".spec.job.windw: field not declared in schema"),
        wrong("/spec/job/slide", json!("ten minutes"), "should match '^([0-9]{1,5}(h|m|s)){1,3}$'"),
        wrong("/spec/deletionPolicy", json!("Keep"), r#"supported values: "Retain", "Delete""#),
    ]
}

/// What a pipeline that is there with the epoch 1 may not become.
fn from_now_on() -> Vec<Wrong> {
    const RAISE: &str = "raise spec.epoch in the same edit";
    let polygons = json!({"configMapKeyRef": {"name": "polygons", "key": "nyc.geojson"}});
    vec![
        wrong("/spec/epoch", json!(0), "must not go down"),
        wrong("/spec/kafka/ridesTopic", json!("rides2"), RAISE),
        wrong("/spec/kafka/faresTopic", json!("fares2"), RAISE),
        wrong("/spec/redis/shards", json!(32), RAISE),
        wrong("/spec/job/window", json!("1h"), RAISE),
        wrong("/spec/job/slide", json!("15m"), RAISE),
        wrong("/spec/job/watermarkDelay", json!("1h"), RAISE),
        wrong("/spec/job/joinWithin", json!("3h"), RAISE),
        wrong("/spec/job/area/minLon", json!(-75), RAISE),
        wrong("/spec/job/neighbourhoods", polygons, RAISE),
    ]
}

fn manifest(name: &str) -> Value {
    object(name, &json!({"epoch": 1, "sink": {"volume": {"claimName": "lake"}}}))
}

/// What the API server says of `wrong` in the pipeline `name`.
fn refusal(cluster: &Cluster, name: &str, wrong: &Wrong) -> Result<String> {
    let mut manifest = manifest(name);
    for (pointer, value) in &wrong.changes {
        let mut at = &mut manifest;
        for field in pointer.split('/').skip(1) {
            at = &mut at[field];
        }
        *at = value.clone();
    }
    let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    let answer = cluster.kubectl_with(&arguments, &manifest.to_string());
    let refused = answer.err().with_context(|| format!("{:?} is taken", wrong.changes))?;
    Ok(format!("{refused:#}"))
}

/// The rules below a schema: of each the path of the field that it is about, and what it says.
fn rules(path: &str, schema: &Value, found: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        found.push((format!("{path}{}", text("fieldPath")), text("message").to_owned()));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        rules(&path, field, found);
    }
    for inner in ["items", "additionalProperties"].into_iter().filter_map(|name| schema.get(name)) {
        rules(path, inner, found);
    }
}

#[test]
fn each_rule_has_a_wrong_manifest_that_is_refused_with_what_to_write_instead() {
    scenario("operator-rules", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        operator::install(cluster)?;
        cluster.apply(&manifest("nyc").to_string())?;
        let cases = never().into_iter().map(|wrong| ("wrong", wrong));
        let cases = cases.chain(from_now_on().into_iter().map(|wrong| ("nyc", wrong)));
        let mut refusals = Vec::new();
        for (name, wrong) in cases {
            let said = refusal(cluster, name, &wrong)?;
            ensure!(
                said.contains(wrong.message),
                "{:?} should say {:?}: {said}",
                wrong.changes,
                wrong.message
            );
            refusals.push(said);
        }

        let crd = serde_json::to_value(tipstream_crds::crd())?;
        let mut all = Vec::new();
        rules("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut all);
        ensure!(all.len() >= 71, "the walk found {} rules", all.len());
        for (path, message) in all {
            let of_it =
                |said: &&String| said.contains(&format!("{path}: Invalid value")) && said.contains(&message);
            ensure!(
                refusals.iter().any(|said| of_it(&said)),
                "no case here breaks the rule of {path:?} that says {message:?}: add one to `never` or `from_now_on`"
            );
        }
        Ok(())
    });
}

/// Every object of a spec, as `kubectl explain` names it. What is a pod's is explained with pods.
fn objects(path: &str, schema: &Value, found: &mut Vec<String>) {
    let Some(fields) = schema["properties"].as_object() else { return };
    found.push(path.to_owned());
    for (name, field) in
        fields.iter().filter(|(name, _)| path != "tips.spec.workload" && *name != "resources")
    {
        objects(&format!("{path}.{name}"), field, found);
    }
}

#[test]
fn each_field_is_explained() {
    scenario("operator-explain", |folder| {
        let control_plane = ControlPlane::start(folder)?;
        let cluster = control_plane.cluster();
        operator::install(cluster)?;
        let crd = serde_json::to_value(tipstream_crds::crd())?;
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut paths = Vec::new();
        objects("tips.spec", spec, &mut paths);
        ensure!(paths.len() > 20, "{paths:?}");
        // The API server publishes what a new kind is some moments after it serves it.
        let told = |text: &str| text.contains("0 stops the pipeline and keeps its state");
        cluster.until(&["explain", "tips.spec"], SOON, told)?;
        for path in paths {
            let text = cluster.kubectl(&["explain", &path])?;
            ensure!(!text.contains("<no description>"), "{path}: {text}");
        }
        Ok(())
    });
}
