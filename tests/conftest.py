"""What all tests share.

They run outside the checkout's root, so that a Python which a test starts takes
the trio_c that is installed. In debug builds, none leaves native objects behind.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import trio_c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# Built with a kqueue where the system has none: then `select` needs one too, here
# and in all the processes that tests start.
if trio_c._native.BACKEND == "kqueue" and not hasattr(select, "kqueue"):
    _glue = Path(__file__).with_name("kqueue")
    sys.path.append(str(_glue))
    importlib.import_module("select_glue")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(_glue), *filter(None, [os.environ.get("PYTHONPATH")])]
    )

# {type: how many are alive}; debug builds only. Free-threaded 3.13 makes classes
# immortal once there has been a thread, with all that they refer to: no use there.
_live_objects = getattr(trio_c._native, "live_objects", None)
if sysconfig.get_config_var("Py_GIL_DISABLED") and sys.version_info < (3, 14):
    _live_objects = None

# An idle worker thread waits for more work for some seconds; it belongs to the
# process, and not to the test that happened to need it first.
_OF_THE_PROCESS = {"ThreadCacheType", "ThreadWorkerType"}

_before = pytest.StashKey[dict[str, int]]()
_failed = pytest.StashKey[bool]()


def pytest_collection_finish() -> None:
    # Not before: paths on the command line are looked up while collecting.
    os.chdir(Path(__file__).parent)


def pytest_sessionstart() -> None:
    # A shell that starts us in the background has Ctrl-C ignored, by us and by
    # the processes that we start. Then no test of it could work.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _count() -> dict[str, int]:
    gc.collect()
    return _live_objects()


if _live_objects is not None:
    # What modules create when they are imported is there from the beginning.
    for _name in trio_c.__all__:
        getattr(trio_c, _name)
    for _name in ("abc", "from_thread", "lowlevel", "socket", "testing", "to_thread"):
        _module = importlib.import_module(f"trio_c.{_name}")
        for _attribute in _module.__all__ if hasattr(_module, "__all__") else ():
            getattr(_module, _attribute)

    # Around setup and teardown as a whole: fixtures, log records and the like
    # are gone by then.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
        item.stash[_before] = _count()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
        yield
        if item.stash.get(_failed, False):
            return  # its traceback keeps objects alive
        if isinstance(item, pytest.Function):
            item.funcargs.clear()
        more = dict(_grown(item.stash[_before], _count()))
        # An abandoned thread may need a moment to get out of its last call.
        for _ in range(1000):
            if "ThreadJobType" not in more:
                break
            time.sleep(0.01)
            more = dict(_grown(item.stash[_before], _count()))
        assert not more, f"native objects stay alive: {more}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item: pytest.Item) -> Generator[None]:
        report = yield
        if report.failed:
            item.stash[_failed] = True
        return report


def _grown(before: dict[str, int], after: dict[str, int]) -> Iterator[tuple[str, str]]:
    for name, count in after.items():
        if count > before.get(name, 0) and name not in _OF_THE_PROCESS:
            yield name, f"{before.get(name, 0)} -> {count}"
