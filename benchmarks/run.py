"""trio_c beside trio, asyncio, uvloop, rloop, curio and the floor.

    python benchmarks/run.py [--quick] [--only PATTERN]... [--json FILE]
    python benchmarks/run.py --render FILE [FILE]... [--publish]

`make bench ARGS="..."` does it in an environment of its own. Measures every
case of every file in workloads/ in rounds, each contestant of a case after the
other and each measurement in a fresh process; writes the JSON file after each
round, and at the end prints tables and draws charts beside it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from harness import charts, measuring, report
from harness.measuring import CONTESTANTS, Failed
from harness.results import Results

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bench" / "results" / "bench.json"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="files or cases: primitives, 'growth/tasks*', '*tls*'; may be repeated",
    )
    parser.add_argument(
        "--contestants", help=f"comma-separated, out of {','.join(CONTESTANTS)}"
    )
    parser.add_argument("--rounds", type=int, help="5, or 3 with --quick")
    parser.add_argument("--quick", action="store_true", help="shorter, less exact")
    parser.add_argument("--json", type=Path, default=OUTPUT, metavar="FILE")
    parser.add_argument(
        "--wrap", default="", help="a command in front, such as 'taskset -c 1'"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the cases, measure nothing"
    )
    parser.add_argument(
        "--render",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing; tables and charts of these (later ones replace "
        "cases of earlier ones)",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="put tables and charts into docs/performance.md, between its marks",
    )
    return parser.parse_args()


def participants(wanted: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """(versions of those that work here, reasons of those that do not)."""
    versions, missing = {}, {}
    for contestant in wanted:
        try:
            versions[contestant] = measuring.probe(contestant)
        except Failed as failure:
            missing[contestant] = str(failure)
            say(f"left out: {contestant}: {failure}")
    return versions, missing


def repeatable(arguments: list[str]) -> str:
    """The command for others: without where its numbers went."""
    kept = iter(arguments)
    words = [word for word in kept if word != "--json" or not next(kept, "")]
    return shlex.join(["python", "benchmarks/run.py", *words])


def measure(args: argparse.Namespace) -> Results:
    wanted = args.contestants.split(",") if args.contestants else [*CONTESTANTS]
    if unknown := {*wanted} - {*CONTESTANTS}:
        sys.exit(f"no such contestant: {', '.join(sorted(unknown))}")
    patterns = args.only or ["*"]
    rounds = args.rounds or (3 if args.quick else 5)
    listings = {f: measuring.listing(f) for f in measuring.workload_files()}
    versions, missing = participants(wanted)
    results = Results.new(
        quick=args.quick,
        rounds=rounds,
        command=repeatable(sys.argv[1:]),
        machine=measuring.machine(),
        versions=versions,
        missing=missing,
    )
    wrap = measuring.split_command(args.wrap)
    for turn in range(rounds):
        plan = [*measuring.interleaved(listings, versions, patterns, turn)]
        if not plan:
            sys.exit("no case matches")
        began = time.monotonic()
        for done, which in enumerate(plan):
            say(f"round {turn + 1}/{rounds} {done + 1}/{len(plan)} {'/'.join(which)}")
            entry = results.entry(*which)
            entry["note"] = listings[which.file][which.case][which.contestant]
            try:
                metrics = measuring.measure(which, quick=args.quick, wrap=wrap)
            except Failed as failure:
                entry["error"] = str(failure)
                say(failure.stderr)
            else:
                entry["rounds"].append(metrics)
        results.save(args.json)
        say(f"round {turn + 1} took {time.monotonic() - began:.0f} s")
    return results


def publish(results: Results) -> None:
    page = ROOT / "docs" / "performance.md"
    page.write_text(report.into(page.read_text(), results))
    draw(results, page.with_suffix(""))
    say(f"published in {page} and {page.with_suffix('')}")


def draw(results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, svg in charts.charts(results).items():
        (directory / f"{name}.svg").write_text(svg)


def main() -> None:
    args = parse()
    if args.list:
        for file in measuring.workload_files():
            for case, notes in measuring.listing(file).items():
                print(f"{file}/{case}: {', '.join(notes)}")
        return
    if args.render:
        results = Results.load(args.render[0])
        for path in args.render[1:]:
            results.update(Results.load(path))
        where = args.render[0].parent
    else:
        results = measure(args)
        where = args.json.parent
    text = report.report(results)
    (where / "tables.md").write_text(text)
    print(text)
    draw(results, where)
    say(f"tables and charts are in {where}")
    if args.publish:
        publish(results)


if __name__ == "__main__":
    main()
