"""What all workload files answer to.

`python FILE --list` prints as JSON which cases there are, and who takes part in
each: {case: {contestant: note or null}}, where a note says what that contestant
leaves out that we do. `python FILE CASE CONTESTANT [--quick]` measures once and
prints a JSON object of numbers as its last line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping

Cases = Mapping[str, Mapping[str, str | None]]


CANNOT_MEASURE = 3  # the status, then


class CannotMeasure(Exception):
    """Something is missing on this machine; says what."""


def main(cases: Cases, measure: Callable[[str, str, bool], dict[str, float]]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", nargs="?", choices=list(cases))
    parser.add_argument("contestant", nargs="?")
    parser.add_argument("--quick", action="store_true", help="short and inexact")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        print(json.dumps(cases, ensure_ascii=False))
        return
    if options.contestant not in cases.get(options.case, {}):
        parser.error("name a case and one of its contestants; --list has them")
    try:
        result = measure(options.case, options.contestant, options.quick)
    except CannotMeasure as exc:
        print(f"{options.case}, {options.contestant}: {exc}", file=sys.stderr)
        sys.exit(CANNOT_MEASURE)
    print(json.dumps(result))
