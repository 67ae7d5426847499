"""Echo servers, each in a process of its own, and the load on them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from _cli import CannotMeasure

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from harness.native import BuildError, build  # noqa: E402

# As in _common.py, which is not for processes that only measure others.
TINY = bool(os.environ.get("BENCH_TINY"))

# Contestant: the program that serves, and its arguments but for the mode.
PROGRAMS = {
    "trio_c": ("_servers_trio.py", "trio_c"),
    "trio": ("_servers_trio.py", "trio"),
    "asyncio": ("_servers_asyncio.py", "asyncio", "streams"),
    "asyncio-protocol": ("_servers_asyncio.py", "asyncio", "protocol"),
    "uvloop": ("_servers_asyncio.py", "uvloop", "streams"),
    "uvloop-protocol": ("_servers_asyncio.py", "uvloop", "protocol"),
    "rloop": ("_servers_asyncio.py", "rloop", "protocol"),
    "curio": ("_servers_curio.py",),
    "floor": ("_servers_floor.py",),
}

STREAMS = "does not yield where data is ready, or after a write"
CALLBACKS = "callbacks: no task and no back pressure"

# What the contestants leave out that Trio's API asks for.
NOTES = {
    "trio_c": None,
    "trio": None,
    "asyncio": STREAMS,
    "asyncio-protocol": CALLBACKS,
    "uvloop": STREAMS,
    "uvloop-protocol": CALLBACKS,
    "rloop": CALLBACKS,
    "curio": "does not yield after an operation",
    "floor": "no cancellation, Ctrl-C or instruments",
    "c": "no Python",
}

# For a process to start, to end, to import.
PATIENCE = 30


def helper(name: str) -> str:
    try:
        return str(build(name))
    except BuildError as exc:
        raise CannotMeasure(str(exc)) from None


def server_command(contestant: str, mode: str, certificate: str | None) -> list[str]:
    arguments = [mode] if certificate is None else [mode, certificate]
    if contestant == "c":
        return [helper("cserver_tls" if mode == "tls" else "cserver"), *arguments]
    program, *before = PROGRAMS[contestant]
    if contestant == "floor":
        before = [helper("floor_ext")]
    return [sys.executable, str(HERE / program), *before, *arguments]


@contextlib.contextmanager
def certificate_for(mode: str) -> Iterator[str | None]:
    """The path of a certificate and its key, if the mode needs one."""
    if mode != "tls":
        yield None
        return
    try:
        import trustme
    except ImportError:
        raise CannotMeasure("TLS needs trustme, for a certificate") from None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "server.pem")
        issued = trustme.CA().issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        yield str(path)


@contextlib.contextmanager
def on_cpu(which: int) -> Iterator[None]:
    """Processes started meanwhile run on one CPU: 0 the first, -1 the last.

    So that server and client do not take turns on one of them, nor move.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[which]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def echo_server(
    contestant: str, mode: str, *arguments: str, prefix: Sequence[str] = ()
) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server, which ends with the block.

    The prefix is of its command line, as for strace; its process id then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with certificate_for(mode) as certificate, tempfile.TemporaryFile("w+") as errors:
        command = [*server_command(contestant, mode, certificate), *arguments]
        with on_cpu(-1):
            server = subprocess.Popen(
                [*prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            line = server.stdout.readline()
            if not line:
                server.wait(PATIENCE)
                errors.seek(0)
                raise RuntimeError(f"the server did not start:\n{errors.read()}")
            yield int(line), server.pid
        finally:
            server.terminate()
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            server.stdout.close()


def load(
    port: int, mode: str, *, prefix: Sequence[str] = (), **arguments: float
) -> dict[str, float]:
    """Runs the load generator; what it prints. Its arguments are in loadgen.c."""
    program = helper("loadgen_tls" if mode == "tls" else "loadgen")
    command = [*prefix, program, f"mode={mode}", f"port={port}"]
    command += [f"{name}={value}" for name, value in arguments.items()]
    with on_cpu(0):
        client = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    limit = arguments.get("warmup", 0) + arguments.get("seconds", 0) + 2 * PATIENCE
    try:
        output, errors = client.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise RuntimeError("the load generator does not end") from None
    if client.returncode != 0:
        raise RuntimeError(errors.strip() or "the load generator failed")
    return json.loads(output)


def times(quick: bool) -> dict[str, float]:
    """Seconds, for load()."""
    if TINY:
        return {"warmup": 0.0, "seconds": 0.05}
    if quick:
        return {"warmup": 0.1, "seconds": 0.2}
    return {"warmup": 0.5, "seconds": 1.5}
