"""What it costs to import a library, and to run an empty program with it.

    python benchmarks/startup.py [--rounds 20] trio_c trio asyncio

In a fresh process each time, the libraries taking turns: milliseconds from
start to exit over those of an empty program, and the peak resident memory in
MB. Medians of the rounds. (Linux: memory comes from /proc.)
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

EMPTY = "pass"
RUN = """
import {library}
async def main():
    pass
{library}.run({argument})
"""

# The kernel's own account of this address space: what wait4() reports may be
# the peak of the process that started this one.
PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""


def programs(library: str) -> dict[str, str]:
    argument = "main()" if library == "asyncio" else "main"
    return {
        f"import {library}": f"import {library}",
        f"{library}.run()": RUN.format(library=library, argument=argument),
    }


def python(code: str) -> bytes:
    # -P: not from the directory this was started in, which may be a checkout.
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def measure(code: str) -> tuple[float, float]:
    began = time.perf_counter()
    python(code)
    took = time.perf_counter() - began
    return took * 1e3, int(python(code + "\n" + PEAK)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("libraries", nargs="+")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()

    contestants = {"an empty program": EMPTY}
    for library in options.libraries:
        contestants |= programs(library)
    for code in contestants.values():
        measure(code)  # so that all files are compiled and cached
    samples = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, code in contestants.items():
            samples[name].append(measure(code))

    times = {n: statistics.median(t for t, _ in s) for n, s in samples.items()}
    memory = {n: statistics.median(m for _, m in s) for n, s in samples.items()}
    base = times["an empty program"]
    print(f"{'':24}{'ms more':>10}{'peak MB':>10}")
    for name in contestants:
        print(f"{name:24}{times[name] - base:10.1f}{memory[name]:10.1f}")


if __name__ == "__main__":
    main()
