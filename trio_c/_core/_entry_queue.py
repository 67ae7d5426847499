"""How other threads get into a run, under the private path Trio has it at."""

from .._native import EntryQueue as EntryQueue, TrioToken as TrioToken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


async def kill_everything(exc: BaseException) -> "NoReturn":
    """Body of the task that tells the run of a callback's failure."""
    raise exc
