//! Manifests as people write them, and as nobody should.

use std::time::Duration;

use proptest::{prelude::*, sample::select};

use super::*;

const MINIMAL: &str = "\
apiVersion: tipstream.dev/v1alpha1
kind: TipsPipeline
metadata:
  name: taxi
spec:
  kafka:
    bootstrapServers: kafka:9092
    ridesTopic: rides
    faresTopic: fares
  redis:
    urls: [redis://redis:6379]
  sink:
    volume:
      claimName: lake
";

fn parse(yaml: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse("pipeline.yaml", yaml.as_bytes())
}

#[track_caller]
fn valid(yaml: &str) -> Manifest {
    parse(yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// What is said about a manifest that is not valid, one line a problem.
#[track_caller]
fn refused(yaml: &str) -> String {
    parse(yaml).expect_err("an invalid manifest").to_string()
}

#[test]
fn a_minimal_manifest_has_every_default() {
    let manifest = valid(MINIMAL);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    assert_eq!((&*manifest.namespace, &*manifest.name), ("default", "taxi"));
    assert_eq!(manifest.kafka.group_id, "default.taxi");
    assert_eq!(manifest.redis.shards.get(), 16);
    assert_eq!(manifest.epoch, 0);
    let job = manifest.job;
    assert_eq!((job.window, job.slide), (minutes(30), minutes(10)));
    assert_eq!((job.watermark_delay, job.join_within), (minutes(30), minutes(120)));
    assert_eq!((job.idle_timeout, job.max_drift), (minutes(1), minutes(240)));
    assert_eq!((job.area.min_lon, job.area.max_lat), (-74.05, 41.0));
    let raw = manifest.raw.expect("raw is on");
    assert_eq!((raw.max_file_bytes, raw.flush_interval), (32 << 20, minutes(5)));
    assert_eq!(manifest.spec().replicas, 1);
}

#[test]
fn namespace_group_and_sentinel_are_taken_over() {
    let yaml = MINIMAL
        .replace("  name: taxi", "  name: taxi\n  namespace: nyc")
        .replace(
            "    urls: [redis://redis:6379]",
            "    mode: Sentinel\n    sentinel: {masterName: mymaster}\n    urls:\n    - rediss://a:26379\n    - rediss://b:26379",
        )
        + "  raw: {enabled: false}\n";
    let manifest = valid(&yaml);
    assert_eq!(manifest.kafka.group_id, "nyc.taxi");
    assert_eq!(
        manifest.redis.servers,
        RedisServers::Sentinel {
            urls: vec!["rediss://a:26379".to_owned(), "rediss://b:26379".to_owned()],
            master_name: "mymaster".to_owned(),
        }
    );
    assert_eq!(manifest.raw, None);
}

#[test]
fn null_is_the_default() {
    let yaml = format!("{MINIMAL}  job:\n    window: null\n    area:\n  query: ~\n");
    assert_eq!(valid(&yaml), valid(MINIMAL));
}

#[test]
fn other_objects_in_the_file_are_for_the_cluster() {
    let yaml = format!("---\napiVersion: v1\nkind: ConfigMap\ndata: {{a: b}}\n---\n{MINIMAL}---\n");
    assert_eq!(valid(&yaml), valid(MINIMAL));
}

#[test]
fn a_broken_rule_is_told_with_line_value_and_what_to_write() {
    assert_eq!(
        refused(&format!("{MINIMAL}  job:\n    window: 30m\n    slide: 7m\n")),
        "pipeline.yaml:17: spec.job.slide: 7m: must divide the window; write for example 5m, 10m or 15m for a window of 30m\n\
         pipeline.yaml:17: spec.job.slide: 7m: must divide 24h, so that windows begin at midnight UTC; write for example 5m, 10m, 15m or 1h"
    );
}

#[test]
fn a_rule_broken_by_a_default_is_told_at_the_nearest_line() {
    assert_eq!(
        refused(&format!("{MINIMAL}  job:\n    watermarkDelay: 6h\n")),
        "pipeline.yaml:15: spec.job.maxDrift: must be longer than watermarkDelay, or no partition could be read on; write for example 4h for a watermarkDelay of 30m"
    );
}

#[test]
fn an_unknown_field_is_told_with_the_name_that_was_meant() {
    for (written, said) in [
        (
            "    ridesTopc: rides",
            "8: spec.kafka.ridesTopc: rides: is not a field here; did you mean ridesTopic?",
        ),
        (
            "    ridestopic: rides",
            "8: spec.kafka.ridestopic: rides: is not a field here; did you mean ridesTopic?",
        ),
        (
            "    whatever: 1",
            "8: spec.kafka.whatever: 1: is not a field here; there are bootstrapServers, faresTopic, groupId, properties, ridesTopic, sasl, startFrom, tls",
        ),
    ] {
        let yaml = MINIMAL.replace("    ridesTopic: rides", written);
        assert_eq!(refused(&yaml), format!("pipeline.yaml:{said}"));
    }
    let yaml = MINIMAL.replace("  name: taxi", "  name: taxi\n  namespaec: nyc");
    assert_eq!(
        refused(&yaml),
        "pipeline.yaml:5: metadata.namespaec: nyc: is not a field here; did you mean namespace?"
    );
}

#[test]
fn unknown_fields_are_found_below_the_parts_of_a_pod_and_in_lists() {
    let yaml = format!(
        "{MINIMAL}  workload:\n    labels: {{any.thing/goes: x}}\n    env:\n    - name: A\n      valeu: b\n"
    );
    assert_eq!(
        refused(&yaml),
        "pipeline.yaml:19: spec.workload.env[0].valeu: b: is not a field here; did you mean value?"
    );
}

#[test]
fn a_missing_field_and_a_wrong_type_are_told_with_their_line() {
    let missing = MINIMAL.replace("    ridesTopic: rides\n", "");
    assert_eq!(refused(&missing), "pipeline.yaml:6: spec.kafka: missing field `ridesTopic`");
    let number = MINIMAL.replace("redis://redis:6379", "5");
    assert_eq!(
        refused(&number),
        "pipeline.yaml:11: spec.redis.urls[0]: 5: invalid type: integer `5`, expected a string"
    );
    let duration = format!("{MINIMAL}  job: {{window: 1d}}\n");
    assert_eq!(
        refused(&duration),
        "pipeline.yaml:15: spec.job.window: 1d: \"1d\" is not a duration; write whole hours, minutes and seconds such as 30m, 2h or 1h30m"
    );
}

#[test]
fn exactly_one_pipeline_of_the_right_version_is_expected() {
    assert_eq!(refused(""), "pipeline.yaml: has no TipsPipeline; write one with kind: TipsPipeline");
    assert_eq!(
        refused(&format!("{MINIMAL}---\n{MINIMAL}")),
        "pipeline.yaml:16: is a second TipsPipeline; a worker runs one, write the others to files of their own"
    );
    assert_eq!(
        refused(&MINIMAL.replace("kind: TipsPipeline", "kind: Pipeline")),
        "pipeline.yaml:2: kind: Pipeline: is not that of a TipsPipeline; write kind: TipsPipeline"
    );
    assert_eq!(
        refused(&MINIMAL.replace("v1alpha1", "v1")),
        "pipeline.yaml:1: apiVersion: tipstream.dev/v1: must be tipstream.dev/v1alpha1; write apiVersion: tipstream.dev/v1alpha1"
    );
}

#[test]
fn a_name_is_needed_and_fits_keys_and_groups() {
    for name in ["", "  name: Taxi\n", "  name: a/b\n", "  name: -a\n"] {
        let said = refused(&MINIMAL.replace("  name: taxi\n", &format!("  labels: {{a: b}}\n{name}")));
        assert!(said.contains(": metadata.name: "), "{said}");
    }
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    let tab = MINIMAL.replace("  name: taxi", "  name: [taxi");
    assert!(refused(&tab).starts_with("pipeline.yaml:"), "{}", refused(&tab));
    let twice = MINIMAL.replace("  name: taxi", "  name: taxi\n  name: taxi");
    assert!(refused(&twice).starts_with("pipeline.yaml:5: "), "{}", refused(&twice));
    let latin1 = Manifest::parse("f", b"a: b\nc: \xe9\n").expect_err("not UTF-8");
    assert_eq!(latin1.to_string(), "f:2: is not UTF-8; save the file as UTF-8");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Manifest::read(Path::new("/nowhere/pipeline.yaml")).expect_err("no such file");
    assert!(error.to_string().starts_with("/nowhere/pipeline.yaml: "), "{error}");
    assert_eq!(error.category(), "manifest-unreadable");
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let error = read_limited(io::repeat(b'a')).expect_err("too long");
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

proptest! {
    /// Either a manifest or a message: never a panic, whatever is in the file.
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse("f", &bytes);
    }

    #[test]
    fn no_yaml_makes_it_panic(yaml in "[a-c:{}\\[\\]&*!|>'\"#,?\n -]{0,80}") {
        let _ = Manifest::parse("f", yaml.as_bytes());
    }

    #[test]
    fn no_change_of_a_manifest_makes_it_panic(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), pieces()), 1..4),
    ) {
        let mut yaml = format!(
            "{MINIMAL}  job: {{window: 30m, slide: 10m, maxDrift: 4h, area: {{minLon: -74}}}}\n  raw: {{maxFileBytes: 16Mi}}\n  epoch: 3\n"
        );
        for (at, piece) in cuts {
            let mut words: Vec<_> = yaml.split_inclusive([' ', '\n', ',']).collect();
            let at = at.index(words.len());
            words[at] = piece;
            yaml = words.concat();
        }
        if let Err(error) = Manifest::parse("f", yaml.as_bytes()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

fn pieces() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "\n",
        "  ",
        ": ",
        "-1 ",
        "0s ",
        "99999999999999999999 ",
        "1e400 ",
        ".nan ",
        "null ",
        "[] ",
        "{} ",
        "'",
        "\"",
        "- ",
        "--- ",
        "&a ",
        "*a ",
        "<<: ",
        "!!int ",
        "7m, ",
        "48h, ",
        "é ",
        "\u{0}",
        "Sentinel ",
        "9999999h ",
        "5m-3s ",
        "[[[[[[[[ ",
        "name: ",
        "1Ei ",
        "64 ",
        "true ",
        "-",
    ])
}

