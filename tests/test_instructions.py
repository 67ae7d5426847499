"""No hot path takes more instructions than it did (the limits: instructions.json).

Three numbers of each: instructions inside the extension, calls out of it, and
all instructions, those of the interpreter included. A faster one is no failure;
then `make instructions` lowers the limits, for the Python that it is called with.
"""

from __future__ import annotations

import os

import _instructions
import pytest
from _instructions import OPERATIONS, Cost
from _sockets import POLLER

import trio_c

# Two runs of one build hardly differ; changes elsewhere move code about.
GROWTH = 0.05
# -O2 instead of -O3 makes 14 % more at most, and another compiler who knows.
OTHER_COMPILER = 0.30
# What one of the interpreter's takes that is not in its cache.
MISSED_LOOK_UP = 120
# Which calls there are depends neither on the compiler nor on the options that
# the interpreter was built with.
CALLS = 0.02


@pytest.fixture(scope="module")
def limits() -> _instructions.Limits:
    found = _instructions.limits()
    if found is None:
        pytest.skip(f"no limits for Python {_instructions.VERSION}")
    return found


@pytest.fixture(scope="module")
def costs(limits: _instructions.Limits) -> dict[str, Cost]:
    if POLLER != "epoll":
        pytest.skip("these are the counts of epoll")
    if "asan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the sanitizers take instructions of their own")
    if hasattr(trio_c._native, "live_objects"):
        pytest.skip("a debug build takes more instructions")
    try:
        return _instructions.measure()
    except _instructions.Impossible as reason:
        pytest.skip(str(reason))


def excess(cost: Cost, limit: Cost, tolerance: Cost) -> dict[str, float]:
    """What is over its limit, and how many times the limit it is.

    One instruction or a tenth of a call is not worth a word; and whether the
    interpreter's cache of attributes has an entry hangs on where objects lie.
    """
    trifles = (1, 0.1, MISSED_LOOK_UP)
    parts = zip(Cost._fields, cost, limit, tolerance, trifles, strict=True)
    return {
        name: round(count / most, 3)
        for name, count, most, share, trifle in parts
        if count > most * (1 + share) + trifle
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_instructions(
    name: str, costs: dict[str, Cost], limits: _instructions.Limits
) -> None:
    assert name in limits.costs, "not in the table yet: make instructions"
    native = _instructions.compiler() == limits.compiler
    same = native and _instructions.python() == limits.python
    tolerance = Cost(
        own=GROWTH if native else OTHER_COMPILER,
        calls=CALLS,
        # Of interpreters, each build takes its own number.
        total=GROWTH if same else float("inf"),
    )
    assert not excess(costs[name], limits.costs[name], tolerance)


def test_limits_are_of_operations(limits: _instructions.Limits) -> None:
    assert set(limits.costs) <= set(OPERATIONS)


def test_operations_are_counted(costs: dict[str, Cost]) -> None:
    assert set(costs) == set(OPERATIONS)
    assert all(0 < cost.own < cost.total for cost in costs.values())


def test_growth_is_excess() -> None:
    limit, exact = Cost(100, 10, 500), Cost(0, 0, 0)
    assert not excess(limit, limit, exact)
    assert not excess(Cost(101, 10, 501), limit, exact)
    assert excess(Cost(110, 10, 500), limit, exact) == {"own": 1.1}
    assert excess(Cost(110, 11, 510), limit, Cost(0.2, 0.02, 0.05)) == {"calls": 1.1}
    assert not excess(Cost(100, 10, 500 + MISSED_LOOK_UP), limit, exact)
    assert excess(Cost(100, 10, 750), limit, exact) == {"total": 1.5}


PROFILE = """\
events: Ir

ob=/x/trio_c/_native.so
fn=a
10 5
cob=/usr/lib/libpython3.so
cfn=b
calls=3 0
10 700
11 2
cfn=c
calls=1 0
11 90

ob=/usr/lib/libpython3.so
fn=b
20 700
cob=/x/trio_c/_native.so
cfn=c
calls=9 0
20 80

ob=/x/trio_c/_native.so
fn=c
30 4
""".splitlines(keepends=True)


def test_profile_is_read() -> None:
    assert _instructions.add_up(PROFILE) == Cost(own=11, calls=3, total=711)
