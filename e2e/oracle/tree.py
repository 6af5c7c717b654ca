"""The output's folders and files: what may be where, and the columns of each kind of file."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field

import pyarrow as pa

import store

DAY = r"year=(?P<year>[1-9]\d*)/month=(?P<month>[1-9]|1[0-2])/day=(?P<day>[1-9]|[12]\d|3[01])"
FILE = r"[^/]+\.parquet"
LAYOUT = {
    "rides": re.compile(rf"rides/{DAY}/{FILE}"),
    "fares": re.compile(rf"fares/{DAY}/{FILE}"),
    "tips": re.compile(rf"tips/{DAY}/window=(?:(?:[01]\d|2[0-3])-[0-5]\d|all)/{FILE}"),
    "invalid": re.compile(rf"invalid/(?:topic=)?[^/]+/(?:[^/]+/)*{FILE}"),
}
# The pipeline's own folder at the root, and where the S3 gateway keeps unfinished uploads.
NOT_DATA = ("_tips", ".sgwtmp")

TIME = pa.timestamp("us", "UTC")
KAFKA = [("kafka_partition", pa.int32()), ("kafka_offset", pa.int64()), ("kafka_timestamp", TIME)]
MONEY = pa.decimal128(18, 6)
COLUMNS = {
    "rides": [
        ("ride_id", pa.int64()),
        ("is_start", pa.bool_()),
        ("event_time", TIME),
        ("other_time", TIME),
        ("start_lon", pa.float64()),
        ("start_lat", pa.float64()),
        ("end_lon", pa.float64()),
        ("end_lat", pa.float64()),
        ("passenger_cnt", pa.int32()),
        ("taxi_id", pa.int64()),
        ("driver_id", pa.int64()),
        *KAFKA,
    ],
    "fares": [
        ("ride_id", pa.int64()),
        ("taxi_id", pa.int64()),
        ("driver_id", pa.int64()),
        ("start_time", TIME),
        ("payment_type", pa.string()),
        ("tip", MONEY),
        ("tolls", MONEY),
        ("total_fare", MONEY),
        *KAFKA,
    ],
    "tips": [
        ("window_start", TIME),
        ("window_end", TIME),
        ("stop_nbhd", pa.string()),
        ("avg_tip", pa.float64()),
        ("trips", pa.int64()),
        ("tip_sum", pa.decimal128(38, 6)),
    ],
    "invalid": [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_timestamp", TIME),
        ("value", pa.binary()),
        ("reason", pa.string()),
    ],
}


@dataclass
class Tree:
    root: str
    files: dict = field(default_factory=lambda: defaultdict(list))  # kind → paths below the root
    strangers: list = field(default_factory=list)

    def paths(self, kind):
        return [os.path.join(self.root, path) for path in self.files[kind]]


def scan(root):
    tree = Tree(root)
    for path in store.at(root).paths(NOT_DATA):
        kind = kind_of(path)
        if kind:
            tree.files[kind].append(path)
        else:
            tree.strangers.append(path)
    return tree


def kind_of(path):
    kind = path.split("/", 1)[0]
    return kind if kind in LAYOUT and LAYOUT[kind].fullmatch(path) else None


def plain(schema):
    """(name, type) of each column, with the several Arrow kinds of text, bytes and decimals made one."""
    return [(column.name, _plain(column.type)) for column in schema]


def _plain(kind):
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale)
    return kind
