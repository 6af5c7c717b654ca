"""The PostgreSQL ODBC driver, with what tools ask of its catalog functions: odbc.py CONNECTION DRIVER."""

import datetime
import decimal
import sys

import pyodbc

FIELDS = dict(field.split("=", 1) for field in sys.argv[1].split())
TABLES = ["fares", "invalid", "pipeline_status", "rides", "tips", "tips_live"]

connection = pyodbc.connect(
    f"Driver={sys.argv[2]};Server={FIELDS['host']};Port={FIELDS['port']};Database=tipstream;Uid={FIELDS['user']};"
    f"SSLmode={FIELDS['sslmode']}",
    autocommit=True,
)
cursor = connection.cursor()
tables = sorted(row.table_name for row in cursor.tables(schema="public"))
assert tables == TABLES, tables
columns = [(row.column_name, row.type_name) for row in cursor.columns(table="tips", schema="public")]
assert columns[0] == ("window_start", "timestamptz") and columns[5] == ("tip_sum", "numeric"), columns
assert cursor.primaryKeys(table="tips", schema="public").fetchall() == []
rows = cursor.execute(
    "SELECT stop_nbhd, avg_tip, trips, tip_sum, window_start FROM tips WHERE window_start = ? AND trips >= ?",
    "2013-01-01 01:00:00",
    1,
).fetchall()
assert rows, "a window has rows"
for name, average, trips, tip_sum, start in rows:
    assert isinstance(name, str) and isinstance(tip_sum, decimal.Decimal), (name, tip_sum)
    assert abs(float(tip_sum) / trips - average) < 1e-6 and start == datetime.datetime(2013, 1, 1, 1), rows
(count,) = cursor.execute("SELECT count(*) FROM rides").fetchone()
assert count == len(cursor.execute("SELECT ride_id FROM rides").fetchall())
print("ok")
