"""Reads output directories as people do, in DuckDB, pyarrow and Spark: each has to find the same in them.

A reader is given a folder and nothing else, and takes the partition columns from the paths. What it finds is told by
a few aggregates over every column that could be read another way: types, time zones, decimals, binary. What the
README tells people to type is run too, and has to find the same in each.
"""

import contextlib
import io
import os
import re
import tempfile
import textwrap
from pathlib import Path

import duckdb
import pyarrow.dataset as dataset

DAY = "min(year), max(month), sum(day)"
KAFKA = "sum(kafka_partition), sum(kafka_offset), count(kafka_timestamp), min({us}(kafka_timestamp))"

# Of each folder, in SQL that both DuckDB and Spark know; {us} makes microseconds since 1970 of a timestamp.
AGGREGATES = {
    "tips": "count(*), sum(trips), sum(tip_sum), round(sum(avg_tip), 6), count(distinct stop_nbhd), "
    f'min({{us}}(window_start)), max({{us}}(window_end)), min("window"), max("window"), {DAY}',
    "rides": "count(*), sum(ride_id), sum(case when is_start then 1 else 0 end), min({us}(event_time)), "
    "max({us}(other_time)), round(sum(start_lon), 4), round(sum(start_lat), 4), round(sum(end_lon), 4), "
    f"round(sum(end_lat), 4), sum(passenger_cnt), sum(taxi_id), sum(driver_id), {KAFKA}, {DAY}",
    "fares": "count(*), sum(ride_id), sum(taxi_id), sum(driver_id), min({us}(start_time)), "
    f"count(distinct payment_type), sum(tip), sum(tolls), sum(total_fare), {KAFKA}, {DAY}",
    "invalid": 'count(*), sum(octet_length(value)), count(distinct reason), min(topic), sum("partition"), '
    'sum("offset"), count(kafka_timestamp), max({us}(kafka_timestamp))',
}


def run(arguments):
    failed = False
    with spark_session() as spark:
        for output in arguments.output:
            found = {"DuckDB": with_duckdb(output), "pyarrow": with_pyarrow(output), "Spark": with_spark(spark, output)}
            for folder in AGGREGATES:
                answers = {name: tables[folder] for name, tables in found.items()}
                same = len({tuple(map(str, answer)) for answer in answers.values()}) == 1
                failed |= not same or not answers["DuckDB"][0]
                for name, answer in answers.items():
                    print(f"{'ok  ' if same else 'FAIL'}  {folder:8} {name:8} {' '.join(map(str, answer))}")
            failed |= not readme_agrees(arguments.readme, output, spark)
    return 1 if failed else 0


def readme_agrees(readme, output, spark):
    """Whether the two texts of the README find the same neighbourhood on top."""
    blocks = re.findall(r"^(DuckDB:|Spark \().*\n(?:.+\n)*\n((?:    .*\n)+)", Path(readme).read_text(), re.MULTILINE)
    texts = {name: textwrap.dedent(text).replace("lake/", f"{output}/") for name, text in blocks}
    found = texts["DuckDB:"].strip().removesuffix(";")
    name, *figures = _duckdb().sql(f"select stop_nbhd, avg_tip, trips from ({found})").fetchone()
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(texts["Spark ("], {"spark": spark})
    cells = [cell.strip() for cell in shown.getvalue().split("|")]
    same = all(str(value) in cells for value in (name, *figures))
    print(f"{'ok  ' if same else 'FAIL'}  README   {name} {figures}\n{shown.getvalue()}")
    return same


def with_duckdb(root):
    connection = _duckdb()
    source = "read_parquet('{}/**/*.parquet', hive_partitioning = true)"
    found = {}
    for folder in AGGREGATES:
        query = _query(folder, source.format(f"{root}/{folder}"), "epoch_us")
        found[folder] = connection.sql(query).fetchone()
    return found


def with_pyarrow(root):
    connection = _duckdb()
    found = {}
    for folder in AGGREGATES:
        connection.register("read", dataset.dataset(f"{root}/{folder}", partitioning="hive"))
        found[folder] = connection.sql(_query(folder, "read", "epoch_us")).fetchone()
    return found


def _duckdb():
    connection = duckdb.connect()
    connection.sql("set timezone = 'UTC'")
    return connection


@contextlib.contextmanager
def spark_session():
    from pyspark.sql import SparkSession

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    with tempfile.TemporaryDirectory() as scratch:
        settings = {
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false",
            "spark.local.dir": scratch,
            "spark.sql.warehouse.dir": scratch,
            "spark.sql.ansi.doubleQuotedIdentifiers": "true",
        }
        builder = SparkSession.builder.master("local[2]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        try:
            yield spark
        finally:
            spark.stop()


def with_spark(spark, root):
    found = {}
    for folder in AGGREGATES:
        # Where folders are no partition columns Spark looks into them only if it is told to.
        reader = spark.read.option("recursiveFileLookup", folder == "invalid")
        reader.parquet(f"{root}/{folder}").createOrReplaceTempView("read")
        found[folder] = tuple(spark.sql(_query(folder, "read", "unix_micros")).collect()[0])
    return found


def _query(folder, source, microseconds):
    return f"select {AGGREGATES[folder].format(us=microseconds)} from {source}"
