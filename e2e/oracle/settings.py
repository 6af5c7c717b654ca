"""The settings that decide results, with the defaults of a TipsPipeline."""

import argparse
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Settings:
    window: int = 1800  # seconds
    slide: int = 600  # seconds
    join_within: int = 7200  # seconds
    box: tuple = (-74.05, 40.5, -73.7, 41.0)  # lon, lat, lon, lat; bounds included
    ride_topic: str = "rides"
    fare_topic: str = "fares"
    other: str = "Other"
    watermark_delay: int = 1800  # seconds
    late_from: int = 2**63 - 1  # rides from this id on came when their windows had closed


def box(text):
    numbers = tuple(float(number) for number in text.split(","))
    if len(numbers) != 4:
        raise argparse.ArgumentTypeError("four numbers: west,south,east,north")
    return numbers


def add_arguments(parser):
    for field in fields(Settings):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=box if field.name == "box" else field.type, default=field.default)


def from_arguments(arguments):
    return Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
