//! `spec.job`: what is computed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    duration::Duration,
    reference::ConfigMapKeyRef,
    rule::{Rule, Ruled},
};

/// What is computed: tips by window and neighbourhood. Window, slide, watermarkDelay, joinWithin,
/// area and neighbourhoods decide results and change only together with a raised epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Job {
    /// Length of a window of ride end times, whole minutes, at most 24h. Default 30m.
    pub window: Duration,
    /// From the start of one window to the start of the next, whole minutes; it divides the window
    /// and 24h, so that windows begin at midnight UTC. Default 10m.
    pub slide: Duration,
    /// How far the watermark stays behind the latest event time, and so how late a record may come
    /// and still find its windows open. Default 30m.
    pub watermark_delay: Duration,
    /// A ride joins a fare whose start it ends after, by at most this. Default 2h.
    pub join_within: Duration,
    /// A partition that has had nothing new to read for this long no longer holds back the
    /// watermark. Default 1m.
    pub idle_timeout: Duration,
    /// How far the event times of one partition may run ahead of the watermark before its reading
    /// is paused; it bounds the memory that an unevenly read backlog needs. Longer than
    /// watermarkDelay. Default 4h.
    pub max_drift: Duration,
    /// Rides that start or end outside of it are not counted. Default: New York City,
    /// longitude -74.05 to -73.7, latitude 40.5 to 41.
    pub area: Area,
    /// The polygons in which ride ends are looked up. Default: those of Manhattan that the worker
    /// has built in, drawn by hand and approximate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbourhoods: Option<Neighbourhoods>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            window: Duration::minutes(30),
            slide: Duration::minutes(10),
            watermark_delay: Duration::minutes(30),
            join_within: Duration::hours(2),
            idle_timeout: Duration::minutes(1),
            max_drift: Duration::hours(4),
            area: Area::default(),
            neighbourhoods: None,
        }
    }
}

/// A box of longitudes and latitudes in degrees (WGS 84), its edges included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = <Self as Ruled>::rules)]
pub struct Area {
    /// Western edge, -180 to 180. Default -74.05.
    pub min_lon: f64,
    /// Eastern edge, -180 to 180. Default -73.7.
    pub max_lon: f64,
    /// Southern edge, -90 to 90. Default 40.5.
    pub min_lat: f64,
    /// Northern edge, -90 to 90. Default 41.
    pub max_lat: f64,
}

impl Default for Area {
    fn default() -> Self {
        Self { min_lon: -74.05, max_lon: -73.7, min_lat: 40.5, max_lat: 41.0 }
    }
}

/// Where the polygons are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Neighbourhoods {
    /// A GeoJSON FeatureCollection of Polygons and MultiPolygons with the property `name`. The
    /// first polygon that holds a point names it; a point in none is `Other`.
    pub config_map_key_ref: ConfigMapKeyRef,
}

const DAY: Duration = Duration::hours(24);

impl Ruled for Job {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: ".window",
            cel: "self.window.getSeconds() > 0 && self.window.getSeconds() % 60 == 0 && self.window <= duration('24h')",
            message: "must be whole minutes, from 1m to 24h; write for example 30m",
            holds: |job| job.window.is_whole_minutes() && job.window <= DAY,
        },
        Rule {
            field: ".slide",
            cel: "self.slide.getSeconds() > 0 && self.slide.getSeconds() % 60 == 0",
            message: "must be whole minutes, at least 1m; write for example 10m",
            holds: |job| job.slide.is_whole_minutes(),
        },
        Rule {
            field: ".slide",
            cel: "self.slide.getSeconds() == 0 || self.window.getSeconds() % self.slide.getSeconds() == 0",
            message: "must divide the window; write for example 5m, 10m or 15m for a window of 30m",
            holds: |job| job.slide.as_secs() == 0 || job.slide.divides(job.window),
        },
        Rule {
            field: ".slide",
            cel: "self.slide.getSeconds() == 0 || 86400 % self.slide.getSeconds() == 0",
            message: "must divide 24h, so that windows begin at midnight UTC; write for example 5m, 10m, 15m or 1h",
            holds: |job| job.slide.as_secs() == 0 || job.slide.divides(DAY),
        },
        Rule {
            field: ".joinWithin",
            cel: "self.joinWithin.getSeconds() > 0",
            message: "must be more than 0s; write for example 2h",
            holds: |job| job.join_within.as_secs() > 0,
        },
        Rule {
            field: ".idleTimeout",
            cel: "self.idleTimeout.getSeconds() > 0",
            message: "must be more than 0s; write for example 1m",
            holds: |job| job.idle_timeout.as_secs() > 0,
        },
        Rule {
            field: ".maxDrift",
            cel: "self.maxDrift > self.watermarkDelay",
            message: "must be longer than watermarkDelay, or no partition could be read on; write for example 4h for a watermarkDelay of 30m",
            holds: |job| job.max_drift > job.watermark_delay,
        },
    ];
}

impl Ruled for Area {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "",
            cel: "self.minLon >= -180.0 && self.maxLon <= 180.0 && self.minLat >= -90.0 && self.maxLat <= 90.0",
            message: "must lie on the globe: longitudes from -180 to 180, latitudes from -90 to 90 degrees",
            holds: |area| {
                area.min_lon >= -180.0
                    && area.max_lon <= 180.0
                    && area.min_lat >= -90.0
                    && area.max_lat <= 90.0
            },
        },
        Rule {
            field: ".minLon",
            cel: "self.minLon < self.maxLon",
            message: "must be less than maxLon; write the western edge as minLon, such as -74.05, and the eastern as maxLon, such as -73.7",
            holds: |area| area.min_lon < area.max_lon,
        },
        Rule {
            field: ".minLat",
            cel: "self.minLat < self.maxLat",
            message: "must be less than maxLat; write the southern edge as minLat, such as 40.5, and the northern as maxLat, such as 41",
            holds: |area| area.min_lat < area.max_lat,
        },
    ];
}
