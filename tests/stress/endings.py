"""The end of the process in the middle of things.

    endings.py [--count N]

Each program is a process of its own: it ends while daemon threads are in runs,
while worker threads are busy or about to report, by an exception, or with runs
in `atexit`. It has to end in time, by itself, with the status that it should
have.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

BEGIN = """
import atexit, os, sys, threading, time, random
import trio_c
pause = random.random() * 0.05
"""

ENDINGS = {
    "daemon threads in runs": """
async def busy():
    while True:
        async with trio_c.open_nursery() as nursery:
            nursery.start_soon(trio_c.sleep, 0)
            await trio_c.to_thread.run_sync(int)
def daemon():
    trio_c.run(busy)
for _ in range(4):
    threading.Thread(target=daemon, daemon=True).start()
time.sleep(pause)
""",
    "daemon threads asleep in runs": """
for _ in range(4):
    threading.Thread(
        target=trio_c.run, args=(trio_c.sleep_forever,), daemon=True
    ).start()
time.sleep(pause)
""",
    "busy worker threads": """
async def main():
    async with trio_c.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(
                lambda n=n: trio_c.to_thread.run_sync(
                    time.sleep, pause * n / 4, abandon_on_cancel=True
                )
            )
        await trio_c.sleep(pause)
        nursery.cancel_scope.cancel()
trio_c.run(main)
""",
    "worker threads that ask": """
async def main():
    def ask():
        try:
            while True:
                trio_c.from_thread.run_sync(int)
        except trio_c.RunFinishedError:
            while True:
                time.sleep(0)
    with trio_c.move_on_after(pause):
        async with trio_c.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(
                    lambda: trio_c.to_thread.run_sync(ask, abandon_on_cancel=True)
                )
trio_c.run(main)
""",
    "runs at exit": """
async def main():
    assert await trio_c.to_thread.run_sync(int, "5") == 5
    a, b = trio_c.socket.socketpair()
    await a.send(b"x")
    assert await b.recv(1) == b"x"
trio_c.lowlevel.start_thread_soon(lambda: time.sleep(pause), print)
trio_c.run(main)
@atexit.register
def run():
    try:
        trio_c.run(main)
    except RuntimeError as exc:
        # No new threads then, since 3.12; the idle ones still serve.
        assert "thread" in str(exc), exc
""",
    "left behind": """
async def numbers():
    try:
        yield 1
    finally:
        await trio_c.sleep(0)
async def main():
    global left, event, channel, scope
    left = numbers()
    await left.__anext__()
    event, scope = trio_c.Event(), trio_c.CancelScope()
    channel = trio_c.open_memory_channel(1)
    with scope:
        os._wrapped = trio_c.sleep(1)
trio_c.run(main)
async def never():
    await trio_c.sleep_forever()
coroutine = never()
coroutine.close()
""",
    "an exit in a task": """
async def main():
    async with trio_c.open_nursery() as nursery:
        nursery.start_soon(trio_c.to_thread.run_sync, time.sleep, pause)
        raise SystemExit(0)
try:
    trio_c.run(main)
except* SystemExit:
    pass
""",
}
# What a daemon thread writes while the interpreter goes is not ours.
PATIENCE = 60


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=3)
    args = parser.parse_args()
    passed = failed = 0
    for _ in range(args.count):
        for name, code in ENDINGS.items():
            try:
                done = subprocess.run(
                    [sys.executable, "-P", "-X", "faulthandler", "-c", BEGIN + code],
                    stderr=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                    timeout=PATIENCE,
                )
            except subprocess.TimeoutExpired:
                failed += 1
                print(f"{name}: does not end")
                continue
            if done.returncode == 0 and "Error" not in done.stderr:
                passed += 1
            else:
                failed += 1
                print(f"{name}: status {done.returncode}\n{done.stderr[-2000:]}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
