"""Pipes, processes and objects of Windows: what upstream's tests do not reach."""

import array
import gc
import subprocess
import sys

import pytest

import trio_c as trio
from trio_c import lowlevel
from trio_c._native import BACKEND
from trio_c.testing import assert_checkpoints, wait_all_tasks_blocked

if BACKEND != "iocp":
    pytest.skip("of Windows", allow_module_level=True)

import _winapi

from _windows import event, pipe, set_event

from trio_c._subprocess_platform import windows
from trio_c._windows_pipes import PipeReceiveStream, PipeSendStream


def streams():
    r, w = windows._open_pipe(read_overlapped=True, write_overlapped=True)
    return PipeReceiveStream(r), PipeSendStream(w)


def exists(handle):
    try:
        _winapi.GetFileType(handle)
    except OSError as exc:
        assert exc.winerror == 6
        return False
    return True


# --- objects -------------------------------------------------------------


def test_wait_for_an_event():
    async def main():
        with event() as handle:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(lowlevel.WaitForSingleObject, handle)
                await wait_all_tasks_blocked()
                set_event(handle)
            await lowlevel.WaitForSingleObject(handle)

    trio.run(main)


def test_wait_for_an_event_cancelled():
    async def main():
        with event() as handle:
            with trio.move_on_after(0.05) as scope:
                await lowlevel.WaitForSingleObject(handle)
            assert scope.cancelled_caught
            with trio.CancelScope() as scope:
                scope.cancel()
                await lowlevel.WaitForSingleObject(handle)
            assert scope.cancelled_caught
            set_event(handle)
            await lowlevel.WaitForSingleObject(handle)

    trio.run(main)


def test_wait_for_what_is_none():
    async def main():
        with event() as handle:
            pass
        with pytest.raises(OSError) as caught:
            await lowlevel.WaitForSingleObject(handle)
        assert caught.value.winerror == 6
        for wrong in ("handle", None, 1.0):
            with pytest.raises(TypeError):
                await lowlevel.WaitForSingleObject(wrong)

    trio.run(main)


# --- pipes ---------------------------------------------------------------


def test_data_through_a_pipe():
    async def main():
        r, w = streams()
        async with r, w:
            with assert_checkpoints():
                await w.send_all(b"")
            await w.send_all(array.array("I", [1, 2, 3]))
            assert await r.receive_some(12) == array.array("I", [1, 2, 3]).tobytes()
            with pytest.raises(TypeError):
                await r.receive_some(1.0)
            with pytest.raises(ValueError):
                await r.receive_some(0)
            with assert_checkpoints():
                await w.wait_send_all_might_not_block()

    trio.run(main)


def test_the_other_end_goes():
    async def main():
        r, w = streams()
        await w.send_all(b"the last")
        await w.aclose()
        assert await r.receive_some() == b"the last"
        assert await r.receive_some() == b""
        assert await r.receive_some() == b""
        await r.aclose()

        r, w = streams()
        await r.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await w.send_all(b"to nobody")
        await w.aclose()

    trio.run(main)


def test_two_tasks_in_one_pipe():
    async def main():
        r, w = streams()
        async with r, w, trio.open_nursery() as nursery:
            nursery.start_soon(r.receive_some)
            await wait_all_tasks_blocked()
            with pytest.raises(
                trio.BusyResourceError,
                match="another task is currently using this pipe",
            ):
                await r.receive_some()
            await w.send_all(b"x")

    trio.run(main)


