"""Run-local variables, under the private path Trio has them at."""

from .._native import RunVar as RunVar, RunVarToken as RunVarToken
from .._util import final


@final
class _NoValue:
    """What :attr:`RunVarToken.previous_value` is when there was no value."""
