"""The shadow package: ``trio`` is the package under test, its tests upstream's.

One meta-path finder answers for the name ``trio`` and all below it:

* ``trio._tests.*`` and ``trio._core._tests.*`` are loaded from the wheel;
* every other ``trio.X.Y`` *is* the module object ``TARGET.X.Y``, entered in
  ``sys.modules`` under both names.  Nothing else of the wheel can be imported.
  If the package under test has an ``install()`` that does this, that is used:
  it is what users get.

A name that a test module imports, or reads off a module at module level, and
that the package under test lacks, becomes a `Missing`: the import succeeds,
and whichever test uses the name fails with `MissingName`.  For ``import *``
the names are those that upstream's own module has, which is read for them
and never run.

Invariants: the modules of the package under test are never written to, save
for what the import system itself does (a child package bound in its parent);
a test module whose names all exist runs exactly the statements it was written
with.

Environment: ``UPSTREAM_TARGET`` names the package under test and
``UPSTREAM_WHEEL`` the directory that holds the unpacked wheel.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

SHADOWED = "trio"
RESOLVE = "@upstream_resolve"
FILL_IN = "@upstream_fill_in"
LOOK_UP = "@upstream_look_up"

# Modules of one backend, or of one system, which need not work with others.
NOT_EVERYWHERE = {
    "_io_epoll",
    "_io_kqueue",
    "_io_windows",
    "_wait_for_object",
    "_windows_cffi",
    "_windows_pipes",
    "kqueue",
    "windows",
}


class MissingName(Exception):
    """A test used a name that the package under test does not have."""


# What the running test has used of missing names.  The reporter empties it
# before each test: a test that swallowed a MissingName has not passed.
touched: list[str] = []

# How many test modules are being executed right now.  While it is not zero
# a Missing answers with another Missing, so that decorators, defaults and
# base classes at module level do not take the whole file down.
_importing = 0


def _use(missing: Missing) -> NoReturn:
    touched.append(missing._name)
    raise MissingName(f"missing private name {missing._name}")


def _operation(name: str) -> Callable[..., Any]:
    def operate(self: Missing, *args: object, **kwargs: object) -> Any:
        if _importing:
            return Missing(self._name)
        _use(self)

    operate.__name__ = name
    return operate


class Missing:
    """Stands for a missing name; any use of it outside an import raises."""

    __slots__ = ("__weakref__", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def __name__(self) -> str:
        # pytest makes the ids of parametrized tests from it.
        return self._name.rpartition(".")[2]

    def __repr__(self) -> str:
        return f"<missing private name {self._name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not _importing:
            _use(self)
        if len(args) == 1 and not kwargs and callable(args[0]):
            return _poisoned(self, args[0])
        return Missing(self._name)

    def __getattr__(self, name: str) -> Any:
        # pytest looks for marks and dunders on whatever a module holds.
        if name.startswith("__") or name in ("pytestmark", "_pytestfixturefunction"):
            raise AttributeError(name)
        if _importing:
            return Missing(f"{self._name}.{name}")
        _use(self)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        missing = self

        class MissingBase:
            def __new__(cls, *args: object, **kwargs: object) -> NoReturn:
                _use(missing)

        return (MissingBase,)

    def __bool__(self) -> bool:
        return _importing > 0 or _use(self)

    def __iter__(self) -> Iterator[Any]:
        return iter(()) if _importing else _use(self)

    def __len__(self) -> int:
        return 0 if _importing else _use(self)


_OPERATIONS = """
    getitem setitem delitem contains index int float complex neg pos abs invert
    lt le gt ge eq ne add radd sub rsub mul rmul truediv rtruediv floordiv
    rfloordiv mod rmod pow rpow and rand or ror xor rxor lshift rshift
    instancecheck subclasscheck enter exit aenter aexit aiter anext await next
