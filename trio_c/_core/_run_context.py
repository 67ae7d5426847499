"""The run context, at the place where upstream has it.

Libraries that switch greenlets copy, clear and refill its ``__dict__``.
"""

from collections.abc import MutableMapping

from .._native import GLOBAL_RUN_CONTEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GLOBAL_RUN_CONTEXT"]

_NAMES = ("runner", "task")


class SlotsDict(MutableMapping[str, object]):
    """A live dict-like view of this thread's slots."""

    __slots__ = ("_context",)

    def __init__(self, context: object) -> None:
        self._context = context

    def __getitem__(self, name: str) -> object:
        try:
            return getattr(self._context, name)
        except AttributeError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: object) -> None:
        setattr(self._context, name, value)

    def __delitem__(self, name: str) -> None:
        try:
            delattr(self._context, name)
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> "Iterator[str]":
        return (name for name in _NAMES if hasattr(self._context, name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> dict[str, object]:
        """A plain dict of what the slots hold now."""
        return dict(self)
