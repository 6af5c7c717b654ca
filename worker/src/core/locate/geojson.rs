//! Polygons from GeoJSON.

use std::collections::HashSet;

use geo::{Coord, LineString, MultiPolygon, Polygon};
use geojson::{Feature, FeatureCollection, GeometryValue, PolygonType, Position};

use super::{GeoJsonError, Neighbourhood, OTHER};

pub(super) fn read(text: &str) -> Result<Vec<Neighbourhood>, GeoJsonError> {
    let collection: FeatureCollection =
        text.parse().map_err(|error| GeoJsonError(format!("not a GeoJSON FeatureCollection: {error}")))?;
    if collection.features.is_empty() {
        return Err(GeoJsonError("the FeatureCollection has no features".into()));
    }
    if collection.features.len() >= usize::from(u16::MAX) {
        return Err(GeoJsonError(format!("more than {} features", u16::MAX - 1)));
    }
    let mut names = HashSet::new();
    let mut all = Vec::with_capacity(collection.features.len());
    for (number, feature) in collection.features.into_iter().enumerate() {
        let neighbourhood =
            neighbourhood(feature).map_err(|error| GeoJsonError(format!("feature {number}: {error}")))?;
        if !names.insert(neighbourhood.name.clone()) {
            let name = neighbourhood.name;
            return Err(GeoJsonError(format!(
                "feature {number}: the name {name:?} is there already; write one MultiPolygon for both"
            )));
        }
        all.push(neighbourhood);
    }
    Ok(all)
}

fn neighbourhood(feature: Feature) -> Result<Neighbourhood, String> {
    let name = match feature.property("name").and_then(|name| name.as_str()) {
        None | Some("") => return Err("no property `name` with a text".into()),
        Some(OTHER) => return Err(format!("the name {OTHER:?} is kept for points in no polygon")),
        Some(name) => name.to_owned(),
    };
    let geometry = feature.geometry.ok_or("no geometry")?;
    let area = match &geometry.value {
        GeometryValue::Polygon { coordinates } => polygon(coordinates).map(MultiPolygon::from),
        GeometryValue::MultiPolygon { coordinates } => coordinates.iter().map(polygon).collect(),
        other => {
            return Err(format!("{name:?} is a {}; write a Polygon or a MultiPolygon", other.type_name()));
        }
    }
    .map_err(|error| format!("{name:?}: {error}"))?;
    if area.0.is_empty() {
        return Err(format!("{name:?}: no polygon"));
    }
    Ok(Neighbourhood { name, area })
}

fn polygon(rings: &PolygonType) -> Result<Polygon<f64>, String> {
    let mut rings = rings.iter().map(|positions| ring(positions));
    let exterior = rings.next().ok_or("a polygon without a ring")??;
    Ok(Polygon::new(exterior, rings.collect::<Result<_, _>>()?))
}

fn ring(positions: &[Position]) -> Result<LineString<f64>, String> {
    if positions.len() < 4 || positions.first() != positions.last() {
        return Err("a ring has four positions at least, the last equal to the first".into());
    }
    positions.iter().map(|position| coordinate(position.as_slice())).collect()
}

fn coordinate(position: &[f64]) -> Result<Coord<f64>, String> {
    match *position {
        [x, y, ..] if x.abs() <= 180.0 && y.abs() <= 90.0 => Ok(Coord { x, y }),
        _ => Err(format!("{position:?} is no [longitude, latitude] in degrees")),
    }
}
