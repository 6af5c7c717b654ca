//! What the API server refuses (CEL) and what the worker refuses (Rust) is the same, in the same
//! words.

use std::sync::LazyLock;

use kube_cel::Validator;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use tipstream_crds::{TipsPipeline, TipsPipelineSpec, Violation};

/// A spec of which only what must be given is given.
fn minimal() -> Value {
    json!({
        "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
        "redis": {"urls": ["redis://redis:6379"]},
        "sink": {"s3": {"bucket": "taxi", "region": "us-east-1"}},
    })
}

/// `minimal()` with other values at some pointers, such as `/job/slide`.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut spec = minimal();
    for (pointer, value) in changes {
        set(&mut spec, pointer, value.clone());
    }
    spec
}

fn set(spec: &mut Value, pointer: &str, value: Value) {
    let mut at = spec;
    for name in pointer.split('/').skip(1) {
        at = &mut at[name];
    }
    *at = value;
}

fn typed(spec: &Value) -> TipsPipelineSpec {
    serde_json::from_value(spec.clone()).unwrap_or_else(|error| panic!("{error}: {spec}"))
}

/// What the worker says, sorted.
fn by_rust(new: &TipsPipelineSpec, old: Option<&TipsPipelineSpec>) -> Vec<String> {
    let mut found = new.validate();
    found.extend(old.into_iter().flat_map(|old| new.validate_update(old)));
    let mut found: Vec<_> = found.iter().map(Violation::to_string).collect();
    found.sort();
    found
}

/// What the API server would say, sorted; the spec is written out, with every default in it.
fn by_cel(new: &TipsPipelineSpec, old: Option<&TipsPipelineSpec>) -> Vec<String> {
    let object = |spec: &TipsPipelineSpec| {
        serde_json::to_value(TipsPipeline::new("taxi", spec.clone())).expect("an object is JSON")
    };
    cel_errors(&object(new), old.map(object).as_ref())
}

fn cel_errors(new: &Value, old: Option<&Value>) -> Vec<String> {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| serde_json::to_value(tipstream_crds::schema()).expect("a schema is JSON"));
    let mut found: Vec<_> = Validator::new()
        .validate(&SCHEMA, new, old)
        .err()
        .into_iter()
        .flat_map(kube_cel::ValidationErrors::into_vec)
        .map(|error| format!("{}: {}", error.field_path, error.message))
        .collect();
    found.sort();
    found
}

/// Asserts that both refuse `new`, after `old` if that is given, in the same words, and returns
/// the paths at fault.
fn refused(new: &Value, old: Option<&Value>) -> Vec<String> {
    let (new, old) = (typed(new), old.map(typed));
    let found = by_rust(&new, old.as_ref());
    assert_eq!(found, by_cel(&new, old.as_ref()), "by Rust, by CEL");
    let path = |message: &String| message.split(": ").next().unwrap_or_default().to_owned();
    found.iter().map(path).collect()
}

#[track_caller]
fn assert_refused(path: &str, changes: &[(&str, Value)]) {
    assert_eq!(refused(&with(changes), None), [path], "{changes:?}");
}

#[test]
fn a_minimal_spec_is_valid() {
    assert_eq!(refused(&minimal(), None), [""; 0]);
}

#[test]
fn exactly_one_sink() {
    let volume = json!({"claimName": "lake"});
    assert_refused("spec.sink", &[("/sink", json!({}))]);
    assert_refused("spec.sink", &[("/sink/volume", volume)]);
}

#[test]
fn windows_are_whole_minutes_and_slides_divide_them_and_the_day() {
    assert_refused("spec.job.window", &[("/job/window", json!("48h"))]);
    assert_refused("spec.job.slide", &[("/job/slide", json!("20m"))]);
    assert_refused("spec.job.slide", &[("/job/slide", json!("0s"))]);
    assert_refused("spec.job.slide", &[("/job/window", json!("14m")), ("/job/slide", json!("7m"))]);
    let seconds = with(&[("/job/window", json!("90s")), ("/job/slide", json!("30s"))]);
    assert_eq!(refused(&seconds, None), ["spec.job.slide", "spec.job.window"]);
}

