//! A grid that answers for most points without a look at a polygon.

use std::collections::HashMap;

use geo::{BoundingRect, Coord, Intersects, Line, LinesIter, Rect};

use super::{Neighbourhood, Place};
use crate::core::record::Point;

/// Cells along each side: over Manhattan a cell is about 70 m wide, and few have a border in them.
const SIDE: usize = 512;
/// How far a border may lie outside a cell, in cells, and still be counted as in it: far more than the
/// rounding of the division that finds the cell of a point.
const MARGIN: f64 = 1e-6;

/// What is known of a cell in four bytes, so that the cells of a city stay in the processor's cache.
#[derive(Clone, Copy)]
struct Cell(u32);

impl Cell {
    const TEST: u32 = 1 << 31;

    /// All of it is at `place`.
    const fn all(place: Place) -> Self {
        Cell(place.index() as u32)
    }

    /// Polygons have to be tested: those of this list of [`Grid::candidates`], in the order of the file.
    const fn test(list: usize) -> Self {
        Cell(Self::TEST | list as u32)
    }

    const fn list(self) -> Option<usize> {
        if self.0 & Self::TEST == 0 { None } else { Some((self.0 ^ Self::TEST) as usize) }
    }
}

/// Where a cell lies, seen from a neighbourhood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Inside,
    Outside,
    /// The border crosses it.
    Border,
}

pub(super) struct Grid {
    bounds: Rect<f64>,
    cells_per_lon: f64,
    cells_per_lat: f64,
    cells: Vec<Cell>,
    /// Each list once: few borders meet anywhere.
    candidates: Vec<Vec<Place>>,
}

impl Grid {
    pub(super) fn build(all: &[Neighbourhood]) -> Self {
        let bounds = bounds(all);
        let mut grid = Grid {
            bounds,
            cells_per_lon: SIDE as f64 / bounds.width(),
            cells_per_lat: SIDE as f64 / bounds.height(),
            cells: vec![Cell::all(Place::OTHER); SIDE * SIDE],
            candidates: Vec::new(),
        };
        let mut tests: Vec<Vec<Place>> = vec![Vec::new(); SIDE * SIDE];
        // The first in the order of the file that holds all of a cell ends the search.
        let mut whole = vec![None; SIDE * SIDE];
        for (number, neighbourhood) in all.iter().enumerate() {
            let place = Place::new(number as u16);
            let cells = tests.iter_mut().zip(&mut whole);
            for (side, (tests, whole)) in grid.sides(neighbourhood).into_iter().zip(cells) {
                match side {
                    Side::Inside => *whole = whole.or(Some(place)),
                    Side::Border if whole.is_none() => tests.push(place),
                    Side::Border | Side::Outside => (),
                }
            }
        }
        let mut lists = HashMap::new();
        for (cell, (mut tests, whole)) in grid.cells.iter_mut().zip(tests.into_iter().zip(whole)) {
            if tests.is_empty() {
                *cell = Cell::all(whole.unwrap_or(Place::OTHER));
            } else {
                tests.extend(whole);
                let next = lists.len();
                *cell = Cell::test(*lists.entry(tests).or_insert(next));
            }
        }
        let mut candidates: Vec<(Vec<Place>, usize)> = lists.into_iter().collect();
        candidates.sort_unstable_by_key(|(_, list)| *list);
        grid.candidates = candidates.into_iter().map(|(tests, _)| tests).collect();
        grid
    }

    pub(super) fn locate(&self, all: &[Neighbourhood], point: Point) -> Place {
        let at = Coord { x: point.lon, y: point.lat };
        if !self.bounds.intersects(&at) {
            return Place::OTHER;
        }
        let cell = self.cells[self.row(at.y) * SIDE + self.column(at.x)];
        let Some(list) = cell.list() else { return Place::new(cell.0 as u16) };
        let mut candidates = self.candidates[list].iter().copied();
        candidates.find(|place| contains(&all[usize::from(place.index())], at)).unwrap_or(Place::OTHER)
    }

    fn column(&self, lon: f64) -> usize {
        (((lon - self.bounds.min().x) * self.cells_per_lon) as usize).min(SIDE - 1)
    }

    fn row(&self, lat: f64) -> usize {
        (((lat - self.bounds.min().y) * self.cells_per_lat) as usize).min(SIDE - 1)
    }

    /// The cell of `index`, a margin wider on each side.
    fn cell(&self, index: usize) -> Rect<f64> {
        let corner = |column: f64, row: f64| Coord {
            x: self.bounds.min().x + column / self.cells_per_lon,
            y: self.bounds.min().y + row / self.cells_per_lat,
        };
        let (column, row) = ((index % SIDE) as f64, (index / SIDE) as f64);
        Rect::new(corner(column - MARGIN, row - MARGIN), corner(column + 1.0 + MARGIN, row + 1.0 + MARGIN))
    }

    /// Two cells that touch and that the border does not cross lie on the same side of it, so only the first of
    /// such a run is tested, by its centre.
    fn sides(&self, neighbourhood: &Neighbourhood) -> Vec<Side> {
        let mut crossed = vec![false; SIDE * SIDE];
        for line in neighbourhood.area.lines_iter() {
            for index in self.cells_around(&line) {
                crossed[index] = crossed[index] || self.cell(index).intersects(&line);
            }
        }
        let mut sides = Vec::with_capacity(crossed.len());
        for (index, crossed) in crossed.into_iter().enumerate() {
            let west = sides.last().copied().filter(|_| !index.is_multiple_of(SIDE));
            sides.push(match west {
                _ if crossed => Side::Border,
                Some(side) if side != Side::Border => side,
                _ if contains(neighbourhood, self.cell(index).center()) => Side::Inside,
                _ => Side::Outside,
            });
        }
        sides
    }

    fn cells_around(&self, line: &Line<f64>) -> impl Iterator<Item = usize> + use<> {
        let span = |a: usize, b: usize| (a.min(b).saturating_sub(1), (a.max(b) + 1).min(SIDE - 1));
        let (west, east) = span(self.column(line.start.x), self.column(line.end.x));
        let (south, north) = span(self.row(line.start.y), self.row(line.end.y));
        (south..=north).flat_map(move |row| (west..=east).map(move |column| row * SIDE + column))
    }
}

fn contains(neighbourhood: &Neighbourhood, at: Coord<f64>) -> bool {
    neighbourhood.area.iter().any(|polygon| polygon.intersects(&at))
}

/// Around all polygons; never without extent, which a polygon of one line would have.
fn bounds(all: &[Neighbourhood]) -> Rect<f64> {
    let rects = all.iter().filter_map(|neighbourhood| neighbourhood.area.bounding_rect());
    let (mut min, mut max) = (Coord { x: 180.0_f64, y: 90.0_f64 }, Coord { x: -180.0_f64, y: -90.0_f64 });
    for rect in rects {
        min = Coord { x: min.x.min(rect.min().x), y: min.y.min(rect.min().y) };
        max = Coord { x: max.x.max(rect.max().x), y: max.y.max(rect.max().y) };
    }
    let some = Coord { x: 1e-9, y: 1e-9 };
    Rect::new(min - some, max + some)
}
