"""A big day of rides, in files of a few hundred thousand rows, as a compaction to a smaller size has left them."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import tree

START = np.datetime64("2013-01-02", "us")
ROWS_OF_A_GROUP = 1 << 17


def run(arguments):
    folder = os.path.join(arguments.output, "rides/year=2013/month=1/day=2")
    os.makedirs(folder)
    for number in range(arguments.files):
        name = f"{arguments.topic}-compacted-000001-{number:016x}.parquet"
        write(os.path.join(folder, name), number, arguments.rows, arguments.topic)
    return 0


def write(path, partition, rows, topic):
    random = np.random.default_rng(partition)
    # All of the day, in order.
    times = START + np.sort(random.integers(0, 86_400, rows)) * np.timedelta64(1_000_000, "us")
    places = {name: random.random(rows) for name in ("start_lon", "start_lat", "end_lon", "end_lat")}
    columns = places | {
        "ride_id": random.integers(0, 1 << 40, rows),
        "is_start": random.integers(0, 2, rows).astype(bool),
        "event_time": times,
        "other_time": times,
        "passenger_cnt": random.integers(1, 6, rows),
        "taxi_id": random.integers(0, 20_000, rows),
        "driver_id": random.integers(0, 40_000, rows),
        "kafka_partition": np.full(rows, partition),
        "kafka_offset": np.arange(rows),
        "kafka_timestamp": times,
    }
    fields = [pa.field(name, kind) for name, kind in tree.COLUMNS["rides"]]
    half = rows // 2
    footer = {
        "tipstream.topic": topic,
        "tipstream.parts": f"{partition} 0 {half} {half}\n{partition} {half} {rows} {rows - half}\n",
        "tipstream.fingerprint": "big",
    }
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in fields]
    table = pa.table(arrays, schema=pa.schema(fields, footer))
    pq.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=False,
        write_page_index=True,
        data_page_size=64 << 10,
        row_group_size=ROWS_OF_A_GROUP,
    )
