"""The charts: how many times faster than trio everyone is.

One for each section of targets.py, and one of a few rows for the README. A
row has a dot for each contestant on a logarithmic axis, where trio is 1. And
one of how costs grow with numbers, where flat is good.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from .measuring import CONTESTANTS
from .results import Results
from .svg import Drawing
from .targets import SECTIONS, SUMMARY, Row

# Readable on white and on black.
COLOURS = {
    "trio_c": "#e8590c",
    "trio": "#c92a6b",
    "asyncio": "#3b82f6",
    "asyncio-protocol": "#1d4ed8",
    "uvloop": "#37b24d",
    "uvloop-protocol": "#2b8a3e",
    "rloop": "#be4bdb",
    "curio": "#e0a100",
    "floor": "#8b949e",
    "c": "#6e7681",
}

WIDTH, LABELS, RIGHT = 880.0, 290.0, 70.0
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
    steps = [m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5)]
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

    legend(drawing, {name for one in lines for name in one.times})
    for tick in ticks(low, high):
        kind = "axis" if tick == 1 else "grid"
        drawing.line(x(tick), TOP - 8, x(tick), bottom, class_=kind)
        label = "trio" if tick == 1 else f"{tick:g}×"
        where = {"x": x(tick), "y": bottom + 16, "text_anchor": "middle"}
        drawing.text(content=label, class_="small", **where)
    drawing.text(
        (LABELS + WIDTH - RIGHT) / 2,
        bottom + 33,
        "times faster than trio (or smaller), logarithmic: to the right is better",
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


def legend(drawing: Drawing, present: Collection[str]) -> None:
    left = 12.0
    for name in (c for c in CONTESTANTS if c in present):
        mark(drawing, name, left + 5, 46.0)
        drawing.text(left + 15, 50.0, name)
        left += 32 + 7 * len(name)


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


# --- growth: {case without its number: {contestant: {number: ns}}}

Curves = dict[str, dict[str, dict[int, float]]]

PANELS = 3  # side by side
PANEL, HEIGHT, INDENT = WIDTH / PANELS, 190.0, 52.0


def curves(results: Results, file: str, metric: str) -> Curves:
    found: Curves = defaultdict(lambda: defaultdict(dict))
    for case in results.cases(file):
        kind, _, size = case.rpartition("-")
        if not size.isdigit():
            continue
        for contestant in results.contestants(file, case):
            value = results.median(file, case, contestant, metric)
            if value:
                found[kind][contestant][int(size)] = value
    return {k: v for k, v in found.items() if any(len(x) > 1 for x in v.values())}


def growth(title: str, found: Curves) -> str:
    rows = math.ceil(len(found) / PANELS)
    drawing = Drawing(WIDTH, TOP + rows * HEIGHT, title)
    drawing.text(12.0, 24.0, title, class_="title")
    legend(drawing, {name for panel in found.values() for name in panel})
    for index, (kind, lines) in enumerate(found.items()):
        left, top = index % PANELS * PANEL, TOP + index // PANELS * HEIGHT
        panel(drawing, left + INDENT, top, kind, lines)
    return str(drawing)


def short(size: int) -> str:
    for unit, factor in ("M", 1_000_000), ("k", 1000):
        if size >= factor:
            return f"{size / factor:g}{unit}"
    return str(size)


def panel(
    drawing: Drawing,
    left: float,
    top: float,
    kind: str,
    lines: Mapping[str, Mapping[int, float]],
) -> None:
    sizes = sorted({size for points in lines.values() for size in points})
    values = [value for points in lines.values() for value in points.values()]
    low, high = min(values) / 1.3, max(values) * 1.3
    width, height = PANEL - INDENT - 16, HEIGHT - 60

    def x(size: int) -> float:
        part = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return left + part * width

    def y(value: float) -> float:
        return top + 18 + (1 - math.log(value / low) / math.log(high / low)) * height

    drawing.text(left, top + 8, f"{kind}, CPU ns each", class_="strong")
    for tick in ticks(low, high):
        drawing.line(left, y(tick), left + width, y(tick), class_="grid")
        where = {"x": left - 6, "y": y(tick) + 4, "text_anchor": "end"}
        drawing.text(content=f"{tick:,.0f}", class_="small", **where)
    for size in sizes:
        where = {"x": x(size), "y": top + height + 36, "text_anchor": "middle"}
        drawing.text(content=short(size), class_="small", **where)
    for name in (c for c in CONTESTANTS if c in lines):
        points = sorted(lines[name].items())
        drawing.element(
            "polyline",
            points=" ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in points),
            fill="none",
            stroke=COLOURS[name],
            stroke_width=3 if name == "trio_c" else 1.5,
        )
        for size, value in points:
            drawing.element("circle", cx=x(size), cy=y(value), r=3, fill=COLOURS[name])


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
    if found := curves(results, "growth", "cpu_ns"):
        drawings["growth-curves"] = growth("From ten to a million", found)
    return drawings