"""
for _name in _OPERATIONS.split():
    setattr(Missing, f"__{_name}__", _operation(f"__{_name}__"))
Missing.__hash__ = object.__hash__  # type: ignore[method-assign]


def _poisoned(missing: Missing, function: Any) -> Any:
    """Return what a missing decorator leaves of *function*.

    It keeps the name and the signature, so it is collected and gets its
    fixtures, and fails when it is called.
    """

    def call(*args: object, **kwargs: object) -> NoReturn:
        _use(missing)

    return functools.wraps(function)(call)


class Finder(importlib.abc.MetaPathFinder):
    """Answers for ``trio`` and everything below it, and for nothing else."""

    def __init__(self, target: str, wheel: str) -> None:
        self.target = target
        self.wheel = wheel
        self.has_dropin = hasattr(importlib.import_module(target), "install")
        if self.has_dropin:
            importlib.import_module(target).install()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        parts = fullname.split(".")
        if parts[0] != SHADOWED:
            return None
        if "_tests" in parts:
            return self._test_spec(fullname, parts)
        if self.has_dropin:
            return None  # the next finder's
        real = self.real_name(fullname)
        if parts[-1] == "__main__":
            # Run by `python -m trio`, which wants code, not a module.
            spec = importlib.util.find_spec(real)
            if spec is None or spec.origin is None:
                return None
            return importlib.util.spec_from_file_location(fullname, spec.origin)
        loaded = sys.modules.get(real)
        is_package = hasattr(loaded, "__path__")
        if loaded is None:
            spec = importlib.util.find_spec(real)
            if spec is not None:
                is_package = spec.submodule_search_locations is not None
            elif len(parts) > 1:
                return None
        loader = AliasLoader(real)
        return importlib.machinery.ModuleSpec(
            fullname,
            loader,
            is_package=is_package,
        )

    def real_name(self, name: str) -> str:
        """Return the name that ``trio.X.Y`` has in the package under test."""
        return self.target + name[len(SHADOWED) :]

    def _test_spec(self, fullname: str, parts: list[str]) -> ModuleSpec | None:
        base = os.path.join(self.wheel, *parts)
        package = os.path.join(base, "__init__.py")
        location = package if os.path.isfile(package) else base + ".py"
        if not os.path.isfile(location):
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            location,
            loader=WheelLoader(fullname, location),
            submodule_search_locations=[base] if location == package else None,
        )


class AliasLoader(importlib.abc.Loader):
    """Hands out a module that has already been imported by its real name."""

    def __init__(self, real: str) -> None:
        self.real = real
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.real)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just put the alias's spec on the module.
        module.__spec__ = self.spec


class WheelLoader(importlib.machinery.SourceFileLoader):
    """Loads a module of the wheel's test suite."""

    def get_code(self, fullname: str) -> CodeType:
        # Not through the byte-code cache: what is compiled is not the file.
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(self, data: Any, path: Any, **kwargs: Any) -> CodeType:
        tree = _Rewriter(self.name).visit(ast.parse(data, path))
        tree = ast.fix_missing_locations(tree)
        if "_pytest.assertion.rewrite" in sys.modules:
            from _pytest.assertion.rewrite import rewrite_asserts

            rewrite_asserts(tree, data, path)
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        global _importing
        vars(module)[RESOLVE] = functools.partial(_resolve, vars(module))
        vars(module)[FILL_IN] = functools.partial(_fill_in, vars(module))
        vars(module)[LOOK_UP] = _look_up
        if self.name == f"{SHADOWED}._tests.test_exports":
            _load_everything()
        _importing += 1
        try:
            super().exec_module(module)
        finally:
            _importing -= 1


class _Rewriter(ast.NodeTransformer):
    """Makes the module-level imports of a test module survive missing names.

    Function bodies are left alone: what is missing there fails one test by
    itself.  So are the bodies of ``try``, whose handlers are the test's own.
    """

    def __init__(self, module: str) -> None:
        self.package = module.rpartition(".")[0]
        self.roots: set[str] = set()

    def visit_FunctionDef(self, node: Any) -> Any:
        # Not the annotations: they are strings made from this very tree.
        for values in (
            node.decorator_list,
            node.args.defaults,
            node.args.kw_defaults,
        ):
            values[:] = [value and self.visit(value) for value in values]
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.value = node.value and self.visit(node.value)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        return node

    def visit_Try(self, node: ast.Try) -> ast.Try:
        return node

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        names = [alias for alias in node.names if _is_ours(alias.name)]
        if not names:
            return node
        self.roots.update(alias.asname or SHADOWED for alias in names)
        wanted = [(alias.name, None, alias.asname) for alias in names]
        return self._guarded(node, wanted)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        module = node.module or ""
        if node.level:
            dots = "." * node.level
            module = importlib.util.resolve_name(dots + module, self.package)
        if not _is_ours(module):
            return node
        self.roots.update(alias.asname or alias.name for alias in node.names)
        wanted = [(module, alias.name, alias.asname) for alias in node.names]
        guarded = self._guarded(node, wanted)
        if node.names[0].name != "*":
            return guarded
        return [guarded, ast.copy_location(_call(FILL_IN, module), node)]

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not (isinstance(root, ast.Name) and root.id in self.roots):
            return self.generic_visit(node)  # type: ignore[return-value]
        if not isinstance(node.ctx, ast.Load):
            return node
        call = ast.Call(
            ast.Name(LOOK_UP, ast.Load()),
            [self.visit(node.value), ast.Constant(node.attr)],
            [],
        )
        return ast.copy_location(call, node)

    @staticmethod
    def _guarded(node: ast.stmt, wanted: list[tuple[Any, ...]]) -> ast.Try:
        """Wrap import statement *node*: where it fails, name by name."""
        handler = ast.ExceptHandler(
            ast.Name("ImportError", ast.Load()),
            None,
            [_call(RESOLVE, tuple(wanted))],
        )
        return ast.copy_location(ast.Try([node], [handler], [], []), node)


