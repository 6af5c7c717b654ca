"""The oracle's own tests: what it computes, against small cases by hand, and that it finds what is wrong.

python -m unittest discover -s e2e/oracle
"""

import gzip
import json
import os
import random
import shutil
import tempfile
import unittest
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import expected
import lines
import reference
import tree
from checks import Checks
from locate import Neighbourhoods
from settings import Settings
from watch import Watcher

SQUARE = [[[-74.0, 40.7], [-73.9, 40.7], [-73.9, 40.8], [-74.0, 40.8], [-74.0, 40.7]]]
END = "{id},END,2013-01-01 {end},2013-01-01 00:00:00,-73.95,40.75,{lon},40.75,1,7,8"
FARE = "{id},7,8,2013-01-01 00:00:00,CRD,{tip},0,9"


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.output = os.path.join(self.dir, "out")
        self.map([("Square", {"type": "Polygon", "coordinates": SQUARE})])

    def file(self, name, contents):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as file:
            file.write(contents)
        return path

    def map(self, features):
        features = [{"type": "Feature", "properties": {"name": name}, "geometry": shape} for name, shape in features]
        return self.file("map.geojson", json.dumps({"type": "FeatureCollection", "features": features}).encode())

    def compute(self, rides, fares):
        write = lambda name, rows: self.file(
            name, "".join(row + "\n" for row in rows).encode("utf-8", "surrogateescape")
        )
        paths = [write("rides", rides)], [write("fares", fares)]
        return expected.compute(*paths, os.path.join(self.dir, "map.geojson"), Settings())

    def two_rides(self):
        rides = [END.format(id=1, end="00:20:00", lon=-73.95), END.format(id=2, end="00:25:00", lon=-73.8), "broken"]
        return self.compute(rides, [FARE.format(id=1, tip="1.25"), FARE.format(id=2, tip="0.10")])


class Lines(Case):
    def test_a_line_that_is_not_utf8_has_no_text(self):
        path = self.file("lines", b"plain\nn\xc3\xa4h\n\xff\xfe\n\nlast")
        read = lines.read([path], crlf=False)
        self.assertEqual(read["text"].to_pylist(), ["plain", "näh", None, "", "last"])
        self.assertEqual(read["value"].to_pylist(), [b"plain", "näh".encode(), b"\xff\xfe", b"", b"last"])

    def test_a_carriage_return_ends_a_line_of_a_source_only(self):
        path = self.file("lines", b"\r\na\r\r\nb\rc\nd\r")
        values = lambda crlf: lines.read([path], crlf)["value"].to_pylist()
        self.assertEqual(values(True), [b"", b"a\r", b"b\rc", b"d"])
        self.assertEqual(values(False), [b"\r", b"a\r\r", b"b\rc", b"d\r"])

    def test_files_are_partitions_and_gzip_is_read(self):
        read = lines.read([self.file("a", b"1\n2\n"), self.file("b.gz", gzip.compress(b"3\n"))], crlf=False)
        self.assertEqual(read["partition"].to_pylist(), [0, 0, 1])
        self.assertEqual(read["offset"].to_pylist(), [0, 1, 0])


class Fields(Case):
    def reasons(self, rides, fares):
        found = self.compute(rides, fares).execute('SELECT reason FROM invalid ORDER BY topic DESC, "offset"')
        return [reason for (reason,) in found.fetchall()]

    def test_each_broken_field_is_named(self):
        good = END.format(id=1, end="00:20:00", lon=-73.95).split(",")
        broken = [
            "x",
            "end",
            "2013-02-29 00:00:00",
            "1969-12-31 23:59:59",
            "nan",
            "",
            "1e999",
            "-",
            "2147483648",
            "9" * 19,
            " 7",
        ]
        rows = [",".join(good[:at] + [text] + good[at + 1 :]) for at, text in enumerate(broken)]
        self.assertEqual(
            self.reasons(rows, []), [f"{expected.header(name)} does not parse" for name, _, _ in expected.RIDE]
        )

    def test_amounts_are_plain_decimals(self):
        valid = ["0", "-1", "+.5", "5.", "0.000001", "0.25000000", "999999999.999999"]
        invalid = ["", "nan", "1e2", "0.0000001", "1000000000", " 1"]
        rows = [FARE.format(id=at, tip=tip) for at, tip in enumerate(valid + invalid)]
        self.assertEqual(self.reasons([], rows), ["tip does not parse"] * len(invalid))

    def test_columns_and_bytes(self):
        self.assertEqual(
            self.reasons(["", "1,2", "a\udcff"], []), ["1 columns, expected 11", "2 columns, expected 11", "not UTF-8"]
        )


