"""Writes a right output directory from the expected tables, for the oracle's own tests to break."""

import os

import pyarrow as pa
import pyarrow.parquet as pq

import tree as output


def write(db, root):
    for kind, time in [("rides", "event_time"), ("fares", "start_time")]:
        rows = f"SELECT *, NULL::TIMESTAMP AS kafka_timestamp FROM {kind}"
        _write(
            db, root, kind, rows, f"strftime({time}, '{kind}/year=%Y/month=%-m/day=%-d/') || kafka_partition || '-0'"
        )
    _write(db, root, "tips", "FROM tips", "strftime(window_start, 'tips/year=%Y/month=%-m/day=%-d/window=%H-%M/tips')")
    _write(
        db,
        root,
        "invalid",
        'SELECT topic, partition, "offset", NULL::TIMESTAMP AS kafka_timestamp, value, reason FROM invalid',
        "'invalid/topic=' || topic || '/' || partition || '-0'",
    )


def _write(db, root, kind, rows, path):
    schema = pa.schema(output.COLUMNS[kind])
    db.execute(f"CREATE OR REPLACE TEMP TABLE placed AS SELECT {path} AS path, * FROM ({rows})")
    for (name,) in db.execute("SELECT DISTINCT path FROM placed").fetchall():
        table = db.execute("SELECT * EXCLUDE path FROM placed WHERE path = ?", [name]).to_arrow_table()
        columns = [table[field.name].cast(field.type) for field in schema]
        target = os.path.join(root, name + ".parquet")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        pq.write_table(pa.table(columns, schema=schema), target, compression="zstd")
