"""The compiled products at every batch size, against the reference: a batch rarely is a multiple of a vector."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import ACTIVATIONS, wired

from sparserbm.backends import Gate, SignedPair, get_backend
from sparserbm.backends.base import TILE
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import DrawKey

pytest.importorskip("numba")

KEY = DrawKey(11, 22, 33, 44)
COUNTS = (0, 1, 7, 8, 9, 40)  # connections of a row; a vector has 8 lanes (float32) or 4
N = sum(COUNTS)
SIZES = range(1, 2 * TILE + 7)
TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 2e-5}, "float64": {"rtol": 1e-12, "atol": 1e-12}}
KINDS = [*((name, 0.0) for name in ACTIVATIONS), ("relu", 0.3), ("relu", -0.6)]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def normal(shape, dtype, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def rows_of_every_length(dtype, transposed=False):
    """Six units of N others with `COUNTS` connections, as post units; or as pre units, so that `spmm_t` sees them."""
    random = np.random.default_rng(5)
    places = [(row, other) for row, n in enumerate(COUNTS) for other in random.choice(N, n, replace=False)]
    n_pre, n_post = (len(COUNTS), N) if transposed else (N, len(COUNTS))
    keys = sorted(other * n_pre + row if transposed else row * n_pre + other for row, other in places)
    pattern = Pattern.from_keys(n_pre, n_post, np.array(keys, np.int64))
    assert (pattern.fan_out() if transposed else pattern.fan_in()).tolist() == list(COUNTS)
    return Connections(get_backend("numpy", dtype), pattern, random.normal(size=N))


def both(dtype, call):
    """What the compiled kernel writes and what the reference writes, each into an array full of NaN."""
    return [call(get_backend(name, dtype)) for name in ("numpy", "reference")]


@dtypes
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("activation", "slope"), KINDS)
def test_products_with_activation_and_draws(dtype, transposed, activation, slope):
    connections = rows_of_every_length(dtype, transposed)
    bias, n_rows = normal(len(COUNTS), dtype, 1), len(COUNTS)
    reference = get_backend("reference", dtype)
    for n in SIZES:
        x, draws = normal((N, n), dtype, n), {}

        def product(library, n=n, x=x, draws=draws):
            out, draws[library.name] = np.full((2, n_rows, n), np.nan, dtype)
            way = library.spmm_t if transposed else library.spmm
            sampled = {"sample": draws[library.name], "key": KEY, "slope": slope}
            return way(connections, connections.weight, x, out, bias, activation, **sampled)

        found, expected = both(dtype, product)
        assert_allclose(found, expected, **TOLERANCE[dtype], err_msg=f"{n} samples")
        exact = reference.bernoulli(KEY, found, np.full_like(found, np.nan))
        assert draws["numpy"].tobytes() == exact.tobytes(), f"{n} samples"


@dtypes
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("activation", "slope"), KINDS)
def test_products_with_gates(dtype, transposed, activation, slope):
    connections, n_rows = rows_of_every_length(dtype, transposed), len(COUNTS)
    for n in SIZES:
        x = normal((N, n), dtype, n)
        seen = normal((n_rows, n), "float64", n)
        gate = Gate(activation, (seen if slope else ACTIVATIONS[activation](seen)).astype(dtype), slope)

        def product(library, n=n, x=x, gate=gate):
            way = library.spmm_t if transposed else library.spmm
            return way(connections, connections.weight, x, np.full((n_rows, n), np.nan, dtype), gate=gate)

        found, expected = both(dtype, product)
        assert_allclose(found, expected, **TOLERANCE[dtype], err_msg=f"{n} samples")


@dtypes
@pytest.mark.parametrize("n_pairs", [1, 2, 3])
def test_sampled_products(dtype, n_pairs):
    """The later pairs are added, also where groups of connections overlap; one of them has a length of its own."""
    connections, n_rows = rows_of_every_length(dtype), len(COUNTS)
    for n in SIZES:
        lengths = [n, n + 5, n][:n_pairs]
        pairs = [
            SignedPair(sign, normal((N, length), dtype, n), normal((n_rows, length), dtype, n + 1))
            for sign, length in zip((-0.5, 2.0, 0.25), lengths)
        ]
        found, expected = both(
            dtype, lambda library, pairs=pairs: library.sddmm(connections, pairs, np.full(N, np.nan, dtype))
        )
        assert_allclose(found, expected, **{key: 10 * value for key, value in TOLERANCE[dtype].items()})


@dtypes
@pytest.mark.parametrize("n", [1, 3, 8, 10, 33])
def test_the_sigmoid_is_accurate_from_end_to_end(dtype, n):
    """One connection of weight 1 a unit, so that only the activation is left to be wrong."""
    n_units = 20_000 // n
    pattern = Pattern.from_keys(n_units, n_units, np.arange(n_units) * (n_units + 1))
    connections = Connections(get_backend("numpy", dtype), pattern, np.ones(n_units))
    z = np.linspace(-87, 88, n_units * n).reshape(n, n_units).T.astype(dtype, order="C")
    assert (z.min(), z.max()) == (-87, 88)
    exact = ACTIVATIONS["sigmoid"](z.astype(float))
    out = connections.backend.spmm(connections, connections.weight, z, np.empty_like(z), activation="sigmoid")
    assert np.abs(out / exact - 1).max() <= {"float32": 2e-6, "float64": 1e-14}[dtype]


def test_arrays_that_are_not_contiguous_are_refused():
    pytest.importorskip("numba")
    library = get_backend("numpy", "float32")
    connections = wired(library, 9, 8, 40, dtype="float32")
    x, out = np.ones((9, 20), np.float32), np.empty((8, 10), np.float32)
    with pytest.raises(Exception, match="C-contiguous"):
        library.spmm(connections, connections.weight, x[:, ::2], out)