class Results(Case):
    def test_a_ride_counts_in_three_windows(self):
        rows = (
            self.two_rides()
            .execute(
                "SELECT strftime(window_start, '%d %H:%M'), stop_nbhd, avg_tip, trips, tip_sum "
                "FROM tips ORDER BY window_start, stop_nbhd DESC"
            )
            .fetchall()
        )
        square, other = ("Square", 1.25, 1, Decimal("1.25")), ("Other", 0.1, 1, Decimal("0.10"))
        starts = ["01 00:00", "01 00:10", "01 00:20"]
        self.assertEqual(rows, [(start, *row) for start in starts for row in (square, other)])

    def test_the_join_ends_after_two_hours_and_not_at_the_start(self):
        ends = ["00:00:00", "00:00:01", "02:00:00", "02:00:01"]
        rides = [END.format(id=at, end=end, lon=-73.95) for at, end in enumerate(ends)]
        db = self.compute(rides, [FARE.format(id=at, tip="1") for at in range(4)])
        self.assertEqual(db.execute("SELECT ride_id FROM candidates ORDER BY 1").fetchall(), [(1,), (2,)])

    def test_the_box_is_closed(self):
        rides = [END.format(id=at, end="00:20:00", lon=lon) for at, lon in enumerate(["-73.7", "-73.69999999999999"])]
        db = self.compute(rides, [])
        self.assertEqual(db.execute("SELECT ride_id FROM ends").fetchall(), [(0,)])


class Location(Case):
    def test_borders_are_inside_and_the_first_wins(self):
        hole = [[-73.96, 40.74], [-73.94, 40.74], [-73.94, 40.76], [-73.96, 40.76], [-73.96, 40.74]]
        ring = {"type": "MultiPolygon", "coordinates": [[SQUARE[0], hole]]}
        path = self.map([("Ring", ring), ("Square", {"type": "Polygon", "coordinates": SQUARE})])
        points = {
            (-74.0, 40.7): "Ring",
            (-73.96, 40.75): "Ring",
            (-73.95, 40.75): "Square",
            (-74.01, 40.75): "Other",
            (-73.95, 40.8): "Ring",
            (-73.8, 40.7): "Other",
            (-74.1, 40.8): "Other",
        }
        lon, lat = (np.array(axis) for axis in zip(*points))
        self.assertEqual(list(Neighbourhoods(path).find(lon, lat, "Other")), list(points.values()))

    def test_like_exact_arithmetic_on_points_near_edges(self):
        pick = random.Random(1)
        grid = lambda: [pick.randrange(8) / 10, pick.randrange(8) / 10]
        for _ in range(60):
            ring = [grid() for _ in range(6)]
            points = [grid() for _ in range(20)] + [
                [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] for a, b in zip(ring, ring[1:])
            ]
            path = self.map([("In", {"type": "Polygon", "coordinates": [ring + ring[:1]]})])
            lon, lat = np.array(points).T
            found = Neighbourhoods(path).find(lon, lat, "Out")
            self.assertEqual(list(found), ["In" if holds(ring, point) else "Out" for point in points])


