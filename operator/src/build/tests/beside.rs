//! What is built of the query service and of the compaction.

use super::*;

fn query_deployment(plan: &Plan<'_>) -> Value {
    object(plan, Kind::Deployment, Component::Query).expect("a Deployment")
}

fn cron_job(plan: &Plan<'_>) -> Value {
    object(plan, Kind::CronJob, Component::Compact).expect("a CronJob")
}

#[test]
fn what_is_built_beside_the_stream() {
    let mut query = guarded();
    query["replicas"] = json!(2);
    let pipeline = pipeline(json!({
        "query": query,
        "compaction": {"enabled": true, "schedule": "30 2 * * *", "targetFileBytes": "512Mi"},
    }));
    let objects = objects(&Plan { pod_monitors: true, ..plan(&pipeline) });
    insta::assert_snapshot!(yaml(objects.iter().filter(|object| !object.name().starts_with("nyc-worker"))));
}

#[test]
fn who_runs_beside_the_stream_has_the_overrides_but_not_the_resources_of_workers() {
    let resources = |memory: &str| json!({"requests": {"memory": memory}});
    let pipeline = pipeline(json!({
        "sink": {"volume": {"claimName": "lake"}},
        "query": {"enabled": true, "insecure": true, "resources": resources("2Gi")},
        "compaction": {"enabled": true, "resources": resources("3Gi")},
        "workload": {
            "image": "registry.example/tips-worker:1", "serviceAccountName": "cloud-role",
            "nodeSelector": {"disk": "ssd"}, "labels": {"team": "taxi"}, "resources": resources("9Gi"),
        },
    }));
    let plan = plan(&pipeline);
    let query = query_deployment(&plan)["spec"]["template"].clone();
    let compact = cron_job(&plan)["spec"]["jobTemplate"]["spec"]["template"].clone();
    for (template, memory, read_only) in [(&query, "2Gi", json!(true)), (&compact, "3Gi", Value::Null)] {
        assert_eq!(template["metadata"]["labels"]["team"], "taxi");
        let spec = &template["spec"];
        assert_eq!(spec["serviceAccountName"], "cloud-role");
        assert_eq!(spec["nodeSelector"], json!({"disk": "ssd"}));
        let container = &spec["containers"][0];
        assert_eq!(container["image"], "registry.example/tips-worker:1");
        assert_eq!(container["resources"]["requests"], json!({"cpu": "250m", "memory": memory}));
        let sink = json!({"name": "tipstream-sink", "mountPath": "/var/lib/tipstream"});
        let mount = container["volumeMounts"].as_array().and_then(|mounts| mounts.last()).expect("mounts");
        assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&sink["mountPath"], &read_only));
    }
}

#[test]
fn a_compaction_may_take_the_memory_that_its_files_and_rows_need() {
    let limit = |compaction: Value| {
        let pipeline = pipeline(json!({"compaction": compaction}));
        let job = cron_job(&plan(&pipeline))["spec"]["jobTemplate"]["spec"].clone();
        job["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"].clone()
    };
    assert_eq!(limit(json!({"enabled": true})), "1Gi");
    assert_eq!(limit(json!({"enabled": true, "targetFileBytes": "4Gi"})), "4864Mi");
    assert_eq!(limit(json!({"enabled": true, "memory": "16Mi"})), "800Mi");
    let own = json!({"limits": {"memory": "3Gi"}});
    assert_eq!(limit(json!({"enabled": true, "targetFileBytes": "4Gi", "resources": own})), "3Gi");
}

#[test]
fn runs_of_the_compaction_are_kept_as_long_as_is_asked() {
    let limits = json!({"enabled": true, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 7});
    for (compaction, successful, failed) in [(json!({"enabled": true}), 3, 3), (limits, 1, 7)] {
        let pipeline = pipeline(json!({"compaction": compaction}));
        let spec = &cron_job(&plan(&pipeline))["spec"];
        let kept = (&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]);
        assert_eq!(kept, (&json!(successful), &json!(failed)));
    }
}