#[test]
fn a_partition_may_drift_further_than_the_watermark_is_delayed() {
    assert_refused("spec.job.maxDrift", &[("/job/maxDrift", json!("30m"))]);
    assert_refused("spec.job.maxDrift", &[("/job/watermarkDelay", json!("4h"))]);
}

#[test]
fn the_area_is_a_box_on_the_globe() {
    assert_refused("spec.job.area", &[("/job/area/minLon", json!(-181))]);
    assert_refused("spec.job.area", &[("/job/area/maxLat", json!(90.5))]);
    assert_refused("spec.job.area.minLon", &[("/job/area/minLon", json!(-73.7))]);
    assert_refused("spec.job.area.minLat", &[("/job/area/minLat", json!(42))]);
}

#[test]
fn counts_have_bounds() {
    assert_refused("spec.replicas", &[("/replicas", json!(-1))]);
    assert_refused("spec.redis.shards", &[("/redis/shards", json!(0))]);
    assert_refused("spec.redis.shards", &[("/redis/shards", json!(1025))]);
    assert_refused("spec.query.replicas", &[("/query/replicas", json!(0))]);
    for (limit, less) in [
        ("connections", json!(0)),
        ("queries", json!(0)),
        ("timeout", json!("0s")),
        ("rows", json!(0)),
        ("memory", json!("15Mi")),
        ("spill", json!("1023Ki")),
    ] {
        let pointer = format!("/query/limits/{limit}");
        assert_refused(&format!("spec.query.limits.{limit}"), &[(&pointer, less)]);
    }
    let scaling = json!({"minReplicas": 5, "maxReplicas": 4, "targetLag": 1000});
    assert_refused("spec.scaling.maxReplicas", &[("/scaling", scaling)]);
}

#[test]
fn credentials_are_refused_in_properties_and_urls() {
    for name in ["sasl.password", "ssl.key.pem", "group.id", "group.instance.id", "security.protocol"] {
        assert_refused(
            "spec.kafka.properties",
            &[("/kafka/properties", json!({name: "x", "fetch.max.bytes": "1"}))],
        );
    }
    let urls = json!(["redis://user:secret@redis:6379"]);
    assert_refused("spec.redis.urls", &[("/redis/urls", urls)]);
}

#[test]
fn servers_topics_and_folders_are_well_formed() {
    for servers in ["kafka", "kafka:", "kafka:9092,", "kafka:9092, other:9092", ":9092", ""] {
        assert_refused("spec.kafka.bootstrapServers", &[("/kafka/bootstrapServers", json!(servers))]);
    }
    assert_refused("spec.kafka.faresTopic", &[("/kafka/faresTopic", json!("rides"))]);
    assert_refused("spec.kafka.ridesTopic", &[("/kafka/ridesTopic", json!("a b"))]);
    for prefix in ["/lake", "lake/", "lake//taxi", "lake/../taxi", "lake taxi"] {
        assert_refused("spec.sink.s3.prefix", &[("/sink/s3/prefix", json!(prefix))]);
    }
    for endpoint in ["minio:9000", "http://", "https://minio/bucket", "http://me:pw@minio"] {
        assert_refused("spec.sink.s3.endpoint", &[("/sink/s3/endpoint", json!(endpoint))]);
    }
    for path in ["lake", "/", "/lake/", "/lake/.."] {
        let hdfs = json!({"hdfs": {"nameNode": "hdfs://nn:8020", "path": path}});
        assert_refused("spec.sink.hdfs.path", &[("/sink", hdfs)]);
    }
    let hdfs = json!({"hdfs": {"nameNode": "nn:8020", "path": "/lake"}});
    assert_refused("spec.sink.hdfs.nameNode", &[("/sink", hdfs)]);
}

