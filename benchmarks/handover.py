"""How threads fare beside a run loop that never sleeps.

    python benchmarks/handover.py [--seconds 1] [--rounds 5] trio_c trio

For each library, in a process of its own and taking turns: how many calls of
`from_thread.run_sync` a thread makes beside one task that does nothing but
checkpoint, and how often a thread that the library knows nothing of gets to
run a short piece of Python. Prints the median of the rounds, and the ratio to
the last library named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import threading
import time


def measure(library: str, seconds: float) -> dict[str, float]:
    trio = importlib.import_module(library)
    counts = {"from_thread": 0.0, "plain thread": 0.0}

    def calls() -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            trio.from_thread.run_sync(int)
            counts["from_thread"] += 1 / seconds

    def work() -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            sum(range(1000))
            counts["plain thread"] += 1 / seconds

    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spin)
            await trio.to_thread.run_sync(calls)
            thread = threading.Thread(target=work)
            thread.start()
            while thread.is_alive():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    trio.run(main)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("libraries", nargs="+")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.libraries[0], options.seconds)))
        return
    results: dict[str, list[dict[str, float]]] = {x: [] for x in options.libraries}
    for _ in range(options.rounds):
        for library, runs in results.items():
            command = [sys.executable, __file__, "--child", library]
            command += ["--seconds", str(options.seconds)]
            output = subprocess.run(command, check=True, capture_output=True).stdout
            runs.append(json.loads(output))
    reference = results[options.libraries[-1]]
    for what in reference[0]:
        base = statistics.median(run[what] for run in reference)
        for library, runs in results.items():
            figures = sorted(run[what] for run in runs)
            median = statistics.median(figures)
            print(
                f"{what:13} {library:10} {median:10,.0f} /s"
                f"  ({figures[0]:,.0f} to {figures[-1]:,.0f})"
                f"  x {median / base:.2f}"
            )


if __name__ == "__main__":
    main()
