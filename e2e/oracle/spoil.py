"""Breaks some lines of a file, by a seed: what a reader must put into quarantine, and what only looks like that.

No field becomes a valid time far from the others, since the watermark would follow it and the rest be late.
"""

import gzip
import random

FIELDS = [
    *[
        b"",
        b"x",
        b"-",
        b"+",
        b"+5",
        b"5.",
        b".5",
        b"+.5",
        b"-.5",
        b".",
        b"-0",
        b"007",
        b"1_0",
        b"--1",
        b"1.2.3",
        b"0x1",
    ],
    *[b"1e3", b"1e", b"1e999", b"1e-400", b"NaN", b"inf", b" 1", b"1 ", b"1\r", b"1d", b"+1.5", b"1,5", b'"CRD"'],
    *[b"0.1234567", b"0.12000000", b"1000000000", b"999999999.999999", b"123456789012345678901234567890.5"],
    *[b"9223372036854775808", b"-9223372036854775808", b"2147483648", b"00000000000000000000000001"],
    *[b"2013-02-29 00:00:00", b"1969-12-31 23:59:59", b"2013-01-01 24:00:00", b"2013-01-01 23:59:60"],
    *[b"START", b"END", b"start", "é".encode(), b"\xff", b"a\x00b"],
]


def spoil(lines, seed):
    pick = random.Random(seed)
    return [_line(line, pick) for line in lines]


def _line(line, pick):
    what = pick.random()
    if what < 0.15:
        fields = line.split(b",")
        fields[pick.randrange(len(fields))] = pick.choice(FIELDS)
        return b",".join(fields)
    if what < 0.16:
        return line[: pick.randrange(len(line) + 1)]
    if what < 0.165:
        return line + b"\r"
    if what < 0.17:
        return line + b","
    return line


def run(arguments):
    with open(arguments.input, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    with open(arguments.output, "wb") as file:
        file.write(b"\n".join(spoil(data.split(b"\n"), arguments.seed)))
    return 0
