"""What programs in the wild do with public names, beyond their documentation:
replace them in tests, look at their code, walk along stacks, subclass, fork.

See test_downstream_names.py for the private ones.
"""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import sys
import types
import typing
import weakref
from collections.abc import Coroutine, Iterator
from functools import partial
from unittest import mock

import outcome
import pytest
from _processes import run_code

import trio_c as trio
import trio_c.testing
from trio_c import lowlevel
from trio_c.testing import trio_test, wait_all_tasks_blocked

# --- replacing things in tests


@trio_test
async def test_targets_of_mock_patches() -> None:
    with mock.patch("trio_c.Event.wait") as wait:
        assert await trio.Event().wait() is wait.return_value
    wait.assert_awaited_once()
    with mock.patch("trio_c.sleep") as sleep:
        await trio.sleep(1000)
    sleep.assert_awaited_once_with(1000)
    with mock.patch("trio_c.to_thread.run_sync") as run_sync:
        await trio.to_thread.run_sync(print)
    assert run_sync.await_args == mock.call(print)
    for name in ("run_process", "open_tcp_stream", "lowlevel.checkpoint"):
        with mock.patch(f"trio_c.{name}") as replacement:
            target = trio
            for part in name.split("."):
                target = getattr(target, part)
            assert target is replacement
    # All is as it was.
    await trio.sleep(0)
    event = trio.Event()
    event.set()
    await event.wait()


def test_a_replaced_run(monkeypatch) -> None:
    original = trio.run
    loose = partial(trio.run, strict_exception_groups=True)
    monkeypatch.setattr(trio, "run", loose)
    assert trio.run(lowlevel.checkpoint) is None
    monkeypatch.undo()
    assert trio.run is original


@trio_test
async def test_specified_mocks() -> None:
    sleep = mock.create_autospec(trio.sleep)
    await sleep(1000)
    with pytest.raises(TypeError):
        await sleep(1, 2, 3)
    lock = mock.create_autospec(trio.Lock, instance=True)
    assert inspect.iscoroutinefunction(lock.acquire)
    with pytest.raises(AttributeError):
        lock.nonsense  # noqa: B018


# --- what native things look like


@pytest.mark.parametrize(
    "function",
    [
        trio._core._run.NurseryManager.__aexit__,
        trio.CancelScope.__exit__,
        trio.Event.wait,
        lowlevel.wait_task_rescheduled,
        lowlevel.cancel_shielded_checkpoint,
        lowlevel.temporarily_detach_coroutine_object,
        lowlevel.permanently_detach_coroutine_object,
        trio.to_thread.run_sync,
        trio.from_thread.run,
    ],
    ids=lambda function: function.__qualname__,
)
def test_code_objects(function) -> None:
    code = function.__code__
    assert isinstance(code, types.CodeType)
    assert code.co_name == function.__code__.co_name
    try:
        function.__code__ = other = code.replace(co_name="hidden")
        assert function.__code__ is other
    finally:
        function.__code__ = code
    assert isinstance(function, types.FunctionType)
    assert inspect.isfunction(function) and inspect.isroutine(function)
    assert inspect.unwrap(function) is function


@trio_test
async def test_assigned_code_changes_nothing(monkeypatch) -> None:
    code = trio.Event.wait.__code__
    try:
        trio.Event.wait.__code__ = (lambda self: 1 / 0).__code__
        event = trio.Event()
        event.set()
        await event.wait()
    finally:
        trio.Event.wait.__code__ = code


def native_functions() -> Iterator[types.FunctionType]:
    kind = type(trio.sleep)
    for value in vars(trio._native).values():
        found = vars(value).values() if isinstance(value, type) else [value]
        yield from (function for function in found if type(function) is kind)


def test_type_hints_are_evaluated() -> None:
    functions = [*native_functions()]
    assert {trio.sleep, trio.Event.wait, lowlevel.checkpoint} <= {*functions}
    for function in functions:
        hints = typing.get_type_hints(function)
        assert hints.keys() == function.__annotations__.keys()
        # They mean the classes themselves, not what stands for them.
        text = repr(hints).replace("_signatures._names.", "")
        assert "_signatures." not in text, function
        assert inspect.signature(function, eval_str=True)


def test_type_hints_mean_what_is_public() -> None:
    hints = typing.get_type_hints
    assert hints(trio.move_on_after)["return"] is trio.CancelScope
    assert hints(trio.SocketListener.accept)["return"] is trio.SocketStream
    assert hints(trio.Lock.statistics)["return"] is trio.LockStatistics
    clone = hints(trio.MemorySendChannel.clone)["return"]
    assert typing.get_origin(clone) is trio.MemorySendChannel


@pytest.mark.parametrize(
    "function",
    [
        trio.sleep,
        trio.to_thread.run_sync,
        trio.from_thread.run,
        lowlevel.checkpoint,
        trio.Event.wait,
        trio.MemorySendChannel.send_nowait,
    ],
    ids=lambda function: function.__qualname__,
)
def test_functions_are_pickled_and_shown_by_their_public_name(function) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function
    assert repr(function).startswith(f"<function {function.__qualname__} at ")


