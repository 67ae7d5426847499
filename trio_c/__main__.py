"""``python -m trio_c``: run a program under the drop-in. See ``_launch.py``."""

from trio_c._launch import main

main()
