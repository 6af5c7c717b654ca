//! What is built, as YAML, for settings that change it. `INSTA_UPDATE=always cargo test -p tips-operator` records
//! anew what is then looked at in the diff.

use serde_json::{Value, json};
use tipstream_crds::TipsPipeline;

use super::*;

mod beside;

fn pipeline(spec: Value) -> TipsPipeline {
    let mut object = json!({
        "apiVersion": "tipstream.dev/v1alpha1",
        "kind": "TipsPipeline",
        "metadata": {"name": "nyc", "namespace": "taxi", "uid": "0b1c"},
        "spec": {
            "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
            "redis": {"urls": ["redis://redis:6379"]},
            "sink": {"s3": {"bucket": "taxi", "region": "us-east-1"}},
        },
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        object["spec"][name] = value.clone();
    }
    let pipeline: TipsPipeline = serde_json::from_value(object).expect("a pipeline");
    assert_eq!(pipeline.validate(), [], "it is valid");
    pipeline
}

fn plan(pipeline: &TipsPipeline) -> Plan<'_> {
    Plan {
        pipeline,
        sink: pipeline.spec.sink.kind().expect("one sink"),
        default_image: "tips-worker:test",
        polygons: None,
        references_digest: "",
        query_digest: pipeline.spec.query.enabled.then_some(""),
        replacement: Replacement::Rolling,
        pod_monitors: false,
    }
}

fn yaml<'a>(objects: impl IntoIterator<Item = &'a Object>) -> String {
    let text = |object: &Object| serde_saphyr::to_string(&object.to_json()).expect("JSON is YAML");
    objects.into_iter().map(text).collect::<Vec<_>>().join("---\n")
}

/// The object of this kind and name, without the pipeline's own before the dash.
fn object(plan: &Plan<'_>, kind: Kind, component: Component) -> Option<Value> {
    let name = component.name("nyc");
    let objects = objects(plan);
    let found = objects.iter().find(|object| object.kind() == kind && object.name() == name);
    found.map(Object::to_json)
}

fn deployment(plan: &Plan<'_>) -> Value {
    object(plan, Kind::Deployment, Component::Worker).expect("a Deployment")
}

fn hash_of(deployment: &Value) -> Value {
    deployment["spec"]["template"]["metadata"]["annotations"][names::CONFIG_HASH].clone()
}

fn config_hash(plan: &Plan<'_>) -> Value {
    hash_of(&deployment(plan))
}

/// A query service with all that it can refer to.
fn guarded() -> Value {
    json!({
        "enabled": true, "auth": {"secretRef": {"name": "query-users"}}, "tls": {"secretRef": {"name": "query-tls"}},
    })
}

#[test]
fn what_is_built_of_a_minimal_spec() {
    let pipeline = pipeline(json!({}));
    insta::assert_snapshot!(yaml(&objects(&Plan { pod_monitors: true, ..plan(&pipeline) })));
}

#[test]
fn what_is_built_with_every_reference() {
    let tls = |name: &str| {
        json!({
            "caSecretRef": {"name": format!("{name}-ca"), "key": "ca.pem"},
            "clientCertificate": {"secretRef": {"name": format!("{name}-client")}},
        })
    };
    let pipeline = pipeline(json!({
        "kafka": {
            "bootstrapServers": "kafka:9093", "ridesTopic": "rides", "faresTopic": "fares", "tls": tls("kafka"),
            "sasl": {"mechanism": "SCRAM-SHA-512", "secretRef": {"name": "kafka-user"}},
        },
        "redis": {
            "urls": ["rediss://redis:6380"], "tls": tls("redis"), "auth": {"secretRef": {"name": "redis-user"}},
        },
        "sink": {"hdfs": {
            "nameNode": "hdfs://lake", "path": "/lake/taxi", "configMapRef": {"name": "hadoop"},
            "kerberos": {
                "principal": "tips@EXAMPLE.COM", "keytabSecretRef": {"name": "keytab", "key": "tips.keytab"},
                "configMapRef": {"name": "krb5"},
            },
        }},
        "job": {"neighbourhoods": {"configMapKeyRef": {"name": "polygons", "key": "nyc.geojson"}}},
    }));
    let plan = Plan { polygons: Some("{}"), ..plan(&pipeline) };
    let wanted = [Kind::ConfigMap, Kind::Deployment];
    let objects = objects(&plan);
    insta::assert_snapshot!(yaml(objects.iter().filter(|object| wanted.contains(&object.kind()))));
}