@pytest.mark.parametrize("name", ["__name__", "__qualname__"])
def test_names_of_functions_are_strings(name) -> None:
    for function in (trio.sleep, trio.Event.wait):
        before = getattr(function, name)
        with pytest.raises(TypeError, match=f"^{name} must be set to a string"):
            setattr(function, name, 1)
        with pytest.raises(TypeError):
            delattr(function, name)
        assert getattr(function, name) == before


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no function is generic")
def test_functions_say_that_they_are_not_generic() -> None:
    assert trio.sleep.__type_params__ == trio.Event.wait.__type_params__ == ()


@trio_test
async def test_awaitables_pass_for_coroutines() -> None:
    async def maybe(value: object) -> object:
        return await value if inspect.iscoroutine(value) else value

    assert await maybe(trio.to_thread.run_sync(int, "5")) == 5
    for native in (trio.sleep(1), trio.Event().wait(), lowlevel.checkpoint()):
        assert inspect.iscoroutine(native) and inspect.isawaitable(native)
        assert isinstance(native, types.CoroutineType)
        assert isinstance(native, Coroutine)
        assert inspect.getcoroutinestate(native) == inspect.CORO_CREATED
        assert inspect.iscoroutinefunction(trio.sleep)
        native.close()
        assert inspect.getcoroutinestate(native) == inspect.CORO_CLOSED


@trio_test
async def test_frames_of_a_sleeping_task_end_where_the_program_does() -> None:
    async def inner() -> None:
        await trio.sleep_forever()

    async def outer() -> None:
        await inner()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        names = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
        assert names == ["outer", "inner"]
        nursery.cancel_scope.cancel()


def test_subscripts_are_evaluated() -> None:
    class Fields:
        one: trio.MemorySendChannel[int]
        two: trio.MemoryReceiveChannel[int]
        three: trio.SSLStream[trio.SocketStream]
        four: trio.SSLListener[trio.SocketStream]
        five: trio.StapledStream[trio.SocketStream, trio.SocketStream]
        six: lowlevel.RunVar[int]
        seven: trio.TaskStatus[int]
        eight: trio.abc.SendChannel[int]
        nine: trio.abc.Channel[int]
        ten: trio.abc.Listener[trio.SocketStream]

    exec("def f(x: trio.MemorySendChannel[int]): ...", {"trio": trio})
    assert len(eval("[trio.open_memory_channel[int](1)]", {"trio": trio})) == 1


@trio_test
async def test_who_may_carry_attributes() -> None:
    with_dict = [
        trio.Lock(),
        trio.StrictFIFOLock(),
        trio.Semaphore(1),
        trio.CapacityLimiter(1),
        trio.Condition(),
        *trio.open_memory_channel[None](0),
        trio.open_nursery(),
    ]
    without = [trio.Event(), trio.CancelScope(), lowlevel.RunVar("name")]
    for obj in with_dict:
        obj.anything = 1
        assert vars(obj)["anything"] == 1
    for obj in without:
        with pytest.raises(AttributeError):
            obj.anything = 1
    for obj in with_dict + without:
        assert weakref.ref(obj)() is obj


def test_abstract_classes_take_in_others() -> None:
    class Stream:
        pass

    class Other(trio.abc.HalfCloseableStream):
        async def aclose(self) -> None: ...
        async def receive_some(self, max_bytes: int | None = None) -> bytes: ...
        async def send_all(self, data: bytes) -> None: ...
        async def wait_send_all_might_not_block(self) -> None: ...
        async def send_eof(self) -> None: ...

    assert isinstance(Other(), trio.abc.AsyncResource)
    trio.abc.HalfCloseableStream.register(Stream)
    assert isinstance(Stream(), trio.abc.SendStream)
    assert issubclass(trio.MemorySendChannel, trio.abc.SendChannel)
    assert issubclass(trio.MemoryReceiveChannel, trio.abc.ReceiveChannel)
    assert issubclass(trio.SocketStream, trio.abc.HalfCloseableStream)

    class Slow(trio.TooSlowError):
        pass

    with pytest.raises(trio.TooSlowError):
        raise Slow


def test_instruments_of_any_class() -> None:
    log = []

    class Duck:
        def task_exited(self, task: lowlevel.Task) -> None:
            log.append(task.name)

    class Proper(trio.abc.Instrument):
        def after_run(self) -> None:
            super().after_run()
            log.append("after_run")

    async def main() -> None:
        await lowlevel.checkpoint()

    trio.run(main, instruments=[Duck(), Proper()])
    assert any(name.endswith("main") for name in log) and log[-1] == "after_run"


# --- garbage and forks


