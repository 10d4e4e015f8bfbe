"""Named arrays of one length that move together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparserbm.backends import get_backend
from sparserbm.network.slots import Slots


def filled(backend, dtype="float32"):
    slots = Slots(get_backend(backend, dtype), 3)
    slots["weight"] = [0.5, 0.0, -1.0]
    slots["born"] = np.array([0, 7, 9], np.int32)
    return slots


def test_values_get_the_type_of_the_backend_and_counts_keep_theirs(backend):
    slots = filled(backend)
    assert slots["weight"].dtype == np.float32
    assert slots["born"].dtype == np.int32
    assert list(slots) == ["weight", "born"]
    assert "weight" in slots
    assert "velocity" not in slots
    assert len(slots) == 3


@pytest.mark.parametrize("wrong", [np.zeros(2), np.zeros((3, 1)), 1.0])
def test_a_slot_has_one_value_for_each(backend, wrong):
    slots = filled(backend)
    with pytest.raises(ValueError, match=r"slot 'velocity' needs shape \(3,\), not \("):
        slots["velocity"] = wrong
    assert "velocity" not in slots


def test_a_slot_is_made_of_zeros_once(backend):
    slots = filled(backend)
    velocity = slots.ensure("velocity")
    assert velocity.tolist() == [0, 0, 0]
    velocity[1] = 5
    assert slots.ensure("velocity")[1] == 5


def test_rewiring_moves_every_slot(backend):
    slots = filled(backend)
    slots.rewire(np.array([True, False, True]), np.array([0, 2], np.int32))
    assert len(slots) == 4
    assert slots["weight"].tolist() == [0.0, 0.5, -1.0, 0.0]
    assert slots["born"].tolist() == [0, 0, 9, 0]
    assert slots["weight"].dtype == np.float32
    assert slots["born"].dtype == np.int32
    slots.rewire(np.zeros(4, bool), np.array([], dtype=np.int32))
    assert len(slots) == 0
    assert slots["weight"].shape == (0,)
    slots.rewire(np.array([], dtype=bool), np.array([0, 0], np.int32))
    assert slots["born"].tolist() == [0, 0]
    assert slots["weight"].tolist() == [0.0, 0.0]


@given(st.lists(st.booleans(), max_size=40), st.data())
def test_newborns_with_zeros_come_where_so_many_of_the_kept_have_gone_by(backend, keep, data):
    """Against going through both lists by hand."""
    keep = np.array(keep, bool)
    before = np.array(sorted(data.draw(st.lists(st.integers(0, int(keep.sum())), max_size=20))), np.int32)
    old = np.arange(1, len(keep) + 1)
    expected, kept = [], old[keep].tolist()
    for place in range(len(kept) + 1):
        expected += int(np.sum(before == place)) * [0] + kept[place : place + 1]
    slots = Slots(get_backend(backend), len(keep))
    slots["weight"], slots["velocity"], slots["born"] = old.astype(float), -old.astype(float), old.astype(np.uint16)
    slots.rewire(keep, before)
    assert slots["weight"].tolist() == slots["born"].tolist() == expected
    assert slots["velocity"].tolist() == [-value for value in expected]
    assert (len(slots), slots["weight"].dtype, slots["born"].dtype) == (len(expected), np.float32, np.uint16)


def test_a_copy_is_its_own(backend):
    slots = filled(backend)
    twin = slots.copy()
    twin["weight"][0] = 9
    twin.ensure("velocity")
    assert slots["weight"][0] == 0.5
    assert "velocity" not in slots


def test_other_slots_are_forgotten(backend):
    slots = filled(backend)
    slots.ensure("velocity")
    slots.keep_only({"weight", "missing"})
    assert list(slots) == ["weight"]
    assert list(slots.to_numpy()) == ["weight"]
