"""Sleeping and time limits, at the place where upstream has them."""

from ._native import (
    TooSlowError,
    fail_after,
    fail_at,
    move_on_after,
    move_on_at,
    sleep,
    sleep_forever,
    sleep_until,
)

__all__ = [
    "TooSlowError",
    "fail_after",
    "fail_at",
    "move_on_after",
    "move_on_at",
    "sleep",
    "sleep_forever",
    "sleep_until",
]
