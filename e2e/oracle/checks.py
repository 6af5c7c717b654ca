"""Compares an output directory with what must be: a list of (check, held, detail)."""

from collections import Counter

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import tree as output

SAMPLES = 3
PARTITIONS = {"rides": "event_time", "fares": "start_time"}
ORIGIN = {
    "rides": "kafka_partition, kafka_offset",
    "fares": "kafka_partition, kafka_offset",
    "invalid": 'topic, partition, "offset"',
    "tips": "window_start, stop_nbhd",
}


class Checks:
    def __init__(
        self,
        db,
        tree,
        settings,
        coordinates=False,
        closed_until=None,
        idle=None,
        timestamps=None,
        nulls=0,
        holes=False,
    ):
        self.db, self.tree, self.settings = db, tree, settings
        self.coordinates, self.closed_until, self.idle, self.nulls = coordinates, closed_until, idle, nulls
        self.timestamps, self.holes = timestamps, holes
        self.results = []

    def run(self):
        self._layout()
        readable = [self._read(kind) for kind in output.COLUMNS]
        if not all(readable):
            return self.results
        for kind in output.COLUMNS:
            self._readers_agree(kind)
            self._none(
                "no row twice: " + kind,
                f"SELECT {ORIGIN[kind]}, count(*) FROM {kind}_out GROUP BY ALL HAVING count(*) > 1",
            )
        for kind in PARTITIONS:
            self._raw(kind)
        self._invalid()
        self._offsets()
        self._timestamps()
        self._watermark()
        self._tips()
        return self.results

    def _add(self, name, held, detail=""):
        self.results.append((name, held, detail))

    def _none(self, name, sql, held=""):
        """Holds where the query has no rows."""
        fault = self._fault(sql)
        self._add(name, not fault, fault or held)

    def _fault(self, sql):
        """How many rows the query has, and the first of them; nothing where it has none."""
        self.db.execute(f"CREATE OR REPLACE TEMP TABLE fault AS {sql}")
        count = self.db.execute("SELECT count(*) FROM fault").fetchone()[0]
        rows = self.db.execute(f"FROM fault LIMIT {SAMPLES}").fetchall()
        return f"{count}: {'; '.join(str(tuple(map(str, row))) for row in rows)}" if count else ""

    def _layout(self):
        strangers = self.tree.strangers
        count = sum(map(len, self.tree.files.values()))
        detail = f"{count} files" if not strangers else f"{len(strangers)}: {', '.join(strangers[:SAMPLES])}"
        self._add("nothing but Parquet in its folders", not strangers, detail)

    def _read(self, kind):
        """Makes the table <kind>_out; False where the files are not what they should be."""
        expected = output.COLUMNS[kind]
        wrong = []
        for path, inner in zip(self.tree.paths(kind), self.tree.files[kind]):
            try:
                found = output.plain(pq.read_schema(path))
            except (pa.ArrowException, OSError) as error:
                wrong.append(f"{inner}: {error}")
                continue
            differences = [f"{column[0]} {column[1]}" for column in found if column not in expected]
            if found != expected:
                wrong.append(f"{inner}: {', '.join(differences) or 'columns missing or in another order'}")
        self._add(f"schema: {kind}", not wrong, f"{len(wrong)}: {'; '.join(wrong[:SAMPLES])}" if wrong else "")
        if wrong:
            return False
        self._load(kind)
        return True

    def _load(self, kind):
        # Times come with a time zone (UTC); here all are plain.
        times = {name for name, type in output.COLUMNS[kind] if type == output.TIME}
        columns = [
            f'make_timestamp(epoch_us("{name}")) AS "{name}"' if name in times else f'"{name}"'
            for name, _ in output.COLUMNS[kind]
        ]
        if not self.tree.files[kind]:
            empty = pa.schema([pa.field(name, type) for name, type in output.COLUMNS[kind]]).empty_table()
            self.db.register("empty", empty)
            extra = ["1 AS year", "1 AS month", "1 AS day"] if kind != "invalid" else []
            self.db.execute(
                f"CREATE TABLE {kind}_out AS SELECT {', '.join(columns + extra)}, '' AS filename FROM empty"
            )
            return
        extra = ["year", "month", "day"] if kind != "invalid" else []
        self.db.execute(
            f"CREATE TABLE {kind}_out AS SELECT {', '.join(columns + extra)}, filename "
            "FROM read_parquet($paths, hive_partitioning = true, filename = true)",
            {"paths": self.tree.paths(kind)},
        )

    def _readers_agree(self, kind):
        """DuckDB and pyarrow, each with the partition columns that it finds by itself."""
        if not self.tree.files[kind]:
            return
        schema = ds.partitioning(flavor="hive")
        table = ds.dataset(self.tree.paths(kind), partitioning=schema, partition_base_dir=self.tree.root).to_table()
        self.db.register("by_pyarrow", table)
        # The sum of the rows' hashes, since neither reader promises an order.
        row = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in table.column_names)
        sums = [
            self.db.execute(f"SELECT count(*), sum(hash({row})) FROM {source}", values).fetchone()
            for source, values in [
                ("read_parquet($paths, hive_partitioning = true)", {"paths": self.tree.paths(kind)}),
                ("by_pyarrow", None),
            ]
        ]
        self.db.unregister("by_pyarrow")
        agree = sums[0] == sums[1]
        detail = f"{table.num_rows} rows" if agree else f"{sums[0][0]} and {sums[1][0]} rows, and not the same"
        self._add(f"DuckDB and pyarrow agree: {kind}", agree, detail)

    def _raw(self, kind):
        time = PARTITIONS[kind]
        columns = [name for name, _ in output.COLUMNS[kind] if not name.startswith("kafka_")]
        if self.coordinates:
            columns += ["kafka_partition", "kafka_offset"]
        names = ", ".join(columns)
        days = f"year({time}) AS year, month({time}) AS month, day({time}) AS day"
        self._same_rows(
            f"rows: {kind}", f"SELECT {names}, {days} FROM {kind}", f"SELECT {names}, year, month, day FROM {kind}_out"
        )

    def _same_rows(self, name, expected, found):
        count = self.db.execute(f"SELECT count(*) FROM ({expected})").fetchone()[0]
        sides = [("missing", expected, found), ("not expected", found, expected)]
        faults = []
        for side, one, other in sides:
            if fault := self._fault(f"{one} EXCEPT ALL {other}"):
                faults.append(f"{side} {fault}")
        self._add(name, not faults, " | ".join(faults) or f"{count}")

    def _invalid(self):
        places = ', partition, "offset"' if self.coordinates else ""
        columns = f"topic, value, reason{places}"
        self._same_rows(
            "rows: invalid",
            f"SELECT {columns} FROM invalid",
            f"SELECT {columns} FROM invalid_out WHERE value IS NOT NULL",
        )
        nulls = self.db.execute("SELECT count(*) FROM invalid_out WHERE value IS NULL").fetchone()[0]
        self._add("null values", nulls == self.nulls, f"{nulls}, expected {self.nulls}")

    def _offsets(self):
        """Raw and invalid rows share out the offsets of each partition, from its first to its last."""
        self._none(
            "every offset once",
            f"""
            SELECT topic, partition, min("offset"), max("offset"), count(*), count(DISTINCT "offset")
            FROM ({self._records()}) GROUP BY ALL
            HAVING count(*) <> count(DISTINCT "offset")
            OR (NOT {self.holes} AND max("offset") - min("offset") + 1 <> count(*))""",
        )

    def _records(self):
        topics = {"rides": self.settings.ride_topic, "fares": self.settings.fare_topic}
        raw = "".join(
            f"SELECT '{topic}' AS topic, kafka_partition AS partition, kafka_offset AS \"offset\", kafka_timestamp "
            f"FROM {kind}_out UNION ALL "
            for kind, topic in topics.items()
        )
        return raw + 'SELECT topic, partition, "offset", kafka_timestamp FROM invalid_out'

    def _timestamps(self):
        """Each row has that of its record, to the millisecond."""
        if not self.timestamps:
            return
        names = ["topic", "partition", "offset", "millis"]
        self.db.execute(
            "CREATE TEMP TABLE sent AS FROM read_csv($path, header = false, names = $names)",
            {"path": self.timestamps, "names": names},
        )
        self._same_rows(
            "Kafka's timestamps",
            'SELECT topic, partition::INTEGER, "offset", epoch_ms(millis) FROM sent',
            f"FROM ({self._records()})",
        )

    def _watermark(self):
        """The least of the partitions' greatest times, less the delay; up to the greatest where some were idle."""
        if not self.idle:
            return
        least, greatest = self.db.execute(
            """
            SELECT min(reached) - to_seconds($delay), max(reached) - to_seconds($delay)
            FROM (SELECT max(event_time) AS reached FROM rides GROUP BY kafka_partition
                  UNION ALL SELECT max(start_time) FROM fares GROUP BY kafka_partition)""",
            {"delay": self.settings.watermark_delay},
        ).fetchone()
        most = greatest if self.idle == "perhaps" else least
        held = str(least) <= self.closed_until <= str(most)
        self._add("the watermark", held, f"{self.closed_until}, expected {least} to {most}")

    def _tips(self):
        if self.closed_until:
            self.db.execute("DELETE FROM tips WHERE window_end > $until", {"until": self.closed_until})
        self._tips_values()
        self._none(
            "a window in its own folder",
            """
            SELECT DISTINCT filename, window_start FROM tips_out
            WHERE (year, month, day) <> (year(window_start), month(window_start), day(window_start))
               OR NOT (contains(filename, strftime(window_start, '/window=%H-%M/')) OR contains(filename, '/window=all/'))""",
        )
        folders = Counter(path.rsplit("/", 1)[0] for path in self.tree.files["tips"])
        several = [folder for folder, files in folders.items() if files > 1]
        self._add("one file a window", not several, "; ".join(several[:SAMPLES]) or f"{len(folders)} windows")

    def _tips_values(self):
        count = self.db.execute("SELECT count(*) FROM tips").fetchone()[0]
        self._none(
            f"tips, of {count} rows",
            """
            SELECT window_start, stop_nbhd, 'expected', e.window_end, e.trips, e.tip_sum, e.avg_tip,
                   'found', f.window_end, f.trips, f.tip_sum, f.avg_tip
            FROM tips e
            FULL JOIN tips_out f USING (window_start, stop_nbhd)
            LEFT JOIN slack USING (window_start, stop_nbhd)
            WHERE slack.trips IS NULL AND (
                   (e.window_end, e.trips, e.tip_sum) IS DISTINCT FROM (f.window_end, f.trips, f.tip_sum)
                OR NOT coalesce(abs(e.avg_tip - f.avg_tip) <= 1e-9 * abs(e.avg_tip), false))
            ORDER BY 1, 2""",
        )
        cells = self.db.execute("SELECT count(*) FROM slack").fetchone()[0]
        if cells:
            self._none(
                f"trips within bounds where ids came again, of {cells} rows",
                """
                SELECT window_start, stop_nbhd, f.trips,
                       coalesce(e.trips, 0) AS least, least + slack.trips AS most
                FROM slack
                LEFT JOIN tips e USING (window_start, stop_nbhd)
                LEFT JOIN tips_out f USING (window_start, stop_nbhd)
                WHERE coalesce(f.trips, 0) NOT BETWEEN least AND most""",
            )
