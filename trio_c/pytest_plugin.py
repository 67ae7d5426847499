"""``pytest -p trio_c.pytest_plugin``: a test suite under the drop-in.

The drop-in is in place from the moment this module is imported, which for
``-p`` is before any ``conftest.py`` and any other installed plugin.

Where pytest-trio is absent, plain ``async def`` tests are run as well, each
in a run of its own. A fixture that is a clock (:class:`trio.abc.Clock`)
becomes the run's clock, one that is an instrument is registered; fixtures
themselves have to be synchronous. Tests marked ``asyncio`` or ``anyio`` are
left to those plugins.
"""

from __future__ import annotations

from inspect import iscoroutinefunction

import pytest

from ._dropin import install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .testing import MockClock

try:
    install()
except RuntimeError as _exc:
    raise pytest.UsageError(str(_exc)) from None


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin("trio"):  # pytest-trio's name
        config.pluginmanager.register(_AsyncTests(), "trio_c_async_tests")


class _AsyncTests:
    """Runs asynchronous test functions, and gives them a clock."""

    @pytest.hookimpl
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        function = pyfuncitem.obj
        if not iscoroutinefunction(function):
            return None
        if any(pyfuncitem.get_closest_marker(name) for name in ("asyncio", "anyio")):
            return None
        from .testing import trio_test

        names = pyfuncitem._fixtureinfo.argnames
        trio_test(function)(**{name: pyfuncitem.funcargs[name] for name in names})
        return True

    @pytest.fixture
    def mock_clock(self) -> MockClock:
        """A clock that stands still unless the test moves it."""
        from .testing import MockClock

        return MockClock()

    @pytest.fixture
    def autojump_clock(self) -> MockClock:
        """A clock that jumps to the next deadline when all tasks wait."""
        from .testing import MockClock

        return MockClock(autojump_threshold=0)
