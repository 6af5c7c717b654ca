"""Metabase's statements by the driver that it has, which is set as it sets it: metabase.py CONNECTION."""

import datetime
import decimal
import sys

import psycopg
from jpype import java

import jvm
from answers import alike, failures
from statements import METABASE

# So often that the driver prepares a statement on the server, and then takes binary values.
TIMES = 7
MOST_ROWS = 1048575

connection = jvm.connect(sys.argv[1], ApplicationName="Metabase v0.55.1")
lang, time, ResultSet = java.lang, java.time, java.sql.ResultSet
HOW = (ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY, ResultSet.CLOSE_CURSORS_AT_COMMIT)
CLASSES = {"timestamptz": time.OffsetDateTime, "timestamp": time.LocalDateTime, "date": time.LocalDate}
IN_PYTHON = {
    type(None): lambda value: None,
    lang.Boolean: bool,
    lang.Integer: int,
    lang.Long: int,
    lang.Double: float,
    lang.String: str,
    java.math.BigDecimal: lambda value: decimal.Decimal(str(value)),
    time.LocalDate: lambda value: datetime.date.fromisoformat(str(value)),
    time.LocalDateTime: lambda value: datetime.datetime.fromisoformat(str(value)),
    time.OffsetDateTime: lambda value: datetime.datetime.fromisoformat(str(value)),
}


def prepare_connection():
    """A pool asks whether a connection is alive; then it is given the least isolation, and may only read."""
    assert connection.isValid(10)
    level = java.sql.Connection.TRANSACTION_READ_UNCOMMITTED
    assert connection.getMetaData().supportsTransactionIsolationLevel(level)
    connection.setTransactionIsolation(level)
    with connection.createStatement() as statement:
        statement.execute("SET SESSION TIMEZONE TO 'UTC';")
    connection.setReadOnly(True)
    connection.setAutoCommit(True)
    connection.setHoldability(ResultSet.CLOSE_CURSORS_AT_COMMIT)


def read(result):
    meta = result.getMetaData()
    columns = range(1, meta.getColumnCount() + 1)
    classes = {column: CLASSES.get(str(meta.getColumnTypeName(column))) for column in columns}
    rows = []
    while result.next():
        values = (result.getObject(n, classes[n]) if classes[n] else result.getObject(n) for n in columns)
        rows.append(tuple(IN_PYTHON[type(value)](value) for value in values))
    return rows


def run(statement, execute):
    statement.setFetchDirection(ResultSet.FETCH_FORWARD)
    statement.setFetchSize(500)
    statement.setMaxRows(MOST_ROWS)
    return read(statement.getResultSet()) if execute() else []


def plainly(sql):
    with connection.createStatement(*HOW) as statement:
        return run(statement, lambda: statement.execute(sql))


def prepared(sql, arguments):
    with connection.prepareStatement(sql, *HOW) as statement:
        for n, argument in enumerate(arguments, 1):
            statement.setObject(n, argument)
        return run(statement, statement.execute)


def ask(statement):
    """What has arguments is prepared by Metabase, what has none is not."""
    sql = statement.sql.replace("$1", "?")
    answers = [prepared(sql, statement.arguments) for _ in range(TIMES)]
    if not statement.arguments:
        answers.append(plainly(sql))
    assert all(alike(answer, answers[0]) for answer in answers), answers
    return answers[0]


prepare_connection()
with psycopg.connect(sys.argv[1], autocommit=True) as other:
    failed = failures(other, METABASE, ask)
connection.close()
sys.exit(1 if failed else 0)