def holds(ring, point):
    """Even-odd with fractions, border included."""
    x, y = map(Fraction, point)
    inside = False
    for a, b in zip(ring, ring[1:] + ring[:1]):
        (ax, ay), (bx, by) = (tuple(map(Fraction, end)) for end in (a, b))
        if (
            (bx - ax) * (y - ay) == (by - ay) * (x - ax)
            and min(ax, bx) <= x <= max(ax, bx)
            and min(ay, by) <= y <= max(ay, by)
        ):
            return True
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


class Faults(Case):
    """A right output passes; each way of being wrong is found by the check that is there for it."""

    def check(self, db=None, **options):
        db = db or self.two_rides()
        found = Checks(db, tree.scan(self.output), Settings(), coordinates=True, **options).run()
        return [name for name, held, _ in found if not held]

    def written(self):
        reference.write(self.two_rides(), self.output)

    def one(self, kind):
        return tree.scan(self.output).paths(kind)[0]

    def change(self, kind, edit):
        path = self.one(kind)
        pq.write_table(edit(pq.ParquetFile(path).read()), path)

    def test_a_right_output_passes(self):
        self.written()
        self.assertEqual(self.check(), [])

    def test_an_empty_output_fails(self):
        self.assertEqual(self.check(), ["rows: rides", "rows: fares", "rows: invalid", "tips, of 6 rows"])

    def test_a_row_twice(self):
        self.written()
        shutil.copy(self.one("rides"), self.one("rides").replace(".parquet", "-b.parquet"))
        self.assertEqual(self.check(), ["no row twice: rides", "rows: rides", "every offset once"])

    def test_a_missing_row(self):
        self.written()
        self.change("fares", lambda table: table.slice(1))
        self.assertEqual(self.check(), ["rows: fares"])

    def test_a_missing_invalid_line(self):
        self.written()
        os.remove(self.one("invalid"))
        self.assertEqual(self.check(), ["rows: invalid"])

    def test_a_cent_too_much(self):
        self.written()
        more = pa.scalar(Decimal("0.01"), pa.decimal128(38, 6))
        change = lambda table: table.set_column(
            5,
            table.schema.field(5),
            pa.array([value.as_py() + more.as_py() for value in table["tip_sum"]], pa.decimal128(38, 6)),
        )
        self.change("tips", change)
        self.assertEqual(self.check(), ["tips, of 6 rows"])

    def test_a_window_in_two_files_and_in_a_wrong_folder(self):
        self.written()
        paths = tree.scan(self.output).paths("tips")
        shutil.move(paths[0], paths[1].replace(".parquet", "-b.parquet"))
        self.assertEqual(self.check(), ["a window in its own folder", "one file a window"])

    def test_a_row_in_the_folder_of_another_day(self):
        self.written()
        os.rename(
            os.path.join(self.output, "fares/year=2013/month=1/day=1"),
            os.path.join(self.output, "fares/year=2013/month=1/day=2"),
        )
        self.assertEqual(self.check(), ["rows: fares"])

    def test_a_stranger_and_a_padded_folder(self):
        self.written()
        day = os.path.dirname(self.one("rides"))
        open(os.path.join(day, "half.tmp"), "w").close()
        os.makedirs(os.path.join(self.output, "_tips"))
        open(os.path.join(self.output, "_tips", "log"), "w").close()
        self.assertEqual(self.check(), ["nothing but Parquet in its folders"])
        os.rename(day, day.replace("day=1", "day=01"))
        self.assertEqual(self.check(), ["nothing but Parquet in its folders", "rows: rides"])

    def test_another_type(self):
        self.written()
        self.change(
            "rides", lambda table: table.set_column(8, "passenger_cnt", table["passenger_cnt"].cast(pa.int64()))
        )
        self.assertEqual(self.check(), ["schema: rides"])

    def test_open_windows_have_no_file(self):
        self.written()
        os.remove(sorted(tree.scan(self.output).paths("tips"))[-1])
        self.assertEqual(self.check(), ["tips, of 6 rows"])
        self.assertEqual(self.check(closed_until="2013-01-01 00:40:00"), [])

    def test_the_watermark_is_that_of_the_lines(self):
        self.written()
        for path in tree.scan(self.output).paths("tips"):
            os.remove(path)
        fails = lambda until, idle: "the watermark" in self.check(closed_until=f"2012-12-31 {until}", idle=idle)
        # The fares begin at midnight, the rides end at 00:25.
        least, between, most, beyond = "23:30:00", "23:40:00", "23:55:00", "23:55:01"
        self.assertEqual([fails(until, "never") for until in ["23:29:59", least, between]], [True, False, True])
        self.assertEqual([fails(until, "perhaps") for until in ["23:29:59", least, between, most, beyond]],
                         [True, False, False, False, True])

    def test_another_timestamp(self):
        self.written()
        rows = [("rides", 0, 0), ("rides", 0, 1), ("rides", 0, 2), ("fares", 0, 0), ("fares", 0, 1)]
        sent = lambda millis: self.file("sent", "".join(f"{t},{p},{o},{millis}\n" for t, p, o in rows).encode())
        stamp = lambda table: table.set_column(
            table.schema.get_field_index("kafka_timestamp"),
            table.schema.field("kafka_timestamp"),
            pa.array([1_000_000] * len(table), pa.timestamp("us", "UTC")),
        )
        for kind in ["rides", "fares", "invalid"]:
            self.change(kind, stamp)
        self.assertEqual(self.check(timestamps=sent(1000)), [])
        self.assertEqual(self.check(timestamps=sent(1001)), ["Kafka's timestamps"])

    def test_ids_that_came_again_give_bounds(self):
        rides = [END.format(id=1, end="00:20:00", lon=-73.95)] * 2
        fares = [FARE.format(id=1, tip="1")] * 2
        db = self.compute(rides, fares)
        reference.write(db, self.output)
        self.assertEqual(self.check(db), [])
        self.assertEqual(expected.summary(db, Settings())["ambiguous_ids"], 1)


