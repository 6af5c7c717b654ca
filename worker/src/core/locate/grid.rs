//! A grid that answers for most points without a look at a polygon.

use geo::{BoundingRect, Coord, Intersects, Line, LinesIter, Rect};

use super::{Neighbourhood, Place};
use crate::core::record::Point;

/// Cells along each side: over Manhattan a cell is about 70 m wide, and few have a border in them.
const SIDE: usize = 512;
/// How far a border may lie outside a cell, in cells, and still be counted as in it: far more than the
/// rounding of the division that finds the cell of a point.
const MARGIN: f64 = 1e-6;

#[derive(Clone, Copy)]
enum Cell {
    /// All of it is here.
    All(Place),
    /// Polygons to test, in the order of the file: a range of `Grid::candidates`.
    Test { start: u32, len: u32 },
}

pub(super) struct Grid {
    bounds: Rect<f64>,
    cells_per_lon: f64,
    cells_per_lat: f64,
    cells: Vec<Cell>,
    candidates: Vec<Place>,
}

impl Grid {
    pub(super) fn build(all: &[Neighbourhood]) -> Self {
        let bounds = bounds(all);
        let mut grid = Grid {
            bounds,
            cells_per_lon: SIDE as f64 / bounds.width(),
            cells_per_lat: SIDE as f64 / bounds.height(),
            cells: vec![Cell::All(Place::OTHER); SIDE * SIDE],
            candidates: Vec::new(),
        };
        let crossed: Vec<Vec<bool>> = all.iter().map(|n| grid.crossed_by(n)).collect();
        for index in 0..grid.cells.len() {
            grid.cells[index] = grid.classify(all, &crossed, index);
        }
        grid
    }

    pub(super) fn locate(&self, all: &[Neighbourhood], point: Point) -> Place {
        let at = Coord { x: point.lon, y: point.lat };
        if !self.bounds.intersects(&at) {
            return Place::OTHER;
        }
        match self.cells[self.row(at.y) * SIDE + self.column(at.x)] {
            Cell::All(place) => place,
            Cell::Test { start, len } => self.candidates[start as usize..(start + len) as usize]
                .iter()
                .copied()
                .find(|place| contains(&all[usize::from(place.index())], at))
                .unwrap_or(Place::OTHER),
        }
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

    fn crossed_by(&self, neighbourhood: &Neighbourhood) -> Vec<bool> {
        let mut crossed = vec![false; SIDE * SIDE];
        for line in neighbourhood.area.lines_iter() {
            for index in self.cells_around(&line) {
                crossed[index] = crossed[index] || self.cell(index).intersects(&line);
            }
        }
        crossed
    }

    fn cells_around(&self, line: &Line<f64>) -> impl Iterator<Item = usize> + use<> {
        let span = |a: usize, b: usize| (a.min(b).saturating_sub(1), (a.max(b) + 1).min(SIDE - 1));
        let (west, east) = span(self.column(line.start.x), self.column(line.end.x));
        let (south, north) = span(self.row(line.start.y), self.row(line.end.y));
        (south..=north).flat_map(move |row| (west..=east).map(move |column| row * SIDE + column))
    }

    /// A polygon whose border does not cross a cell holds all of it or nothing, so its centre tells. The first
    /// polygon in the order of the file that holds all of the cell ends the search.
    fn classify(&mut self, all: &[Neighbourhood], crossed: &[Vec<bool>], index: usize) -> Cell {
        let centre = self.cell(index).center();
        let start = self.candidates.len();
        let mut whole = Place::OTHER;
        for (number, neighbourhood) in all.iter().enumerate() {
            let place = Place::new(number as u16);
            if crossed[number][index] {
                self.candidates.push(place);
            } else if contains(neighbourhood, centre) {
                whole = place;
                break;
            }
        }
        if self.candidates.len() == start {
            return Cell::All(whole);
        }
        if whole != Place::OTHER {
            self.candidates.push(whole);
        }
        Cell::Test { start: start as u32, len: (self.candidates.len() - start) as u32 }
    }
}

fn contains(neighbourhood: &Neighbourhood, at: Coord<f64>) -> bool {
    neighbourhood.area.intersects(&at)
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
