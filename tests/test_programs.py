"""Small programs of the kind people start with, run as people run them.

Each is one file in programs/ that says ``import trio``, beside what it prints
(which is what it prints on Trio, too).
"""

from __future__ import annotations

import socketserver
import threading
from pathlib import Path

import pytest
from _processes import run_python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = sorted(Path(__file__).with_name("programs").glob("*.py"))


def output_of(*arguments: object) -> str:
    result = run_python(*arguments)
    assert result.stderr == ""
    return result.stdout


def test_there_are_programs() -> None:
    names = [program.stem for program in PROGRAMS]
    assert names == ["channel", "nursery", "spinning", "threads", "timeout"]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_with_another_import(program: Path, tmp_path: Path) -> None:
    source = program.read_text()
    changed = tmp_path / program.name
    changed.write_text(source.replace("\nimport trio\n", "\nimport trio_c as trio\n"))
    assert changed.read_text() != source
    assert output_of(changed) == program.with_suffix(".txt").read_text()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_unchanged(program: Path) -> None:
    output = output_of("-m", "trio_c", program)
    assert output == program.with_suffix(".txt").read_text()


EXAMPLES = Path(__file__).parents[1] / "examples"


def test_echo_demo() -> None:
    output = output_of(EXAMPLES / "echo_demo.py", "--connections", 60, "--messages", 20)
    assert "connections   60 at the same time" in output
    assert "messages      1200 of 1200, checked byte by byte" in output
    assert "lost          0" in output


class Liar(socketserver.BaseRequestHandler):
    """Echoes the first 10,000 bytes; what it does then is up to the test."""

    def handle(self) -> None:
        left = 10_000
        while data := self.request.recv(left):
            left -= len(data)
            if left == 0:
                data = self.server.spoil(data)
            if not data:
                return
            self.request.sendall(data)
            left = left or 10_000


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "wrong checksum"),
        (lambda data: b"", "bytes of"),
        (lambda data: data + b"?", "ValueError"),
    ],
    ids=["changes a bit", "hangs up", "adds a byte"],
)
def test_the_echo_client_notices(
    spoil: Callable[[bytes], bytes], complaint: str
) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Liar) as server:
        server.daemon_threads = True
        server.spoil = spoil
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            result = run_python(
                *("-m", "trio_c", EXAMPLES / "echo_client.py"),
                *("--port", server.server_address[1]),
                *("--connections", 2, "--messages", 40),
                status=1,
            )
        finally:
            server.shutdown()
            thread.join()
    assert "lost          0" not in result.stdout
    assert complaint in result.stderr
