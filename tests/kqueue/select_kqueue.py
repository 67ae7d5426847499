"""`select.kqueue` and `select.kevent` for a system that has none, as far as the
documentation of Python goes: over the kqueue that is in a trio_c built for
testing (``TRIO_C_BACKEND=kqueue``), which is `csrc/tests/kqueue`.
"""

from __future__ import annotations

import ctypes
import os
from functools import total_ordering
from time import monotonic

import trio_c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn, Self

KQ_FILTER_READ = -1
KQ_FILTER_WRITE = -2
KQ_FILTER_AIO = -3
KQ_FILTER_VNODE = -4
KQ_FILTER_PROC = -5
KQ_FILTER_SIGNAL = -6
KQ_FILTER_TIMER = -7
KQ_FILTER_USER = -11

KQ_EV_ADD = 0x0001
KQ_EV_DELETE = 0x0002
KQ_EV_ENABLE = 0x0004
KQ_EV_DISABLE = 0x0008
KQ_EV_ONESHOT = 0x0010
KQ_EV_CLEAR = 0x0020
KQ_EV_ERROR = 0x4000
KQ_EV_EOF = 0x8000

KQ_NOTE_TRIGGER = 0x01000000
KQ_NOTE_EXIT = 0x80000000
KQ_NOTE_FORK = 0x40000000
KQ_NOTE_EXEC = 0x20000000

__all__ = [name for name in dir() if name.startswith("KQ_")] + ["kevent", "kqueue"]


class _Event(ctypes.Structure):
    """struct kevent of csrc/tests/kqueue/sys/event.h."""

    _fields_ = [
        ("ident", ctypes.c_size_t),
        ("filter", ctypes.c_short),
        ("flags", ctypes.c_ushort),
        ("fflags", ctypes.c_uint),
        ("data", ctypes.c_int64),
        ("udata", ctypes.c_size_t),
    ]


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


# use_errno: what else the interpreter does must not change it meanwhile.
_library = ctypes.CDLL(trio_c._native.__file__, use_errno=True)
_kqueue = _library.kqueue
_kqueue.argtypes = []
_kevent = _library.kevent
_kevent.argtypes = [
    ctypes.c_int,
    ctypes.POINTER(_Event),
    ctypes.c_int,
    ctypes.POINTER(_Event),
    ctypes.c_int,
    ctypes.POINTER(_Timespec),
]


def _fail() -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


@total_ordering
class kevent:
    """One event, or one change."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        ident: object,
        filter: int = KQ_FILTER_READ,
        flags: int = KQ_EV_ADD,
        fflags: int = 0,
        data: int = 0,
        udata: int = 0,
    ) -> None:
        if not isinstance(ident, int):
            ident = ident.fileno()  # type: ignore[attr-defined]
        self.ident = ident
        self.filter = filter
        self.flags = flags
        self.fflags = fflags
        self.data = data
        self.udata = udata
        for name, kind in _Event._fields_:
            value = getattr(self, name)
            if kind(value).value != value:
                raise OverflowError(f"{name} does not fit: {value}")

    def _values(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name, _ in _Event._fields_)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, kevent):
            return NotImplemented
        return self._values() == other._values()

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, kevent):
            return NotImplemented
        return self._values() < other._values()

    def __repr__(self) -> str:
        return (
            f"<select.kevent ident={self.ident} filter={self.filter}"
            f" flags=0x{self.flags:x} fflags=0x{self.fflags:x}"
            f" data=0x{self.data:x} udata=0x{self.udata:x}>"
        )


class kqueue:
    """A kqueue, which is closed at the latest when nobody has this any more."""

    def __init__(self) -> None:
        self._fd = _kqueue()
        if self._fd < 0:
            _fail()

    @classmethod
    def fromfd(cls, fd: int, /) -> Self:
        self = cls.__new__(cls)
        self._fd = fd
        return self

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def fileno(self) -> int:
        if self._fd < 0:
            raise ValueError("this kqueue has been closed")
        return self._fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self, close=close) -> None:
        close(self)

    def control(
        self,
        changelist: Iterable[kevent] | None,
        max_events: int,
        timeout: float | None = None,
        /,
    ) -> list[kevent]:
        fd = self.fileno()
        if max_events < 0:
            raise ValueError("max_events must not be negative")
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must not be negative")
        changes = list(changelist or ())
        if not all(isinstance(change, kevent) for change in changes):
            raise TypeError("changelist must be of select.kevent objects")
        raw = (_Event * len(changes))(*(change._values() for change in changes))
        events = (_Event * max_events)()
        deadline = None if timeout is None else monotonic() + timeout
        n_changes = len(changes)
        while True:
            limit = None
            if deadline is not None and timeout is not None:
                seconds, rest = divmod(timeout, 1)
                limit = _Timespec(int(seconds), int(rest * 1e9))
            n = _kevent(fd, raw, n_changes, events, max_events, limit)
            if n >= 0:
                break
            if ctypes.get_errno() != 4:  # EINTR; signal handlers have run by now
                _fail()
            n_changes = 0
            if deadline is not None:
                timeout = max(0.0, deadline - monotonic())
        return [
            kevent(*(getattr(event, name) for name, _ in _Event._fields_))
            for event in events[:n]
        ]
