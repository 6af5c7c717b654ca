//! The settings that decide results, as one short name (I8).
//!
//! A state in Redis is the fold of records under certain settings; under others it would mean
//! something else. So it is kept with the [`Fingerprint`] of the settings it was made with, and a
//! worker that has another one does not touch it. Whatever only decides where, when or how fast
//! something is done has no part in it.

use std::{collections::BTreeMap, fmt, fmt::Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{job::Area, spec::TipsPipelineSpec};

/// The settings that decide results, and a name for all of them together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// 16 hexadecimal digits: the beginning of the SHA-256 of `settings` as JSON. Equal where and
    /// only where the settings are.
    pub id: String,
    /// Each setting by its path below `spec`, in one spelling: `job.window` is `30m`, however it
    /// was written.
    pub settings: BTreeMap<String, String>,
}

/// One setting that two fingerprints do not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path below `spec`, such as `job.window`.
    pub setting: String,
    /// The value that the state was made with, if it knows the setting.
    pub state: Option<String>,
    /// The value in the spec, if it knows the setting.
    pub spec: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_deref().unwrap_or("unknown");
        let spec = self.spec.as_deref().unwrap_or("unknown");
        let setting = &self.setting;
        write!(f, "spec.{setting} is {spec}, the state was made with {state}")
    }
}

impl Fingerprint {
    /// The fingerprint of `spec` with the polygons whose bytes have the SHA-256
    /// `polygons_sha256`.
    pub fn new(spec: &TipsPipelineSpec, polygons_sha256: &[u8; 32]) -> Self {
        let (kafka, job) = (&spec.kafka, &spec.job);
        Self::of([
            ("kafka.ridesTopic", kafka.rides_topic.clone()),
            ("kafka.faresTopic", kafka.fares_topic.clone()),
            ("redis.shards", spec.redis.shards.to_string()),
            ("job.window", job.window.to_string()),
            ("job.slide", job.slide.to_string()),
            ("job.watermarkDelay", job.watermark_delay.to_string()),
            ("job.joinWithin", job.join_within.to_string()),
            ("job.area", spelled(&job.area)),
            ("job.neighbourhoods", format!("sha256:{}", hex(polygons_sha256))),
        ])
    }

    fn of<const N: usize>(settings: [(&str, String); N]) -> Self {
        let settings: BTreeMap<_, _> =
            settings.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
        let json = serde_json::to_vec(&settings).expect("a map of strings serializes to JSON");
        let id = hex(&Sha256::digest(json)[..8]);
        Self { id, settings }
    }

    /// What differs between `self`, the settings of the spec, and `state`, those that the state
    /// was made with.
    pub fn differences(&self, state: &BTreeMap<String, String>) -> Vec<Difference> {
        let paths: std::collections::BTreeSet<_> = self.settings.keys().chain(state.keys()).collect();
        paths
            .into_iter()
            .filter(|path| self.settings.get(*path) != state.get(*path))
            .map(|path| Difference {
                setting: path.clone(),
                state: state.get(path).cloned(),
                spec: self.settings.get(path).cloned(),
            })
            .collect()
    }
}

/// The shortest digits that read back as the same numbers; adding zero makes -0 and 0 one.
fn spelled(area: &Area) -> String {
    let [min_lon, max_lon, min_lat, max_lat] =
        [area.min_lon, area.max_lon, area.min_lat, area.max_lat].map(|degrees| degrees + 0.0);
    format!("lon {min_lon} to {max_lon}, lat {min_lat} to {max_lat}")
}

/// `bytes` in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes every write");
        hex
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fingerprint(change: impl FnOnce(&mut Value)) -> Fingerprint {
        let mut spec = json!({
            "kafka": {"bootstrapServers": "kafka:9092", "ridesTopic": "rides", "faresTopic": "fares"},
            "redis": {"urls": ["redis://redis:6379"]},
            "sink": {"volume": {"claimName": "lake"}},
        });
        change(&mut spec);
        let spec = serde_json::from_value(spec).expect("a spec");
        Fingerprint::new(&spec, &[7; 32])
    }

    /// States in the field carry this id: where the test fails, they would all be refused.
    #[test]
    fn the_fingerprint_of_the_defaults_never_changes() {
        let Fingerprint { id, settings } = fingerprint(|_| ());
        assert_eq!(id, "4b05e5e6d0fb1878");
        let listed: Vec<_> = settings.iter().map(|(path, value)| format!("{path} = {value}")).collect();
        assert_eq!(
            listed,
            [
                "job.area = lon -74.05 to -73.7, lat 40.5 to 41",
                "job.joinWithin = 2h",
                "job.neighbourhoods = \
                 sha256:0707070707070707070707070707070707070707070707070707070707070707",
                "job.slide = 10m",
                "job.watermarkDelay = 30m",
                "job.window = 30m",
                "kafka.faresTopic = fares",
                "kafka.ridesTopic = rides",
                "redis.shards = 16",
            ]
        );
    }

    #[test]
    fn what_decides_nothing_in_the_results_does_not_change_it() {
        let changed = fingerprint(|spec| {
            spec["replicas"] = json!(9);
            spec["suspend"] = json!(true);
            spec["epoch"] = json!(3);
            spec["kafka"]["bootstrapServers"] = json!("other:9092");
            spec["kafka"]["groupId"] = json!("other");
            spec["kafka"]["startFrom"] = json!("Latest");
            spec["redis"]["urls"] = json!(["redis://other:6379"]);
            spec["sink"] = json!({"s3": {"bucket": "taxi", "region": "eu-west-1"}});
            spec["raw"] = json!({"enabled": false, "flushInterval": "1m", "maxFileBytes": "1Mi"});
            spec["job"] = json!({"idleTimeout": "5m", "maxDrift": "9h", "window": "1800s"});
        });
        assert_eq!(changed, fingerprint(|_| ()));
    }

    #[test]
    fn each_setting_that_decides_results_changes_it_and_is_named() {
        let before = fingerprint(|_| ());
        for (setting, value) in [
            ("kafka.ridesTopic", json!("r2")),
            ("kafka.faresTopic", json!("f2")),
            ("redis.shards", json!(8)),
            ("job.window", json!("1h")),
            ("job.slide", json!("5m")),
            ("job.watermarkDelay", json!("20m")),
            ("job.joinWithin", json!("3h")),
            ("job.area", json!({"minLon": -74.5})),
        ] {
            let after = fingerprint(|spec| {
                let (part, field) = setting.split_once('.').expect("a path of two");
                spec[part][field] = value;
            });
            assert_ne!(after.id, before.id, "{setting}");
            let differences = after.differences(&before.settings);
            let named: Vec<_> = differences.iter().map(|d| d.setting.as_str()).collect();
            assert_eq!(named, [setting]);
        }
    }

    #[test]
    fn a_difference_says_both_values() {
        let [difference] = &fingerprint(|spec| spec["job"] = json!({"window": "1h"}))
            .differences(&fingerprint(|_| ()).settings)[..]
        else {
            panic!("one difference");
        };
        assert_eq!(difference.to_string(), "spec.job.window is 1h, the state was made with 30m");
    }
}
