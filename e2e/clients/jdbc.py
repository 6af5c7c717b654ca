"""The PostgreSQL JDBC driver, with what tools ask of DatabaseMetaData: jdbc.py CONNECTION."""

import sys

from jpype import java

import jvm

TABLES = {"tips", "tips_live", "rides", "fares", "invalid", "pipeline_status"}

connection = jvm.connect(sys.argv[1])
sql = java.sql


def all_of(result, *columns):
    rows = []
    while result.next():
        rows.append(tuple(None if value is None else str(value) for value in (result.getObject(c) for c in columns)))
    result.close()
    return rows


def number_of(rows):
    number = 0
    while rows.next():
        number += 1
    rows.close()
    return number


meta = connection.getMetaData()
print(meta.getDatabaseProductName(), meta.getDatabaseProductVersion(), meta.getUserName())
assert "public" in [row[0] for row in all_of(meta.getSchemas(), "TABLE_SCHEM")]
assert ("tipstream",) in all_of(meta.getCatalogs(), "TABLE_CAT")
assert "TABLE" in [row[0] for row in all_of(meta.getTableTypes(), "TABLE_TYPE")]
tables = all_of(meta.getTables(None, "public", "%", None), "TABLE_NAME", "TABLE_TYPE")
assert TABLES == {name for name, kind in tables if kind == "TABLE"}, tables
columns = all_of(meta.getColumns(None, "public", "tips", "%"), "COLUMN_NAME", "TYPE_NAME", "NULLABLE")
assert [name for name, _, _ in columns] == [
    "window_start", "window_end", "stop_nbhd", "avg_tip", "trips", "tip_sum", "final",
], columns
types = [kind for _, kind, _ in columns]
assert types == ["timestamptz", "timestamptz", "text", "float8", "int8", "numeric", "bool"], types
for empty in (
    meta.getPrimaryKeys(None, "public", "tips"),
    meta.getImportedKeys(None, "public", "tips"),
    meta.getExportedKeys(None, "public", "tips"),
    meta.getIndexInfo(None, "public", "tips", False, True),
    meta.getProcedures(None, "public", "%"),
):
    assert all_of(empty, 1) == []
assert all_of(meta.getTablePrivileges(None, "public", "tips"), "GRANTEE", "PRIVILEGE") == [("PUBLIC", "SELECT")]
all_of(meta.getFunctions(None, "public", "%"), "FUNCTION_NAME")
assert "int8" in [row[0] for row in all_of(meta.getTypeInfo(), "TYPE_NAME")]

# A prepared statement, often enough for the driver to keep it on the server and to change to binary.
prepared = connection.prepareStatement(
    "SELECT stop_nbhd, trips, avg_tip, tip_sum, final, window_start FROM tips WHERE window_start = ? AND trips >= ?"
)
start = sql.Timestamp.from_(java.time.Instant.parse("2013-01-01T01:00:00Z"))
for _ in range(8):
    prepared.setTimestamp(1, start)
    prepared.setLong(2, 1)
    rows = prepared.executeQuery()
    count = 0
    while rows.next():
        count += 1
        tip_sum = rows.getBigDecimal("tip_sum").doubleValue()
        assert abs(tip_sum / rows.getLong("trips") - rows.getDouble("avg_tip")) < 1e-6
        assert rows.getTimestamp("window_start").equals(start)
        rows.getBoolean("final")
    assert count > 0
prepared.close()

# Rows by portions, as tools read large answers.
connection.setAutoCommit(False)
statement = connection.createStatement()
statement.setFetchSize(100)
fetched = number_of(statement.executeQuery("SELECT ride_id FROM rides"))
counted = statement.executeQuery("SELECT count(*) FROM rides")
assert counted.next() and counted.getLong(1) == fetched
statement.setFetchSize(150_000)
assert number_of(statement.executeQuery("SELECT value FROM generate_series(1, 200000)")) == 200_000
connection.rollback()
connection.setAutoCommit(True)

# As many rows as a tool would have at most, and no fewer.
statement = connection.createStatement()
statement.setMaxRows(150_000)
assert number_of(statement.executeQuery("SELECT value FROM generate_series(1, 200000)")) == 150_000

statement = connection.createStatement()
statement.setQueryTimeout(1)
try:
    statement.executeQuery("SELECT count(*) FROM generate_series(1, 3000000000) WHERE value % 7 = 3")
    raise AssertionError("a query that takes long")
except sql.SQLException as error:
    assert error.getSQLState() == "57014", error
connection.close()
print("ok")