#[test]
fn redis_urls_fit_mode_and_tls() {
    let two = json!(["redis://a:1", "redis://b:1"]);
    assert_refused("spec.redis.urls", &[("/redis/urls", json!([]))]);
    assert_refused("spec.redis.urls", &[("/redis/urls", two)]);
    assert_refused("spec.redis.urls", &[("/redis/tls", json!({}))]);
    assert_refused("spec.redis.sentinel", &[("/redis/mode", json!("Sentinel"))]);
    let sentinel = json!({"masterName": "mymaster"});
    assert_refused("spec.redis.sentinel", &[("/redis/sentinel", sentinel)]);
}

#[test]
fn sizes_and_schedules_have_bounds() {
    for size in ["1Ki", "33Mi", "0"] {
        assert_refused("spec.raw.maxFileBytes", &[("/raw/maxFileBytes", json!(size))]);
    }
    for (field, wrong) in [
        ("targetFileBytes", vec![json!("15Mi"), json!("5Gi")]),
        ("rate", vec![json!("1023Ki"), json!(0)]),
        ("memory", vec![json!("15Mi"), json!("5Gi")]),
        ("successfulJobsHistoryLimit", vec![json!(0)]),
        ("failedJobsHistoryLimit", vec![json!(0)]),
    ] {
        for value in wrong {
            let pointer = format!("/compaction/{field}");
            assert_refused(&format!("spec.compaction.{field}"), &[(&pointer, value)]);
        }
    }
    let unhurried = json!({"rate": "1Mi", "memory": "4Gi", "settle": "0s", "failedJobsHistoryLimit": 1});
    assert_eq!(refused(&with(&[("/compaction", unhurried)]), None), [""; 0]);
    for schedule in [
        "",
        "daily",
        "0 3 * *",
        "0  3 * * *",
        "0 3 * * * *",
        "60 3 * * *",
        "0 24 * * *",
        "0 3 0 * *",
        "0 3 * 13 *",
        "0 3 * * 7",
        "*/0 * * * *",
        "0 3-4-5 * * *",
        "1, * * * *",
        "0 3 jan * *",
        "0 3 * * /2",
        "-1 3 * * *",
    ] {
        assert_refused("spec.compaction.schedule", &[("/compaction/schedule", json!(schedule))]);
    }
    for schedule in ["30 2 * * *", "*/15 0-6/2,23 1,15 JAN-mar SUN", "5/20 03 31 12 6"] {
        assert_eq!(refused(&with(&[("/compaction/schedule", json!(schedule))]), None), [""; 0], "{schedule}");
    }
}

#[test]
fn a_query_service_is_locked_unless_that_is_waived() {
    let auth = ("/query/auth", json!({"secretRef": {"name": "query-users"}}));
    let tls = ("/query/tls", json!({"secretRef": {"name": "query-tls"}}));
    let on = ("/query/enabled", json!(true));
    let insecure = ("/query/insecure", json!(true));
    assert_refused("spec.query.auth", &[on.clone(), tls.clone()]);
    assert_refused("spec.query.tls", &[on.clone(), auth.clone()]);
    assert_eq!(refused(&with(std::slice::from_ref(&on)), None), ["spec.query.auth", "spec.query.tls"]);
    for allowed in [vec![on.clone(), auth.clone(), tls.clone()], vec![on, insecure], vec![auth.clone()]] {
        assert_eq!(refused(&with(&allowed), None), [""; 0], "{allowed:?}");
    }
    let same = ("/query/tls", auth.1.clone());
    assert_refused("spec.query.auth.secretRef.name", &[auth, same]);
}

#[test]
fn a_name_fits_services_and_labels() {
    let refused = |name: &str| {
        let pipeline = TipsPipeline::new(name, typed(&minimal()));
        let by_rust = pipeline.validate();
        let object = serde_json::to_value(&pipeline).expect("an object is JSON");
        let said: Vec<_> = by_rust.iter().map(|v| format!(": {} {}", v.path, v.message)).collect();
        assert_eq!(said, cel_errors(&object, None), "by Rust, by CEL");
        !by_rust.is_empty()
    };
    assert!(!refused("nyc") && !refused("a") && !refused("a-1") && !refused(&"a".repeat(40)));
    for name in ["nyc.taxi", "1nyc", "nyc-", "Nyc", "", &"a".repeat(41)] {
        assert!(refused(name), "{name}");
    }
}

