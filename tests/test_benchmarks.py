"""The benchmarks: that they run, and that their report says what was measured.

Nothing here looks at a time. Only trio_c takes part, its peers need not be
installed.
"""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not there", allow_module_level=True)
sys.path.append(str(BENCHMARKS))

from harness import charts, measuring, report  # noqa: E402
from harness.results import Results  # noqa: E402
from harness.targets import SECTIONS, SUMMARY, Row  # noqa: E402

FILES = measuring.workload_files()
ROWS = [row for section in SECTIONS for row in section.rows]
# As workloads/_cli.py has it.
CANNOT_MEASURE = 3

listing = functools.cache(measuring.listing)


# --- workloads


# All cases of a file in one process: {case: its metrics, or why there are none}.
ALL_CASES = """
import contextlib, io, json, runpy, sys
path, *cases = sys.argv[1:]
outcomes = {}
for case in cases:
    sys.argv = [path, case, "trio_c", "--quick"]
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as exit:
            outcomes[case] = [exit.code, errors.getvalue()]
        else:
            outcomes[case] = json.loads(output.getvalue().splitlines()[-1])
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("file", FILES)
def test_every_case_once(file: str) -> None:
    cases = [case for case, notes in listing(file).items() if "trio_c" in notes]
    directory = BENCHMARKS / "workloads"
    output = subprocess.run(
        [sys.executable, "-c", ALL_CASES, directory / f"{file}.py", *cases],
        env={
            **os.environ,
            "BENCH_TINY": "1",
            "PYTHONPATH": os.pathsep.join(
                [str(directory), os.environ.get("PYTHONPATH", "")]
            ),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert output.returncode == 0, output.stderr
    outcomes = json.loads(output.stdout.splitlines()[-1])
    assert [*outcomes] == cases
    missing = []
    for case, metrics in outcomes.items():
        if isinstance(metrics, list):
            status, why = metrics
            assert status == CANNOT_MEASURE, f"{case}: {why}"
            missing.append(why.strip())
            continue
        assert metrics, case
        wanted = {r.metric for r in ROWS if (r.file, r.case) == (file, case)}
        assert metrics.keys() >= wanted, case
        for metric, value in metrics.items():
            assert math.isfinite(value), (case, metric)
            assert metric == "ms" or value >= 0, (case, metric)
    if missing:
        pytest.skip("; ".join(missing))


def test_a_measurement() -> None:
    """As the suite itself does it: a process for one case and contestant."""
    which = measuring.Measurement("primitives", "lock", "asyncio")
    assert measuring.measure(which, quick=True).keys() == {"cpu_ns"}
    with pytest.raises(measuring.Failed, match="argument case: invalid choice"):
        measuring.measure(which._replace(case="nothing"), quick=True)


@pytest.mark.parametrize("file", FILES)
def test_listing(file: str) -> None:
    for case, notes in listing(file).items():
        assert notes.keys() <= {*measuring.CONTESTANTS}, case
        assert "trio_c" in notes and "trio" in notes or case.endswith("000000")
        for note in notes.values():
            assert note is None or note, case


# --- targets and report


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.file}-{row.case}")
def test_row_refers_to_a_case(row: Row) -> None:
    assert row.goal
    contestants = listing(row.file)[row.case]
    assert "trio_c" in contestants
    for rule in row.first + row.goal:
        assert rule.other is None or rule.other in contestants
    assert row.metric in report.UNITS


def test_summary_refers_to_rows() -> None:
    assert {*SUMMARY} <= {(row.file, row.case, row.metric) for row in ROWS}


def recorded(ours: float) -> Results:
    """As if everybody took 100 of everything, but for us and the uvloops."""
    results = Results.new(
        quick=False,
        rounds=3,
        command="a test",
        machine=measuring.machine(),
        versions=dict.fromkeys(measuring.CONTESTANTS, "1"),
        missing={"c": "it is a test"},
    )
    for row in ROWS:
        for contestant, note in listing(row.file)[row.case].items():
            value = ours if contestant == "trio_c" else 100.0
            entry = results.entry(row.file, row.case, contestant)
            entry["note"] = note
            entry["rounds"] += [
                {**one, row.metric: value * factor}
                for one, factor in zip(
                    entry["rounds"] or [{}] * 3, (0.9, 1, 1.2), strict=True
                )
            ]
            del entry["rounds"][:-3]
    return results


def test_report_of_what_is_fast(tmp_path: Path) -> None:
    results = recorded(0.0)
    results.save(tmp_path / "results.json")
    results = Results.load(tmp_path / "results.json")
    text = report.report(results)
    for section in SECTIONS:
        rows = len(section.rows)
        assert f"*goal* met on {rows} of {rows} rows" in text
    for row in ROWS:
        assert f"| {row.label}" in text
    assert "✗" not in text
    assert "does not yield" in text
    assert "Left out: c, which does not work here: it is a test" in text


def test_report_of_what_is_slow() -> None:
    text = report.report(recorded(1000.0))
    assert "✓" not in text
    for section in SECTIONS:
        assert f"*goal* met on 0 of {len(section.rows)} rows" in text
    assert "1,000 ±15 %" in text
    assert "| 0.1 | 20× ✗ | 30× ✗ |" in text


def test_report_without_a_peer_cannot_judge() -> None:
    results = recorded(1.0)
    for case in results.results["network"].values():
        for contestant in "uvloop", "uvloop-protocol":
            case.pop(contestant, None)
    tables = report.parts(results)
    _, lines = tables["network"]
    assert "cannot be judged" in lines[0]
    assert any("TCP 64 B, 1 connection" in x and "uvloop ?" in x for x in lines)
    _, lines = tables["primitives"]
    assert "cannot be judged" not in lines[0]


def test_metrics_beside() -> None:
    """Those without a target have tables of their own, those without a unit none."""
    results = recorded(1.0)
    for contestant, rate in ("trio_c", 300.0), ("trio", 100.0):
        rounds = results.entry("network", "tcp-64-1", contestant)["rounds"]
        rounds[:] = [{**one, "rate": rate, "messages": 5.0} for one in rounds]
    _, lines = report.parts(results)["more-network"]
    assert lines[0].startswith("| network: per second | trio_c | trio |")
    assert any(x.startswith("| tcp-64-1 | 300 ") and "| 3.0 |" in x for x in lines)
    assert not any("messages" in x for x in lines)


def test_page_keeps_what_is_not_measured() -> None:
    page = """# Title