#[test]
fn the_sentinels_have_a_login_of_their_own() {
    let sentinel = json!({"masterName": "mymaster", "auth": {"secretRef": {"name": "sentinels"}}});
    let redis = json!({"urls": ["redis://a:1", "redis://b:1"], "mode": "Sentinel", "sentinel": sentinel});
    let pipeline = pipeline(json!({"redis": redis}));
    let variable = &deployment(&plan(&pipeline))["spec"]["template"]["spec"]["containers"][0]["env"][1];
    assert_eq!(variable["name"], "TIPS_REDIS_SENTINEL_PASSWORD");
    assert_eq!(variable["valueFrom"]["secretKeyRef"], json!({"name": "sentinels", "key": "password"}));
    assert_eq!(crate::reference::references(&pipeline.spec)[0].name, "sentinels");
}

#[test]
fn what_is_built_with_every_override() {
    let pipeline = pipeline(json!({
        "replicas": 3,
        "sink": {"volume": {"claimName": "lake", "path": "taxi"}},
        "workload": {
            "image": "registry.example/tips-worker:1",
            "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}},
            "labels": {"team": "taxi"},
            "annotations": {"sidecar.istio.io/inject": "false"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "stream", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}],
            }}},
            "topologySpreadConstraints": [
                {"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"},
            ],
            "serviceAccountName": "cloud-role",
            "priorityClassName": "streams",
            "env": [{"name": "RUST_LOG", "value": "debug"}],
            "volumes": [{"name": "extra", "emptyDir": {}}],
            "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
        },
    }));
    let objects = objects(&plan(&pipeline));
    assert!(objects.iter().all(|object| object.kind() != Kind::ServiceAccount));
    insta::assert_snapshot!(yaml(objects.iter().filter(|object| object.kind() == Kind::Deployment)));
}

#[test]
fn what_removes_the_state() {
    let pipeline = pipeline(json!({
        "redis": {
            "urls": ["rediss://redis:6380"], "tls": {"caSecretRef": {"name": "redis-ca", "key": "ca.pem"}},
            "auth": {"secretRef": {"name": "redis-user"}},
        },
    }));
    insta::assert_snapshot!(yaml(&purge_job::objects(&pipeline, "tips-worker:test", 180)));
}

