use std::collections::{BTreeMap, HashSet};

use geo::{
    Area as _, BooleanOps, Contains, GeodesicArea, Intersects, LineString, MultiPolygon, Polygon, Winding,
};

use super::*;

/// The built-in neighbourhoods, read by another library.
fn shapes() -> Vec<(String, MultiPolygon)> {
    let collection: FeatureCollection = MANHATTAN.parse().expect("a FeatureCollection");
    let read = |feature: Feature| {
        let name = feature.property("name").and_then(|name| name.as_str()).expect("a name").to_owned();
        let polygons = match feature.geometry.expect("a geometry").value {
            GeometryValue::Polygon { coordinates } => vec![coordinates],
            GeometryValue::MultiPolygon { coordinates } => coordinates,
            other => panic!("{name} is a {}", other.type_name()),
        };
        let shape = polygons.into_iter().map(polygon).collect();
        (name, shape)
    };
    collection.features.into_iter().map(read).collect()
}

fn polygon(rings: PolygonType) -> Polygon {
    let line = |ring: Vec<Position>| ring.iter().map(|at| (at[0], at[1])).collect::<LineString>();
    let mut lines = rings.into_iter().map(line);
    let outer = lines.next().expect("an outer ring");
    Polygon::new(outer, lines.collect())
}

fn place(lat: f64, lon: f64) -> Option<String> {
    let point = geo::Point::new(lon, lat);
    shapes().into_iter().find(|(_, shape)| shape.contains(&point)).map(|(name, _)| name)
}

#[test]
fn manhattan_says_that_it_is_approximate_and_names_everything_once() {
    let collection: FeatureCollection = MANHATTAN.parse().expect("a FeatureCollection");
    let about = collection.foreign_members.and_then(|members| members.get("about").cloned());
    assert!(about.is_some_and(|about| about.to_string().contains("not for navigation")));
    let mut names: Vec<String> = shapes().into_iter().map(|(name, _)| name).collect();
    let count = names.len();
    assert!((30..=45).contains(&count));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(!names.contains(&"Other".to_owned()));
}

#[test]
fn rings_are_closed_simple_and_wound_as_geojson_asks() {
    use geo::Validation;
    for (name, shape) in shapes() {
        assert!(shape.is_valid(), "{name}");
        for polygon in &shape {
            assert!(polygon.exterior().is_closed() && polygon.exterior().is_ccw(), "{name}");
            assert!(polygon.interiors().iter().all(|hole| hole.is_closed() && hole.is_cw()), "{name}");
        }
    }
}

#[test]
fn neighbours_share_borders_and_nothing_else() {
    let shapes = shapes();
    for (at, (name, shape)) in shapes.iter().enumerate() {
        let near = shapes[..at].iter().filter(|(_, other)| other.intersects(shape));
        for (other_name, other) in near {
            let overlap = shape.intersection(other).unsigned_area();
            assert!(overlap < 1e-12, "{name} and {other_name} overlap by {overlap}");
        }
    }
}

/// Exact, where a computed union is not: an edge that no neighbour has the other way round is a
/// shore, and there are no more shores than there should be.
#[test]
fn there_is_no_sliver_between_neighbours() {
    let micro = |at: &geo::Coord| ((at.x * MICRO).round() as i64, (at.y * MICRO).round() as i64);
    let shapes = shapes();
    let rings = shapes
        .iter()
        .flat_map(|(_, shape)| shape)
        .flat_map(|polygon| polygon.interiors().iter().chain([polygon.exterior()]));
    let edges: Vec<_> =
        rings.flat_map(|ring| ring.0.windows(2)).map(|edge| (micro(&edge[0]), micro(&edge[1]))).collect();
    let all: HashSet<_> = edges.iter().copied().collect();
    assert_eq!(all.len(), edges.len(), "no edge is there twice");
    let shores = edges.into_iter().filter(|(from, to)| !all.contains(&(*to, *from)));
    let mut next: BTreeMap<_, _> = BTreeMap::new();
    for (from, to) in shores {
        assert_eq!(next.insert(from, to), None, "the shore parts at {from:?}");
    }
    let mut loops = 0;
    while let Some((_, mut at)) = next.pop_first() {
        while let Some(to) = next.remove(&at) {
            at = to;
        }
        loops += 1;
    }
    assert_eq!(loops, 5, "Manhattan, three more shores and the reservoir");
}

#[test]
fn manhattan_is_about_as_large_as_manhattan() {
    let square_km: f64 = shapes().iter().map(|(_, shape)| shape.geodesic_area_unsigned() / 1e6).sum();
    assert!((53.0..62.0).contains(&square_km), "{square_km}");
}

