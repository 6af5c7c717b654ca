"""Holds the results in an output directory against the answer that `generate` wrote beside its data."""

import duckdb

ROWS = "SELECT {time}(window_start), {time}(window_end), stop_nbhd, trips, tip_sum::DECIMAL(38, 6), round(avg_tip, 6)"


def run(arguments):
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    written = f"read_parquet('{arguments.output}/tips/**/*.parquet')"
    types = "{'window_start': 'TIMESTAMP', 'window_end': 'TIMESTAMP', 'tip_sum': 'DECIMAL(38, 6)', 'avg_tip': 'DOUBLE'}"
    answer = f"read_csv('{arguments.answer}', header = true, types = {types})"
    rows = [f"{ROWS.format(time='epoch_us')} FROM {source}" for source in (answer, written)]
    count = db.execute(f"SELECT count(*) FROM ({rows[0]})").fetchone()[0]
    failed = count == 0
    for side, one, other in (("missing", rows[0], rows[1]), ("not expected", rows[1], rows[0])):
        found = db.execute(f"{one} EXCEPT ALL {other}").fetchall()
        failed |= bool(found)
        print(f"{'FAIL' if found else 'ok  '}  {side:12} {len(found)} of {count} rows {found[:3] if found else ''}".rstrip())
    return 1 if failed else 0