<!-- bench: primitives -->
old
<!-- end -->
prose
<!-- bench: programs -->
kept
<!-- end -->
"""
    text = report.into(page, recorded(1.0))
    assert text.startswith("# Title\n") and "prose\n" in text
    assert "old" not in text and "kept" in text
    assert "| checkpoint, 1 task, depth 1" in text
    assert report.into(text, recorded(1.0)) == text


def test_charts() -> None:
    drawings = charts.charts(recorded(5.0))
    assert drawings.keys() >= {"primitives", "growth", "network", "summary"}
    for name, svg in drawings.items():
        if name == "growth-curves":
            continue
        root = xml.etree.ElementTree.fromstring(svg)
        words = [element.text for element in root.iter() if element.text]
        assert "20×" in words, name
        for element in root.iter():
            for side in "x", "cx", "x1", "x2":
                assert 0 <= float(element.get(side, 0)) <= charts.WIDTH


def test_curves() -> None:
    results = recorded(5.0)
    assert "growth-curves" not in charts.charts(results)  # of one size only
    for size in 10, 100_000:
        for contestant, value in ("trio_c", 200.0), ("trio", 9000.0):
            rounds = results.entry("growth", f"tasks-{size}", contestant)["rounds"]
            rounds[:] = [{"cpu_ns": value}]
    root = xml.etree.ElementTree.fromstring(charts.charts(results)["growth-curves"])
    words = [element.text for element in root.iter() if element.text]
    assert "tasks, CPU ns each" in words and "cancel, CPU ns each" not in words
    lines = [e for e in root.iter() if " " in e.get("points", "")]
    assert len(lines) == 2
    for line in lines:  # flat, and nothing lost
        (x1, y1), (x2, y2) = (p.split(",") for p in line.get("points").split())
        assert float(x1) < float(x2) and y1 == y2


def test_failure_is_in_the_table() -> None:
    results = recorded(1.0)
    entry = results.entry("primitives", "lock", "curio")
    entry["rounds"].clear()
    entry["error"] = "ValueError: no"
    text = report.report(results)
    assert "failed: ValueError: no" in text
