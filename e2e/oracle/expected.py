"""What the job's output must be, from its input: the tables rides, fares, invalid and tips of a DuckDB connection.

Written from the job's description in SQL; it shares nothing with the worker. It takes it that nothing is late but
what the settings say, and that every window is closed.
"""

import duckdb
import pyarrow as pa

import lines
from locate import Neighbourhoods

RIDE = [
    ("ride_id", "int64", "BIGINT"),
    ("is_start", "side", None),
    ("event_time", "time", "TIMESTAMP"),
    ("other_time", "time", "TIMESTAMP"),
    ("start_lon", "real", "DOUBLE"),
    ("start_lat", "real", "DOUBLE"),
    ("end_lon", "real", "DOUBLE"),
    ("end_lat", "real", "DOUBLE"),
    ("passenger_cnt", "int32", "INTEGER"),
    ("taxi_id", "int64", "BIGINT"),
    ("driver_id", "int64", "BIGINT"),
]
FARE = [
    ("ride_id", "int64", "BIGINT"),
    ("taxi_id", "int64", "BIGINT"),
    ("driver_id", "int64", "BIGINT"),
    ("start_time", "time", "TIMESTAMP"),
    ("payment_type", "text", "VARCHAR"),
    ("tip", "amount", "DECIMAL(18,6)"),
    ("tolls", "amount", "DECIMAL(18,6)"),
    ("total_fare", "amount", "DECIMAL(18,6)"),
]

# A field is valid where its text has the form and the value is in range. Nothing is trimmed.
VALID = r"""
CREATE MACRO valid_int64(s) AS regexp_full_match(s, '[+-]?[0-9]+') AND TRY_CAST(s AS BIGINT) IS NOT NULL;
CREATE MACRO valid_int32(s) AS regexp_full_match(s, '[+-]?[0-9]+') AND TRY_CAST(s AS INTEGER) IS NOT NULL;
CREATE MACRO valid_side(s) AS s IN ('START', 'END');
CREATE MACRO valid_time(s) AS
    regexp_full_match(s, '[0-9]{4}-[0-9]{2}-[0-9]{2} ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]')
    AND COALESCE(TRY_CAST(s AS TIMESTAMP) >= TIMESTAMP '1970-01-01', false);
CREATE MACRO valid_real(s) AS
    regexp_full_match(s, '[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
    AND COALESCE(isfinite(TRY_CAST(s AS DOUBLE)), false);
CREATE MACRO valid_amount(s) AS
    regexp_full_match(s, '[+-]?([0-9]+(\.([0-9]{0,6}|[0-9]{6}0*))?|\.([0-9]{1,6}|[0-9]{6}0*))')
    AND COALESCE(abs(TRY_CAST(s AS DECIMAL(38,6))) < 1000000000, false);
CREATE MACRO valid_text(s) AS s <> '';
"""

PAIRS = """
CREATE TABLE ends AS SELECT * FROM rides WHERE NOT is_start
    AND start_lon BETWEEN $west AND $east AND start_lat BETWEEN $south AND $north
    AND end_lon BETWEEN $west AND $east AND end_lat BETWEEN $south AND $north;
CREATE TABLE candidates AS
    SELECT ride_id, ends.event_time AS end_time, end_lon, end_lat, tip FROM ends JOIN fares USING (ride_id)
    WHERE ride_id < $late_from AND start_time < ends.event_time AND ends.event_time <= start_time + to_seconds($join_within);
-- Copies that are alike count once, whichever it is. Which of several that differ counts is not specified, nor whether
-- a ride counts twice of which both sides came again: these are left out of what must be.
CREATE TABLE ambiguous AS
    SELECT ride_id FROM candidates GROUP BY ride_id INTERSECT
    (SELECT ride_id FROM ends GROUP BY ride_id HAVING count(DISTINCT (event_time, end_lon, end_lat)) > 1
     UNION SELECT ride_id FROM fares GROUP BY ride_id HAVING count(DISTINCT (start_time, tip)) > 1
     UNION (SELECT ride_id FROM ends GROUP BY ride_id HAVING count(*) > 1
            INTERSECT SELECT ride_id FROM fares GROUP BY ride_id HAVING count(*) > 1));
"""

TIPS = """
CREATE TABLE counted AS
    SELECT located.*, make_timestamp((pane - step) * 1000000) AS window_start
    FROM (SELECT *, epoch(end_time)::BIGINT AS ended, ended - ended % $slide AS pane FROM located) AS located,
         (SELECT unnest(range(0, $window, $slide)) AS step) AS steps
    WHERE pane - step + $window > ended;
CREATE TABLE tips AS
    SELECT window_start, window_start + to_seconds($window) AS window_end, stop_nbhd,
           sum(tip)::DOUBLE / count(*) AS avg_tip, count(*) AS trips, sum(tip)::DECIMAL(38,6) AS tip_sum
    FROM (SELECT DISTINCT * FROM counted WHERE ride_id NOT IN (FROM ambiguous)) GROUP BY ALL;
-- The most that the ambiguous ids may add.
CREATE TABLE slack AS
    SELECT window_start, stop_nbhd, count(*) AS trips
    FROM counted WHERE ride_id IN (FROM ambiguous) GROUP BY ALL;
"""


