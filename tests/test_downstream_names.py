"""Private names that programs in the wild rely on.

What there is, and what not, is in docs/private-names.md. Here: modules, the
run, tasks, scopes and nurseries. The rest is in test_downstream_objects.py.
"""

from __future__ import annotations

import abc
import contextvars
import gc
import importlib
import pickle
import random
import threading
import types
import weakref
from collections.abc import Callable, Coroutine, Generator
from functools import partial

import pytest
from _processes import run_code

import trio_c as trio
import trio_c.testing
from trio_c import lowlevel
from trio_c.testing import trio_test, wait_all_tasks_blocked

RUN_CONTEXT = trio._core._run.GLOBAL_RUN_CONTEXT


# --- where things are


@pytest.mark.parametrize(
    "module, names",
    [
        (
            "_core._run",
            """CancelScope CancelStatus GLOBAL_RUN_CONTEXT NONSTRICT_EXCEPTIONGROUP_NOTE
            Nursery NurseryManager Runner Task TaskStatus _TaskStatus current_task
            _r _ALLOW_DETERMINISTIC_SCHEDULING _hypothesis_plugin_setup""",
        ),
        ("_core._run_context", "GLOBAL_RUN_CONTEXT"),
        ("_core._wakeup_socketpair", "WakeupSocketpair"),
        ("_core._thread_cache", "THREAD_CACHE ThreadCache start_thread_soon"),
        ("_core._ki", "enable_ki_protection disable_ki_protection"),
        ("_channel", "MemoryChannelState MemoryReceiveChannel MemorySendChannel"),
        ("_file_io", "AsyncIOWrapper"),
        ("_highlevel_open_unix_stream", "close_on_error has_unix"),
        ("_socket", "_SocketType SocketType"),
        (
            "_util",
            """ConflictDetector MultipleExceptionError coroutine_or_error
            is_main_thread raise_single_exception_from_group""",
        ),
    ],
)
def test_modules_and_their_names(module: str, names: str) -> None:
    found = importlib.import_module(f"trio_c.{module}")
    for name in names.split():
        assert hasattr(found, name), name


def test_they_are_attributes_without_having_been_imported() -> None:
    # In annotations, which are evaluated.
    run_code(
        """
import trio_c
def wrapped() -> trio_c._file_io.AsyncIOWrapper: ...
trio_c._core._run.GLOBAL_RUN_CONTEXT
trio_c._util.ConflictDetector
"""
    )


def test_private_names_are_the_public_objects() -> None:
    run = trio._core._run
    assert run.Task is lowlevel.Task
    assert run.Nursery is trio.Nursery
    assert run.CancelScope is trio.CancelScope
    assert run.current_task is lowlevel.current_task
    assert trio._channel.MemorySendChannel is trio.MemorySendChannel
    assert isinstance(run.NONSTRICT_EXCEPTIONGROUP_NOTE, str)
    assert isinstance(run._r, random.Random)


@trio_test
async def test_the_class_of_task_statuses_can_be_registered() -> None:
    class Status(abc.ABC):  # noqa: B024
        pass

    Status.register(trio._core._run._TaskStatus)

    async def child(task_status: trio.TaskStatus[None]) -> None:
        assert isinstance(task_status, Status)
        assert type(task_status) is trio._core._run._TaskStatus
        task_status.started()

    async with trio.open_nursery() as nursery:
        await nursery.start(child)


def test_versions() -> None:
    assert [int(part) for part in trio.__version__.split(".")][:2] >= [0, 25]
    run_code(
        """
import trio_c; trio_c.install()
from importlib.metadata import version
assert tuple(map(int, version("trio").split(".")[:2])) >= (0, 25)
"""
    )


# --- the run context


def test_the_run_context_is_empty_outside() -> None:
    assert not hasattr(RUN_CONTEXT, "runner")
    assert RUN_CONTEXT.__dict__ == vars(RUN_CONTEXT) == {}
    with pytest.raises(AttributeError):
        RUN_CONTEXT.task  # noqa: B018


