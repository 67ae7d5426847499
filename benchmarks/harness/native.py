"""Builds the C helpers of the benchmarks, on first use.

`build("loadgen")` compiles benchmarks/native/loadgen.c, if it is newer than
what was built before, and returns the path of the program (or of the extension
module, for this interpreter) in build/bench/native.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "benchmarks" / "native"
BUILT = ROOT / "build" / "bench" / "native"

COMMON = "-std=c11 -O2 -DNDEBUG -Wall -Wextra -Wshadow -Werror".split()


class Target(NamedTuple):
    sources: str  # separated by blanks; headers, too
    flags: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    extension: bool = False


TARGETS = {
    "loadgen": Target("loadgen.c"),
    "loadgen_tls": Target("loadgen.c", ("-DWITH_TLS",), ("-lssl", "-lcrypto")),
    "cserver": Target("cserver.c"),
    "cserver_tls": Target("cserver.c", ("-DWITH_TLS",), ("-lssl", "-lcrypto")),
    "floor_ext": Target("floor.c floor_sync.c floor_net.c floor.h", extension=True),
}


# What a compiler says, and what it means.
MISSING = {
    "openssl/": "OpenSSL's headers (Debian: libssl-dev)",
    "-lssl": "OpenSSL's libraries (Debian: libssl-dev)",
    "Python.h": "CPython's headers (Debian: python3-dev)",
}


# What a compiler says, and what it means.
MISSING = {
    "openssl/": "OpenSSL's headers (Debian: libssl-dev)",
    "-lssl": "OpenSSL's libraries (Debian: libssl-dev)",
    "Python.h": "CPython's headers (Debian: python3-dev)",
}


class BuildError(Exception):
    """A helper cannot be built on this machine; says what it needs."""


def build(name: str) -> Path:
    """The path of a helper. Raises BuildError where something is missing."""
    target = TARGETS[name]
    sources = [SOURCES / name for name in target.sources.split()]
    flags = [*COMMON, *target.flags]
    if target.extension:
        # By ABI, not by version: debug builds differ too.
        output = BUILT / (name + sysconfig.get_config_var("EXT_SUFFIX"))
        include = sysconfig.get_paths()["include"]
        flags += ["-fPIC", "-shared", "-fvisibility=hidden", "-fno-strict-aliasing"]
        flags.append(f"-isystem{include}")
    else:
        output = BUILT / name
    newest = max(source.stat().st_mtime for source in sources)
    if output.exists() and output.stat().st_mtime >= newest:
        return output
    BUILT.mkdir(parents=True, exist_ok=True)
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory(dir=BUILT) as directory:
        fresh = Path(directory, output.name)
        command = [*compiler, *flags, "-o", str(fresh)]
        command += [str(source) for source in sources if source.suffix == ".c"]
        try:
            result = subprocess.run(
                [*command, *target.libraries], stderr=subprocess.PIPE, text=True
            )
        except FileNotFoundError:
            raise BuildError(f"{name}: no C compiler ({compiler[0]})") from None
        if result.returncode != 0:
            for hint, missing in MISSING.items():
                if hint in result.stderr:
                    raise BuildError(f"{name} needs {missing}")
            raise RuntimeError(f"{name} cannot be compiled:\n{result.stderr}")
        # In one step: others may be running the old one, or building too.
        fresh.replace(output)
    return output


if __name__ == "__main__":
    for name in sys.argv[1:] or TARGETS:
        print(build(name))
