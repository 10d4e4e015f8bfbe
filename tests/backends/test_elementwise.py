"""Sums, batches, elementwise kernels and optimizer steps of every backend against NumPy in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import ACTIVATIONS, DERIVATIVES, hosted

from sparserbm.backends import Workspace, get_backend

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
ACCURACY = {"float32": {"rtol": 3e-6, "atol": 1e-6}, "float64": {"rtol": 1e-13, "atol": 1e-13}}


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@DTYPES
def test_row_sums_take_terms_of_different_lengths(backend, dtype):
    a, b = normal((5, 17), dtype), normal((5, 3), dtype, 1)
    out = np.full(5, np.nan, dtype)
    hosted(backend, dtype).row_sums([(-0.5, a), (2.0, b)], out)
    expected = -0.5 * a.astype(float).sum(axis=1) + 2 * b.astype(float).sum(axis=1)
    assert out == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
@pytest.mark.parametrize(("n", "n_features"), [(1, 1), (3, 16), (8, 17), (17, 33), (128, 5)])
def test_gather_turns_samples_into_columns(backend, kind, n, n_features):
    random = np.random.default_rng(n)
    samples = (200 * random.random((40, n_features))).astype(kind)
    rows = random.integers(0, 40, n)
    dtype = "float64" if kind == "float64" else "float32"
    out = np.full((n_features, n), np.nan, dtype)
    hosted(backend, dtype).gather(samples, rows, out)
    assert np.array_equal(out, samples[rows].T)


@DTYPES
def test_softplus_at_every_size(backend, dtype):
    x = np.concatenate([np.linspace(-80, 80, 2001), [-1e4, -0.0, 1e4]]).astype(dtype)
    out = np.full_like(x, np.nan)
    library = hosted(backend, dtype)
    library.softplus(x, out)
    assert_allclose(out, np.logaddexp(0.0, x.astype(float)), rtol=2e-6, atol=1e-30)
    assert np.array_equal(library.softplus(x, x), out)  # in place


@DTYPES
def test_gate_changes_values_in_place(backend, dtype):
    for name, derivative in DERIVATIVES.items():
        activity = ACTIVATIONS[name](normal((3, 17), "float64")).astype(dtype)
        values = normal((3, 17), dtype, 1)
        expected = values.astype(float) * derivative(activity.astype(float))
        hosted(backend, dtype).gate(name, activity, values)
        assert_allclose(values, expected, **ACCURACY[dtype])


@DTYPES
@pytest.mark.parametrize("slope", [0.3, -0.6])
def test_gates_of_leaky_units(backend, dtype, slope):
    z, values = normal((3, 17), dtype), normal((3, 17), dtype, 1)
    expected = values.astype(float) * np.where(z > 0, 1, slope)
    hosted(backend, dtype).gate("relu", z, values, slope)
    assert_allclose(values, expected, **ACCURACY[dtype])


@DTYPES
def test_activations_in_place(backend, dtype):
    library, z = hosted(backend, dtype), 3 * normal((3, 17), dtype)
    for name, function in ACTIVATIONS.items():
        values = z.copy()
        assert library.activate(name, values) is values
        assert_allclose(values, function(z.astype(float)), **ACCURACY[dtype])
    for slope in (0.3, -0.6):
        expected = np.where(z > 0, z, slope * z.astype(float))
        assert_allclose(library.activate("relu", z.copy(), slope), expected, **ACCURACY[dtype])


@DTYPES
def test_squared_error_and_scaled_sums(backend, dtype):
    library = hosted(backend, dtype)
    a, b = normal((30, 128), dtype), normal((30, 128), dtype, 1)
    exact = ((a.astype(float) - b.astype(float)) ** 2).sum()
    assert float(library.squared_error(a, b)) == pytest.approx(exact, rel=1e-6)
    target = normal(50, dtype)
    expected = target.astype(float) + 0.3 * normal(50, dtype, 1).astype(float)
    library.add_scaled(target, 0.3, normal(50, dtype, 1))
    assert_allclose(target, expected, **ACCURACY[dtype])


@DTYPES
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, False), (0.9, True), (None, False)])
def test_steps_of_gradient_descent(backend, dtype, momentum, nesterov):
    library = hosted(backend, dtype)
    value, velocity = normal(40, dtype), None if momentum is None else np.zeros(40, dtype)
    w, v = value.astype(float), np.zeros(40)
    for step in range(4):
        g = normal(40, dtype, step + 1)
        library.sgd(value, velocity, g, 0.1, momentum or 0.0, nesterov)
        v = (momentum or 0.0) * v + g
        w -= 0.1 * (g + momentum * v if nesterov else v)
    assert_allclose(value, w, **ACCURACY[dtype])
    if velocity is not None:
        assert_allclose(velocity, v, **ACCURACY[dtype])


@DTYPES
@pytest.mark.parametrize("born_type", ["uint16", "uint32"])
def test_steps_of_adam_with_an_age_for_each_element(backend, dtype, born_type):
    library = hosted(backend, dtype)
    value, first, second = normal(40, dtype), np.zeros(40, dtype), np.zeros(40, dtype)
    w, m, s = value.astype(float), np.zeros(40), np.zeros(40)
    birth = np.arange(40) % 4  # elements are born before step 0, 1, 2 and 3
    for step in range(6):
        newborn = birth == step
        first[newborn] = second[newborn] = m[newborn] = s[newborn] = 0
        age = step + 1 - np.minimum(birth, step)
        g = normal(40, dtype, step + 1)
        born = np.minimum(birth, step).astype(born_type)
        library.adam(value, first, second, g, born, step, 0, 0.01, 0.9, 0.999, 1e-8)
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g.astype(float) ** 2
        w -= 0.01 * (m / (1 - 0.9**age)) / (np.sqrt(s / (1 - 0.999**age)) + 1e-8)
    assert_allclose(value, w, **ACCURACY[dtype])
    # float32 rounds 1 - beta2 = 0.001 itself; the correction for the age has the same error, so the value has not
    assert_allclose(second, s, rtol=1e-4 if dtype == "float32" else 1e-12)


def test_the_first_step_of_adam_has_the_size_of_the_learning_rate(backend):
    """Also where others are old: with one step count for all it would be 3.16 times as long."""
    library = hosted(backend, "float64")
    value, moments = np.zeros(2), (np.array([0.0, 0.3]), np.array([0.0, 0.09]))
    born, g = np.array([10**6, 0], np.uint32), np.array([0.3, 0.3])
    library.adam(value, *moments, g, born, 10**6, 0, 0.01, 0.9, 0.999, 1e-8)
    assert value == pytest.approx([-0.01, -0.01], rel=1e-6)


def test_ages_in_adam_count_from_the_start_of_the_optimizer(backend):
    """What is older than the optimizer, and what has no birth, has the optimizer's age."""
    library = hosted(backend, "float64")
    for born, age in ((None, 5), (np.array([2], np.uint16), 5), (np.array([14], np.uint16), 1), (None, 5)):
        value, moments, g = np.zeros(1), (np.zeros(1), np.zeros(1)), np.array([0.3])
        library.adam(value, *moments, g, born, 14, 10, 0.01, 0.9, 0.999, 1e-8)
        step = 0.1 * 0.3 / (1 - 0.9**age) / (np.sqrt(0.001 * 0.09 / (1 - 0.999**age)) + 1e-8)
        assert value[0] == pytest.approx(-0.01 * step, rel=1e-12)