def test_its_dict_is_the_truth() -> None:
    seen = []

    async def other(n: int) -> int:
        with trio.move_on_after(100):
            await lowlevel.checkpoint()
        await trio.sleep(0)
        return n

    async def main() -> None:
        context = RUN_CONTEXT.__dict__
        task = lowlevel.current_task()
        assert context["task"] is RUN_CONTEXT.task is task
        assert context["runner"] is RUN_CONTEXT.runner is task._runner
        assert len(context) == 2 and "runner" in context and context.get("x") is None
        for n in range(3):
            saved = context.copy()
            assert type(saved) is dict
            context.clear()
            assert not lowlevel.in_trio_run()
            with pytest.raises(RuntimeError, match="^must be called from async"):
                lowlevel.current_task()
            # A second run, in the same thread.
            with pytest.warns(RuntimeWarning, match="signal handling code"):
                seen.append(trio.run(other, n))
            assert context == {}
            context.update(saved)
            assert lowlevel.current_task() is task
            await lowlevel.checkpoint()

    trio.run(main)
    assert seen == [0, 1, 2]
    assert RUN_CONTEXT.__dict__ == {}


@trio_test
async def test_its_attributes_can_be_deleted() -> None:
    saved = RUN_CONTEXT.__dict__.copy()
    del RUN_CONTEXT.task
    assert lowlevel.in_trio_run() and not lowlevel.in_trio_task()
    del RUN_CONTEXT.runner
    assert not hasattr(RUN_CONTEXT, "runner")
    with pytest.raises(AttributeError):
        del RUN_CONTEXT.runner
    RUN_CONTEXT.__dict__.update(saved)
    await lowlevel.checkpoint()


def runners_in_sight() -> list[object]:
    """The runs of all threads, as debuggers find them."""
    dicts = [d for d in gc.get_referents(RUN_CONTEXT) if isinstance(d, dict)]
    return [
        slots["runner"]
        for values in dicts
        for slots in values.values()
        if isinstance(slots, dict) and "runner" in slots
    ]


def test_the_garbage_collector_shows_the_runs_of_all_threads() -> None:
    async def main() -> None:
        mine = RUN_CONTEXT.runner
        assert mine in runners_in_sight()
        token = await trio.to_thread.run_sync(trio.run, elsewhere, mine)
        assert token not in [runner.trio_token for runner in runners_in_sight()]
        saved = RUN_CONTEXT.__dict__.copy()
        RUN_CONTEXT.__dict__.clear()
        hidden = runners_in_sight()
        RUN_CONTEXT.__dict__.update(saved)
        assert mine not in hidden and mine in runners_in_sight()

    async def elsewhere(first: object) -> object:
        assert {first, RUN_CONTEXT.runner} <= set(runners_in_sight())
        return lowlevel.current_trio_token()

    before = runners_in_sight()
    trio.run(main)
    assert runners_in_sight() == before


@trio_test
async def test_what_a_runner_shows() -> None:
    task = lowlevel.current_task()
    runner = task._runner
    assert runner.clock is lowlevel.current_clock()
    assert trio.current_time() <= runner.clock.current_time() <= trio.current_time()
    assert runner.trio_token is lowlevel.current_trio_token()
    assert runner.is_guest is False
    system_task = lowlevel.spawn_system_task(trio.sleep_forever)
    assert system_task in runner.system_nursery.child_tasks
    assert runner.init_task is lowlevel.current_root_task()
    assert runner.main_task is not None


@trio_test
async def test_the_context_of_a_task_tells_which_call_it_serves() -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var")
    found = []

    async def serve() -> None:
        (task,) = [
            task
            for task in RUN_CONTEXT.runner.system_nursery.child_tasks
            if task.context.get(var) == "mark"
        ]
        found.append(task is lowlevel.current_task())

    def in_thread(token: lowlevel.TrioToken) -> None:
        var.set("mark")
        trio.from_thread.run(serve, trio_token=token)

    thread = threading.Thread(
        target=in_thread, args=[lowlevel.current_trio_token()], daemon=True
    )
    thread.start()
    await trio.to_thread.run_sync(thread.join)
    assert found == [True]


