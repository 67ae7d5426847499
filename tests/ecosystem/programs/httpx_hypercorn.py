"""An httpx client against hypercorn and its worker processes, over TLS.

hypercorn is started as a program of its own (``python -m trio_c -m hypercorn``);
that its workers run on trio_c as well is what the application there says.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import which_trio

which_trio.check()

import httpx  # noqa: E402
import pytest  # noqa: E402
import trio  # noqa: E402
import trustme  # noqa: E402

HERE = Path(__file__).parent
WORKERS = 2


def listening_socket() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    listener.set_inheritable(True)
    return listener


def start_server(
    directory: Path,
    authority: trustme.CA,
    secure: socket.socket,
    plain: socket.socket,
) -> subprocess.Popen[bytes]:
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    key, chain = directory / "key.pem", directory / "chain.pem"
    certificate.private_key_pem.write_to_path(key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    launcher = ["-m", "trio_c"] if sys.modules.get("trio_c") is trio else []
    command = [sys.executable, *launcher, "-m", "hypercorn"]
    command += ["--worker-class", "trio", "--workers", str(WORKERS)]
    command += ["--bind", f"fd://{secure.fileno()}"]
    command += ["--insecure-bind", f"fd://{plain.fileno()}"]
    command += ["--keyfile", str(key), "--certfile", str(chain)]
    command += ["--graceful-timeout", "1", "hypercorn_app:app"]
    with open(directory / "log", "wb") as log:
        return subprocess.Popen(
            command,
            cwd=HERE,
            pass_fds=[secure.fileno(), plain.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def workers(client: httpx.AsyncClient, url: str, version: str) -> set[int]:
    """Ask, on a connection each time, until every worker has answered."""
    seen: set[int] = set()
    while len(seen) < WORKERS:
        response = await client.get(f"{url}/who", headers={"connection": "close"})
        response.raise_for_status()
        answer = response.json()
        assert answer["facts"] == which_trio.expected(), answer
        assert answer["http"] == version, answer
        assert answer["lifespan"] == 1
        seen.add(answer["process"])
    assert os.getpid() not in seen
    return seen


async def use(client: httpx.AsyncClient, url: str, version: str) -> None:
    echoed = {}

    async def echo(number: int) -> None:
        body = os.urandom(20_000 + number)
        response = await client.post(f"{url}/echo", content=body)
        assert response.http_version == version
        assert response.content == body
        echoed[number] = len(response.content)

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(echo, number)
    assert echoed == {number: 20_000 + number for number in range(30)}

    async def upload():
        for number in range(20):
            await trio.sleep(0)
            yield bytes([number]) * 10_000

    response = await client.post(f"{url}/echo", content=upload())
    assert response.content == b"".join(bytes([n]) * 10_000 for n in range(20))

    async with client.stream("GET", f"{url}/stream") as response:
        text = "".join([part async for part in response.aiter_text()])
    assert text == "".join(f"{number};" for number in range(10))

    assert (await client.get(f"{url}/nothing")).status_code == 404
    with pytest.raises(httpx.ReadTimeout):
        await client.get(f"{url}/never", timeout=0.05)
    with trio.move_on_after(0.05) as scope:
        await client.get(f"{url}/never")
    assert scope.cancelled_caught
    # The client is as good as before.
    assert (await client.get(f"{url}/who")).json()["http"] in ("1.1", "2")


async def talk(authority: trustme.CA, secure: str, plain: str) -> None:
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    limits = httpx.Limits(max_connections=10)
    options = {"timeout": 20, "limits": limits, "trust_env": False}
    async with httpx.AsyncClient(verify=trust, http2=True, **options) as client:
        await use(client, secure, "HTTP/2")
    async with httpx.AsyncClient(verify=trust, http2=False, **options) as client:
        over_tls = await workers(client, secure, "1.1")
        await use(client, secure, "HTTP/1.1")
    async with httpx.AsyncClient(**options) as client:
        assert await workers(client, plain, "1.1") == over_tls
        await use(client, plain, "HTTP/1.1")
    async with httpx.AsyncClient(**options) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get(f"{secure}/who")
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    assert error is not None, "it was something else than the certificate"


async def main(authority: trustme.CA, secure: int, plain: int) -> None:
    with trio.fail_after(60):
        await talk(
            authority, f"https://localhost:{secure}", f"http://127.0.0.1:{plain}"
        )


with (
    tempfile.TemporaryDirectory() as scratch,
    listening_socket() as secure,
    listening_socket() as plain,
):
    authority = trustme.CA()
    server = start_server(Path(scratch), authority, secure, plain)
    try:
        trio.run(main, authority, secure.getsockname()[1], plain.getsockname()[1])
        server.send_signal(signal.SIGTERM)
        status = server.wait(30)
        log = Path(scratch, "log").read_text()
        assert status == 0, f"status {status}\n{log}"
        assert "Traceback" not in log, log
        assert log.count("Running on https://") == WORKERS, log
    except BaseException:
        print(Path(scratch, "log").read_text())
        raise
    finally:
        server.kill()
        server.wait()
