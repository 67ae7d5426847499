"""For tests of what there is with a kqueue only."""

from __future__ import annotations

import errno

import pytest
from _sockets import POLLER

import trio_c as trio
import trio_c.testing
from trio_c.lowlevel import Abort
from trio_c.testing import wait_all_tasks_blocked

BUSY = "^attempt to register multiple listeners for same ident/filter pair$"

with_kqueue = pytest.mark.skipif(POLLER != "kqueue", reason="runs have no kqueue")
queue_is_deprecated = pytest.mark.filterwarnings(
    "ignore:.*UnboundedQueue:trio_c.TrioDeprecationWarning"
)

if POLLER == "kqueue":
    from select import (
        KQ_EV_ADD,
        KQ_EV_DELETE,
        KQ_EV_ONESHOT,
        KQ_FILTER_USER,
        kevent,
    )

    from trio_c.lowlevel import current_kqueue

    # NOTE_TRIGGER; `select` does not have the numbers of EVFILT_USER.
    TRIGGER = 0x01000000


def change(ident, filter, flags, fflags=0, data=0, udata=0):
    current_kqueue().control([kevent(ident, filter, flags, fflags, data, udata)], 0)


def once(ident, filter, **more):
    change(ident, filter, KQ_EV_ADD | KQ_EV_ONESHOT, **more)


def trigger(ident, kqueue=None):
    kqueue = kqueue or current_kqueue()
    kqueue.control([kevent(ident, KQ_FILTER_USER, 0, TRIGGER)], 0)


def gone(ident, filter):
    """Is nothing registered there?"""
    try:
        change(ident, filter, KQ_EV_DELETE)
    except OSError as exc:
        assert exc.errno in (errno.ENOENT, errno.EBADF)
        return True
    return False


def deletes(ident, filter):
    """An abort function that does what it has to."""

    def abort(raise_cancel):
        change(ident, filter, KQ_EV_DELETE)
        return Abort.SUCCEEDED

    return abort


def leave(raise_cancel):
    """For waits that are not cancelled, unless the test fails."""
    return Abort.SUCCEEDED


def counts():
    statistics = trio.lowlevel.current_statistics().io_statistics
    assert statistics.backend == "kqueue"
    return statistics.tasks_waiting, statistics.monitors


async def settled_counts():
    await wait_all_tasks_blocked()
    return counts()
