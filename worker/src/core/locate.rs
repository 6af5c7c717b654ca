//! Neighbourhoods: which polygon a point lies in.
//!
//! Exact: a polygon is a closed set, so a point on a border lies in it, and so does one on the border of a
//! hole; where polygons share a border, the first in the file's order has it. The predicates are those of
//! `geo`, which are robust: no rounding decides.
//!
//! Fast: a grid over all polygons knows for most of its cells that they lie wholly in one polygon, or in none.
//! Only in cells that a border crosses are polygons tested.

mod geojson;
mod grid;

use std::fmt;

use geo::MultiPolygon;

use self::grid::Grid;
use super::record::Point;

/// The number of a neighbourhood in the order of its file, or [`Place::OTHER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u16);

impl Place {
    /// In no polygon.
    pub const OTHER: Place = Place(u16::MAX);

    /// The neighbourhood with this number.
    pub const fn new(index: u16) -> Self {
        Place(index)
    }

    /// Its number; `u16::MAX` for [`Place::OTHER`].
    pub const fn index(self) -> u16 {
        self.0
    }
}

/// The name of what lies in no polygon.
pub const OTHER: &str = "Other";

/// Why polygons could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoJsonError(String);

impl fmt::Display for GeoJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GeoJsonError {}

struct Neighbourhood {
    name: String,
    area: MultiPolygon<f64>,
}

/// The neighbourhoods of a job, with their index.
pub struct Neighbourhoods {
    all: Vec<Neighbourhood>,
    grid: Grid,
}

impl Neighbourhoods {
    /// Reads a GeoJSON FeatureCollection whose features are Polygons or MultiPolygons with a property `name`.
    ///
    /// # Errors
    /// Where it is not that, with the number of the feature and what to write instead.
    pub fn parse(text: &str) -> Result<Self, GeoJsonError> {
        let all = geojson::read(text)?;
        let grid = Grid::build(&all);
        Ok(Neighbourhoods { all, grid })
    }

    /// The first neighbourhood that `point` lies in.
    pub fn locate(&self, point: Point) -> Place {
        self.grid.locate(&self.all, point)
    }

    /// The name of `place`.
    pub fn name(&self, place: Place) -> &str {
        self.all.get(usize::from(place.0)).map_or(OTHER, |neighbourhood| &neighbourhood.name)
    }

    /// Their names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|neighbourhood| neighbourhood.name.as_str())
    }
}

#[cfg(test)]
mod tests;
