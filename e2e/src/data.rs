//! The real data of the taxi streams, where it is at hand: beside the project in `../shared/data`, or wherever
//! `TIPSTREAM_DATA` says.

use std::env;
use std::path::{Path, PathBuf};

/// 100,000 ride lines, 46,450 fare lines, and Manhattan's neighbourhoods.
#[derive(Debug, Clone)]
pub struct RealData {
    /// Ride lines, gzip.
    pub rides: PathBuf,
    /// Fare lines, gzip.
    pub fares: PathBuf,
    /// GeoJSON.
    pub neighbourhoods: PathBuf,
}

impl RealData {
    /// `None`, with a line that says so, where it is not there: the test then skips.
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    pub fn find() -> Option<Self> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let dir = env::var_os("TIPSTREAM_DATA").map_or_else(beside, PathBuf::from);
        let found = Self {
            rides: dir.join("nycTaxiRides.gz"),
            fares: dir.join("nycTaxiFares.gz"),
            neighbourhoods: dir.join("manhattan.geojson"),
        };
        let complete = [&found.rides, &found.fares, &found.neighbourhoods].iter().all(|path| path.exists());
        if !complete {
            eprintln!("skipped: no taxi data in {} (TIPSTREAM_DATA names another folder)", dir.display());
        }
        complete.then_some(found)
    }
}
