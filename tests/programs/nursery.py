"""A nursery whose tasks sleep for different times."""

import trio


async def child(name, seconds, log):
    log.append(f"{name} starts")
    await trio.sleep(seconds)
    log.append(f"{name} ends")


async def main():
    log = []
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child, "slow", 0.2, log)
        nursery.start_soon(child, "quick", 0.05, log)
        nursery.start_soon(child, "idle", 0, log)
        log.append("all spawned")
    log.append("nursery closed")
    # Tasks that are ready at the same time run in any order.
    for line in [log[0], *sorted(log[1:4]), *sorted(log[4:7]), *log[7:]]:
        print(line)
    print("slept:", trio.current_time() - began >= 0.2)


trio.run(main)