/// The README's manifest of `stream`, and that with each of what it has in comments.
#[test]
fn the_readmes_manifest_and_its_variants_are_valid() {
    let readme = include_str!("../../../README.md");
    let section = readme.split_once("## Running on Kafka").expect("the section").1;
    let block = section.lines().skip_while(|line| !line.starts_with("    apiVersion"));
    let block = block.take_while(|line| line.starts_with("    ")).map(|line| &line[4..]);
    let yaml: Vec<&str> = block.collect();
    let with = |added: &[&str], left_out: &[&str]| {
        let begins_with_one = |text: &str, of: &[&str]| of.iter().any(|begin| text.starts_with(begin));
        let line = |line: &&str| {
            let text = line.trim_start();
            let indent = &line[..line.len() - text.len()];
            match text.strip_prefix("# ") {
                Some(more) if begins_with_one(more, added) => Some(format!("{indent}{more}\n")),
                _ if begins_with_one(text, left_out) => None,
                _ => Some(format!("{line}\n")),
            }
        };
        let variant: String = yaml.iter().filter_map(line).collect();
        let is_there = |added: &&str| variant.lines().any(|line| line.trim_start().starts_with(added));
        assert!(added.iter().all(is_there), "not all of {added:?} is in\n{variant}");
        valid(&variant)
    };
    assert_eq!(with(&[], &[]).name, "taxi");
    with(&["startFrom", "tls", "sasl", "properties"], &[]);
    with(&["mode: Cluster"], &[]);
    with(&["mode: Sentinel", "sentinel"], &[]);
    let s3 = ["s3", "bucket", "prefix", "endpoint", "region"];
    with(&["hdfs"], &s3);
    with(&["volume"], &s3);
}