# --- tasks


@trio_test
async def test_tasks_as_keys_and_behind_proxies() -> None:
    task = lowlevel.current_task()
    table = weakref.WeakKeyDictionary({task: "mine"})
    assert table[lowlevel.current_task()] == "mine"
    proxy = weakref.proxy(task)
    assert proxy._cancel_status.effectively_cancelled is False
    with trio.CancelScope() as scope:
        scope.cancel()
        assert proxy._cancel_status.effectively_cancelled is True
    assert not hasattr(task, "__dict__")
    with pytest.raises(AttributeError):
        task.anything = 1
    async with trio.open_nursery() as nursery:
        assert task.child_nurseries.index(nursery) == len(task.child_nurseries) - 1


def test_how_a_task_says_that_it_is_one() -> None:
    output = run_code(
        """
import trio_c; trio_c.install()
import trio
async def main():
    print(type(trio.lowlevel.current_task()).__module__)
trio.run(main)
"""
    )
    assert output == "trio.lowlevel\n"


@trio_test
async def test_the_coroutine_of_a_task_can_be_replaced() -> None:
    log = []

    @types.coroutine
    def around(coro: Coroutine[object, object, object]) -> Generator[object]:
        # Drives the original by hand, send by send.
        value = None
        while True:
            try:
                message = coro.send(value)
            except StopIteration as exc:
                return exc.value
            log.append("step")
            try:
                value = yield message
            except BaseException as exc:
                message = coro.throw(exc)

    class Other:
        """Anything with send() and throw() will do."""

        def __init__(self, coro: Coroutine[object, object, object]) -> None:
            self._coro = coro

        def send(self, value: object) -> object:
            log.append("sent")
            return self._coro.send(value)

        def throw(self, exc: BaseException) -> object:
            log.append("thrown")
            return self._coro.throw(exc)

    async def child() -> None:
        for _ in range(3):
            await lowlevel.checkpoint()

    for wrap in around, Other:
        log.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            (task,) = nursery.child_tasks
            original = task.coro
            task.coro = wrap(original)
            assert task.coro is not original
        assert len(log) >= 3


@trio_test
async def test_a_strange_yield_is_an_error_inside_the_task() -> None:
    @types.coroutine
    def strange() -> Generator[object]:
        yield 42

    with pytest.raises(TypeError, match="unrecognized yield message 42"):
        await strange()


@trio_test
async def test_what_a_sleeping_task_waits_for() -> None:
    _, receive = trio.open_memory_channel[int](0)
    lot = lowlevel.ParkingLot()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive.receive)
            nursery.start_soon(lot.park)
            await wait_all_tasks_blocked()
            found = [task.custom_sleep_data for task in nursery.child_tasks]
            assert {id(x) for x in found} == {id(receive), id(lot)}
            scope.cancel()


@trio_test
async def test_rescheduling_from_threads_that_know_nothing() -> None:
    token = lowlevel.current_trio_token()
    task = lowlevel.current_task()
    for _ in range(10):
        threading.Thread(
            target=token.run_sync_soon, args=[lowlevel.reschedule, task]
        ).start()
        await lowlevel.wait_task_rescheduled(lambda _: lowlevel.Abort.FAILED)


# --- scopes


@trio_test
async def test_the_status_of_a_scope() -> None:
    scope = trio.CancelScope()
    assert scope._cancel_status is None
    with scope:
        status = scope._cancel_status
        task = lowlevel.current_task()
        assert task._cancel_status == status  # views of the same thing
        assert status._scope is scope
        assert status._tasks == {task}
        assert "CancelStatus" in repr(status)
        with trio.CancelScope() as inner:
            assert inner._cancel_status._parent == status
            assert status._children == {inner._cancel_status}
            assert status.encloses(inner._cancel_status)
            assert not inner._cancel_status.encloses(status)
            assert status.encloses(status) and not status.encloses(None)
    assert scope._cancel_status is None


