"""Several copies of the library in one process: interpreters of their own, and
what is imported anew in the same one. `tests/stress` has more of both."""

from __future__ import annotations

import sys
import textwrap

import pytest
from _processes import run_code

# Isolated ones have a GIL of their own since 3.12; before, no threads either.
INTERPRETERS = """
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters
    create = lambda isolated: _interpreters.create(isolated=isolated)
    execute = _interpreters.run_string
else:
    create = lambda isolated: _interpreters.create(
        "isolated" if isolated else "legacy"
    )
    def execute(interpreter, code):
        problem = _interpreters.exec(interpreter, code)
        assert problem is None, problem.formatted
"""

# What an interpreter does: some of everything.
WORK = """
import sys, trio_c

async def main():
    send, receive = trio_c.open_memory_channel(0)
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(send.send, 5)
        assert await receive.receive() == 5
    a, b = trio_c.socket.socketpair()
    with a, b:
        await a.send(b"x")
        assert await b.recv(1) == b"x"
    if sys.version_info < (3, 12):
        return  # there no interpreter that has had threads can be destroyed
    async def double(x):
        return 2 * x
    def thread():
        return trio_c.from_thread.run(double, trio_c.from_thread.run_sync(int, "3"))
    assert await trio_c.to_thread.run_sync(thread) == 6

trio_c.run(main)
"""


def run_parts(*parts: str) -> None:
    """Run code that has nothing to say."""
    code = "\n".join(textwrap.dedent(part) for part in parts)
    assert run_code(code) == ""


isolated_or_not = pytest.mark.parametrize(
    "isolated",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                sys.version_info < (3, 12), reason="no threads there"
            ),
        ),
    ],
)


@isolated_or_not
def test_another_interpreter(isolated: bool) -> None:
    # Its idle threads must not stay behind: that is fatal to the process.
    run_parts(
        INTERPRETERS,
        f"""
        for _ in range(2):
            interpreter = create({isolated})
            execute(interpreter, {WORK!r})
            _interpreters.destroy(interpreter)
        """,
    )


@isolated_or_not
def test_another_interpreter_inside_of_a_run(isolated: bool) -> None:
    run_parts(
        INTERPRETERS,
        f"""
        import trio_c

        async def main():
            task = trio_c.lowlevel.current_task()
            interpreter = create({isolated})
            execute(interpreter, {WORK!r})
            assert trio_c.lowlevel.current_task() is task
            await trio_c.lowlevel.checkpoint()
            await trio_c.to_thread.run_sync(execute, interpreter, {WORK!r})
            _interpreters.destroy(interpreter)

        trio_c.run(main)
        """,
    )


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="an interpreter with threads cannot be destroyed"
)
def test_threads_that_are_busy_when_their_interpreter_ends() -> None:
    run_parts(
        INTERPRETERS,
        """
        interpreter = create(False)
        execute(interpreter, '''if True:
            import time, trio_c

            async def main():
                with trio_c.move_on_after(0.01):
                    await trio_c.to_thread.run_sync(
                        time.sleep, 0.3, abandon_on_cancel=True
                    )

            trio_c.run(main)
        ''')
        _interpreters.destroy(interpreter)
        """,
    )


IMPORT_ANEW = """
import sys, warnings

import trio_c as old
# The descriptor that signals write to is taken by the outer run, as by Trio's.
warnings.simplefilter("ignore", RuntimeWarning)

def import_anew():
    for name in [n for n in sys.modules if n.partition(".")[0] == "trio_c"]:
        del sys.modules[name]
    import trio_c
    return trio_c
"""


def test_a_run_of_one_copy_inside_of_a_run_of_another() -> None:
    run_parts(
        IMPORT_ANEW,
        """
        old.run(old.lowlevel.checkpoint)
        new = import_anew()
        assert new.run is not old.run

        async def inner():
            await new.lowlevel.checkpoint()
            assert old.lowlevel.current_task() is task
            assert new.lowlevel.current_task() is not task

        async def outer():
            global task
            task = old.lowlevel.current_task()
            new.run(inner)
            assert old.lowlevel.current_task() is task
            assert not new.lowlevel.in_trio_run()
            await old.lowlevel.checkpoint()

        old.run(outer)
        """,
    )


def test_a_copy_that_was_replaced_still_runs() -> None:
    run_parts(
        IMPORT_ANEW,
        """
        async def numbers():
            yield 1
            yield 2

        async def main():
            async with old.open_nursery() as nursery:
                nursery.start_soon(old.sleep, 0)
            left = numbers()
            await left.__anext__()
            globals()["left"] = left

        old.run(main)
        import_anew()
        old.run(main)
        """,
    )


def test_objects_of_another_copy_are_refused() -> None:
    run_parts(
        IMPORT_ANEW,
        """
        old.run(old.lowlevel.checkpoint)
        event, scope, wait = old.Event(), old.CancelScope(), old.sleep(0)
        channel = old.open_memory_channel(0)[0]
        new = import_anew()

        async def main():
            for use in [event.wait, lambda: channel.send(1), lambda: wait]:
                try:
                    await use()
                except (RuntimeError, TypeError):
                    pass
                else:
                    raise AssertionError(use)
            try:
                scope.__enter__()
            except RuntimeError:
                pass
            else:
                raise AssertionError

        new.run(main)
        """,
    )
