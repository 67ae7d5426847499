"""Worker threads, under the private path Trio has them at.

The functions are native; :mod:`trio_c.to_thread`, :mod:`trio_c.from_thread`
and :mod:`trio_c.testing` publish them.
"""

from ._native import (
    Event,
    ThreadPlaceholder as ThreadPlaceholder,
    _limiter_local as _limiter_local,
    _threads_idle,
    active_thread_count as active_thread_count,
    checkpoint,
    current_default_thread_limiter as current_default_thread_limiter,
    from_thread_check_cancelled as from_thread_check_cancelled,
    from_thread_run as from_thread_run,
    from_thread_run_sync as from_thread_run_sync,
    to_thread_run_sync as to_thread_run_sync,
)


async def wait_all_threads_completed() -> None:
    """Wait until no task waits for a worker thread any more. A checkpoint.

    Counts the calls of :func:`trio_c.to_thread.run_sync` in this run, not the
    threads: those that were abandoned do not count, those that wait for
    their next job neither.
    """
    await checkpoint()
    while active_thread_count():
        # Whoever ends the last call takes the event out and sets it.
        try:
            event = _threads_idle.get()
        except LookupError:
            event = Event()
            _threads_idle.set(event)
        await event.wait()
