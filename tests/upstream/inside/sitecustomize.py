"""Put the shadow in place in every interpreter that the tests start.

Runs at interpreter start-up because this directory is on ``PYTHONPATH``; that
way ``sys.executable -m trio`` inside a test means the package under test too.
Nothing of that package is imported here.
"""

import os
from contextlib import suppress

with suppress(ImportError):
    # On the path where it is needed, see processes.py.
    import select_glue  # noqa: F401

if "UPSTREAM_TARGET" in os.environ:
    import upstream_shadow

    upstream_shadow.install()
