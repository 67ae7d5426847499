"""The charts: how many times faster than trio everyone is.

One for each section of targets.py, and one of a few rows for the README. A
row has a dot for each contestant on a logarithmic axis, where trio is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from .measuring import CONTESTANTS
from .results import Results
from .svg import Drawing
from .targets import SECTIONS, SUMMARY, Row

# Readable on white and on black.
COLOURS = {
    "trio_c": "#e8590c",
    "asyncio": "#3b82f6",
    "asyncio-protocol": "#1d4ed8",
    "uvloop": "#37b24d",
    "uvloop-protocol": "#2b8a3e",
    "rloop": "#be4bdb",
    "curio": "#e0a100",
    "floor": "#8b949e",
    "c": "#6e7681",
}

WIDTH, LABELS, RIGHT = 860.0, 270.0, 60.0
TOP, ROW, BOTTOM = 76.0, 24.0, 40.0


class Line(NamedTuple):
    label: str
    times: dict[str, float]  # contestant: how many times faster than trio


def line(results: Results, row: Row) -> Line | None:
    trio = results.median(row.file, row.case, "trio", row.metric)
    if not trio:
        return None
    times = {}
    for contestant in CONTESTANTS:
        value = results.median(row.file, row.case, contestant, row.metric)
        if value and contestant != "trio":
            times[contestant] = trio / value
    return Line(row.label, times) if "trio_c" in times else None


def ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 and so on, as far as they are between these."""
    steps = [m * 10.0**e for e in range(-3, 5) for m in (1, 2, 5)]
    return [step for step in steps if low <= step <= high]


def dots(title: str, lines: Iterable[Line]) -> str:
    lines = [*lines]
    values = [v for one in lines for v in one.times.values()]
    low, high = min(values + [0.9]) / 1.1, max(values + [2]) * 1.1

    def x(value: float) -> float:
        part = math.log(value / low) / math.log(high / low)
        return LABELS + part * (WIDTH - LABELS - RIGHT)

    bottom = TOP + ROW * len(lines)
    drawing = Drawing(WIDTH, bottom + BOTTOM, title)
    drawing.text(12.0, 24.0, title, class_="title")

    left = 12.0
    present = {name for one in lines for name in one.times}
    for name in (c for c in CONTESTANTS if c in present):
        mark(drawing, name, left + 5, 46.0)
        drawing.text(left + 15, 50.0, name)
        left += 32 + 7 * len(name)

    for tick in ticks(low, high):
        kind = "axis" if tick == 1 else "grid"
        drawing.line(x(tick), TOP - 8, x(tick), bottom, class_=kind)
        label = "trio" if tick == 1 else f"{tick:g}×"
        where = {"x": x(tick), "y": bottom + 16, "text_anchor": "middle"}
        drawing.text(content=label, class_="small", **where)
    drawing.text(
        (LABELS + WIDTH - RIGHT) / 2,
        bottom + 33,
        "times faster than trio, logarithmic: further to the right is better",
        class_="small",
        text_anchor="middle",
    )

    for index, one in enumerate(lines):
        y = TOP + ROW * (index + 0.5)
        ours = one.times["trio_c"]
        drawing.text(LABELS - 14, y + 4, one.label, text_anchor="end")
        drawing.line(
            *(x(1), y, x(ours), y),
            stroke=COLOURS["trio_c"],
            stroke_width=4,
            stroke_opacity=0.35,
        )
        for name, value in reversed(one.times.items()):
            mark(drawing, name, x(value), y)
        furthest = max(one.times.values())
        drawing.text(x(furthest) + 11, y + 4, f"{ours:.3g}×", class_="strong")
    return str(drawing)


def mark(drawing: Drawing, name: str, x: float, y: float) -> None:
    """A dot; a bar for the floor and C, which are bounds and not peers."""
    colour = COLOURS[name]
    if name in ("floor", "c"):
        drawing.line(x, y - 8, x, y + 8, stroke=colour, stroke_width=3)
        return
    if name.endswith("-protocol"):
        shape = {"x": x - 4, "y": y - 4, "width": 8, "height": 8}
        drawing.element("rect", fill=colour, **shape)
        return
    radius = 6 if name == "trio_c" else 4
    drawing.element("circle", cx=x, cy=y, r=radius, fill=colour)


def charts(results: Results) -> dict[str, str]:
    """{name: SVG} of all that can be drawn from these results."""
    drawings = {}
    for section in SECTIONS:
        lines = [found for row in section.rows if (found := line(results, row))]
        if lines:
            drawings[section.name] = dots(section.title, lines)
    rows = {(r.file, r.case, r.metric): r for s in SECTIONS for r in s.rows}
    lines = [found for key in SUMMARY if (found := line(results, rows[key]))]
    if lines:
        drawings["summary"] = dots("trio_c beside its peers", lines)
    return drawings
