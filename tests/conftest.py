"""What all tests share."""

from __future__ import annotations

import gc

import pytest

import trio_c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Number of living native objects by type; debug builds only.
_live_objects = getattr(trio_c._native, "live_objects", None)


@pytest.fixture(autouse=_live_objects is not None)
def no_native_object_stays_behind() -> Iterator[None]:
    """After each test, as many native objects as before it, or fewer."""
    gc.collect()
    before = _live_objects()
    yield
    gc.collect()
    more = {
        name: f"{before.get(name, 0)} -> {count}"
        for name, count in _live_objects().items()
        if count > before.get(name, 0)
    }
    assert not more, f"native objects stay alive: {more}"
