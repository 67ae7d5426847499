"""What the objects that `statistics()` gives are."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref

import pytest

import trio_c
from trio_c import lowlevel


def test_statistics_objects():
    stats = trio_c.LockStatistics(True, owner=None, tasks_waiting=3)
    assert repr(stats) == "LockStatistics(locked=True, owner=None, tasks_waiting=3)"
    same = trio_c.LockStatistics(locked=True, owner=None, tasks_waiting=3)
    assert stats == same
    assert not stats != same
    assert hash(stats) == hash(same)
    assert stats != trio_c.LockStatistics(True, None, 4)
    assert stats != trio_c.EventStatistics(3)
    assert trio_c.EventStatistics(3) != lowlevel.ParkingLotStatistics(3)
    with pytest.raises(TypeError):
        stats < same  # noqa: B015
    assert pickle.loads(pickle.dumps(stats)) == stats
    assert copy.deepcopy(stats) == stats
    assert weakref.ref(stats)() is stats
    match stats:
        case trio_c.LockStatistics(locked, _, waiting):
            assert (locked, waiting) == (True, 3)
    for name in ("locked", "other"):
        with pytest.raises(AttributeError) as info:
            setattr(stats, name, 1)
        assert type(info.value).__name__ == "FrozenInstanceError"
    with pytest.raises(AttributeError):
        del stats.locked
    for args, kwargs in [
        ((1, 2), {}),
        ((1, 2, 3, 4), {}),
        ((1, 2, 3), {"locked": 1}),
        ((1, 2), {"locked": 1, "tasks_waiting": 2}),
        ((1, 2, 3), {"other": 1}),
    ]:
        with pytest.raises(TypeError):
            trio_c.LockStatistics(*args, **kwargs)
    with pytest.raises(TypeError, match="unhashable"):
        hash(trio_c.CapacityLimiterStatistics(0, 1, [], 0))


def test_statistics_objects_can_be_extended():
    class More(trio_c.EventStatistics):
        __match_args__ = ("tasks_waiting", "tasks_sleeping")

        @property
        def double(self):
            return 2 * self.tasks_waiting

    assert More(2, 3).double == 4
    assert repr(More(2, 3)) == "More(tasks_waiting=2, tasks_sleeping=3)"
    assert More(2, 3) != More(2, 4)
    More.__match_args__ = ()
    assert repr(More()) == "More()"
    with pytest.raises(AttributeError):
        More().tasks_waiting  # noqa: B018
    More.__match_args__ = None
    with pytest.raises(TypeError):
        More()


def test_statistics_are_attrs_classes():
    attrs = pytest.importorskip("attrs")  # a dependency of outcome
    stats = trio_c.Condition().statistics()
    assert attrs.has(trio_c.ConditionStatistics)
    assert [field.name for field in attrs.fields(trio_c.LockStatistics)] == [
        "locked",
        "owner",
        "tasks_waiting",
    ]
    assert attrs.asdict(stats) == {
        "tasks_waiting": 0,
        "lock_statistics": {"locked": False, "owner": None, "tasks_waiting": 0},
    }
    assert attrs.evolve(stats, tasks_waiting=5).tasks_waiting == 5
    if hasattr(attrs, "inspect"):  # new in 25.4
        props = trio_c.EventStatistics.__attrs_props__
        assert props.is_frozen and not props.added_ordering


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace() is new in 3.13")
def test_statistics_can_be_replaced_in_part():
    stats = trio_c.Lock().statistics()
    changed = copy.replace(stats, tasks_waiting=5)
    assert type(changed) is trio_c.LockStatistics
    assert changed == trio_c.LockStatistics(False, None, 5)
    assert stats.tasks_waiting == 0
    with pytest.raises(TypeError):
        copy.replace(stats, no_such_field=1)


def test_statistics_in_a_cycle_are_collected():
    holder = []
    stats = trio_c.EventStatistics(holder)
    holder.append(stats)
    gone = weakref.ref(stats)
    del stats, holder
    gc.collect()
    assert gone() is None
