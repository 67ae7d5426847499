"""Run upstream Trio's own test suite against trio_c; see README.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import judge
import processes

HERE = Path(__file__).resolve().parent


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Run upstream Trio's own test suite against trio_c.",
    )
    parser.add_argument(
        "files",
        nargs="*",
        help="only these test files, such as test_sync or _core/_tests/test_run.py",
    )
    parser.add_argument(
        "--against",
        choices=("trio_c", "trio"),
        default="trio_c",
        help="the package under test (default: trio_c)",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write the outcomes of real Trio to FILE (with --against trio)",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="compare with this recorded run (default: baseline/VERSION.json)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        metavar="N",
        help="files that run at the same time (default: 2)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=120,
        metavar="SECONDS",
        help="how long a file may go without finishing a test (default: 120)",
    )
    parser.add_argument(
        "--list-failures",
        action="store_true",
        help="also list the failures that exceptions.toml excuses",
    )
    parser.add_argument("-k", dest="keyword", metavar="EXPRESSION", help="as pytest's")
    parser.add_argument(
        "--cache",
        type=Path,
        default=HERE / ".cache",
        metavar="DIRECTORY",
        help="for the unpacked wheel and the logs (default: beside this file)",
    )
    options = parser.parse_args(arguments)
    if options.record is not None:
        if options.against != "trio":
            parser.error("--record takes --against trio")
        if options.files or options.keyword:
            parser.error("--record takes a complete run")
    return options


def choose(files: list[str], wanted: list[str]) -> list[str]:
    """Return those of *files* that *wanted* names; all if it names none."""
    if not wanted:
        return files
    chosen: set[str] = set()
    for want in wanted:
        name = want.removesuffix(".py") + ".py"
        found = {file for file in files if f"/{file}".endswith(f"/{name}")}
        if not found:
            raise processes.SetupError(f"no such test file: {want}")
        chosen |= found
    return sorted(chosen)


def warn_about_versions() -> None:
    """Say which of the pinned packages are not there as pinned."""
    for line in (HERE / "requirements.txt").read_text().splitlines():
        name, pinned, version = line.partition("==")
        if not pinned or line.startswith("#"):
            continue
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "missing"
        if installed != version:
            print(f"note: requirements.txt pins {line}, here it is {installed}")


def run_files(
    files: list[str],
    setup: processes.Setup,
    jobs: int,
) -> list[processes.FileRun]:
    """Run *files*, the big ones first, and return the runs in their order."""
    by_size = sorted(files, key=lambda file: -(setup.wheel / file).stat().st_size)
    runs: dict[str, processes.FileRun] = {}
    pool = ThreadPoolExecutor(max(jobs, 1))
    try:
        for run in pool.map(lambda file: processes.run_file(file, setup), by_size):
            runs[run.file] = run
            print(f"[{len(runs)}/{len(files)}] {run.file}", file=sys.stderr)
    except BaseException:
        processes.stopping.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return [runs[file] for file in files]


def find_baseline(options: argparse.Namespace) -> Path:
    """Return the recorded run to compare with."""
    if options.baseline is not None:
        return options.baseline
    own = HERE / "baseline" / f"{judge.current_python()}.json"
    if own.exists():
        return own

    def version(path: Path) -> list[int]:
        return [int(part) for part in path.stem.split(".")]

    recorded = sorted((HERE / "baseline").glob("3.*.json"), key=version)
    if not recorded:
        raise processes.SetupError("there is no recorded run of real Trio")
    print(f"note: no recorded run for this Python; comparing with {recorded[-1].stem}")
    return recorded[-1]


def report(
    runs: list[processes.FileRun],
    options: argparse.Namespace,
    poller: str,
) -> int:
    """Print the table and what is wrong; return the exit status."""
    complete = not options.files and options.keyword is None
    baseline = judge.read_baseline(find_baseline(options))
    entries = []
    if options.against == "trio_c":
        entries = judge.read_entries(HERE / "exceptions.toml", poller=poller)
    verdict = judge.judge(
        runs,
        baseline,
        entries,
        selected=options.keyword is not None,
    )
    if complete:
        recorded = [
            judge.read_baseline(path) for path in (HERE / "baseline").glob("*.json")
        ]
        verdict.failures += judge.unknown_entries(entries, recorded)

    print(judge.table(verdict.rows))
    if options.list_failures and verdict.listed:
        print("\nlisted in exceptions.toml:")
        for name, reason, entry in verdict.listed:
            print(f"  {name}\n      {reason}\n      {entry.section}: {entry.reason}")
    if verdict.failures:
        print("\nfailures:")
        for name, reason in verdict.failures:
            print(f"  {name}\n      {reason}")
    print()
    for note in verdict.notes:
        print(f"note: {note}")
    print(f"listed and excused: {len(verdict.listed)}")
    print(f"{verdict.passed} passed, {len(verdict.failures)} failed")
    return 1 if verdict.failures else 0


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    # Lines keep their order when both streams go to one file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # A shell that starts us in the background has Ctrl-C ignored, by us and by
    # the test processes; there it would break what is tested.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        wheel = options.cache.resolve() / judge.current_python()
        processes.fetch_wheel(wheel)
        files = choose(processes.test_files(wheel), options.files)
        target = package = None
        backend = ""
        if options.against != "trio":
            target = options.against
            package = processes.find_package(target)
            backend = processes.find_backend(target)
        poller = os.environ.get("TRIO_C_POLL") or backend
        judge.read_entries(HERE / "exceptions.toml", poller=poller)
        warn_about_versions()
        setup = processes.Setup(
            wheel=wheel,
            logs=wheel.parent / f"logs-{options.against}-{wheel.name}",
            target=target,
            package=package,
            backend=backend,
            timeout=options.timeout,
            keyword=options.keyword,
        )
        under_test = package or wheel / "trio"
        print(f"testing {under_test}; logs in {os.path.relpath(setup.logs)}")
        runs = run_files(files, setup, options.jobs)
        if options.record is not None:
            judge.write_baseline(options.record, runs)
            problems = [f"{run.file}: {text}" for run in runs for text in run.problems]
            print("\n".join(["recorded", *problems]))
            return 1 if problems else 0
        return report(runs, options, poller)
    except (processes.SetupError, judge.ListError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
