"""A loop of checkpoints, cancelled from another task."""

import trio


async def spin(turns, scope):
    with scope:
        try:
            while True:
                await trio.lowlevel.checkpoint()
                turns.append(None)
        finally:
            print("cleaned up")
    print("cancelled:", scope.cancelled_caught)


async def main():
    turns, scope = [], trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spin, turns, scope)
        while len(turns) < 1000:
            await trio.sleep(0)
        scope.cancel(reason="enough")
    print("it spun:", len(turns) >= 1000)


trio.run(main)
