"""Draws a dashboard as SVG: the same panels, queries and units as Grafana would use, asked of a Prometheus.

A picture for the docs, where Grafana itself cannot be had. It is not Grafana's picture: see docs/monitoring.md.
"""

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from html import escape
from pathlib import Path

COLUMN, ROW, GAP = 50, 27, 6  # pixels of a cell of Grafana's grid, and between panels
POINTS = 100
COLOURS = ["#3b7dd8", "#e0752d", "#3f9c35", "#b5539c", "#c4162a", "#8f7a00", "#0a8a8a", "#6d5fc7"]
INK, FAINT, PAPER, PAGE = "#24292f", "#6e7781", "#ffffff", "#f4f5f7"


class Prometheus:
    def __init__(self, address, job, minutes):
        self.address, self.job = address, job
        self.end = time.time()
        self.start = self.end - 60 * minutes

    def _ask(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]["result"]

    def _query(self, expr):
        return expr.replace("$job", self.job).replace("$__rate_interval", "30s")

    def now(self, expr):
        """The one number of a query, or None."""
        series = self._ask("query", query=self._query(expr), time=self.end)
        return float(series[0]["value"][1]) if series else None

    def lines(self, target):
        """The series of a target: legend and points."""
        step = (self.end - self.start) / POINTS
        for series in self._ask(
            "query_range", query=self._query(target["expr"]), start=self.start, end=self.end, step=step
        ):
            named = lambda label: series["metric"].get(label[1], "")
            legend = re.sub(r"{{(\w+)}}", named, target["legendFormat"]).strip()
            yield legend, [(t, v) for t, v in ((t, float(v)) for t, v in series["values"]) if math.isfinite(v)]


def scaled(value, base, names):
    """A number with the prefix that keeps it short."""
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    digits = 0 if value == round(value) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + names[power]


def shown(value, unit):
    """A value as Grafana's unit of that name shows it, or nearly so."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit in ("bytes", "Bps"):
        return scaled(value, 1024, [" B", " KiB", " MiB", " GiB"]) + ("/s" if unit == "Bps" else "")
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return "0 s" if value == 0 else f"{value * 1e6:.3g} µs"
    return scaled(value, 1000, ["", " K", " Mil", " Bil"]) + (" c/s" if unit == "cps" else "")


def text(x, y, words, size=11, colour=INK, anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def frame(x, y, width, height, title):
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="{PAPER}" stroke="#d8dee4"/>'
    yield text(x + 8, y + 16, title, 12, weight="600")


def stat(panel, ask, x, y, width, height):
    yield from frame(x, y, width, height, panel["title"])
    defaults = panel["fieldConfig"]["defaults"]
    value = ask.now(panel["targets"][0]["expr"])
    colour = INK
    for step in defaults.get("thresholds", {}).get("steps", []):
        if value is not None and (step["value"] is None or value >= step["value"]):
            colour = {"green": "#2f8132", "orange": "#c0620b", "red": "#b3121d"}[step["color"]]
    words = "No data" if value is None else shown(value, defaults["unit"])
    yield text(x + width / 2, y + height / 2 + 20, words, 26, colour, "middle", "600")


def nice(top, unit):
    """The least round number that is not below."""
    if top <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(top))
    if unit in ("bytes", "Bps"):
        prefix = 1024 ** max(0, int(math.log2(top) // 10))
        power = prefix * 10 ** max(0, math.floor(math.log10(top / prefix)))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 8, 10, 11) if step * power >= top * (1 - 1e-9))


def stacked(series):
    """Each line on top of those before it."""
    below, result = {}, []
    for legend, points in series:
        points = [(t, v + below.get(t, 0)) for t, v in points]
        below.update(points)
        result.append((legend, points))
    return result


def graph(panel, ask, x, y, width, height):
    yield from frame(x, y, width, height, panel["title"])
    defaults = panel["fieldConfig"]["defaults"]
    series = [line for target in panel["targets"] for line in ask.lines(target)]
    is_stacked = "stacking" in defaults["custom"]
    if is_stacked:
        series = stacked(series)
    left, right, over, under = x + 66, x + width - 12, y + 30, y + height - 50
    top = nice(max((v for _, points in series for _, v in points), default=0), defaults["unit"])
    across = lambda t: left + (right - left) * (t - ask.start) / (ask.end - ask.start)
    up = lambda v: under - (under - over) * max(v, 0) / top
    for part in range(5):
        level = top * part / 4
        yield f'<line x1="{left}" x2="{right}" y1="{up(level):.1f}" y2="{up(level):.1f}" stroke="#eaeef2"/>'
        yield text(left - 6, up(level) + 4, shown(level, defaults["unit"]), 10, FAINT, "end")
    for part in range(4):
        moment = ask.start + (ask.end - ask.start) * part / 3
        clock = time.strftime("%H:%M", time.gmtime(moment))
        yield text(across(moment), under + 14, clock, 10, FAINT, "start" if part == 0 else "end" if part == 3 else "middle")
    for number, (_, points) in reversed(list(enumerate(series))):
        colour = COLOURS[number % len(COLOURS)]
        corners = " ".join(f"{across(t):.1f},{up(v):.1f}" for t, v in points)
        if is_stacked and points:
            ends = f"{across(points[-1][0]):.1f},{under} {across(points[0][0]):.1f},{under}"
            yield f'<polygon points="{corners} {ends}" fill="{colour}" fill-opacity="0.8"/>'
        else:
            yield f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
    yield from legend([name for name, _ in series], left, right, y + height - 22)


def legend(names, left, right, y):
    x, lines = left - 54, 2
    for number, name in enumerate(names):
        width = 16 + 5.8 * len(name)
        if x + width > right:
            lines -= 1
            if lines == 0:
                yield text(x, y, "…", 10, FAINT)
                return
            x, y = left - 54, y + 13
        yield f'<rect x="{x:.1f}" y="{y - 7}" width="9" height="3" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield text(x + 12, y, name, 10, FAINT)
        x += width + 8


def draw(dashboard, ask):
    head = 52
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    width, height = 24 * COLUMN + 2 * GAP, head + bottom * ROW + GAP
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Inter, Helvetica, Arial, sans-serif">'
    )
    yield f'<rect width="{width}" height="{height}" fill="{PAGE}"/>'
    yield text(2 * GAP, 22, f"{dashboard['title']}  ·  {ask.job}", 15, weight="600")
    yield text(2 * GAP, 40, "Drawn by e2e/monitoring/draw.py from the dashboard's own queries on a test run; not by Grafana.", 11, FAINT)
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        x, y = GAP + grid["x"] * COLUMN, head + grid["y"] * ROW
        place = (x + GAP / 2, y + GAP / 2, grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP)
        if panel["type"] == "row":
            yield text(x + 8, y + 19, panel["title"], 13, weight="600")
        elif panel["type"] == "stat":
            yield from stat(panel, ask, *place)
        else:
            yield from graph(panel, ask, *place)
    yield "</svg>"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", required=True, help="host:port")
    parser.add_argument("--job", required=True, help="the scrape job that is shown")
    parser.add_argument("--minutes", type=float, default=5, help="how far back")
    parser.add_argument("dashboard", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    ask = Prometheus(arguments.prometheus, arguments.job, arguments.minutes)
    lines = draw(json.loads(arguments.dashboard.read_text()), ask)
    arguments.picture.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