#[test]
fn what_the_operator_goes_by_cannot_be_set_in_the_workload() {
    for label in ["app.kubernetes.io/name", "app.kubernetes.io/managed-by", "tipstream.dev/pipeline"] {
        assert_refused("spec.workload.labels", &[("/workload/labels", json!({label: "x", "team": "taxi"}))]);
    }
    let own = with(&[("/workload/labels", json!({"app.kubernetes.io/part-of": "lake"}))]);
    assert_eq!(refused(&own, None), [""; 0]);
    assert_refused(
        "spec.workload.annotations",
        &[("/workload/annotations", json!({"tipstream.dev/epoch": "7"}))],
    );
    let env = json!([{"name": "RUST_LOG", "value": "debug"}, {"name": "TIPS_REDIS_PASSWORD", "value": "x"}]);
    assert_refused("spec.workload.env", &[("/workload/env", env)]);
    for name in ["tipstream-config", "tipstream-anything"] {
        let volume = json!([{"name": name, "emptyDir": {}}]);
        assert_refused("spec.workload.volumes", &[("/workload/volumes", volume)]);
    }
    let mounted = |path: &str| json!({"volumes": [{"name": "extra", "emptyDir": {}}], "volumeMounts": [{"name": "extra", "mountPath": path}]});
    for path in
        ["/tmp", "/tmp/", "/etc/tipstream", "/etc/tipstream/", "/etc/tipstream-users", "/var/lib/tipstream/x"]
    {
        assert_refused("spec.workload.volumeMounts", &[("/workload", mounted(path))]);
    }
    for path in ["/tmp/extra", "/etc/ssl/extra", "/var/lib"] {
        assert_eq!(refused(&with(&[("/workload", mounted(path))]), None), [""; 0], "{path}");
    }
}

#[test]
fn what_a_pod_may_not_have_is_refused_in_the_workload() {
    let labels = |name: &str, value: &str| ("/workload/labels", json!({name: value, "app": "taxi"}));
    let long = "a".repeat(64);
    for (name, value) in [
        ("team", "a b"),
        ("team", "-a"),
        ("team", "a."),
        ("team", &*long),
        ("", "a"),
        ("a b", "a"),
        ("_a", "a"),
        ("Example.com/a", "a"),
        ("example..com/a", "a"),
        ("/a", "a"),
        ("a/b/c", "a"),
        ("example.com/", "a"),
        (&*long, "a"),
    ] {
        assert_refused("spec.workload.labels", &[labels(name, value)]);
    }
    for (name, value) in
        [("team", ""), ("a.b_c-D", "A_b.c-1"), ("my-1.example.com/team", "x"), (&long[1..], &long[1..])]
    {
        assert_eq!(refused(&with(&[labels(name, value)]), None), [""; 0], "{name}: {value}");
    }
    assert_refused(
        "spec.workload.annotations",
        &[("/workload/annotations", json!({"a b": "any text", "team": ""}))],
    );
    assert_eq!(refused(&with(&[("/workload/annotations", json!({"a/b": "any: {text}"}))]), None), [""; 0]);
    for field in ["serviceAccountName", "priorityClassName"] {
        let (pointer, path) = (format!("/workload/{field}"), format!("spec.workload.{field}"));
        for name in ["Taxi", "taxi s3", "taxi_s3", "-taxi", "taxi.", "", "a..b"] {
            assert_refused(&path, &[(&pointer, json!(name))]);
        }
        assert_eq!(refused(&with(&[(&pointer, json!("taxi.s3-1"))]), None), [""; 0]);
    }
    for image in ["", "a b", " a", "a\n", "a\tb"] {
        assert_refused("spec.workload.image", &[("/workload/image", json!(image))]);
    }
    assert_eq!(refused(&with(&[("/workload/image", json!("r.example:5000/a/b:1@sha256:0"))]), None), [""; 0]);
}

