"""Optimizers, by their text-book recursions, and their slots."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import host

from sparserbm import SGD, Adam, Linear, Steps
from sparserbm.backends import get_backend
from sparserbm.network.slots import Slots

GRADIENTS = np.random.default_rng(0).normal(size=(5, 3))


def run(backend, optimizer, gradients=GRADIENTS, born=None, first_step=0, start=0):
    """Weights after every step, from 0; and the slots."""
    library = get_backend(backend, "float64")
    slots = Slots(library, 3)
    slots["weight"] = np.zeros(3)
    if born is not None:
        slots["born"] = np.array(born, np.int32)
    rows = []
    for step, gradient in enumerate(gradients, start=first_step):
        optimizer.step(library, slots, "weight", slice(None), library.asarray(gradient.copy()), step, start)
        rows.append(host(slots["weight"]).copy())
    return np.array(rows), slots


def test_plain_descent_needs_no_slot(backend):
    rows, slots = run(backend, SGD(0.1))
    assert_allclose(rows, -0.1 * np.cumsum(GRADIENTS, axis=0), rtol=1e-12)
    assert list(slots) == ["weight"]


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_by_hand(backend, nesterov):
    rows, slots = run(backend, SGD(0.1, momentum=0.9, nesterov=nesterov))
    w, v = np.zeros(3), np.zeros(3)
    for row, g in zip(rows, GRADIENTS):
        v = 0.9 * v + g
        w = w - 0.1 * (g + 0.9 * v if nesterov else v)
        assert_allclose(row, w, rtol=1e-12)
    assert_allclose(host(slots["velocity"]), v, rtol=1e-12)


def test_rates_and_momentum_follow_their_schedules(backend):
    optimizer = SGD(Steps((0.1, 0.01), (3,)), momentum=Linear(0.0, 0.8, steps=4))
    rows, _ = run(backend, optimizer)
    w, v = np.zeros(3), np.zeros(3)
    for step, (row, g) in enumerate(zip(rows, GRADIENTS)):
        v = 0.2 * step * v + g
        w = w - (0.1 if step < 3 else 0.01) * v
        assert_allclose(row, w, rtol=1e-12)
    assert [optimizer.rate(step) for step in (2, 3)] == [0.1, 0.01]


def adam_by_hand(gradients, ages, rate=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
    w = m = s = np.zeros(3)
    for g, age in zip(gradients, ages):
        m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
        w = w - rate * (m / (1 - beta1**age)) / (np.sqrt(s / (1 - beta2**age)) + eps)
    return w


def test_adam_by_hand(backend):
    rows, slots = run(backend, Adam(0.01))
    assert_allclose(rows[-1], adam_by_hand(GRADIENTS, range(1, 6)), rtol=1e-10)
    assert list(slots) == ["weight", "first_moment", "second_moment"]
    rows, _ = run(backend, Adam(0.1, beta1=0.5, beta2=0.9, eps=0.1))
    assert_allclose(rows[-1], adam_by_hand(GRADIENTS, range(1, 6), 0.1, 0.5, 0.9, 0.1), rtol=1e-10)


def test_the_age_of_a_connection_counts_from_its_birth(backend):
    """The first update of a newborn has the size of the learning rate, not 3.16 times that."""
    rows, _ = run(backend, Adam(0.01), GRADIENTS[2:], born=[0, 10**5, 10**5], first_step=10**5)
    assert np.abs(rows[0][1:]) == pytest.approx([0.01, 0.01], rel=1e-6)
    assert abs(rows[0][0]) == pytest.approx(0.0316228, rel=1e-5)  # as if an old one had lost its moments
    assert_allclose(rows[-1][1:], adam_by_hand(GRADIENTS[2:], range(1, 4))[1:], rtol=1e-10)


def test_an_optimizer_that_starts_later_counts_from_its_start(backend):
    rows, _ = run(backend, Adam(0.01), born=[0, 0, 40], first_step=50, start=50)
    assert_allclose(rows[-1], adam_by_hand(GRADIENTS, range(1, 6)), rtol=1e-10)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1), SGD(0.1, momentum=0.9), SGD(0.1, momentum="linear(0, 0.8, 4)", nesterov=True), Adam(0.01)]
)
def test_a_part_is_updated_as_the_whole_is(backend, optimizer):
    """And nothing outside of it: neither values nor slots."""
    born = [0, 10**5, 10**5 - 2]
    whole, expected = run(backend, optimizer, born=born, first_step=10**5)
    library = get_backend(backend, "float64")
    slots = Slots(library, 3)
    slots["weight"], slots["born"] = np.zeros(3), np.array(born, np.int32)
    for step, gradient in enumerate(GRADIENTS, start=10**5):
        for part in (slice(0, 0), slice(1, 3), slice(0, 1)):
            outside = np.delete(np.arange(3), part)
            before = {name: array[outside].copy() for name, array in slots.to_numpy().items()}
            optimizer.step(library, slots, "weight", part, library.asarray(gradient[part].copy()), step, 0)
            after = slots.to_numpy()
            assert all(np.array_equal(after[name][outside], array) for name, array in before.items())
        assert_allclose(host(slots["weight"]), whole[step - 10**5], rtol=1e-12)
    assert list(slots) == list(expected)
    for name, array in expected.to_numpy().items():
        assert_allclose(host(slots[name]), array, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(-0.1), ValueError, r"learning_rate=-0.1 is out of range; use a value in \[0, inf\)"),
        (lambda: SGD(float("nan")), ValueError, "learning_rate=nan"),
        (lambda: SGD(0.1, momentum=1.5), ValueError, r"momentum=1.5 is out of range; use a value in \[0, 1\)"),
        (
            lambda: SGD("fast"),
            ValueError,
            "unknown schedule 'fast'; known: constant, cosine, cubic, linear, power, rounded, steps",
        ),
        (lambda: SGD(None), TypeError, "learning_rate must be a number, a schedule or its text"),
        (lambda: Adam("linear(0.1, -0.1, 5)"), ValueError, "learning_rate=-0.1"),
        (lambda: Adam(beta1=1.0), ValueError, r"beta1=1.0 is out of range; use a value in \[0, 1\)"),
        (lambda: Adam(beta2=-0.1), ValueError, "beta2=-0.1"),
        (lambda: Adam(eps=0.0), ValueError, "eps=0.0 is not possible"),
    ],
)
def test_settings_that_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()
