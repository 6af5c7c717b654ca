"""Grafana's statements by the drivers that it has and had, in a Go program: grafana.py CONNECTION PROGRAM."""

import datetime
import decimal
import json
import subprocess
import sys

import psycopg

from answers import failures
from statements import GRAFANA

CONNECTION, PROGRAM = sys.argv[1:]
# pgx prepares statements unless it is told not to: Grafana asks for rows in the one way, and for the schema in the other.
DRIVERS = (("postgres", ""), ("pgx", ""), ("pgx", " default_query_exec_mode=simple_protocol"))
QUESTIONS = json.dumps([{"sql": statement.sql, "arguments": statement.arguments} for statement in GRAFANA])


def with_kind(value):
    if "time" in value:
        return datetime.datetime.fromisoformat(value["time"])
    return decimal.Decimal(value["numeric"]) if "numeric" in value else value


def answers(driver, options):
    command = [PROGRAM, driver, CONNECTION + options]
    said = subprocess.run(command, input=QUESTIONS, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(zip(GRAFANA, json.loads(said, object_hook=with_kind)))


def rows(answer):
    assert "error" not in answer, answer["error"]
    return [tuple(row) for row in answer["rows"] or []]


failed = 0
with psycopg.connect(CONNECTION, autocommit=True) as connection:
    for driver, options in DRIVERS:
        print(driver, options)
        given = answers(driver, options)
        failed += failures(connection, GRAFANA, lambda statement: rows(given[statement]))
sys.exit(1 if failed else 0)
