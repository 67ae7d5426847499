"""What the native functions look like to whoever inspects them.

For each native function and method, the rooms of this package have an empty
function of the same qualified name. Its signature, annotations, docstring and
code object are what the native one shows; it is never called. Constructors
have one too, which says how the class is called.
"""

from .chan import *
from .kernel import *
from .net import *
from .statistics import *
from .sync import *
from .threads import *
from .windows import *

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspect import Signature
    from typing import NoReturn


def class_signature(cls: type) -> "Signature":
    """How a native class is called: what ``inspect.signature(cls)`` is.

    Raises:
      AttributeError: a Python class above it says that itself.
    """
    from inspect import Signature, signature
    from types import FunctionType

    from .. import _native

    for base in cls.__mro__[:-1]:
        if getattr(_native, base.__name__, None) is not base:
            body = vars(base)
            if isinstance(body.get("__init__"), FunctionType) or isinstance(
                body.get("__new__"), staticmethod
            ):
                raise AttributeError("__signature__")
            continue
        twin = globals().get(base.__name__)
        init = None if twin is None else vars(twin).get("__init__")
        if init is not None:
            found = signature(init)
            return found.replace(parameters=[*found.parameters.values()][1:])
    return Signature.from_callable(_no_constructor)


def _no_constructor(*args: object, **kwargs: object) -> "NoReturn":
    """Calling the class fails, whatever the arguments."""
    raise TypeError
