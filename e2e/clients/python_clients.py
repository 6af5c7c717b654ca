"""psycopg, SQLAlchemy and pandas as their users have them: python_clients.py CONNECTION."""

import datetime
import decimal
import sys

import pandas
import psycopg
import sqlalchemy

CONNECTION = sys.argv[1]
TABLES = {"tips", "tips_live", "rides", "fares", "invalid", "pipeline_status"}


def psycopg_client():
    with psycopg.connect(CONNECTION) as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            start = datetime.datetime(2013, 1, 1, 1, tzinfo=datetime.timezone.utc)
            cursor.execute(
                "SELECT window_start, stop_nbhd, avg_tip, trips, tip_sum, final FROM tips "
                "WHERE window_start = %s AND trips >= %s ORDER BY stop_nbhd",
                (start, 1),
            )
            rows = cursor.fetchall()
            assert rows, "a window has rows"
            types = (datetime.datetime, str, float, int, decimal.Decimal, bool)
            for row in rows:
                assert tuple(map(type, row)) == types, (binary, row)
                assert row[0] == start and abs(float(row[4]) / row[3] - row[2]) < 1e-6, row
            names = [column.name for column in cursor.description]
            assert names == ["window_start", "stop_nbhd", "avg_tip", "trips", "tip_sum", "final"], names
        # The rows of a transaction's cursor come a few at a time.
        with connection.cursor(name="some") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT ride_id FROM rides")
            count = sum(1 for _ in cursor)
        assert connection.execute("SELECT count(*) FROM rides").fetchone() == (count,)
        with connection.cursor(name="fractions") as cursor:
            cursor.execute("SELECT CASE WHEN trips > 2 THEN 1 ELSE 0.5 END FROM tips")
            assert {row for row in cursor} == {(1.0,), (0.5,)}, "a column with the type of its values"
        try:
            connection.execute("SELECT nonsense FROM tips")
        except psycopg.errors.UndefinedColumn:
            connection.rollback()
        else:
            raise AssertionError("a column that is not there")
        try:
            connection.execute("SELECT * FROM nonsense")
        except psycopg.errors.UndefinedTable:
            connection.rollback()
        else:
            raise AssertionError("a table that is not there")
        assert connection.execute("SELECT 1").fetchone() == (1,), "after an error"


def sqlalchemy_client():
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(CONNECTION))
    inspector = sqlalchemy.inspect(engine)
    assert TABLES <= set(inspector.get_table_names()), inspector.get_table_names()
    columns = {column["name"]: column["type"] for column in inspector.get_columns("tips")}
    assert list(columns) == ["window_start", "window_end", "stop_nbhd", "avg_tip", "trips", "tip_sum", "final"], columns
    assert isinstance(columns["trips"], sqlalchemy.BigInteger), columns
    assert isinstance(columns["window_start"], sqlalchemy.DateTime), columns
    assert inspector.has_table("tips") and not inspector.has_table("nonsense")
    tips = sqlalchemy.Table("tips", sqlalchemy.MetaData(), autoload_with=engine)
    query = (
        sqlalchemy.select(tips.c.stop_nbhd, sqlalchemy.func.sum(tips.c.trips))
        .where(tips.c.trips > 1)
        .group_by(tips.c.stop_nbhd)
        .order_by(sqlalchemy.desc(sqlalchemy.func.sum(tips.c.trips)))
        .limit(5)
    )
    with engine.connect() as connection:
        assert len(connection.execute(query).all()) == 5
    return engine


def pandas_client(engine):
    frame = pandas.read_sql("SELECT * FROM tips", engine)
    assert list(frame.columns) == ["window_start", "window_end", "stop_nbhd", "avg_tip", "trips", "tip_sum", "final"]
    assert str(frame["window_start"].dtype).startswith("datetime64["), frame.dtypes
    assert frame["trips"].sum() > 0
    top = pandas.read_sql_query(
        sqlalchemy.text("SELECT stop_nbhd, avg(avg_tip) AS tip FROM tips WHERE final GROUP BY 1 ORDER BY 2 DESC"), engine
    )
    assert top["tip"].is_monotonic_decreasing and len(top) > 1


psycopg_client()
pandas_client(sqlalchemy_client())
print("ok")