#[test]
fn what_removes_the_state_runs_as_the_workers_do_but_for_volumes_and_resources() {
    let pipeline = pipeline(json!({"workload": {
        "resources": {"requests": {"memory": "9Gi"}},
        "labels": {"team": "taxi"},
        "annotations": {"sidecar.istio.io/inject": "false"},
        "serviceAccountName": "cloud-role",
        "priorityClassName": "streams",
        "env": [{"name": "RUST_LOG", "value": "debug"}],
        "volumes": [{"name": "extra", "configMap": {"name": "gone"}}],
        "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    }}));
    let [_, job] = purge_job::objects(&pipeline, "tips-worker:test", 180).map(|object| object.to_json());
    let template = &job["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "taxi");
    assert_eq!(template["metadata"]["annotations"]["sidecar.istio.io/inject"], "false");
    assert!(template["metadata"]["annotations"][names::MANIFEST].is_string());
    let spec = &template["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["priorityClassName"]),
        (&json!("cloud-role"), &json!("streams"))
    );
    let container = &spec["containers"][0];
    assert_eq!(container["env"], json!([{"name": "RUST_LOG", "value": "debug"}]));
    assert_eq!(container["resources"]["requests"]["memory"], "64Mi");
    let lengths = [&spec["volumes"], &container["volumeMounts"]].map(|list| list.as_array().map(Vec::len));
    assert_eq!(lengths, [Some(1); 2]);
}

#[test]
fn a_resource_that_is_named_has_only_what_is_said_of_it() {
    let resources = |given: Value| {
        let pipeline = pipeline(json!({"workload": {"resources": given}}));
        let template = deployment(&plan(&pipeline))["spec"]["template"].clone();
        template["spec"]["containers"][0]["resources"].clone()
    };
    let request = resources(json!({"requests": {"memory": "2Gi"}}));
    assert_eq!(request, json!({"requests": {"cpu": "250m", "memory": "2Gi"}}));
    let limit = resources(json!({"limits": {"memory": "128Mi"}}));
    assert_eq!(limit, json!({"requests": {"cpu": "250m"}, "limits": {"memory": "128Mi"}}));
    let other = resources(json!({"requests": {"cpu": "2"}}));
    assert_eq!(other, json!({"requests": {"cpu": "2", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}));
}

#[test]
fn what_decides_nothing_in_the_pods_does_not_roll_them() {
    let template = |spec: Value| deployment(&plan(&pipeline(spec)))["spec"]["template"].clone();
    let base = template(json!({}));
    assert_eq!(base, template(json!({"replicas": 7})));
    assert_eq!(base, template(json!({"suspend": true, "deletionPolicy": "Delete"})));
    assert_eq!(base, template(json!({"compaction": {"enabled": true}, "query": guarded()})));
    assert_eq!(base, template(json!({"scaling": {"maxReplicas": 4, "targetLag": 1000}})));
    assert_ne!(base, template(json!({"raw": {"flushInterval": "1m"}})));
    assert_ne!(base, template(json!({"epoch": 1})));
    assert_ne!(base, template(json!({"workload": {"labels": {"team": "taxi"}}})));
}

#[test]
fn what_is_referred_to_rolls_them() {
    let pipeline = pipeline(json!({}));
    let base = config_hash(&plan(&pipeline));
    assert_ne!(base, config_hash(&Plan { references_digest: "another password", ..plan(&pipeline) }));
    assert_ne!(base, config_hash(&Plan { polygons: Some("{}"), ..plan(&pipeline) }));
}

#[test]
fn workers_of_another_epoch_are_replaced_all_at_once() {
    let pipeline = pipeline(json!({"epoch": 2}));
    let deployment = deployment(&Plan { replacement: Replacement::AllAtOnce, ..plan(&pipeline) });
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(deployment["metadata"]["annotations"], json!({names::EPOCH: "2"}));
}

#[test]
fn a_suspended_pipeline_has_no_workers() {
    let pipeline = pipeline(json!({"suspend": true, "replicas": 4}));
    assert_eq!(deployment(&plan(&pipeline))["spec"]["replicas"], 0);
}

#[test]
fn workers_read_what_does_not_change_under_them() {
    let read = |plan: &Plan<'_>| {
        let config_map = &config_map::build(plan, Component::Worker);
        assert_eq!(config_map.immutable, Some(true));
        let name = config_map.metadata.name.clone().expect("a name");
        let sources = &deployment(plan)["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"];
        assert_eq!(sources[0]["configMap"]["name"], *name);
        name
    };
    let (before, after) = (pipeline(json!({})), pipeline(json!({"raw": {"flushInterval": "1m"}})));
    let name = read(&plan(&before));
    assert_eq!(name, read(&Plan { references_digest: "another password", ..plan(&before) }));
    assert_ne!(name, read(&plan(&after)));
    assert_ne!(name, read(&Plan { polygons: Some("{}"), ..plan(&before) }));
}

#[test]
fn the_only_worker_waits_for_its_successor_where_both_can_run() {
    let update =
        |spec: Value| deployment(&plan(&pipeline(spec)))["spec"]["strategy"]["rollingUpdate"].clone();
    let (first, one_more) =
        (json!({"maxSurge": 0, "maxUnavailable": "25%"}), json!({"maxSurge": 1, "maxUnavailable": 0}));
    assert_eq!(update(json!({"replicas": 2})), first);
    assert_eq!(update(json!({"replicas": 1})), one_more);
    let volume = json!({"volume": {"claimName": "lake", "path": "nyc"}});
    assert_eq!(update(json!({"replicas": 1, "sink": volume})), first);
}
