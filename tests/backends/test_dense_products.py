"""Products of layers with all connections: the same as the sparse ones, from every cut into tiles, chunks and threads."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import ACTIVATIONS, hosted, wired

from sparserbm.backends import Gate, SignedPair, get_backend
from sparserbm.rng import DrawKey

KEY = DrawKey(11, 22, 33, 44)
TOLERANCE = {"float32": {"rtol": 2e-4, "atol": 2e-4}, "float64": {"rtol": 1e-11, "atol": 1e-11}}
# Rows and columns that are no multiple of a tile, sums longer than what is summed at a time, more samples than a chunk.
SHAPES = [(1, 1, 1), (5, 7, 3), (13, 24, 16), (530, 25, 37), (25, 530, 9), (31, 130, 150), (64, 6, 128)]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def always(monkeypatch):
    """Small layers have dense products, too; one thread does not have to wait for much work to be helped."""
    numpy_backend = pytest.importorskip("sparserbm.backends.numpy_backend")
    for name in ("FEWEST_UNITS", "FEWEST_CONNECTIONS", "SHARE"):
        monkeypatch.setattr(numpy_backend, name, 1)


def full(backend, n_pre, n_post, dtype, n):
    connections = wired(backend, n_pre, n_post, n_pre * n_post, seed=n, dtype=dtype)
    connections.slots["weight"] = connections.weight / np.sqrt(n_pre + n_post)
    random = np.random.default_rng(n)
    return connections, *(random.normal(size=(units, n)).astype(dtype) for units in (n_pre, n_post))


def everything(connections, x, y):
    """What all products of a step write into arrays full of NaN."""
    library, dtype = hosted(connections.backend), x.dtype
    forth, drawn, plain = np.full((3, *y.shape), np.nan, dtype)
    bias = np.linspace(-1, 1, len(y)).astype(dtype)
    found = [forth, drawn, plain]
    library.spmm(connections, connections.weight, x, forth, bias, "sigmoid", sample=drawn, key=KEY)
    library.spmm(connections, connections.weight, x, plain, bias)
    for name in ACTIVATIONS:
        gate = Gate(name, np.tanh(x), 0.5)
        found.append(library.spmm_t(connections, connections.weight, y, np.full_like(x, np.nan), gate=gate))
    fewer = SignedPair(2.0, x[:, : x.shape[1] // 2 + 1].copy(), y[:, : x.shape[1] // 2 + 1].copy())
    pairs = [SignedPair(-0.5, x, y), SignedPair(3.0, x + 1, y), fewer]
    for count in (1, 2, 3):
        found.append(library.sddmm(connections, pairs[:count], np.full(len(connections), np.nan, dtype)))
    return found


@dtypes
@pytest.mark.parametrize(("n_pre", "n_post", "n"), SHAPES)
def test_products_are_those_of_a_matrix(backend, always, n_pre, n_post, n, dtype):
    connections, x, y = full(backend, n_pre, n_post, dtype, n)
    forth, drawn, plain, linear, *gated, one, two, three = everything(connections, x, y)
    dense, wide, tall = connections.to_dense().astype(float), x.astype(float), y.astype(float)
    total = dense @ wide + np.linspace(-1, 1, n_post)[:, None]
    near = TOLERANCE[dtype]
    assert_allclose(plain, total, **near)
    assert_allclose(forth, ACTIVATIONS["sigmoid"](total), **near)
    assert np.array_equal(drawn, get_backend("reference", dtype).bernoulli(KEY, forth, np.empty_like(forth)))
    back, a = dense.T @ tall, np.tanh(wide)
    assert_allclose(linear, back, **near)
    for found, slope in zip(gated, (a * (1 - a), np.where(a > 0, 1, 0.5), 1 - a**2)):
        assert_allclose(found, back * slope, **near)
    half = n // 2 + 1
    gradients = [-0.5 * tall @ wide.T, 3 * tall @ (wide + 1).T, 2 * tall[:, :half] @ wide[:, :half].T]
    for found, exact in zip((one, two, three), np.cumsum(gradients, axis=0)):
        assert_allclose(found, exact.ravel(), **near)


@pytest.mark.parametrize(("n_pre", "n_post"), [(784, 500), (1000, 1000), (128, 10), (130, 127)])
def test_the_number_of_threads_changes_no_bit(n_pre, n_post):
    numba = pytest.importorskip("numba")
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    connections, x, y = full("numpy", n_pre, n_post, "float32", 1024)
    for n in (1, 10, 37, 100, 128, *[1024] * (n_pre < 1000)):
        samples = [np.ascontiguousarray(array[:, :n]) for array in (x, y)]
        found = []
        for threads in (1, 2):
            connections.backend = get_backend("numpy", threads=threads)
            found.append([array.tobytes() for array in everything(connections, *samples)])
        assert found[0] == found[1], f"{n} samples"


@dtypes
def test_the_other_samples_of_a_batch_change_no_bit(always, dtype):
    """A sum has one order of its own, wherever the sample stands and however many there are."""
    connections, x, y = full("numpy", 530, 25, dtype, 150)
    library = connections.backend
    whole = [np.empty_like(array) for array in (y, x)]
    library.spmm(connections, connections.weight, x, whole[0])
    library.spmm_t(connections, connections.weight, y, whole[1])
    for part in (slice(0, 1), slice(3, 20), slice(17, 26), slice(120, 150)):
        given = [np.ascontiguousarray(array[:, part]) for array in (x, y)]
        found = [np.empty_like(array) for array in given[::-1]]
        library.spmm(connections, connections.weight, given[0], found[0])
        library.spmm_t(connections, connections.weight, given[1], found[1])
        for some, all_samples in zip(found, whole):
            assert np.array_equal(some, all_samples[:, part])


def test_rows_of_a_large_layer_are_sampled_part_by_part(backend, always, monkeypatch):
    """Each part of a full layer is a full matrix, too."""
    monkeypatch.setattr("sparserbm.network.connections.BLOCK", 300)
    monkeypatch.setattr(type(get_backend(backend)), "parts_at_once", 1)
    connections, x, y = full(backend, 40, 50, "float64", 11)
    assert len(connections.parts) > 5
    whole = hosted(connections.backend).sddmm(connections, [SignedPair(2.0, x, y)], np.empty(2000))
    for part in connections.parts:
        pairs, out = [SignedPair(2.0, x, y[part.units])], np.empty(part.connections.stop - part.connections.start)
        found = hosted(connections.backend).sddmm(part, pairs, out)
        assert_allclose(found, whole[part.connections], rtol=1e-12, atol=1e-12)


@dtypes
def test_nan_and_infinity_reach_their_own_rows_and_samples_only(always, dtype):
    """Tiles reach beyond the matrix; what is computed there must not come back."""
    connections, x, y = full("numpy", 530, 25, dtype, 37)
    x[3, 36], x[500, 35] = np.nan, np.inf
    out = connections.backend.spmm(connections, connections.weight, x, np.empty_like(y))
    assert np.isnan(out[:, 36]).all()
    assert np.isinf(out[:, 35]).all()
    assert np.isfinite(out[:, :35]).all()
    connections.weight[-1] = np.nan  # from pre unit 529 to post unit 24
    back = connections.backend.spmm_t(connections, connections.weight, y, np.empty_like(x))
    assert np.isnan(back[529]).all()
    assert np.isfinite(back[:529]).all()


def test_nothing_of_the_size_of_activities_is_made_at_a_later_step():
    pytest.importorskip("numba")
    import tracemalloc

    connections, x, y = full("numpy", 300, 200, "float32", 1000)  # well above what Python itself needs
    out, gradient = np.empty_like(y), np.empty(len(connections), np.float32)

    def step():
        connections.backend.spmm(connections, connections.weight, x, out, activation="sigmoid")
        connections.backend.sddmm(connections, [SignedPair(1.0, x, y), SignedPair(-1.0, x, out)], gradient)

    step()
    tracemalloc.start()
    try:
        step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < out.nbytes / 4


@pytest.mark.parametrize(("n_pre", "n_post", "dense"), [(784, 500, True), (128, 128, True), (128, 10, False)])
def test_small_layers_keep_the_sparse_products(monkeypatch, n_pre, n_post, dense):
    pytest.importorskip("numba")
    from sparserbm.backends import numpy_backend

    seen = []
    monkeypatch.setattr(
        numpy_backend.NumpyBackend, "_dense_product", lambda self, left, *rest, **named: seen.append(left.size)
    )
    everything(*full("numpy", n_pre, n_post, "float32", 10))
    connections = wired("numpy", n_pre, n_post, n_pre * n_post - 1, dtype="float32")  # one is missing
    connections.backend.spmm(
        connections, connections.weight, np.ones((n_pre, 9), np.float32), np.empty((n_post, 9), np.float32)
    )
    assert bool(seen) == dense
    assert n_pre * n_post - 1 not in seen