def compute(rides, fares, neighbourhoods, settings, crlf=False):
    """A connection with the expected tables; `crlf` as in lines.py."""
    db = duckdb.connect()
    db.execute(VALID)
    db.execute('CREATE TABLE invalid (topic VARCHAR, partition INTEGER, "offset" BIGINT, value BLOB, reason VARCHAR)')
    _parse(db, "rides", settings.ride_topic, RIDE, lines.read(rides, crlf))
    _parse(db, "fares", settings.fare_topic, FARE, lines.read(fares, crlf))
    values = _values(settings)
    _run(db, PAIRS, values)
    _locate(db, Neighbourhoods(neighbourhoods), settings)
    _run(db, TIPS, values)
    return db


def _parse(db, table, topic, columns, read):
    db.register("read", read)
    db.execute(
        "CREATE OR REPLACE TEMP TABLE fields AS SELECT * EXCLUDE text, text IS NULL AS bad_text, "
        "string_split(text, ',') AS f FROM read"
    )
    count = len(columns)
    checks = " ".join(
        f"WHEN NOT valid_{kind}(f[{number}]) THEN '{header(name)} does not parse'"
        for number, (name, kind, _) in enumerate(columns, 1)
    )
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, CASE WHEN bad_text THEN 'not UTF-8' "
        f"WHEN len(f) <> {count} THEN len(f) || ' columns, expected {count}' {checks} END AS reason FROM fields"
    )
    parsed = ", ".join(
        (f"f[{number}]::{sql}" if sql else f"f[{number}] = 'START'") + f" AS {name}"
        for number, (name, _, sql) in enumerate(columns, 1)
    )
    db.execute(
        f'CREATE TABLE {table} AS SELECT {parsed}, partition AS kafka_partition, "offset" AS kafka_offset '
        "FROM judged WHERE reason IS NULL"
    )
    db.execute(
        'INSERT INTO invalid SELECT ?, partition, "offset", value, reason FROM judged WHERE reason IS NOT NULL', [topic]
    )
    db.unregister("read")


def header(column):
    """A column's name in the topic's header: rideId for ride_id."""
    first, *rest = column.split("_")
    return first + "".join(word.title() for word in rest)


def _locate(db, neighbourhoods, settings):
    pairs = db.execute("SELECT ride_id, end_time, end_lon, end_lat, tip FROM candidates").to_arrow_table()
    names = neighbourhoods.find(pairs["end_lon"].to_numpy(), pairs["end_lat"].to_numpy(), settings.other)
    db.register("named", pairs.append_column("stop_nbhd", pa.array(names, pa.string())))
    db.execute("CREATE TABLE located AS SELECT * FROM named")
    db.unregister("named")


def _values(settings):
    west, south, east, north = settings.box
    return {
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "join_within": settings.join_within,
        "window": settings.window,
        "slide": settings.slide,
        "late_from": settings.late_from,
    }


def _run(db, script, values):
    for statement in duckdb.extract_statements(script):
        used = {name: values[name] for name in statement.named_parameters}
        db.execute(statement, used)


def summary(db, settings):
    """Counts for a person, and for the books of a pipeline."""

    def one(sql, values=None):
        return db.execute(sql, values).fetchone()[0]

    return {
        "rides": {
            "valid": one("SELECT count(*) FROM rides"),
            "start": one("SELECT count(*) FROM rides WHERE is_start"),
            "out_of_area": one("SELECT count(*) FROM rides WHERE NOT is_start") - one("SELECT count(*) FROM ends"),
            "clean_ends": one("SELECT count(*) FROM ends"),
        },
        "fares": {"valid": one("SELECT count(*) FROM fares")},
        "invalid": {
            f"{topic}: {reason}": count
            for topic, reason, count in db.execute(
                "SELECT topic, reason, count(*) FROM invalid GROUP BY ALL ORDER BY ALL"
            ).fetchall()
        },
        "joined": one("SELECT count(DISTINCT ride_id) FROM candidates WHERE ride_id NOT IN (FROM ambiguous)"),
        "ambiguous_ids": one("SELECT count(*) FROM ambiguous"),
        "tip_sum": str(one(
            "SELECT sum(tip) FROM (SELECT DISTINCT ride_id, tip FROM candidates WHERE ride_id NOT IN (FROM ambiguous))"
        )),
        "windows": one("SELECT count(DISTINCT window_start) FROM tips"),
        "tips_rows": one("SELECT count(*) FROM tips"),
        "other": one("SELECT count(*) FROM located WHERE stop_nbhd = ?", [settings.other]),
    }
