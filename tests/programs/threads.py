"""Work in threads, which call back into the run, while the run goes on."""

import threading

import trio


def work(number):
    trio.from_thread.run_sync(reports.append, number)
    trio.from_thread.run(trio.sleep, 0)
    return number * number, threading.get_ident()


async def tick(ticks, stop):
    while not stop.is_set():
        ticks.append(trio.current_time())
        await trio.sleep(0.001)


async def main():
    results = {}

    async def offload(number):
        results[number] = await trio.to_thread.run_sync(work, number)

    ticks, stop = [], trio.Event()
    async with trio.open_nursery() as outer:
        outer.start_soon(tick, ticks, stop)
        async with trio.open_nursery() as inner:
            for number in range(10):
                inner.start_soon(offload, number)
        stop.set()
    print([results[number][0] for number in range(10)])
    print("reported:", sorted(reports))
    print("elsewhere:", all(ident != main_thread for _, ident in results.values()))
    print("the loop went on:", bool(ticks))
    try:
        await trio.to_thread.run_sync(int, "no number")
    except ValueError as exc:
        print("raised:", exc)


reports = []
main_thread = threading.get_ident()
trio.run(main)
