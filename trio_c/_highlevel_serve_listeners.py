"""The accept loop: a task for each listener, and one for each connection."""

from __future__ import annotations

import errno
import os

import trio_c as trio

from ._core import TASK_STATUS_IGNORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, NoReturn, TypeAlias, TypeVar

    StreamT = TypeVar("StreamT", bound=trio.abc.AsyncResource)
    ListenerT = TypeVar("ListenerT", bound=trio.abc.Listener[Any])
    Handler: TypeAlias = Callable[[StreamT], Awaitable[object]]

# Errors of accept() that say that the process or the system has run out of
# something. They pass when other connections end, if one waits with trying
# again: the connection is still in the backlog, so accept() fails at once.
ACCEPT_CAPACITY_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

# Seconds between such attempts: few enough not to keep clients waiting,
# enough not to burn CPU or fill the log.
SLEEP_TIME = 0.100


async def _run_handler(stream: StreamT, handler: Handler[StreamT]) -> None:
    try:
        await handler(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def _serve_one_listener(
    listener: trio.abc.Listener[StreamT],
    handler_nursery: trio.Nursery,
    handler: Handler[StreamT],
) -> NoReturn:
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as exc:
                if exc.errno not in ACCEPT_CAPACITY_ERRNOS:
                    raise
                import logging

                logging.getLogger("trio.serve_listeners").exception(
                    "accept returned %s (%s); retrying in %s seconds",
                    errno.errorcode[exc.errno],
                    os.strerror(exc.errno),
                    SLEEP_TIME,
                )
                await trio.sleep(SLEEP_TIME)
            else:
                handler_nursery.start_soon(_run_handler, stream, handler)


async def serve_listeners(
    handler: Handler[StreamT],
    listeners: list[ListenerT],
    *,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[ListenerT]] = TASK_STATUS_IGNORED,
) -> NoReturn:
    """Accept connections and run `handler` on each in a task, until cancelled.

    Never returns. When it ends, cancelled or by an error, the listeners are
    closed.

    Being out of file descriptors or memory is no reason to end: accepting
    then pauses for 0.1 seconds at a time, with a message each to the logger
    ``trio.serve_listeners``.

    Args:
      handler: async function that is called with the new stream, which is
          closed forcefully when the function ends. What it raises goes to
          the nursery it runs in, and from there ends the server; to log
          errors and go on, catch them in the handler.
      listeners: the list of :class:`~trio_c.abc.Listener` objects to serve.
      handler_nursery: the nursery for the handlers. The default is one of
          this function's own, so that it waits for them, and cancelling it
          cancels them.
      task_status: for ``nursery.start``, which gets `listeners` back.

    Raises:
      Whatever a listener's `accept` or a handler raises, in an exception
      group.
    """
    async with trio.open_nursery() as nursery:
        if handler_nursery is None:
            handler_nursery = nursery
        for listener in listeners:
            nursery.start_soon(_serve_one_listener, listener, handler_nursery, handler)
        # Clients may connect even before accept() is called for the first
        # time: the system queues them.
        task_status.started(listeners)

    raise AssertionError("_serve_one_listener should never complete")
