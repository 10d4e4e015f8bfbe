"""The products of every backend against dense NumPy in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import ACTIVATIONS, DERIVATIVES, hosted, wired
from scipy import sparse

from sparserbm.backends import Gate, Rows, SignedPair, get_backend
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import DrawKey

KEY = DrawKey(11, 22, 33, 44)
TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 2e-5}, "float64": {"rtol": 1e-12, "atol": 1e-12}}
# n_pre, n_post, n_connections, n_samples, dtype: all batch sizes, sparse to full, one unit, no connection at all
CASES = [
    (7, 5, 12, 1, "float64"),
    (7, 5, 12, 3, "float32"),
    (9, 4, 36, 17, "float64"),
    (9, 4, 36, 17, "float32"),
    (1, 1, 1, 3, "float64"),
    (6, 3, 0, 3, "float32"),
    (40, 30, 260, 128, "float32"),
    (40, 30, 260, 128, "float64"),
]
cases = pytest.mark.parametrize(("n_pre", "n_post", "count", "n", "dtype"), CASES)


def nothing(n_units, n, dtype):
    """Where a result goes: filled with NaN, so that a result which depends on it shows."""
    return np.full((n_units, n) if n else n_units, np.nan, dtype)


def problem(backend, n_pre, n_post, count, n, dtype):
    connections = wired(backend, n_pre, n_post, count, seed=n, dtype=dtype)
    random = np.random.default_rng(n)
    x, y = (random.normal(size=(units, n)).astype(dtype) for units in (n_pre, n_post))
    return connections, x, y


@cases
@pytest.mark.parametrize("way", ["spmm", "spmm_t"])
def test_products_with_every_activation(backend, way, n_pre, n_post, count, n, dtype):
    connections, x, y = problem(backend, n_pre, n_post, count, n, dtype)
    dense = connections.to_dense().astype(float)
    given, n_out = (x, n_post) if way == "spmm" else (y, n_pre)
    total = (dense if way == "spmm" else dense.T) @ given.astype(float)
    bias = np.random.default_rng(1).normal(size=n_out).astype(dtype)
    product = getattr(hosted(connections.backend), way)
    for name, function in ACTIVATIONS.items():
        for b in (None, bias):
            out = nothing(n_out, n, dtype)
            assert product(connections, connections.weight, given, out, b, name) is out
            expected = function(total if b is None else total + b[:, None].astype(float))
            assert_allclose(out, expected, **TOLERANCE[dtype])


@cases
def test_gates_multiply_by_the_derivative(backend, n_pre, n_post, count, n, dtype):
    connections, _, y = problem(backend, n_pre, n_post, count, n, dtype)
    total = connections.to_dense().astype(float).T @ y.astype(float)
    for name, derivative in DERIVATIVES.items():
        activity = ACTIVATIONS[name](np.random.default_rng(2).normal(size=(n_pre, n))).astype(dtype)
        out = nothing(n_pre, n, dtype)
        hosted(connections.backend).spmm_t(connections, connections.weight, y, out, gate=Gate(name, activity))
        assert_allclose(out, total * derivative(activity.astype(float)), **TOLERANCE[dtype])


@cases
@pytest.mark.parametrize("slope", [0.1, 1.5, -0.6])
def test_slopes_of_leaky_units(backend, slope, n_pre, n_post, count, n, dtype):
    """Forth, and back by the total input; where the slope is above 0 also by the activity."""
    connections, x, y = problem(backend, n_pre, n_post, count, n, dtype)
    dense, library = connections.to_dense().astype(float), hosted(connections.backend)
    total = dense @ x.astype(float)
    found = library.spmm(connections, connections.weight, x, nothing(n_post, n, dtype), None, "relu", slope=slope)
    assert_allclose(found, np.where(total > 0, total, slope * total), **TOLERANCE[dtype])
    z = np.random.default_rng(2).normal(size=(n_pre, n)).astype(dtype)
    back = (dense.T @ y.astype(float)) * np.where(z > 0, 1, slope)
    for seen in (z, np.where(z > 0, z, slope * z).astype(dtype))[: 1 + (slope > 0)]:
        gate = Gate("relu", seen, slope)
        found = library.spmm_t(connections, connections.weight, y, nothing(n_pre, n, dtype), gate=gate)
        assert_allclose(found, back, **TOLERANCE[dtype])


@cases
@pytest.mark.parametrize("way", ["spmm", "spmm_t"])
def test_a_fused_sample_is_the_draw_of_the_mean(backend, way, n_pre, n_post, count, n, dtype):
    connections, x, y = problem(backend, n_pre, n_post, count, n, dtype)
    given, n_out = (x, n_post) if way == "spmm" else (y, n_pre)
    out, sample = nothing(n_out, n, dtype), nothing(n_out, n, dtype)
    arguments = (connections, connections.weight, given, out, None, "sigmoid")
    getattr(hosted(connections.backend), way)(*arguments, sample=sample, key=KEY)
    assert np.array_equal(sample, hosted(connections.backend).bernoulli(KEY, out, nothing(n_out, n, dtype)))
    assert n < 100 or 0.2 < sample.mean() < 0.8


@cases
def test_sampled_products_of_one_two_and_three_pairs(backend, n_pre, n_post, count, n, dtype):
    connections, x, y = problem(backend, n_pre, n_post, count, n, dtype)
    pre, post = connections.pattern.pre, connections.pattern.post
    longer = np.random.default_rng(3).normal(size=(n_pre, n + 5)).astype(dtype)
    partner = np.random.default_rng(4).normal(size=(n_post, n + 5)).astype(dtype)
    pairs = [SignedPair(-0.5, x, y), SignedPair(2.0, x + 1, y), SignedPair(0.25, x, y - 1)]
    for chosen in (pairs[:1], pairs[:2], pairs, [pairs[0], SignedPair(3.0, longer, partner)]):
        out = nothing(count, 0, dtype)
        assert hosted(connections.backend).sddmm(connections, chosen, out) is out
        dense = sum(pair.sign * pair.pre.astype(float) @ pair.post.T.astype(float) for pair in chosen)
        assert_allclose(out, dense[pre, post], **{key: 10 * value for key, value in TOLERANCE[dtype].items()})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_without_connections(backend, dtype):
    """Post units 0 and 3 have no inputs, pre units 1 and 4 lead nowhere."""
    keys = np.array([5, 7, 8, 10, 12, 13], dtype=np.int64)  # (j * 5 + i): rows 1 and 2 only
    library = hosted(backend, dtype)
    connections = Connections(get_backend(backend, dtype), Pattern.from_keys(5, 4, keys), np.arange(1.0, 7.0))
    x, y = np.ones((5, 3), dtype), np.ones((4, 3), dtype)
    bias = np.array([1, 0, 0, -2], dtype)
    forth = library.spmm(connections, connections.weight, x, nothing(4, 3, dtype), bias)
    assert forth[:, 0].tolist() == [1, 1 + 2 + 3, 4 + 5 + 6, -2]
    back = library.spmm_t(connections, connections.weight, y, nothing(5, 3, dtype))
    assert back[:, 2].tolist() == [1 + 4, 0, 2 + 5, 3 + 6, 0]
    assert library.sddmm(connections, [SignedPair(1.0, x, y)], nothing(6, 0, dtype)).tolist() == [3.0] * 6


# -- norms of rows ----------------------------------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("side", ["post", "pre"])
def test_norms_above_the_limit_are_scaled_to_it(backend, side, n_pre, n_post, count, n, dtype):
    connections = wired(backend, n_pre, n_post, count, seed=n, dtype=dtype)
    rows = connections.by_post if side == "post" else connections.by_pre
    dense = connections.to_dense().astype(float)
    norms = np.linalg.norm(dense, axis=1 if side == "post" else 0)
    limit = float(np.median(norms)) + 0.01  # about half of the rows are above
    before = connections.backend.to_numpy(connections.weight).copy()
    connections.backend.limit_norms(rows, connections.weight, limit)
    factors = np.minimum(1, limit / np.maximum(norms, 1e-30))
    expected = dense * (factors[:, None] if side == "post" else factors)
    assert_allclose(connections.to_dense(), expected, **TOLERANCE[dtype])
    after = connections.backend.to_numpy(connections.weight)
    unit = connections.pattern.post if side == "post" else connections.pattern.pre
    small = norms[unit] <= limit
    assert np.array_equal(after[small], before[small])  # bit for bit
    assert count < 2 or (small.any() and not small.all())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_of_rows_worked_out_by_hand(backend, dtype):
    """Rows (3, 4), none, (0.6, 0.8), (NaN, 9), (-1e30); squares of the last are beyond float32."""
    indptr = np.array([0, 2, 2, 4, 6, 7], np.int64)
    rows = Rows(indptr, np.zeros(7, np.int32), None)
    values = np.array([3, -4, 0.6, 0.8, np.nan, 9, -1e30], dtype)
    hosted(backend, dtype).limit_norms(rows, values, 1.0001)
    expected = [3 * 1.0001 / 5, -4 * 1.0001 / 5, 0.6, 0.8, np.nan, 9, -1.0001]
    assert_allclose(values, expected, rtol=1e-6)
    assert values[2:4].tolist() == np.array([0.6, 0.8], dtype).tolist()
    order = np.array([6, 0, 5, 1, 4, 2, 3], np.int32)  # the same rows of values that stand elsewhere
    values = np.empty(7, dtype)
    values[order] = [3, -4, 0.6, 0.8, np.nan, 9, -1e30]
    hosted(backend, dtype).limit_norms(Rows(indptr, np.zeros(7, np.int32), order), values, 1.0001)
    assert_allclose(values[order], expected, rtol=1e-6)


def test_a_weight_of_zero_is_multiplied_like_any_other(backend):
    connections = wired(backend, 4, 3, 12)
    connections.slots["weight"] = np.zeros(12)
    x = np.full((4, 2), np.inf)
    with np.errstate(invalid="ignore"):
        out = hosted(connections.backend).spmm(connections, connections.weight, x, np.empty((3, 2)))
    assert np.isnan(out).all()  # 0 * inf: the connection is there


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_stays_nan_through_every_activation(backend, dtype):
    """Diverging training must show, whatever the units."""
    connections = wired(backend, 1, 1, 1, dtype=dtype)
    x = np.array([[np.nan, 1.0]], dtype)
    for name in ACTIVATIONS:
        out = hosted(connections.backend).spmm(
            connections, connections.weight, x, np.empty((1, 2), dtype), activation=name
        )
        assert np.isnan(out[0]).tolist() == [True, False], name


def test_the_compiled_sigmoid_is_accurate_in_its_tails():
    pytest.importorskip("numba")
    connections = wired("numpy", 1, 1, 1, dtype="float32")
    connections.slots["weight"] = np.ones(1)
    z = np.linspace(-80, 80, 200_001, dtype=np.float32)[None]
    exact = ACTIVATIONS["sigmoid"](z.astype(float))
    out = hosted(connections.backend).spmm(connections, connections.weight, z, np.empty_like(z), activation="sigmoid")
    assert np.abs(out / exact - 1).max() <= 2e-6
    far = hosted(connections.backend).spmm(
        connections, connections.weight, 100 * z, np.empty_like(z), activation="sigmoid"
    )
    assert far[0, 0] < 1e-37
    assert far[0, -1] == 1


def test_sigmoid_and_tanh_saturate_without_overflow(backend):
    for dtype in ("float32", "float64"):
        connections = wired(backend, 1, 1, 1, dtype=dtype)
        connections.slots["weight"] = np.ones(1)
        z = np.array([[-1e4, -800, 0, 800, 1e4]], dtype)
        for name, low in (("sigmoid", 0), ("tanh", -1)):
            out = hosted(connections.backend).spmm(
                connections, connections.weight, z, np.empty_like(z), activation=name
            )
            assert out[0] == pytest.approx([low, low, (low + 1) / 2, 1, 1], abs=1e-7)


# -- columns ---------------------------------------------------------------------------------------------------------


def assert_transposed(backend, n_pre, n_post, keys):
    """Against SciPy, whose values here are the places of the connections in the list."""
    pattern = Pattern.from_keys(n_pre, n_post, np.asarray(keys, np.int64))
    library = get_backend(backend)
    rows = Rows(library.asarray(pattern.indptr), library.asarray(pattern.pre), None)
    found = library.transposed(rows, n_pre)
    numbers = np.arange(len(pattern))
    exact = sparse.csr_matrix((numbers, pattern.pre, pattern.indptr), shape=(n_post, n_pre)).tocsc()
    assert library.to_numpy(found.indptr).tolist() == exact.indptr.tolist()
    assert library.to_numpy(found.index).tolist() == exact.indices.tolist()
    assert library.to_numpy(found.order).tolist() == exact.data.tolist()
    assert (found.indptr.dtype, found.index.dtype, found.order.dtype) == (np.int64, np.int32, np.int32)
    assert np.array_equal(library.to_numpy(rows.index), pattern.pre)  # the rows themselves stay what they are


@given(st.integers(1, 9), st.integers(1, 7), st.data())
def test_columns_are_those_of_scipy(backend, n_pre, n_post, data):
    keys = data.draw(st.lists(st.integers(0, n_pre * n_post - 1), unique=True, max_size=40))
    assert_transposed(backend, n_pre, n_post, sorted(keys))


@pytest.mark.parametrize(
    ("n_pre", "n_post", "keys"),
    [
        (5, 4, []),
        (5, 4, [5, 7, 8, 10, 12, 13]),  # columns 1 and 4 are empty, so are rows 0 and 3
        (5, 4, [2, 7, 12, 17]),  # one column has all
        (1, 6, [0, 2, 5]),
        (6, 1, [5]),
        (4, 3, range(12)),
        (700, 300, np.flatnonzero(np.random.default_rng(0).random(210_000) < 0.02)),
    ],
)
def test_columns_that_are_empty_full_or_many(backend, n_pre, n_post, keys):
    assert_transposed(backend, n_pre, n_post, keys)
