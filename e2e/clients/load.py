"""Many clients that ask for the live windows once a second each: load.py CONNECTION CLIENTS SECONDS.

Prints the 99th percentile of how long they waited, in milliseconds, and how many answers there were."""

import random
import sys
import threading
import time

import psycopg

CLIENTS, SECONDS = int(sys.argv[2]), float(sys.argv[3])
SQL = (
    "SELECT stop_nbhd, sum(tip_sum) / sum(trips) AS tip, sum(trips) AS trips FROM tips_live "
    "GROUP BY stop_nbhd ORDER BY tip DESC LIMIT 20"
)
waits = []


def client():
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        connection.execute(SQL).fetchall()
        time.sleep(random.random())
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            asked = time.monotonic()
            rows = connection.execute(SQL).fetchall()
            waits.append(time.monotonic() - asked)
            assert len(rows) == 20, rows
            time.sleep(max(0.0, asked + 1 - time.monotonic()))


threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
waits.sort()
print(f"{waits[int(len(waits) * 0.99)] * 1000:.3f} {len(waits)}")