@pytest.mark.parametrize("cancel", [False, True])
def test_close_while_it_is_used(cancel):
    async def main():
        r, w = streams()

        async def receive():
            with pytest.raises((trio.ClosedResourceError, trio.Cancelled)) as caught:
                await r.receive_some()
            if not cancel:
                assert caught.type is trio.ClosedResourceError
                assert "another task" in str(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            r.close()
            if cancel:
                nursery.cancel_scope.cancel()
        r.close()
        with pytest.raises(trio.ClosedResourceError):
            await r.receive_some()
        w.close()
        with pytest.raises(trio.ClosedResourceError):
            await w.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await w.wait_send_all_might_not_block()

    trio.run(main)


def test_streams_that_are_dropped():
    async def main():
        r, w = streams()
        handles = [r._handle_holder.handle, w._handle_holder.handle]
        assert all(map(exists, handles))
        del r, w
        gc.collect()
        assert not any(map(exists, handles))

    trio.run(main)


def test_a_handle_that_makes_no_stream():
    # it stays the caller's
    async def main():
        with pipe(read_overlapped=True) as (r, w):
            stream = PipeReceiveStream(r)
            with pytest.raises(OSError):
                PipeReceiveStream(r)  # registered already
            gc.collect()
            assert exists(r)
            stream.close()
            with pytest.raises(TypeError):
                PipeSendStream("handle")

    trio.run(main)


# --- processes -----------------------------------------------------------


def test_pipes_for_a_child():
    async def main():
        stream, fd = windows.create_pipe_from_child_output()
        with open(fd, "wb", buffering=0) as file:
            file.write(b"output")
        assert await stream.receive_some() == b"output"
        assert await stream.receive_some() == b""
        await stream.aclose()
        stream, fd = windows.create_pipe_to_child_stdin()
        with open(fd, "rb", buffering=0) as file:
            await stream.send_all(b"input")
            assert file.read(5) == b"input"
        await stream.aclose()

    trio.run(main)


def test_no_handle_stays_when_a_pipe_cannot_be_made(monkeypatch):
    handles = []

    def refuse(handle):
        handles.append(handle)
        raise OSError("no")

    async def main():
        monkeypatch.setattr(lowlevel, "register_with_iocp", refuse)
        for create in (
            windows.create_pipe_from_child_output,
            windows.create_pipe_to_child_stdin,
        ):
            with pytest.raises(OSError, match="no"):
                create()
        assert not any(map(exists, handles))

    trio.run(main)


def test_a_process():
    code = "import sys; data = sys.stdin.read(); sys.stderr.write('!'); print(data * 2)"

    async def main():
        result = await trio.run_process(
            [sys.executable, "-c", code],
            stdin=b"echo",
            capture_stdout=True,
            capture_stderr=True,
        )
        assert result.returncode == 0
        assert result.stdout.strip() == b"echoecho"
        assert result.stderr == b"!"

    trio.run(main)


def test_a_command_in_one_string():
    async def main():
        command = subprocess.list2cmdline([sys.executable, "-c", "print('a b')"])
        result = await trio.run_process(command, capture_stdout=True)
        assert result.stdout.strip() == b"a b"

    trio.run(main)


def test_a_cancelled_process():
    async def main():
        async with trio.open_nursery() as nursery:
            process = await nursery.start(
                trio.run_process,
                [sys.executable, "-c", "import time; time.sleep(600)"],
            )
            assert process.poll() is None
            nursery.cancel_scope.cancel()
        assert process.poll() == 1

    trio.run(main)


def test_termination_that_fails(monkeypatch):
    async def main():
        process = await lowlevel.open_process(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
        )

        def refuse():
            raise OSError("no")

        from trio_c import _subprocess

        monkeypatch.setattr(process, "terminate", refuse)
        with pytest.warns(RuntimeWarning, match=r"TerminateProcess on .* failed with"):
            await _subprocess._windows_deliver_cancel(process)
        await process.stdin.aclose()
        await process.wait()

    trio.run(main)


def test_waiting_for_a_process_in_many_tasks():
    async def main():
        with pipe(read_overlapped=False) as (r, w):
            process = await lowlevel.open_process(
                [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
            )
            codes = []

            async def wait():
                codes.append(await process.wait())

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                with trio.move_on_after(0.01):
                    await process.wait()
                await process.stdin.send_all(b"\n")
            assert codes == [0, 0, 0]
            await process.stdin.aclose()

    trio.run(main)
