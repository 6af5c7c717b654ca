"""Cancels a query while it is planned or computes, and one that already returns rows: cancel.py CONNECTION SQL."""

import sys
import threading

import psycopg

connection = psycopg.connect(sys.argv[1], autocommit=True)
for sql in (sys.argv[2], "SELECT a.value FROM generate_series(1, 100000000) a"):
    timer = threading.Timer(0.7, connection.cancel_safe)
    timer.start()
    try:
        with connection.cursor() as cursor:
            for _ in cursor.stream(sql):
                pass
        sys.exit(f"not cancelled: {sql}")
    except psycopg.errors.QueryCanceled as cancelled:
        print(cancelled)
    timer.join()
    print(connection.execute("SELECT 'goes on'").fetchone()[0])