@trio_test
async def test_nothing_is_held_after_a_step() -> None:
    class Thing:
        pass

    async def hold(thing: object) -> None:
        await lowlevel.checkpoint()

    thing = Thing()
    gone = weakref.ref(thing)
    send, receive = trio.open_memory_channel[object](1)
    await hold(thing)
    await trio.to_thread.run_sync(id, thing)
    await send.send(thing)
    await receive.receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, thing)
    del thing
    await lowlevel.checkpoint()
    await trio.testing.wait_all_threads_completed()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_a_forked_child_can_leave_the_run() -> None:
    output = run_code(
        """
import os, warnings
import trio_c as trio
context = trio._core._run.GLOBAL_RUN_CONTEXT
def leave():
    for name in ("task", "runner"):
        if hasattr(context, name):
            delattr(context, name)
os.register_at_fork(after_in_child=leave)
async def child():
    await trio.sleep(0)
    print("child", flush=True)
async def main():
    if (pid := os.fork()) == 0:
        assert not trio.lowlevel.in_trio_run()
        trio.run(child)
        os._exit(0)
    await trio.to_thread.run_sync(os.waitpid, pid, 0)
    print("parent")
warnings.simplefilter("ignore")  # the signals' file descriptor, and forking
trio.run(main)
"""
    )
    assert output == "child\nparent\n"


# --- printing the stacks of tasks


def test_asking_for_the_glue_of_stack_printers() -> None:
    # It is taken out of each module that has one, under each name, and called.
    run_code(
        """
import sys, types
registered = {}
class Hook:
    def __init__(self): self.known = {}
    def register(self, cls):
        return lambda function: self.known.setdefault(cls, function)
    def dispatch(self, cls): return self.known.get(cls, before)
def before(coro): return "before"
printer = types.ModuleType("stackscope")
printer.unwrap_stackitem, printer.elaborate_context = Hook(), Hook()
class Options:
    def __init__(self, **options): vars(self).update(options)
printer.StackSlice = printer.Frame = Options
printer.extract_child = lambda task, for_task: ("child", task, for_task)
sys.modules["stackscope"] = printer

import trio_c; trio_c.install()
import trio
for name in list(sys.modules):
    glue = getattr(sys.modules[name], "__dict__", {}).pop(
        "_stackscope_install_glue_", None)
    if name in ("trio_c", "trio"):
        assert glue is not None, name
        glue()

unwrap = printer.unwrap_stackitem.known[types.CoroutineType]
async def python(): pass
coro = python()
assert unwrap(coro) == "before"
coro.close()

async def main():
    import threading, time
    release = threading.Event()
    waiting = threading.Event()
    def job():
        waiting.set()
        release.wait()
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        async def parent():
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
        async def in_thread():
            await trio.to_thread.run_sync(job)
        async def wait(): await event.wait()
        for fn in (parent, in_thread, wait):
            nursery.start_soon(fn)
        await trio.to_thread.run_sync(waiting.wait)
        await trio.testing.wait_all_tasks_blocked()
        tasks = {task.name.rpartition(".")[2]: task for task in nursery.child_tasks}
        assert printer.unwrap_stackitem.known[trio.lowlevel.Task](
            tasks["wait"]) is tasks["wait"].coro

        trap = trio.lowlevel.cancel_shielded_checkpoint()
        hidden = unwrap(trap)
        assert hidden.hide and hidden.pyframe.f_code.co_name == trap.__name__
        trap.close()

        frame, further = unwrap(tasks["wait"].coro.cr_await)
        assert frame.f_code.co_qualname == "Event.wait" and further is None
        assert frame.f_locals == {"self": event}

        frame, further = unwrap(tasks["parent"].coro.cr_await)
        assert frame.f_code.co_name == "__aexit__"
        manager = frame.f_locals["self"]
        class Context: pass
        context = Context()
        printer.elaborate_context.known[type(manager)](manager, context)
        assert isinstance(context.obj, trio.Nursery)
        (inner,) = context.obj.child_tasks
        assert context.children == [("child", inner, True)]
        frame, further = unwrap(inner.coro)
        assert frame.f_code.co_name == "sleep_forever" and frame.f_locals == {}

        piece, further = unwrap(tasks["in_thread"].coro.cr_await)
        assert piece.outer.f_code is job.__code__
        frames, at = [], piece.inner
        while at is not None:
            frames.append(at)
            at = at.f_back
        assert piece.outer in frames
        release.set()
        event.set()
        nursery.cancel_scope.cancel()
import trio.testing
trio.run(main)
"""
    )


@trio_test
async def test_outcomes_are_what_tasks_are_woken_with() -> None:
    task = lowlevel.current_task()

    def abort(_: object) -> lowlevel.Abort:
        return lowlevel.Abort.SUCCEEDED

    lowlevel.current_trio_token().run_sync_soon(
        lowlevel.reschedule, task, outcome.Value("value")
    )
    assert await lowlevel.wait_task_rescheduled(abort) == "value"
