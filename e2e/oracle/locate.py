"""Which polygon a point is in, exactly: the border counts as inside, also that of a hole; the first in file order."""

import json
from fractions import Fraction

import numpy as np

# Shewchuk's bound for the sign of a 2x2 determinant of differences, generously rounded up.
UNCERTAIN = 4e-16


class Neighbourhoods:
    def __init__(self, path):
        with open(path) as file:
            features = json.load(file)["features"]
        self.names = [feature["properties"]["name"] for feature in features]
        self.polygons = [_polygons(feature["geometry"]) for feature in features]

    def find(self, lon, lat, other):
        """The name for each point; `other` where no polygon has it."""
        found = np.full(len(lon), -1)
        for index, polygons in enumerate(self.polygons):
            for polygon in polygons:
                open_points = np.flatnonzero((found < 0) & _in_bounds(polygon[0], lon, lat))
                inside = _in_polygon(polygon, lon[open_points], lat[open_points])
                found[open_points[inside]] = index
        return np.array(self.names + [other], object)[found]


def _polygons(geometry):
    kinds = {"Polygon": lambda rings: [rings], "MultiPolygon": lambda polygons: polygons}
    polygons = kinds[geometry["type"]](geometry["coordinates"])
    return [[np.array([point[:2] for point in ring], float) for ring in polygon] for polygon in polygons]


def _in_bounds(ring, lon, lat):
    (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)


def _in_polygon(rings, lon, lat):
    inside, border = _in_ring(rings[0], lon, lat)
    held = inside | border
    for hole in rings[1:]:
        inside, border = _in_ring(hole, lon, lat)
        held &= ~inside | border
    return held


def _in_ring(ring, lon, lat):
    """By crossings of a ray to the east; an edge owns its lower end."""
    inside = np.zeros(len(lon), bool)
    border = np.zeros(len(lon), bool)
    for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0)):
        near = np.flatnonzero((lat >= min(ay, by)) & (lat <= max(ay, by)) & (lon <= max(ax, bx)))
        x, y = lon[near], lat[near]
        side = _side(ax, ay, bx, by, x, y)
        border[near] |= (side == 0) & (x >= min(ax, bx))
        crosses = (ay <= y) != (by <= y)
        inside[near] ^= crosses & ((side > 0) == (by > ay)) & (side != 0)
    return inside, border


def _side(ax, ay, bx, by, x, y):
    """1 where the point is left of a→b, -1 where right, 0 on the line."""
    left, right = (bx - ax) * (y - ay), (by - ay) * (x - ax)
    determinant = left - right
    side = np.sign(determinant)
    for index in np.flatnonzero(np.abs(determinant) <= UNCERTAIN * (np.abs(left) + np.abs(right))):
        a, b, p = (tuple(map(Fraction, point)) for point in ((ax, ay), (bx, by), (x[index], y[index])))
        exact = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
        side[index] = (exact > 0) - (exact < 0)
    return side
