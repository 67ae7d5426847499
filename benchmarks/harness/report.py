"""The tables, in Markdown."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .measuring import CONTESTANTS
from .results import Results
from .targets import SECTIONS, Row, Rule, Section

UNITS = {
    "cpu_ns": "CPU ns per operation",
    "wall_us": "µs",
    "server_cpu_us": "server CPU µs per message",
    "cpu_us": "CPU µs",
    "rate": "per second",
    "p50_us": "p50, µs",
    "p99_us": "p99, µs",
    "bytes": "bytes each",
    "ms": "CPU ms",
    "mb": "MB",
    "syscalls": "system calls",
    "frames": "frames of the library",
    "garbage": "objects",
}
MORE_IS_BETTER = {"rate"}
WITHOUT_POLL = "_without_poll"
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """Three digits at least, no more than that behind a point."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


class Footnotes:
    """Numbers for remarks; the same remark has the same number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, remark: str | None) -> str:
        if not remark:
            return ""
        index = self._numbers.setdefault(remark, len(self._numbers) + 1)
        return str(index).translate(SUPERSCRIPTS)

    def lines(self) -> list[str]:
        """A paragraph, with a line for each."""
        remarks = [
            f"{str(index).translate(SUPERSCRIPTS)} {remark}  "
            for remark, index in self._numbers.items()
        ]
        return [*remarks, ""] if remarks else []


def cell(
    results: Results, notes: Footnotes, file: str, case: str, contestant: str, what: str
) -> str:
    """A median with its spread and its footnote."""
    error = results.error(file, case, contestant)
    if error is not None:
        return "failed" + notes.mark(f"failed: {error}")
    value = results.median(file, case, contestant, what)
    if value is None:
        return "–"
    text = number(value)
    idle = results.median(file, case, contestant, what + WITHOUT_POLL)
    if idle is not None:
        text += f" ({number(idle)})"
    spread = results.spread(file, case, contestant, what)
    if spread is not None:
        text += f" ±{spread:.0%}".replace("%", " %")
    return text + notes.mark(results.note(file, case, contestant))


class Verdict(NamedTuple):
    text: str
    met: bool | None  # None: nobody to compare with, or nothing measured


def verdict(results: Results, row: Row, rules: Sequence[Rule]) -> Verdict:
    ours = results.median(row.file, row.case, "trio_c", row.metric)
    if not rules:
        return Verdict("", None)
    text = ", ".join(map(str, rules))
    if ours is None:
        return Verdict(text, None)

    def of(other: str) -> float | None:
        return results.median(row.file, row.case, other, row.metric)

    met = [rule.holds(ours, of) for rule in rules]
    if False in met:
        return Verdict(f"{text} ✗", False)
    if None in met:
        return Verdict(f"{text} ?", None)
    return Verdict(f"{text} ✓", True)


def columns(results: Results, keys: Iterable[tuple[str, str]]) -> list[str]:
    present = {c for key in keys for c in results.contestants(*key)}
    return [c for c in CONTESTANTS if c in present]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return ["| " + " | ".join(line) + " |" for line in (head, rule, *rows)]


def times(results: Results, file: str, case: str, metric: str) -> str:
    """How trio_c does beside trio."""
    ours = results.median(file, case, "trio_c", metric)
    theirs = results.median(file, case, "trio", metric)
    if not ours or not theirs:
        return "–"
    better = ours / theirs if metric in MORE_IS_BETTER else theirs / ours
    return f"{better:.1f}"


def section_table(results: Results, section: Section) -> list[str]:
    """The rows of a section that were measured, and how many targets are met."""
    rows = [r for r in section.rows if r.case in results.cases(r.file)]
    if not rows:
        return []
    notes = Footnotes()
    names = columns(results, [(r.file, r.case) for r in rows])
    usual = rows[0].metric
    lines, verdicts = [], defaultdict(list)
    for row in rows:
        label = row.label
        if row.metric != usual:
            label += f" ({UNITS.get(row.metric, row.metric)})"
        cells = [
            cell(results, notes, row.file, row.case, name, row.metric) for name in names
        ]
        first, goal = (verdict(results, row, rules) for rules in (row.first, row.goal))
        for which, it, rules in ("first", first, row.first), ("goal", goal, row.goal):
            if rules:
                verdicts[which].append(it.met)
        ratio = times(results, row.file, row.case, row.metric)
        lines.append([label, *cells, ratio, first.text, goal.text])
    head = ["", *names, "× trio", "first", "goal"]
    counted = [
        f"*{which}* met on {met.count(True)} of {len(met)} rows"
        + (f" ({met.count(None)} cannot be judged)" if None in met else "")
        for which, met in verdicts.items()
    ]
    return [
        f"{UNITS.get(usual, usual)}; {', '.join(counted)}.",
        "",
        *markdown_table(head, lines),
        "",
        *notes.lines(),
    ]


def other_tables(results: Results) -> dict[str, list[str]]:
    """What was measured and is no row with a target: {file: its tables}."""
    with_targets = {(r.file, r.case, r.metric) for s in SECTIONS for r in s.rows}
    rest: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file, case, metric in results.metrics():
        # What has no unit here is for who reads the JSON.
        if metric in UNITS and (file, case, metric) not in with_targets:
            rest[file][metric].append(case)
    tables = {}
    for file, metrics in rest.items():
        notes = Footnotes()
        lines = []
        for metric, cases in metrics.items():
            names = columns(results, [(file, case) for case in cases])
            rows = [
                [
                    case,
                    *(cell(results, notes, file, case, name, metric) for name in names),
                    times(results, file, case, metric),
                ]
                for case in cases
            ]
            head = [f"{file}: {UNITS[metric]}", *names, "× trio"]
            lines += [*markdown_table(head, rows), ""]
        tables[file] = lines + notes.lines()
    return tables


def about(results: Results) -> list[str]:
    """Machine, versions, and who is missing."""
    data = results.data
    machine = data["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}; {machine['python']} "
        f"({machine['python_compiler']}); {machine['date']}.",
        "",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in data["versions"].items()) + ".",
        "",
        *(f"- `{command}`" for command in data["command"].splitlines()),
        "",
        "Medians of the rounds"
        + (", which are short (`--quick`)" if data["quick"] else "")
        + "; each measurement in a process of its own; ± is half the way from the"
        " least to the greatest. × trio: how many times faster (or smaller) than trio"
        " trio_c is. Figures in parentheses: without asking the kernel for I/O on"
        " every pass.",
        "",
    ]
    for contestant, why in data["missing"].items():
        lines += [f"Left out: {contestant}, which does not work here: {why}", ""]
    return lines


def parts(results: Results) -> dict[str, tuple[str, list[str]]]:
    """{name: (title, lines)}: all that there is to say, in parts."""
    found = {"about": ("Measured", about(results))}
    for section in SECTIONS:
        if lines := section_table(results, section):
            found[section.name] = section.title, lines
    for file, lines in other_tables(results).items():
        found[f"more-{file}"] = f"More: {file}", lines
    return found


def report(results: Results) -> str:
    lines = []
    for title, content in parts(results).values():
        lines += [f"### {title}", "", *content]
    return "\n".join(lines).rstrip() + "\n"


# <!-- bench: primitives --> and everything up to <!-- end -->
BLOCK = re.compile(r"(<!-- bench: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def into(text: str, results: Results) -> str:
    """A page with the parts put between its marks.

    A part that was not measured leaves what is there.
    """
    found = parts(results)

    def replace(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in found:
            return match[0]
        content = "\n".join(found[name][1]).strip()
        return f"{begin}\n{content}\n\n{end}"

    return BLOCK.sub(replace, text)
