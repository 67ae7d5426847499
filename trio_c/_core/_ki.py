"""Ctrl-C protection, under the private path Trio has it at.

The marks, the walk along the frames and the signal handler are native. The
dictionary below is for those who look for it here; nothing else uses it.
"""

from __future__ import annotations

from weakref import ref

from .._native import (
    KIManager as KIManager,
    currently_ki_protected as currently_ki_protected,
    disable_ki_protection as disable_ki_protection,
    enable_ki_protection as enable_ki_protection,
    ki_protection_enabled as ki_protection_enabled,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _IdRef(ref[object]):
    """A weak reference equal only to another one to the very same object."""

    __slots__ = ("_hash",)

    _hash: int

    def __new__(
        cls, obj: object, callback: Callable[[_IdRef], object] | None = None, /
    ) -> _IdRef:
        self = super().__new__(cls, obj, callback)
        self._hash = object.__hash__(obj)
        return self

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, _IdRef):
            return NotImplemented
        obj = self()
        return obj is not None and obj is other()

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return self._hash


class WeakKeyIdentityDictionary:
    """A mapping that holds its keys weakly and tells them apart by identity."""

    def __init__(self) -> None:
        self._data: dict[_IdRef, object] = {}
        weak_self = ref(self)

        def remove(key: _IdRef) -> None:
            owner = weak_self()
            if owner is not None:
                owner._data.pop(key, None)

        self._remove = remove

    def __getitem__(self, key: object) -> object:
        return self._data[_IdRef(key)]

    def __setitem__(self, key: object, value: object) -> None:
        self._data[_IdRef(key, self._remove)] = value
