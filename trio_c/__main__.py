"""``python -m trio_c``: run a program under the drop-in. See ``_launch.py``."""

from trio_c._launch import main

if __name__ == "__main__":
    main()
