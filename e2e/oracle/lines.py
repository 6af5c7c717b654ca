"""Text lines as an Arrow table (partition, offset, value, text): the file's index, the line's, its bytes, its text.

A text is null where the bytes are not UTF-8. A line ends at a line feed; what follows the last one is a line too.
A carriage return before the line feed belongs to the line's end in a file that is the source itself, and to the value
where the lines were produced to Kafka.
"""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LINE_FEED, CARRIAGE_RETURN = b"\n\r"
SCHEMA = pa.schema(
    [("partition", pa.int32()), ("offset", pa.int64()), ("value", pa.large_binary()), ("text", pa.large_string())]
)


def read(paths, crlf):
    tables = [_of_file(path, index, crlf) for index, path in enumerate(paths)]
    return pa.concat_tables(tables or [SCHEMA.empty_table()])


def _of_file(path, index, crlf):
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data and not data.endswith(b"\n"):
        data += b"\n"
    data = np.frombuffer(data, np.uint8)
    feeds = np.flatnonzero(data == LINE_FEED)
    count = len(feeds)
    content = np.ones(len(data), bool)
    content[feeds] = False
    if crlf:
        before = feeds[feeds > 0] - 1
        content[before[data[before] == CARRIAGE_RETURN]] = False
    offsets = np.concatenate([[0], np.cumsum(content)[feeds]]).astype(np.int64)
    data = data[content].tobytes()
    value = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), count, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)]
    )
    columns = [
        pa.array(np.full(count, index, np.int32)),
        pa.array(np.arange(count)),
        value,
        _texts(value, offsets, data),
    ]
    return pa.table(columns, schema=SCHEMA)


def _texts(value, offsets, data):
    try:
        return value.cast(pa.large_string())
    except pa.ArrowInvalid:
        pass
    # Only lines with a byte beyond ASCII can be at fault.
    beyond = np.flatnonzero(np.frombuffer(data, np.uint8) >= 0x80)
    valid = np.ones(len(value), bool)
    for line in np.unique(np.searchsorted(offsets, beyond, "right") - 1):
        try:
            data[offsets[line] : offsets[line + 1]].decode()
        except UnicodeDecodeError:
            valid[line] = False
    return pc.if_else(pa.array(valid), value, None).cast(pa.large_string())
