"""The echo server and its client, each in a process of its own.

    python examples/echo_demo.py [options of echo_client.py]

Starts the server on a free port, lets the client check it, stops the server,
and ends with the client's exit status.
"""

import subprocess
import sys
from pathlib import Path

# Started from here, -m takes the trio_c that is installed, not a checkout.
HERE = Path(__file__).resolve().parent
TRIO_C = [sys.executable, "-m", "trio_c"]


def main() -> int:
    server = subprocess.Popen(
        [*TRIO_C, "echo_server.py", "--port", "0"],
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = server.stdout.readline().split()[-1:]
        if not port:
            print("the server did not start", file=sys.stderr)
            return 1
        client = [*TRIO_C, "echo_client.py", "--port", *port, *sys.argv[1:]]
        status = subprocess.run(client, cwd=HERE).returncode
    finally:
        ended = server.poll()
        server.terminate()
        server.wait()
    if ended is not None:
        print(f"the server had ended with status {ended}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
