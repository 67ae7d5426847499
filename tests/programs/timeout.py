"""Timeouts: one that strikes, one that does not, one inside the other."""

import trio


async def main():
    with trio.move_on_after(0.05) as scope:
        await trio.sleep_forever()
        print("never reached")
    print("struck:", scope.cancel_called, scope.cancelled_caught)

    with trio.move_on_after(60) as scope:
        await trio.sleep(0)
    print("not needed:", scope.cancel_called, scope.cancelled_caught)

    with trio.move_on_after(0.05) as outer:
        with trio.move_on_after(60) as inner:
            await trio.sleep_forever()
        print("never reached")
    print("outer:", outer.cancelled_caught, "inner:", inner.cancelled_caught)

    try:
        with trio.fail_after(0.05):
            await trio.sleep_forever()
    except trio.TooSlowError as exc:
        print("too slow:", type(exc).__name__)


trio.run(main)
