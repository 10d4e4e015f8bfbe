"""Named arrays of one length that move together."""

import numpy as np
import pytest

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


def test_reordering_moves_every_slot(backend):
    slots = filled(backend)
    slots.reorder(np.array([2, -1, 0, -1]))
    assert len(slots) == 4
    assert slots["weight"].tolist() == [-1.0, 0.0, 0.5, 0.0]
    assert slots["born"].tolist() == [9, 0, 0, 0]
    assert slots["born"].dtype == np.int32
    slots.reorder(np.array([], dtype=np.int64))
    assert slots["weight"].shape == (0,)
    slots.reorder(np.array([-1, -1]))
    assert slots["born"].tolist() == [0, 0]


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
