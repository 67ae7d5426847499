"""Pointers and handles that programs have from cffi, which many use for the
functions of Windows: the library does without it, and takes them.
"""

from __future__ import annotations

import sys


def address(obj: object) -> int:
    """The number that `obj`, a pointer of cffi, stands for.

    Raises:
      TypeError: it is something else.
    """
    # Who has such an object has imported this.
    backend = sys.modules.get("_cffi_backend")
    if backend is None or not isinstance(obj, backend.FFI.CData):
        raise TypeError(
            f"a handle or pointer must be an int or a cdata pointer, not {obj!r}"
        )
    ffi = backend.FFI()
    return int(ffi.cast("uintptr_t", obj))


def as_handle(obj: object) -> int:
    """The number of a handle: an int, or a pointer of cffi.

    Raises:
      TypeError: it is something else.
    """
    return obj if isinstance(obj, int) else address(obj)