#[test]
fn nothing_is_waived_that_is_given() {
    let flags = |query: Value| {
        let pipeline = pipeline(json!({"query": query}));
        let args =
            query_deployment(&plan(&pipeline))["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let args: Vec<String> = serde_json::from_value(args).expect("a list");
        args.into_iter().filter(|arg| arg.starts_with("--no-")).collect::<Vec<_>>()
    };
    assert_eq!(flags(guarded()), [""; 0]);
    let mut query = guarded();
    query["insecure"] = json!(true);
    assert_eq!(flags(query.clone()), [""; 0]);
    query["tls"] = Value::Null;
    assert_eq!(flags(query.clone()), ["--no-tls"]);
    query["auth"] = Value::Null;
    assert_eq!(flags(query), ["--no-auth", "--no-tls"]);
}

#[test]
fn a_query_service_reads_nothing_of_kafkas() {
    let tls = json!({"caSecretRef": {"name": "kafka-ca", "key": "ca.pem"}});
    let kafka = json!({
        "bootstrapServers": "kafka:9093", "ridesTopic": "rides", "faresTopic": "fares", "tls": tls,
        "sasl": {"mechanism": "SCRAM-SHA-512", "secretRef": {"name": "kafka-user"}},
    });
    let pipeline = pipeline(json!({"kafka": kafka, "query": guarded(), "compaction": {"enabled": true}}));
    let plan = plan(&pipeline);
    assert!(deployment(&plan).to_string().contains("kafka-user"));
    for beside in [query_deployment(&plan), cron_job(&plan)] {
        assert!(!beside.to_string().contains("kafka-"), "{beside}");
    }
}

#[test]
fn a_single_query_pod_has_no_disruption_budget() {
    let pipeline = pipeline(json!({"query": guarded()}));
    assert!(object(&plan(&pipeline), Kind::PodDisruptionBudget, Component::Query).is_none());
}

#[test]
fn a_change_rolls_only_who_reads_it() {
    let base = pipeline(json!({"query": guarded()}));
    let hashes = |plan: &Plan<'_>| (config_hash(plan), hash_of(&query_deployment(plan)));
    let (worker, query) = hashes(&plan(&base));
    let raw = pipeline(json!({"query": guarded(), "raw": {"flushInterval": "1m"}}));
    let (changed, same) = hashes(&plan(&raw));
    assert!(changed != worker && same == query, "raw files are the workers'");
    let (same, changed) = hashes(&Plan { query_digest: Some("another certificate"), ..plan(&base) });
    assert!(same == worker && changed != query, "a certificate is the query service's");
    let (changed, same) = hashes(&Plan { references_digest: "another password of Kafka", ..plan(&base) });
    assert!(changed != worker && same == query, "Kafka is the workers'");
    let kafka = json!({
        "bootstrapServers": "another:9092", "ridesTopic": "rides", "faresTopic": "fares", "groupId": "another",
        "sasl": {"mechanism": "SCRAM-SHA-512", "secretRef": {"name": "another"}}, "properties": {"fetch.max.bytes": "1"},
    });
    for (field, value) in
        [("kafka", kafka), ("job", json!({"idleTimeout": "7m"})), ("job", json!({"maxDrift": "7h"}))]
    {
        let other = pipeline(json!({"query": guarded(), field: value}));
        let (changed, same) = hashes(&plan(&other));
        assert!(changed != worker && same == query, "{field}: how Kafka is read is the workers'");
    }
    for (field, value) in [
        ("kafka", json!({"bootstrapServers": "kafka:9092", "ridesTopic": "r", "faresTopic": "fares"})),
        ("job", json!({"window": "1h"})),
    ] {
        let other = pipeline(json!({"query": guarded(), field: value}));
        let (changed, other) = hashes(&plan(&other));
        assert!(changed != worker && other != query, "{field} decides what there is to ask for");
    }
    let epoch = pipeline(json!({"query": guarded(), "epoch": 1}));
    let (changed, other) = hashes(&plan(&epoch));
    assert!(changed != worker && other != query, "the epoch is everybody's");
}

#[test]
fn a_suspended_pipeline_answers_and_compacts_nothing() {
    let compaction = |spec: Value| {
        let pipeline = pipeline(spec);
        let plan = plan(&pipeline);
        assert_eq!(query_deployment(&plan)["spec"]["replicas"], 1);
        cron_job(&plan)["spec"]["suspend"].clone()
    };
    let spec = |suspend: bool, own: bool| json!({"suspend": suspend, "query": guarded(), "compaction": {"enabled": true, "suspend": own}});
    assert_eq!(compaction(spec(false, false)), false);
    assert_eq!(compaction(spec(true, false)), true);
    assert_eq!(compaction(spec(false, true)), true);
}

#[test]
fn the_map_has_a_port_where_it_is_asked_for() {
    let ports = |query: Value| {
        let pipeline = pipeline(json!({"query": query}));
        let plan = plan(&pipeline);
        let service = object(&plan, Kind::Service, Component::Query).expect("a Service");
        let policy = object(&plan, Kind::NetworkPolicy, Component::Query).expect("a NetworkPolicy");
        let container = query_deployment(&plan)["spec"]["template"]["spec"]["containers"][0].clone();
        let has_flag = container["args"].to_string().contains("--map=0.0.0.0:8081");
        let numbers = |list: &Value, key: &str| -> Vec<Value> {
            list.as_array().into_iter().flatten().map(|port| port[key].clone()).collect()
        };
        let served = numbers(&service["spec"]["ports"], "port");
        assert_eq!(served, numbers(&policy["spec"]["ingress"][0]["ports"], "port"));
        assert_eq!(served, numbers(&container["ports"], "containerPort"));
        assert_eq!(served.contains(&json!(8081)), has_flag);
        has_flag
    };
    assert!(!ports(guarded()));
    let mut query = guarded();
    query["map"] = json!(true);
    assert!(ports(query));
}