@trio_test
async def test_a_nursery_encloses_its_tasks() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        (task,) = nursery.child_tasks
        assert nursery._cancel_status.encloses(task._cancel_status)
        assert nursery._cancel_status == nursery.cancel_scope._cancel_status
        nursery.cancel_scope.cancel()


@trio_test
async def test_scopes_and_nurseries_entered_by_hand() -> None:
    scopes: weakref.WeakSet[trio.CancelScope] = weakref.WeakSet()
    scope = trio.CancelScope()
    scopes.add(scope)
    assert scope.__enter__() is scope
    assert scope in scopes
    assert scope.__exit__(None, None, None)

    manager = trio.open_nursery()
    assert type(manager) is trio._core._run.NurseryManager
    nursery = await manager.__aenter__()
    assert manager._nursery is nursery
    nursery.start_soon(trio.sleep_forever)
    nursery.cancel_scope.cancel()
    assert await manager.__aexit__(None, None, None)

    manager = trio.open_nursery()
    await manager.__aenter__()
    error = ValueError()
    with pytest.RaisesGroup(ValueError):
        await manager.__aexit__(ValueError, error, None)


def test_making_a_cancelled() -> None:
    with pytest.raises(TypeError, match="^trio.Cancelled has no public constructor$"):
        trio.Cancelled()
    plain = trio.Cancelled._create()
    assert isinstance(plain, BaseException) and not isinstance(plain, Exception)
    full = trio.Cancelled._create(source="explicit", reason="r", source_task="t")
    other = pickle.loads(pickle.dumps(full))
    assert type(other) is trio.Cancelled
    assert (other.source, other.reason, other.source_task) == ("explicit", "r", "t")
    function, *_ = full.__reduce__()
    assert type(function) is partial


# --- nurseries


@trio_test
async def test_a_nursery_in_which_failures_are_only_noted() -> None:
    noted = []
    async with trio.open_nursery() as nursery:
        nursery._add_exc = lambda exc, reason=None: noted.append((exc, reason))

        async def fail(exc: BaseException) -> None:
            raise exc

        errors = [ValueError(), KeyError()]
        for error in errors:
            nursery.start_soon(fail, error)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks == frozenset()
        assert [exc for exc, _ in noted] in (errors, errors[::-1])
        assert {reason.source for _, reason in noted} == {"nursery"}
        # Nobody has been cancelled.
        await lowlevel.checkpoint()
        del nursery._add_exc
    assert not nursery.cancel_scope.cancel_called


@trio_test
async def test_a_nursery_whose_methods_are_replaced() -> None:
    log = []
    async with trio.open_nursery() as nursery:
        cls = type(nursery)

        def start_soon(fn: Callable[..., object], *args: object, **named: object):
            log.append("start_soon")
            cls.start_soon(nursery, fn, *args, **named)

        async def start(fn: Callable[..., object], *args: object, **named: object):
            async def begin(task_status: trio.TaskStatus[int]) -> None:
                def started(value: object = None) -> None:
                    log.append("started")
                    type(task_status).started(task_status, value)

                task_status.started = started
                await fn(*args, task_status=task_status)

            log.append("start")
            return await cls.start(nursery, begin, **named)

        nursery.start_soon = start_soon
        nursery.start = start

        async def child(n: int, task_status: trio.TaskStatus[int]) -> None:
            task_status.started(n)

        assert await nursery.start(child, 5) == 5
        nursery.start_soon(lowlevel.checkpoint)
        assert vars(nursery).keys() == {"start_soon", "start"}
        gone = weakref.WeakKeyDictionary({nursery: 1})
        assert nursery in gone
    assert log == ["start", "started", "start_soon"]


@trio_test
async def test_child_tasks_is_like_a_set() -> None:
    async with trio.open_nursery() as nursery:
        assert not nursery.child_tasks
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(trio.sleep_forever)
        tasks = nursery.child_tasks
        assert len(tasks) == 2 and bool(tasks)
        assert {task.parent_nursery for task in tasks} == {nursery}
        assert nursery.parent_task is lowlevel.current_task()
        nursery.cancel_scope.cancel()
    assert len(tasks) == 2  # as it was
