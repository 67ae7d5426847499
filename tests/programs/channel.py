"""A bounded channel with three producers and two consumers."""

import trio

ITEMS = 50


async def produce(channel, base):
    async with channel:
        for number in range(ITEMS):
            await channel.send(base + number)


async def consume(channel, received):
    async with channel:
        async for item in channel:
            received.append(item)
            await trio.sleep(0)


async def main():
    send, receive = trio.open_memory_channel(2)
    first, second = [], []
    async with trio.open_nursery() as nursery:
        async with send, receive:
            for base in (0, 1000, 2000):
                nursery.start_soon(produce, send.clone(), base)
            for received in (first, second):
                nursery.start_soon(consume, receive.clone(), received)
    everything = sorted(first + second)
    wanted = [base + number for base in (0, 1000, 2000) for number in range(ITEMS)]
    print("all there, once each:", everything == wanted)
    print("both worked:", bool(first) and bool(second))
    for base in (0, 1000, 2000):
        mine = [item for item in first if base <= item < base + 1000]
        print("in order:", mine == sorted(mine))
    try:
        send.send_nowait(1)
    except trio.ClosedResourceError:
        print("closed")


trio.run(main)