class Watching(Case):
    def setUp(self):
        super().setUp()
        reference.write(self.two_rides(), self.output)
        self.watcher = Watcher(self.output)
        self.assertEqual(self.watcher.look(), [])
        self.path = tree.scan(self.output).paths("rides")[0]

    def found(self, words):
        faults = self.watcher.look()
        self.assertTrue(faults and words in faults[0], faults)

    def test_written_again_is_no_change(self):
        os.rename(shutil.copy(self.path, self.dir), self.path)
        self.assertEqual(self.watcher.look(), [])

    def test_a_change(self):
        pq.write_table(pq.ParquetFile(self.path).read().slice(1), self.path)
        self.found("has changed")

    def test_a_disappearance(self):
        os.remove(self.path)
        self.found("has disappeared")

    def test_half_a_file(self):
        with open(self.path, "rb") as file:
            half = file.read()[:200]
        with open(self.path.replace(".parquet", "-b.parquet"), "wb") as file:
            file.write(half)
        self.found("is not whole")

    def test_a_row_twice(self):
        shutil.copy(self.path, self.path.replace(".parquet", "-b.parquet"))
        self.found("rides row (0, 0) is in")

    def test_a_merge_where_it_is_allowed(self):
        self.watcher.may_merge = True
        self.assertEqual(self.watcher.look(), [])
        os.rename(self.path, self.path.replace(".parquet", "-merged.parquet"))
        self.assertEqual(self.watcher.look(), [])

    def test_a_merge_that_loses_a_row(self):
        self.watcher.may_merge = True
        self.assertEqual(self.watcher.look(), [])
        merged = self.path.replace(".parquet", "-merged.parquet")
        pq.write_table(pq.ParquetFile(self.path).read().slice(1), merged)
        os.remove(self.path)
        self.found("was there and is not")

    def test_a_merge_that_leaves_a_source(self):
        self.watcher.may_merge = True
        shutil.copy(self.path, self.path.replace(".parquet", "-merged.parquet"))
        self.found("rides row (0, 0) is in")
        self.watcher.may_overlap = True
        self.assertEqual((self.watcher.look(), self.watcher.overlaps), ([], 1))


if __name__ == "__main__":
    unittest.main()
