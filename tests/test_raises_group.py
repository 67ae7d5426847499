"""trio_c.testing._raises_group: what upstream's tests do not reach."""

import sys
import types

import pytest

from trio_c.testing import _raises_group
from trio_c.testing._raises_group import Matcher, RaisesGroup


def reason(expected, exc):
    assert not expected.matches(exc)
    return expected.fail_reason


def test_report_when_the_last_expectation_is_met():
    # What is said about an expectation is about that one, and no other.
    assert reason(
        RaisesGroup(TypeError, KeyError, ValueError),
        ExceptionGroup("", [ValueError(1), ValueError(2)]),
    ) == (
        "\n1 matched exception. \n"
        "The following expected exceptions did not find a match:\n"
        "  'TypeError'\n"
        "  'KeyError'\n"
        "The following raised exceptions did not find a match\n"
        "  ValueError(2):\n"
        "    'ValueError' is not of type 'TypeError'\n"
        "    'ValueError' is not of type 'KeyError'\n"
        "    It matches 'ValueError' which was paired with ValueError(1)"
    )


def test_greedy_pairing_is_admitted():
    raised = ExceptionGroup("", [ValueError("b"), ValueError("a")])
    assert RaisesGroup(Matcher(match="b"), ValueError).matches(raised)
    assert "There exist a possible match" in reason(
        RaisesGroup(ValueError, Matcher(match="b")), raised
    )


def test_every_pair_is_looked_at_once_at_most():
    calls = []

    def check(exc):
        calls.append(exc)
        return False

    raised = [ValueError(1), ValueError(2)]
    assert not RaisesGroup(Matcher(check=check), KeyError).matches(
        ExceptionGroup("", raised)
    )
    assert calls == raised


def test_fail_reason_is_of_the_last_call():
    expected = RaisesGroup(ValueError)
    assert reason(expected, None) == "exception is None"
    assert expected.matches(ExceptionGroup("", [ValueError()]))
    assert expected.fail_reason is None


def test_without_pytest(monkeypatch):
    monkeypatch.setattr(_raises_group, "ExceptionInfo", _raises_group._ExceptionInfo)
    with RaisesGroup(ValueError) as info:
        with pytest.raises(AssertionError, match=r"^\.value can only be used after"):
            info.value  # noqa: B018
        raise ExceptionGroup("x", [ValueError()])
    assert info.type is ExceptionGroup
    assert info.value.message == "x"
    assert info.tb is info.value.__traceback__
    for method in (info.exconly, info.errisinstance, info.getrepr):
        with pytest.raises(NotImplementedError, match="pytest package installed"):
            method()


def test_check_functions_are_shown_as_hypothesis_shows_them(monkeypatch):
    matcher = Matcher(check=callable)
    assert repr(matcher) == f"Matcher(check={callable!r})"
    reflection = types.SimpleNamespace(
        get_pretty_function_description=lambda function: f"lambda: {function.__name__}"
    )
    monkeypatch.setitem(sys.modules, "hypothesis.internal.reflection", reflection)
    assert repr(matcher) == "Matcher(check='lambda: callable')"
