//! The neighbourhoods as the generator sees them: it draws points and knows where they lie, by its
//! own even-odd test. It shares nothing with the worker's lookup, so that the two check each other.
//!
//! Points are whole micro-degrees, which is what the lines print; a point is used only where it
//! lies clear of every border, so that no rounding of a reader can move it across.

use std::path::Path;

use geojson::{Feature, FeatureCollection, GeoJson, GeometryValue, PolygonType, Position};

use super::dice::Dice;
use super::error::GenerateError;

/// Neighbourhoods of Manhattan, drawn by hand: approximate, not for navigation.
pub const MANHATTAN: &str = include_str!("../../assets/manhattan.geojson");

const MICRO: f64 = 1e6;
/// Degrees: about 20 cm, a thousand times what reading a coordinate as float64 can lose.
const CLEAR: f64 = 2e-6;
/// Rejection stops after so many tries and falls back on a point that is known to be right.
const TRIES: u32 = 1_000;
/// Looking for the first such point is worth more.
const FIRST_TRIES: u32 = 100_000;

/// Where both ends of a ride have to lie (bounds included), in micro-degrees.
pub(super) const BOX: Rect =
    Rect { west: -74_050_000, east: -73_700_000, south: 40_500_000, north: 41_000_000 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) lon: i32,
    pub(super) lat: i32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Rect {
    pub(super) west: i32,
    pub(super) east: i32,
    pub(super) south: i32,
    pub(super) north: i32,
}

/// What a point's place is, as far as it can be told without doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Neighbourhood(usize),
    Other,
    NearBorder,
}

pub(super) struct Areas {
    areas: Vec<Area>,
    /// A box around the city in which `Other` ends are drawn.
    around: Rect,
    known_other: Option<Point>,
}

struct Area {
    name: String,
    bounds: Rect,
    /// The rings of all its polygons, outer and holes: for even-odd they are alike.
    rings: Vec<Vec<(f64, f64)>>,
    known: Point,
}

impl Areas {
    pub(super) fn load(file: Option<&Path>) -> Result<Self, GenerateError> {
        match file {
            None => Self::parse(MANHATTAN, "the built-in file"),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(GenerateError::file("read", path))?;
                Self::parse(&text, &path.display().to_string())
            }
        }
    }

    pub(super) fn parse(text: &str, origin: &str) -> Result<Self, GenerateError> {
        let failed = |reason: String| GenerateError::Neighbourhoods { origin: origin.to_owned(), reason };
        let features = match text.parse::<GeoJson>() {
            Ok(GeoJson::FeatureCollection(FeatureCollection { features, .. })) => features,
            Ok(_) => return Err(failed("not a FeatureCollection".to_owned())),
            Err(error) => return Err(failed(error.to_string())),
        };
        let areas = features
            .iter()
            .enumerate()
            .map(|(index, feature)| Area::read(feature).map_err(|why| format!("feature {index}: {why}")))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        Self::settle(areas).map_err(failed)
    }

    /// Finds a sure point in every area, so that drawing from it can always end.
    fn settle(areas: Vec<Area>) -> Result<Self, String> {
        if areas.is_empty() || areas.len() > usize::from(u16::MAX - 1) {
            return Err("has to hold between 1 and 65534 features".to_owned());
        }
        let around = areas
            .iter()
            .map(|area| area.bounds)
            .fold(areas[0].bounds, Rect::union)
            .grown(40_000)
            .within(BOX)
            .ok_or("lies wholly outside the box, lon [-74.05, -73.7], lat [40.5, 41.0]")?;
        let mut settled = Self { areas, around, known_other: None };
        // Its own fixed seed: the points depend on the polygons alone.
        let mut dice = Dice::new(0, 0);
        for index in 0..settled.areas.len() {
            settled.areas[index].known = settled.search(index, &mut dice)?;
        }
        settled.known_other = settled.draw(Place::Other, around, FIRST_TRIES, &mut dice);
        Ok(settled)
    }

    fn search(&self, index: usize, dice: &mut Dice) -> Result<Point, String> {
        let area = &self.areas[index];
        area.bounds
            .within(BOX)
            .and_then(|bounds| self.draw(Place::Neighbourhood(index), bounds, FIRST_TRIES, dice))
            .ok_or_else(|| {
                format!(
                    "no ride can end in {:?}: it lies outside the box, lon [-74.05, -73.7], lat \
                     [40.5, 41.0], or earlier neighbourhoods cover it, or it is too small",
                    area.name
                )
            })
    }

    pub(super) fn len(&self) -> usize {
        self.areas.len()
    }

    /// The name of a neighbourhood, or `Other` for the index after the last.
    pub(super) fn name(&self, index: usize) -> &str {
        self.areas.get(index).map_or("Other", |area| &area.name)
    }

    pub(super) fn has_other(&self) -> bool {
        self.known_other.is_some()
    }

    /// A point in the neighbourhood, or outside all of them for the index after the last.
    pub(super) fn point_in(&self, index: usize, dice: &mut Dice) -> Point {
        let (place, bounds, known) = match self.areas.get(index) {
            Some(area) => (Place::Neighbourhood(index), area.bounds, area.known),
            None => {
                let known = self.known_other.expect("asked for only where has_other");
                (Place::Other, self.around, known)
            }
        };
        bounds.within(BOX).and_then(|bounds| self.draw(place, bounds, TRIES, dice)).unwrap_or(known)
    }

    /// A point somewhere about the neighbourhood, inside the box: where a ride starts.
    pub(super) fn point_about(&self, index: usize, dice: &mut Dice) -> Point {
        let bounds = self.areas.get(index).map_or(self.around, |area| area.bounds);
        bounds.within(BOX).unwrap_or(BOX).draw(dice)
    }

    fn draw(&self, place: Place, bounds: Rect, tries: u32, dice: &mut Dice) -> Option<Point> {
        (0..tries).map(|_| bounds.draw(dice)).find(|point| self.place(*point) == place)
    }

    /// The first in the order of the file that holds the point; the borders of those after it do
    /// not matter.
    fn place(&self, point: Point) -> Place {
        for (index, area) in self.areas.iter().enumerate() {
            match area.holds(point) {
                Some(true) => return Place::Neighbourhood(index),
                Some(false) => {}
                None => return Place::NearBorder,
            }
        }
        Place::Other
    }
}