@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "uint16", "uint32", "uint8"])
@given(st.lists(st.booleans(), max_size=40), st.data())
def test_zeros_come_in_where_so_many_of_the_kept_have_gone_by(backend, kind, keep, data):
    """Against going through both lists by hand; the kept move bit for bit."""
    keep = np.array(keep, bool)
    before = np.array(sorted(data.draw(st.lists(st.integers(0, int(keep.sum())), max_size=20))), np.int32)
    old = (np.arange(1, len(keep) + 1) * (-1.5 if kind.startswith("float") else 1)).astype(kind)
    expected, kept = [], old[keep].tolist()
    for place in range(len(kept) + 1):
        expected += int(np.sum(before == place)) * [0] + kept[place : place + 1]
    given_values = old.copy()
    found = hosted(backend).merged(old, keep, before)
    assert found.tolist() == expected
    assert found.dtype == kind
    assert np.array_equal(old, given_values)
    assert not np.shares_memory(found, old)


def test_values_that_are_no_numbers_move_too(backend):
    """NaN, infinity and the sign of a zero."""
    old = np.array([np.nan, -0.0, np.inf, 1.0, -np.inf], np.float32)
    keep = np.array([True, True, True, False, True])
    found = hosted(backend).merged(old, keep, np.array([0, 2, 4, 4], np.int32))
    assert found.tobytes() == np.array([0, np.nan, -0.0, 0, np.inf, -np.inf, 0, 0], np.float32).tobytes()


def test_a_workspace_gives_the_same_memory_again(backend):
    library = get_backend(backend, "float32")
    workspace = Workspace(library)
    whole = workspace.array("x", 4, 10)
    whole.fill(1)
    part = workspace.array("x", 4, 3)
    assert part.shape == (4, 3)
    assert part.flags.c_contiguous
    part.fill(2)
    assert library.to_numpy(whole).ravel().tolist() == 12 * [2] + 28 * [1]
    workspace.array("y", 4, 10).fill(3)
    assert float(whole.max()) == 2
    assert workspace.array("x", 4, 11).shape == (4, 11)


@pytest.mark.parametrize("n", [1, 7, 33])
def test_class_error_against_its_definition(backend, n):
    library, random = hosted(backend, "float64"), np.random.default_rng(n)
    z = random.normal(size=(5, n)) * 4
    output = library.softmax(z.copy())
    assert_allclose(output, np.exp(z) / np.exp(z).sum(axis=0), rtol=1e-12)
    y, delta = random.integers(0, 5, n), np.empty_like(output)
    loss, correct = library.class_error(output, y, delta, 1e-30)
    assert_allclose(loss, -np.log(output[y, np.arange(n)]).sum(), rtol=1e-12)
    assert correct == (z.argmax(axis=0) == y).sum()
    assert_allclose(delta, output - (np.arange(5)[:, None] == y), rtol=1e-12)


def test_a_class_without_probability_costs_the_smallest_and_nan_spreads(backend):
    library = hosted(backend, "float32")
    output, delta = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.empty((2, 2), np.float32)
    loss, correct = library.class_error(output, np.array([1, 1]), delta, 1e-30)
    assert_allclose(loss, -np.log(1e-30))
    assert correct == 1
    for place in range(3):
        z = np.zeros((3, 2), np.float32)
        z[place, 1] = np.nan
        assert np.isnan(library.softmax(z)).tolist() == [[False, True]] * 3
