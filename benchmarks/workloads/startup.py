"""What it costs to import a library, and to run an empty program with it.

`ms`: CPU time of a process from start to exit, beyond that of an empty
program; the two take turns, medians. `mb`: its peak resident memory, as the
kernel accounts for it (Linux).
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

import _cli

IMPORTS = {
    "trio_c": "import trio_c as library",
    "trio": "import trio as library",
    "asyncio": "import asyncio as library",
    "uvloop": "import uvloop as library",
    "rloop": "import rloop, asyncio as library",
}
MAIN = """
async def main():
    pass
"""
RUN = {
    "trio_c": "library.run(main)",
    "trio": "library.run(main)",
    "asyncio": "library.run(main())",
    "uvloop": "library.run(main())",
    "rloop": "with library.Runner(loop_factory=rloop.new_event_loop) as runner:\n"
    "    runner.run(main())",
}

# Not what wait4() reports: that may be the peak of the process that forked.
PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line.split()[1])
"""


def cpu_time_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def python(code: str) -> tuple[float, float]:
    """(CPU ms, peak MB) of a process."""
    # -P: not from the directory this was started in, which may be a checkout.
    command = [sys.executable, "-P", "-c", code + PEAK]
    before = cpu_time_of_children()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    cpu = cpu_time_of_children() - before
    return cpu * 1e3, int(output) / 1024


def measure(case: str, contestant: str, quick: bool) -> dict[str, float]:
    code = IMPORTS[contestant]
    if case == "run":
        code += MAIN + RUN[contestant]
    python(code)  # so that all files are compiled and cached
    samples, empty = [], []
    for _ in range(3 if quick else 20):
        samples.append(python(code))
        empty.append(python("pass"))
    taken = [statistics.median(cpu for cpu, _ in runs) for runs in (samples, empty)]
    return {
        "ms": taken[0] - taken[1],
        "mb": statistics.median(memory for _, memory in samples),
    }


if __name__ == "__main__":
    nobody_less = dict.fromkeys(IMPORTS)
    _cli.main({"import": nobody_less, "run": nobody_less}, measure)
