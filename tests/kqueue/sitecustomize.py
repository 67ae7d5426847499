"""Python imports this when it starts, with this folder on its path."""

import select_glue  # noqa: F401