#[test]
fn resources_are_amounts_and_requests_fit_into_limits() {
    for part in ["workload", "query"] {
        let (pointer, path) = (format!("/{part}/resources"), format!("spec.{part}.resources"));
        for amount in ["lots", "1 Gi", "1GB", "", "-1", "-100m"] {
            assert_refused(&path, &[(&pointer, json!({"requests": {"cpu": amount}}))]);
            assert_refused(&path, &[(&pointer, json!({"limits": {"cpu": amount, "memory": "1Gi"}}))]);
        }
        let requests = format!("{path}.requests");
        for (request, limit) in
            [("2Gi", "1Gi"), ("1100m", "1"), ("1.5", "1499m"), ("1G", "1000k"), ("1e3", "0.9k")]
        {
            let resources = json!({"requests": {"memory": request}, "limits": {"memory": limit, "cpu": "0"}});
            assert_refused(&requests, &[(&pointer, resources)]);
        }
        for (request, limit) in
            [("1Gi", "1Gi"), ("1000m", "1"), ("4.35k", "4350"), ("0.1", "100m"), ("1023Mi", "1Gi")]
        {
            let resources = json!({"requests": {"memory": request, "cpu": "8"}, "limits": {"memory": limit}});
            assert_eq!(refused(&with(&[(&pointer, resources)]), None), [""; 0], "{request} {limit}");
        }
    }
}

#[test]
fn a_variable_that_the_sink_sets_is_not_set_twice() {
    let key = json!({"name": "keytab", "key": "tips.keytab"});
    let s3 = json!({"s3": {"bucket": "taxi", "region": "us-east-1", "credentials": {"secretRef": {"name": "s3"}}}});
    let hdfs = |more: Value| {
        let mut hdfs = json!({"nameNode": "hdfs://nn:8020", "path": "/lake"});
        for (name, value) in more.as_object().into_iter().flatten() {
            hdfs[name] = value.clone();
        }
        json!({"hdfs": hdfs})
    };
    let kerberos = json!({"principal": "tips@X", "keytabSecretRef": key});
    let configured = json!({"principal": "tips@X", "keytabSecretRef": key, "configMapRef": {"name": "krb5"}});
    let plain_s3 = minimal()["sink"].clone();
    for (variable, plain, sets) in [
        ("AWS_ACCESS_KEY_ID", &plain_s3, s3.clone()),
        ("AWS_SECRET_ACCESS_KEY", &plain_s3, s3),
        ("HADOOP_CONF_DIR", &hdfs(json!({})), hdfs(json!({"configMapRef": {"name": "hadoop"}}))),
        ("KRB5_CLIENT_KTNAME", &hdfs(json!({})), hdfs(json!({"kerberos": kerberos}))),
        ("KRB5_CONFIG", &hdfs(json!({"kerberos": kerberos})), hdfs(json!({"kerberos": configured}))),
    ] {
        let env = json!([{"name": variable, "value": "x"}]);
        let allowed = with(&[("/sink", plain.clone()), ("/workload/env", env.clone())]);
        assert_eq!(refused(&allowed, None), [""; 0], "{variable}");
        assert_refused("spec.workload.env", &[("/sink", sets), ("/workload/env", env)]);
    }
}

/// A change of each setting that decides results.
fn deciding_changes() -> Vec<(&'static str, Value)> {
    let reference = json!({"configMapKeyRef": {"name": "polygons", "key": "nyc.geojson"}});
    vec![
        ("/kafka/ridesTopic", json!("rides2")),
        ("/kafka/faresTopic", json!("fares2")),
        ("/redis/shards", json!(32)),
        ("/job/window", json!("1h")),
        ("/job/slide", json!("15m")),
        ("/job/watermarkDelay", json!("1h")),
        ("/job/joinWithin", json!("3h")),
        ("/job/area", json!({"minLon": -75})),
        ("/job/neighbourhoods", reference),
    ]
}

#[test]
fn what_decides_results_changes_only_with_the_epoch() {
    for (pointer, value) in deciding_changes() {
        let path = &format!("spec{}", pointer.replace('/', "."));
        let changed = with(&[(pointer, value.clone())]);
        assert_eq!(refused(&changed, Some(&minimal())), [path.as_str()]);
        assert_eq!(refused(&minimal(), Some(&changed)), [path.as_str()]);
        let anew = with(&[(pointer, value), ("/epoch", json!(1))]);
        assert_eq!(refused(&anew, Some(&minimal())), [""; 0]);
    }
}

