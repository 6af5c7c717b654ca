use geo::{Coord, Intersects, Line, LinesIter};
use proptest::prelude::*;

use super::*;
use crate::settings::BUILT_IN;

fn at(lon: f64, lat: f64) -> Point {
    Point { lon, lat }
}

fn feature(name: &str, kind: &str, coordinates: &str) -> String {
    format!(
        r#"{{"type":"Feature","properties":{{"name":"{name}"}},"geometry":{{"type":"{kind}","coordinates":{coordinates}}}}}"#
    )
}

fn collection(features: &[String]) -> String {
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))
}

/// West and East share the border at lon 1; West has a hole; Islands are two squares.
fn three() -> Neighbourhoods {
    let west = "[[[0,0],[1,0],[1,1],[0,1],[0,0]],[[0.4,0.4],[0.4,0.6],[0.6,0.6],[0.6,0.4],[0.4,0.4]]]";
    let east = "[[[1,0],[2,0],[2,1],[1,1],[1,0]]]";
    let islands =
        "[[[[3,0],[4,0],[4,1],[3,1],[3,0]]],[[[0.45,0.45],[0.55,0.45],[0.55,0.55],[0.45,0.55],[0.45,0.45]]]]";
    Neighbourhoods::parse(&collection(&[
        feature("West", "Polygon", west),
        feature("East", "Polygon", east),
        feature("Islands", "MultiPolygon", islands),
    ]))
    .expect("valid")
}

#[test]
fn holes_islands_and_the_sea() {
    let three = three();
    let name = |lon, lat| three.name(three.locate(at(lon, lat))).to_owned();
    assert_eq!(name(0.2, 0.2), "West");
    assert_eq!(name(1.5, 0.5), "East");
    assert_eq!(name(0.42, 0.42), "Other", "in the hole");
    assert_eq!(name(0.5, 0.5), "Islands", "the island in the hole");
    assert_eq!(name(3.5, 0.5), "Islands");
    assert_eq!(name(2.5, 0.5), "Other");
    assert_eq!(name(-50.0, 80.0), "Other");
}

#[test]
fn a_border_belongs_to_the_first_polygon_of_the_file() {
    let three = three();
    let name = |lon, lat| three.name(three.locate(at(lon, lat))).to_owned();
    assert_eq!(name(1.0, 0.5), "West");
    assert_eq!(name(2.0, 0.5), "East");
    assert_eq!(name(0.4, 0.5), "West", "the border of the hole");
    assert_eq!(name(0.0, 0.0), "West", "a corner");
    assert_eq!(name(4.0, 1.0), "Islands");
}

#[test]
fn what_is_no_collection_of_named_polygons_is_refused_and_says_why() {
    let square = "[[[0,0],[1,0],[1,1],[0,1],[0,0]]]";
    let named = feature("A", "Polygon", square);
    for (text, part) in [
        ("".to_owned(), "not a GeoJSON FeatureCollection"),
        ("{}".to_owned(), "not a GeoJSON FeatureCollection"),
        (collection(&[]), "no features"),
        (collection(&[feature("", "Polygon", square)]), "feature 0: no property `name`"),
        (collection(&[named.clone(), feature("Other", "Polygon", square)]), "feature 1: the name \"Other\""),
        (collection(&[named.clone(), named]), "feature 1: the name \"A\" is there already"),
        (collection(&[feature("A", "Point", "[0,0]")]), "is a Point; write a Polygon"),
        (collection(&[feature("A", "Polygon", "[[[0,0],[500,0],[1,1],[0,0]]]")]), "no [longitude, latitude]"),
    ] {
        let error = Neighbourhoods::parse(&text).err().expect(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_grid_agrees_with_a_test_of_every_polygon(
        points in prop::collection::vec((-0.5f64..4.5, -0.5f64..1.5), 1..50),
        snap in prop::bool::ANY,
    ) {
        let three = three_once();
        for (mut lon, mut lat) in points {
            if snap {
                (lon, lat) = ((lon * 20.0).round() / 20.0, (lat * 20.0).round() / 20.0);
            }
            prop_assert_eq!(three.locate(at(lon, lat)), tested(three, at(lon, lat)));
        }
    }

    /// Borders of a city slant, and cross cells of the grid in every way: points on them, at their corners, a rounding
    /// beside them, and as far off as the next cells.
    #[test]
    fn the_grid_agrees_along_the_borders_of_manhattan(
        edge in any::<prop::sample::Index>(),
        along in prop_oneof![Just(0.0), Just(1.0), 0.0f64..1.0],
        off in prop_oneof![Just(0.0), Just(1e-12), Just(1e-9), 0.0f64..0.002],
        angle in 0.0f64..std::f64::consts::TAU,
    ) {
        let (manhattan, edges) = manhattan_once();
        let Line { start, end } = *edge.get(edges);
        let lon = start.x + (end.x - start.x) * along + off * angle.cos();
        let lat = start.y + (end.y - start.y) * along + off * angle.sin();
        prop_assert_eq!(manhattan.locate(at(lon, lat)), tested(manhattan, at(lon, lat)));
    }
}

/// What a test of every polygon says.
fn tested(neighbourhoods: &Neighbourhoods, point: Point) -> Place {
    let point = Coord { x: point.lon, y: point.lat };
    let first = neighbourhoods.all.iter().position(|one| one.area.intersects(&point));
    first.map_or(Place::OTHER, |index| Place::new(index as u16))
}

fn manhattan_once() -> &'static (Neighbourhoods, Vec<Line<f64>>) {
    static MANHATTAN: std::sync::OnceLock<(Neighbourhoods, Vec<Line<f64>>)> = std::sync::OnceLock::new();
    MANHATTAN.get_or_init(|| {
        let manhattan = Neighbourhoods::parse(BUILT_IN).expect("valid");
        let edges = manhattan.all.iter().flat_map(|one| one.area.lines_iter()).collect();
        (manhattan, edges)
    })
}

fn three_once() -> &'static Neighbourhoods {
    static THREE: std::sync::OnceLock<Neighbourhoods> = std::sync::OnceLock::new();
    THREE.get_or_init(three)
}
