"""Real libraries on trio_c: the programs here, and the libraries' own tests.

See docs/ecosystem.md. The last line is ``N passed, N failed``; the exit status
is 0 if all is well, 1 after failures, and 2 if the run could not begin.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import environments
import program_runs
import suite_runs


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run real libraries on trio_c.")
    parser.add_argument(
        "what",
        nargs="?",
        choices=("quick", "programs", "suites"),
        default="quick",
        help="the programs and the quick suites (default), only the programs,"
        " or only the suites",
    )
    parser.add_argument(
        "names",
        nargs="*",
        help="only these programs or suites",
    )
    parser.add_argument(
        "--against",
        choices=("trio_c", "trio"),
        default="trio_c",
        help="what the programs run on; trio shows that they are right",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=environments.DEFAULT_DIRECTORY,
        help="for the environments, downloads and logs (default: build/ecosystem)",
    )
    parser.add_argument(
        "--wheel",
        type=Path,
        help="a wheel of trio_c, in place of one that is built from here",
    )
    parser.add_argument(
        "-k", dest="keyword", metavar="EXPRESSION", help="as pytest's, for suites"
    )
    parser.add_argument(
        "--list-failures",
        action="store_true",
        help="also list the failures of suites that are excused or real Trio's too",
    )
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    directory = options.directory.resolve()
    passed = failed = 0
    try:
        chosen = {"programs": [], "suites": []}
        if options.what != "suites":
            names = options.names if options.what == "programs" else []
            chosen["programs"] = program_runs.choose(names)
        if options.what != "programs":
            quick = options.what == "quick"
            chosen["suites"] = suite_runs.choose(options.names, quick=quick)
        slow = any(not suite.quick for suite in chosen["suites"])
        wheel = options.wheel or environments.build_wheel(directory)
        ready = environments.prepare(directory, wheel.resolve(), slow=slow)
        for kind, counts in (
            ("programs", lambda some: program_runs.run(some, ready, options.against)),
            ("suites", lambda some: suite_runs.run(some, ready, directory, options)),
        ):
            if chosen[kind]:
                good, bad = counts(chosen[kind])
                passed += good
                failed += bad
    except environments.SetupError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
