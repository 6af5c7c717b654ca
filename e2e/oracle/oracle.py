"""The oracle: computes the job's results again from its input and compares an output directory with them.

oracle.py expect --rides .. --fares .. --neighbourhoods ..               counts, as JSON
oracle.py check  --rides .. --fares .. --neighbourhoods .. --output DIR  a table of checks; exit code 1 where one fails
oracle.py watch  --output DIR --until FILE                               reads DIR while it is written
oracle.py day    --output DIR --topic TOPIC --files N --rows N           writes a big day of rides to DIR
oracle.py readers --output DIR .. --readme FILE                          reads each DIR in DuckDB, pyarrow and Spark
oracle.py answer --output DIR --answer FILE                              compares DIR with what the generator expects
"""

import argparse
import json
import sys

import answer
import day
import expected
import readers
import settings
import spoil
import tree
import watch
from checks import Checks


def main():
    arguments = parse()
    sys.exit(arguments.command(arguments))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    sources = argparse.ArgumentParser(add_help=False)
    sources.add_argument("--rides", nargs="*", default=[], help="files of lines, plain or gzip")
    sources.add_argument("--fares", nargs="*", default=[], help="files of lines, plain or gzip")
    sources.add_argument("--neighbourhoods", required=True, help="GeoJSON with the property name")
    sources.add_argument(
        "--coordinates",
        action="store_true",
        help="local mode: partition and offset are the index of the file and of the line, and CRLF ends a line",
    )
    settings.add_arguments(sources)

    expect = commands.add_parser("expect", parents=[sources])
    expect.set_defaults(command=run_expect)

    check = commands.add_parser("check", parents=[sources])
    check.add_argument("--output", required=True, help="the folder that holds rides/, fares/, invalid/ and tips/")
    check.add_argument("--closed-until", help="windows that end later are open, so have no file (yyyy-mm-dd hh:mm:ss)")
    check.add_argument(
        "--idle",
        choices=["never", "perhaps"],
        help="--closed-until is what all lines make of it, or more where a partition was idle",
    )
    check.add_argument("--timestamps", help="topic,partition,offset,milliseconds of every record, as Kafka has them")
    check.add_argument("--nulls", type=int, default=0, help="how many records had a null value, which no file can hold")
    check.add_argument("--holes", action="store_true", help="not every offset is a record's: there are transactions")
    check.set_defaults(command=run_check)

    big = commands.add_parser("day")
    big.add_argument("--output", required=True)
    big.add_argument("--topic", required=True)
    big.add_argument("--files", type=int, required=True)
    big.add_argument("--rows", type=int, required=True, help="of each file")
    big.set_defaults(command=day.run)

    watcher = commands.add_parser("watch")
    watcher.add_argument("--output", required=True)
    watcher.add_argument("--until", required=True, help="ends when this file exists")
    watcher.add_argument("--interval", type=float, default=0.2, help="seconds between two looks")
    watcher.add_argument("--may-merge", action="store_true", help="files may disappear where others hold their rows")
    watcher.add_argument("--may-overlap", action="store_true", help="merged rows may be there twice, but not at the end")
    watcher.add_argument("--may-be-away", action="store_true", help="the store may not answer, but at the end")
    watcher.set_defaults(command=watch.run)

    reading = commands.add_parser("readers")
    reading.add_argument("--output", required=True, nargs="+")
    reading.add_argument("--readme", required=True, help="which says what to type in DuckDB and in Spark")
    reading.set_defaults(command=readers.run)

    answered = commands.add_parser("answer")
    answered.add_argument("--output", required=True)
    answered.add_argument("--answer", required=True, help="the tips.csv that `generate` wrote")
    answered.set_defaults(command=answer.run)

    spoiler = commands.add_parser("spoil")
    spoiler.add_argument("--seed", type=int, default=1)
    spoiler.add_argument("input", help="a file of lines, plain or gzip")
    spoiler.add_argument("output")
    spoiler.set_defaults(command=spoil.run)
    return parser.parse_args()


def compute(arguments):
    return expected.compute(
        arguments.rides,
        arguments.fares,
        arguments.neighbourhoods,
        settings.from_arguments(arguments),
        crlf=arguments.coordinates,
    )


def run_expect(arguments):
    print(json.dumps(expected.summary(compute(arguments), settings.from_arguments(arguments)), indent=2))
    return 0


def run_check(arguments):
    checks = Checks(
        compute(arguments),
        tree.scan(arguments.output),
        settings.from_arguments(arguments),
        arguments.coordinates,
        arguments.closed_until,
        arguments.idle,
        arguments.timestamps,
        arguments.nulls,
        arguments.holes,
    )
    results = checks.run()
    width = max(len(name) for name, _, _ in results)
    for name, held, detail in results:
        print(f"{'ok  ' if held else 'FAIL'}  {name:{width}}  {detail}".rstrip())
    return 0 if all(held for _, held, _ in results) else 1


if __name__ == "__main__":
    main()