#[test]
fn well_known_places_lie_where_they_should() {
    for (lat, lon, name) in [
        (40.7580, -73.9855, "Theater District"),    // Times Square
        (40.7064, -74.0094, "Financial District"),  // Wall Street
        (40.7115, -74.0165, "Battery Park City"),   // Brookfield Place
        (40.7128, -74.0060, "Civic Center"),        // City Hall
        (40.7308, -73.9973, "Greenwich Village"),   // Washington Square
        (40.7265, -73.9815, "East Village"),        // Tompkins Square
        (40.7222, -73.9874, "Lower East Side"),     // Katz's
        (40.7424, -74.0060, "Chelsea"),             // Chelsea Market
        (40.7411, -73.9897, "Flatiron District"),   // the Flatiron
        (40.7484, -73.9857, "Midtown South"),       // Empire State Building
        (40.7527, -73.9772, "Midtown"),             // Grand Central
        (40.7577, -74.0025, "Hudson Yards"),        // Javits Center
        (40.7489, -73.9680, "Turtle Bay"),          // United Nations
        (40.7725, -73.9835, "Lincoln Square"),      // Lincoln Center
        (40.7741, -73.9710, "Central Park"),        // Bethesda Fountain
        (40.7813, -73.9740, "Upper West Side"),     // Natural History
        (40.7761, -73.9430, "Yorkville"),           // Gracie Mansion
        (40.7573, -73.9540, "Roosevelt Island"),    // the tramway
        (40.7935, -73.9245, "East Harlem"),         // Icahn Stadium, on Randalls Island
        (40.8075, -73.9626, "Morningside Heights"), // Columbia
        (40.8100, -73.9501, "Harlem"),              // the Apollo
        (40.8489, -73.9386, "Washington Heights"),  // GWB bus station
        (40.8722, -73.9250, "Inwood"),              // Inwood Hill Park
        (40.8747, -73.9125, "Marble Hill"),         // its railway station
    ] {
        assert_eq!(place(lat, lon).as_deref(), Some(name), "{lat}, {lon}");
    }
    for (lat, lon) in [
        (40.7857, -73.9625), // the reservoir
        (40.8296, -73.9262), // Yankee Stadium
        (40.6826, -73.9754), // Barclays Center
        (40.7769, -73.8740), // LaGuardia
    ] {
        assert_eq!(place(lat, lon), None, "{lat}, {lon}");
    }
}

#[test]
fn points_lie_where_they_were_asked_for() {
    let areas = Areas::load(None).expect("the built-in file is right");
    let shapes = shapes();
    let mut dice = Dice::new(5, 0);
    for index in 0..=areas.len() {
        for _ in 0..50 {
            let point = areas.point_in(index, &mut dice);
            let found = shapes.iter().position(|(_, shape)| {
                shape.contains(&geo::Point::new(f64::from(point.lon) / MICRO, f64::from(point.lat) / MICRO))
            });
            assert_eq!(found.unwrap_or(areas.len()), index);
            assert!(BOX.contains(point));
        }
    }
}

const SQUARE: &str = r#"{"type":"Feature","properties":{"name":"NAME"},"geometry":{"type":"Polygon",
    "coordinates":[[[WEST,40.7],[EAST,40.7],[EAST,40.8],[WEST,40.8],[WEST,40.7]]]}}"#;

fn squares(list: &[(&str, &str, &str)]) -> String {
    let features: Vec<String> = list
        .iter()
        .map(|(name, west, east)| SQUARE.replace("NAME", name).replace("WEST", west).replace("EAST", east))
        .collect();
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))
}

#[test]
fn where_neighbourhoods_overlap_the_first_has_the_point() {
    let text = squares(&[("first", "-74.0", "-73.9"), ("second", "-74.0", "-73.8")]);
    let areas = Areas::parse(&text, "test").expect("fits");
    let mut dice = Dice::new(5, 0);
    for _ in 0..100 {
        assert!(areas.point_in(1, &mut dice).lon > -73_900_000);
    }
}

#[test]
fn a_neighbourhood_in_which_no_ride_can_end_is_refused() {
    for list in [
        [("here", "-74.0", "-73.9"), ("hidden", "-73.99", "-73.91")],
        [("here", "-74.0", "-73.9"), ("beyond", "-75.0", "-74.5")],
    ] {
        let error = Areas::parse(&squares(&list), "test").err().expect("refused");
        assert!(error.to_string().contains(list[1].0), "{error}");
    }
}