def _call(function: str, argument: Any) -> ast.Expr:
    """Return the statement ``function(argument)``."""
    name = ast.Name(function, ast.Load())
    return ast.Expr(ast.Call(name, [ast.Constant(argument)], []))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == SHADOWED


def _resolve(
    namespace: dict[str, Any],
    wanted: Sequence[tuple[str, str | None, str | None]],
) -> None:
    """Carry out, name by name, an import statement that failed as a whole."""
    for module_name, name, alias in wanted:
        module = _import_if_there(module_name)
        if name == "*":
            continue
        if name is None:
            if alias is None:
                _import_if_there(module_name)
                namespace[SHADOWED] = importlib.import_module(SHADOWED)
            else:
                namespace[alias] = module or Missing(module_name)
            continue
        value: Any = Missing(f"{module_name}.{name}")
        if module is not None:
            if not hasattr(module, name):
                _import_if_there(f"{module_name}.{name}")
            value = getattr(module, name, value)
        namespace[alias or name] = value


def _fill_in(namespace: dict[str, Any], module_name: str) -> None:
    """Bind what ``from module_name import *`` brings upstream and not here.

    What upstream's module has from outside Trio, and ``trio`` itself, is no
    property of the package under test: that is bound to the real thing.
    """
    base = os.path.join(os.environ["UPSTREAM_WHEEL"], *module_name.split("."))
    package = os.path.join(base, "__init__.py")
    location = package if os.path.isfile(package) else base + ".py"
    with open(location, "rb") as file:
        tree = ast.parse(file.read(), location)
    found: dict[str, Callable[[], Any]] = {}

    def missing(name: str) -> Callable[[], Any]:
        return lambda: Missing(f"{module_name}.{name}")

    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = missing(node.name)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            ours = node.level or _is_ours(node.module or "")
            for alias in node.names:
                name = alias.asname or alias.name
                found[name] = missing(name) if ours else _importer(node.module, alias)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                found[name] = _importer(None, alias)
    for name, make in found.items():
        if not name.startswith("_") and name not in namespace:
            namespace[name] = make()


def _importer(module: str | None, alias: ast.alias) -> Callable[[], Any]:
    """Return what carries out ``import alias`` or ``from module import alias``."""

    def load() -> Any:
        if module is not None:
            return getattr(importlib.import_module(module), alias.name)
        loaded = importlib.import_module(alias.name)
        return loaded if alias.asname else sys.modules[alias.name.partition(".")[0]]

    return load


def _import_if_there(name: str) -> ModuleType | None:
    """Import *name*; None when it, or a parent of it, does not exist.

    An import that fails for any other reason is an error of the package
    under test, and is raised.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


def _load_everything() -> None:
    """Fetch all names of the package under test.

    For the test that reads them out of the modules' ``__dict__``, where those
    that are fetched when they are first used may not be yet.
    """
    root = importlib.import_module(SHADOWED)
    for found in pkgutil.walk_packages(root.__path__, f"{SHADOWED}."):
        if found.name.rpartition(".")[2] not in ("__main__", "pytest_plugin"):
            try:
                module = importlib.import_module(found.name)
            except Exception:
                if found.name.rpartition(".")[2] in NOT_EVERYWHERE:
                    continue
                raise
            if not found.name.rpartition(".")[2].startswith("_"):
                for name in dir(module):
                    getattr(module, name)
    for name in dir(root):
        getattr(root, name)


def _look_up(owner: Any, name: str) -> Any:
    """Read attribute *name* of a module at module level."""
    try:
        return getattr(owner, name)
    except AttributeError:
        owner_name = getattr(owner, "__name__", type(owner).__name__)
        return Missing(f"{owner_name}.{name}")


def install() -> None:
    """Put the finder first, ahead of any other; once it is there, move it."""
    finder = Finder(os.environ["UPSTREAM_TARGET"], os.environ["UPSTREAM_WHEEL"])
    sys.meta_path[:] = [
        finder,
        *(other for other in sys.meta_path if not isinstance(other, Finder)),
    ]
