"""Instruments, under the private path Trio has them at, and their log."""

from .._native import Instruments as Instruments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Logger

    from .._abc import Instrument


def log_failure(hook: str, instrument: "Instrument", exc: BaseException) -> None:
    """Log that a hook has raised; its instrument has been removed already."""
    _logger().error(
        "Exception raised when calling %r on instrument %r. "
        "Instrument has been disabled.",
        hook,
        instrument,
        exc_info=exc,
    )


def _logger() -> "Logger":
    from logging import getLogger

    return getLogger("trio.abc.Instrument")


def __getattr__(name: str) -> object:
    # Made when first asked for: logging is slow to import.
    if name == "INSTRUMENT_LOGGER":
        return _logger()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