#[test]
fn the_same_duration_in_other_words_is_no_change() {
    let spelled = with(&[("/job/window", json!("1800s"))]);
    assert_eq!(refused(&spelled, Some(&minimal())), [""; 0]);
}

#[test]
fn the_epoch_never_goes_down() {
    let second = with(&[("/epoch", json!(2))]);
    let first = with(&[("/epoch", json!(1))]);
    assert_eq!(refused(&first, Some(&second)), ["spec.epoch"]);
}

#[test]
fn everything_else_changes_freely() {
    let changed = with(&[
        ("/replicas", json!(7)),
        ("/suspend", json!(true)),
        ("/kafka/bootstrapServers", json!("other:9092")),
        ("/job/idleTimeout", json!("2m")),
        ("/raw/flushInterval", json!("1m")),
        ("/sink", json!({"volume": {"claimName": "lake"}})),
    ]);
    assert_eq!(refused(&changed, Some(&minimal())), [""; 0]);
}

/// A few values for a few fields, good ones and bad ones.
fn change() -> impl Strategy<Value = (&'static str, Value)> {
    let durations = || {
        select(vec!["0s", "59s", "1m", "7m", "10m", "30m", "45m", "1h", "24h", "25h"]).prop_map(Value::from)
    };
    let fields = select(vec!["window", "slide", "watermarkDelay", "joinWithin", "maxDrift"]);
    let pointer = |field| match field {
        "window" => "/job/window",
        "slide" => "/job/slide",
        "watermarkDelay" => "/job/watermarkDelay",
        "joinWithin" => "/job/joinWithin",
        _ => "/job/maxDrift",
    };
    let text = || "[a-zA-Z0-9:/@#?._= ,-]{0,12}".prop_map(Value::from);
    prop_oneof![
        (fields, durations()).prop_map(move |(field, value)| (pointer(field), value)),
        (-400.0..400.0).prop_map(|degrees| ("/job/area/minLon", json!(degrees))),
        (-400..400).prop_map(|degrees| ("/job/area/maxLat", json!(degrees))),
        (-3..1030).prop_map(|shards| ("/redis/shards", json!(shards))),
        (-3..3).prop_map(|epoch| ("/epoch", json!(epoch))),
        text().prop_map(|text| ("/kafka/bootstrapServers", text)),
        text().prop_map(|text| ("/kafka/ridesTopic", text)),
        text().prop_map(|text| ("/sink/s3/prefix", text)),
        text().prop_map(|text| ("/sink/s3/endpoint", text)),
        text().prop_map(|text| ("/sink/s3/bucket", text)),
        "rediss?://[a-z@?#:/0-9]{0,8}".prop_map(|url| ("/redis/urls", json!([url]))),
        any::<bool>().prop_map(|enabled| ("/query/enabled", json!(enabled))),
        any::<bool>().prop_map(|insecure| ("/query/insecure", json!(insecure))),
        select(vec!["a", "b"]).prop_map(|name| ("/query/auth", json!({"secretRef": {"name": name}}))),
        select(vec!["a", "b"]).prop_map(|name| ("/query/tls", json!({"secretRef": {"name": name}}))),
        (0_u64..3 << 20).prop_map(|rate| ("/compaction/rate", json!(rate))),
        (-3..3).prop_map(|runs| ("/compaction/failedJobsHistoryLimit", json!(runs))),
        "[0-9*/, -]{0,12}".prop_map(|cron| ("/compaction/schedule", json!(cron))),
        "[0-9*/,-]{1,4} [0-9*/,-]{1,4} [0-9*]{1,2} ([0-9*]{1,2}|ja[nm]) ([0-7*]|sat|sax)"
            .prop_map(|cron| ("/compaction/schedule", json!(cron))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn both_always_agree(
        old in proptest::collection::vec(change(), 0..3),
        new in proptest::collection::vec(change(), 0..4),
    ) {
        refused(&with(&new), Some(&with(&old)));
    }
}