impl Area {
    fn read(feature: &Feature) -> Result<Self, String> {
        let name = match feature.property("name").and_then(|name| name.as_str()) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => return Err("has no property `name`".to_owned()),
        };
        let polygons: Vec<&PolygonType> = match feature.geometry.as_ref().map(|shape| &shape.value) {
            Some(GeometryValue::Polygon { coordinates }) => vec![coordinates],
            Some(GeometryValue::MultiPolygon { coordinates }) => coordinates.iter().collect(),
            _ => return Err(format!("{name:?} is neither a Polygon nor a MultiPolygon")),
        };
        let rings = polygons
            .into_iter()
            .flatten()
            .map(|ring| ring.iter().map(lon_lat).collect::<Option<Vec<_>>>())
            .collect::<Option<Vec<_>>>()
            .filter(|rings| rings.iter().all(|ring| ring.len() >= 4))
            .ok_or_else(|| {
                format!(
                    "{name:?} has a ring of fewer than 4 positions, or a position without two finite numbers"
                )
            })?;
        let bounds = bounds(&rings).ok_or_else(|| format!("{name:?} has no ring"))?;
        Ok(Self { name, bounds, rings, known: Point { lon: 0, lat: 0 } })
    }

    /// Whether the point is inside, by even-odd; `None` within [`CLEAR`] of the border.
    fn holds(&self, point: Point) -> Option<bool> {
        if !self.bounds.contains(point) {
            return Some(false);
        }
        let (x, y) = (f64::from(point.lon) / MICRO, f64::from(point.lat) / MICRO);
        let mut inside = false;
        for ring in &self.rings {
            for edge in ring.windows(2) {
                let [(ax, ay), (bx, by)] = [edge[0], edge[1]];
                if is_near((x, y), (ax, ay), (bx, by)) {
                    return None;
                }
                if (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax) {
                    inside = !inside;
                }
            }
        }
        Some(inside)
    }
}

fn lon_lat(position: &Position) -> Option<(f64, f64)> {
    match position.as_slice() {
        [lon, lat, ..] if lon.is_finite() && lat.is_finite() => Some((*lon, *lat)),
        _ => None,
    }
}

/// Whether the point lies within [`CLEAR`] of the segment from `a` to `b`.
fn is_near((x, y): (f64, f64), a: (f64, f64), b: (f64, f64)) -> bool {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (px, py) = (x - a.0, y - a.1);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
    let (ex, ey) = (px - along * dx, py - along * dy);
    ex * ex + ey * ey < CLEAR * CLEAR
}

/// Whole micro-degrees around all rings, with room for [`CLEAR`].
fn bounds(rings: &[Vec<(f64, f64)>]) -> Option<Rect> {
    rings
        .iter()
        .flatten()
        .map(|(lon, lat)| {
            let (lon, lat) = ((lon * MICRO) as i32, (lat * MICRO) as i32);
            Rect { west: lon, east: lon, south: lat, north: lat }
        })
        .reduce(Rect::union)
        .map(|rect| rect.grown(4))
}

impl Rect {
    fn union(self, other: Self) -> Self {
        Self {
            west: self.west.min(other.west),
            east: self.east.max(other.east),
            south: self.south.min(other.south),
            north: self.north.max(other.north),
        }
    }

    fn grown(self, by: i32) -> Self {
        Self {
            west: self.west.saturating_sub(by),
            east: self.east.saturating_add(by),
            south: self.south.saturating_sub(by),
            north: self.north.saturating_add(by),
        }
    }

    fn within(self, outer: Self) -> Option<Self> {
        let cut = Self {
            west: self.west.max(outer.west),
            east: self.east.min(outer.east),
            south: self.south.max(outer.south),
            north: self.north.min(outer.north),
        };
        (cut.west <= cut.east && cut.south <= cut.north).then_some(cut)
    }

    pub(super) fn contains(self, point: Point) -> bool {
        (self.west..=self.east).contains(&point.lon) && (self.south..=self.north).contains(&point.lat)
    }

    fn draw(self, dice: &mut Dice) -> Point {
        Point {
            lon: dice.between(self.west.into(), self.east.into()) as i32,
            lat: dice.between(self.south.into(), self.north.into()) as i32,
        }
    }
}

#[cfg(test)]
mod tests;
