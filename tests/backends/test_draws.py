"""Random numbers on the device: published answers, the same bits everywhere, and the right distributions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import even, hosted
from scipy.special import log_ndtr, ndtri, softmax
from scipy.stats import chisquare, kstest

from sparserbm.backends.base import LANES, TILE
from sparserbm.backends.reference import (
    normal_from_words,
    philox4x32,
    philox_words,
    portable_cos_sin,
    portable_log,
    unit_interval,
)
from sparserbm.rng import DrawKey

# Random123, file kat_vectors, philox4x32 with 10 rounds: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
KEY = DrawKey(0xDEADBEEF, 0x12345678, 9, 3)
FAIR = (1e-3, 1 - 1e-3)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_published_words(counter, key, result):
    assert [int(word) for word in philox4x32(counter, *key)] == list(result)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_the_compiled_philox_gives_the_published_words(counter, key, result):
    numba = pytest.importorskip("numba")
    from sparserbm.backends.vector_draws import fill_tile

    @numba.njit
    def fill(tile, unit, key0, key1, step, draw, words):
        fill_tile(tile, unit, key0, key1, step, draw, words)

    words = np.zeros(TILE, np.uint32)
    tile, lane = divmod(counter[0], LANES)
    fill(tile, counter[1], *key, counter[3], counter[2], words)
    assert words[lane::LANES].tolist() == list(result)


def test_a_word_belongs_to_a_unit_and_a_sample():
    words = philox_words(KEY, (3, 100))
    for unit, sample in ((0, 0), (2, 7), (1, 8), (0, 31), (1, 32), (2, 99)):
        counter = (8 * (sample // 32) + sample % 8, unit, KEY.draw, KEY.step)
        assert words[unit, sample] == philox4x32(counter, KEY.key0, KEY.key1)[sample % 32 // 8]


def draw(backend, kind, shape, dtype, key=KEY, mean=0.3):
    backend = hosted(backend, dtype)
    out = np.full(shape, np.nan, dtype)
    if kind == "bernoulli":
        return backend.bernoulli(key, np.full(shape, mean, dtype), out)
    return getattr(backend, kind)(key, out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uniform", "normal", "bernoulli"])
def test_all_backends_draw_the_same_bits(backend, kind, dtype):
    whole = draw("reference", kind, (3, 100), dtype)
    for n_samples in (1, 31, 32, 33, 100):
        drawn = draw(backend, kind, (3, n_samples), dtype)
        assert drawn.dtype == dtype
        # the value of an element does not depend on how many others there are
        assert drawn.tobytes() == np.ascontiguousarray(whole[:, :n_samples]).tobytes()
    assert draw(backend, kind, (2, 33), dtype).tobytes() == np.ascontiguousarray(whole[:2, :33]).tobytes()


@pytest.mark.parametrize("changed", [{"key0": 1}, {"key1": 1}, {"step": 10}, {"draw": 4}])
def test_every_part_of_the_key_counts(backend, changed):
    first = draw(backend, "uniform", (50, 100), "float64")
    other = draw(backend, "uniform", (50, 100), "float64", KEY._replace(**changed))
    assert not np.any(first == other)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(first.size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_draws_are_uniform(backend, dtype):
    drawn = draw(backend, "uniform", (100, 1000), dtype).astype(float)
    n = drawn.size
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / n))
    assert drawn.var() == pytest.approx(1 / 12, abs=4 * np.sqrt(1 / 180 / n))
    assert FAIR[0] < chisquare(np.histogram(drawn, 256, (0, 1))[0]).pvalue < FAIR[1]
    neighbours = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    units = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    assert max(abs(neighbours), abs(units)) < 4 / np.sqrt(n)


def test_normal_draws_are_normal(backend):
    drawn = draw(backend, "normal", (100, 1000), "float64")
    n = drawn.size
    assert drawn.mean() == pytest.approx(0, abs=4 / np.sqrt(n))
    assert drawn.var() == pytest.approx(1, abs=4 * np.sqrt(2 / n))
    assert (drawn**3).mean() == pytest.approx(0, abs=4 * np.sqrt(15 / n))
    assert (drawn**4).mean() == pytest.approx(3, abs=4 * np.sqrt(96 / n))
    assert FAIR[0] < kstest(drawn.ravel(), "norm").pvalue < FAIR[1]
    # cosine and sine of one angle land eight samples apart: they must not hang together
    assert abs(np.corrcoef(drawn[:, :-8].ravel(), drawn[:, 8:].ravel())[0, 1]) < 4 / np.sqrt(n)


def test_bernoulli_draws_have_their_means(backend):
    backend = hosted(backend, "float64")
    mean = np.repeat(np.array([[0.0], [0.01], [0.5], [0.93], [1.0]]), 20_000, axis=1)
    drawn = backend.bernoulli(KEY, mean, np.empty_like(mean))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert not drawn[0].any()
    assert drawn[4].all()
    for p, row in zip((0.01, 0.5, 0.93), drawn[1:4]):
        assert row.mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / row.size))
        blocks = row.reshape(200, 100).sum(axis=1)
        assert FAIR[0] < even(blocks, 100 * p * (1 - p)) < FAIR[1]
    assert np.array_equal(backend.bernoulli(KEY, mean, mean), drawn)  # the means may be overwritten


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_bernoulli_draw_compares_the_uniform_draw_of_its_key(backend, dtype):
    """Strictly: a mean of 0 never gives 1, also where the uniform draw is 0."""
    uniform = draw(backend, "uniform", (3, 100), dtype)
    library = hosted(backend, dtype)
    assert not library.bernoulli(KEY, uniform, np.full_like(uniform, np.nan)).any()
    just_above = np.nextafter(uniform, np.ones_like(uniform))
    assert library.bernoulli(KEY, just_above, np.full_like(uniform, np.nan)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_categorical_draws_are_the_same_everywhere_and_have_their_probabilities(backend, dtype):
    library = hosted(backend, dtype)
    mean = np.repeat(np.array([0.1, 0.0, 0.6, 0.3, 1.0, 0.0, 0.0, 0.0])[:, None], 20_000, axis=1).astype(dtype)
    drawn = library.categorical(KEY, mean, np.full_like(mean, np.nan), 2)
    expected = hosted("reference", dtype).categorical(KEY, mean, np.full_like(mean, np.nan), 2)
    assert drawn.tobytes() == expected.tobytes()
    assert (drawn.reshape(2, 4, -1).sum(axis=1) == 1).all()
    assert not drawn[[1, 5, 6, 7]].any()  # a state without probability
    counts = drawn[[0, 2, 3]].sum(axis=1)
    assert FAIR[0] < chisquare(counts, 20_000 * np.array([0.1, 0.6, 0.3])).pvalue < FAIR[1]
    # the word of a draw is that of the group's row, wherever the state stands in the order
    uniform = draw(backend, "uniform", (2, 20_000), dtype)[0]
    assert np.array_equal(drawn[0] == 1, uniform < dtype_of(dtype)(0.1))
    narrow = library.categorical(KEY, mean[:, :33].copy(), np.full((8, 33), np.nan, dtype), 2)
    assert narrow.tobytes() == np.ascontiguousarray(drawn[:, :33]).tobytes()


def dtype_of(name):
    return np.dtype(name).type


def test_the_last_state_is_drawn_where_probabilities_sum_to_less_than_the_draw(backend):
    """Rounding leaves a little of 1 to nobody; a state without probability does not get it."""
    library = hosted(backend, "float64")
    mean = np.zeros((3, 500))
    mean[:2] = 1e-9
    drawn = library.categorical(KEY, mean, np.full_like(mean, np.nan), 1)
    assert drawn.sum(axis=1).tolist() == [0, 500, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncated_normal_draws_are_the_quantiles_of_the_uniform_draws(backend, dtype):
    """From far below 0, where the density is nearly exponential, to far above, where nothing is cut off."""
    z = (
        np.concatenate([np.linspace(-60, 40, 801), [-1e4, -1e3, -30.01, -29.99, 1e3]])
        .astype(dtype)[:, None]
        .repeat(64, 1)
    )
    drawn = hosted(backend, dtype).truncated_normal(KEY, z, np.full_like(z, np.nan))
    uniform = (philox_words(KEY, z.shape) + 0.5) * 2.0**-32
    assert (drawn >= 0).all()
    above, exact = drawn.astype(float), z.astype(float)
    tail = log_ndtr(exact - above) - log_ndtr(exact)  # log of the probability of more than was drawn
    near = exact >= -1e3
    scale = np.maximum(np.abs(np.log(uniform)), 1e-6)
    accuracy = {"float32": 2e-3, "float64": 1e-7}[dtype]
    common = near & (np.abs(exact) < 30)  # float32 rounds what is far from 0 by more
    assert (np.abs(tail - np.log(uniform))[common] < accuracy * np.maximum(scale[common], 1)).all()
    far = exact < -100
    assert_allclose(above[far], np.log(uniform[far]) / exact[far], rtol=1e-4)
    large = exact > 35
    assert_allclose(above[large], (exact + ndtri(1 - uniform))[large], rtol=1e-6)


def test_means_and_integrals_of_the_normal_distribution_above_0(backend):
    z = np.concatenate([np.linspace(-150, 40, 1901), [-1e6, -1e3, -100.0001, -4.0, -3.9999, 0.0, 1e3]])[None]
    library = hosted(backend, "float64")
    mean = library.truncated_mean(z, np.full_like(z, np.nan))
    integral = library.truncated_log_partition(z, np.full_like(z, np.nan))
    assert_allclose(integral, z**2 / 2 + log_ndtr(z) + np.log(2 * np.pi) / 2, rtol=1e-9, atol=2e-4)
    near = np.abs(z) < 20
    exact = z[near] + np.exp(-(z[near] ** 2) / 2 - log_ndtr(z[near])) / np.sqrt(2 * np.pi)
    assert_allclose(mean[near], exact, rtol=1e-9)
    below = z < -50
    assert_allclose(mean[below], -1 / z[below] + 2 / z[below] ** 3, rtol=5e-6)
    assert_allclose(np.diff(mean[0, :1901]) > 0, True)
    in_place = z.copy()
    assert np.array_equal(library.truncated_mean(in_place, in_place), mean)
    narrow = z.astype(np.float32)
    assert_allclose(hosted(backend, "float32").truncated_mean(narrow, np.empty_like(narrow)), mean, rtol=2e-6)


def test_softmax_of_groups(backend):
    z = np.random.default_rng(0).normal(0, 5, (12, 37))
    for groups in (1, 2, 6):
        exact = softmax(z.reshape(groups, -1, 37), axis=1).reshape(z.shape)
        assert_allclose(hosted(backend, "float64").softmax(z.copy(), groups), exact, rtol=1e-12)


def test_extreme_words_stay_in_range():
    words = np.array([[0, 0xFFFFFFFF]], np.uint32)
    for dtype in (np.float32, np.float64):
        low, high = unit_interval(words, dtype)[0]
        assert low == 0
        assert 0.999 < high < 1
    for word in (0, 0xFFFFFFFF):
        assert np.isfinite(normal_from_words(np.full((1, TILE), word, np.uint32))).all()
    lowest_radius = normal_from_words(np.zeros((1, TILE), np.uint32))
    assert lowest_radius.max() == pytest.approx(np.sqrt(-2 * np.log(2.0**-33)))


def test_the_written_out_functions_are_accurate():
    x = np.concatenate([np.geomspace(2.0**-33, 1, 2001), [0.5, 0.7071067811865475, 0.7071067811865476, 1 - 2.0**-33]])
    assert portable_log(x) == pytest.approx(np.log(x), rel=4e-16, abs=4e-16)
    turns = np.linspace(0, 1, 4001)[:-1]
    cosine, sine = portable_cos_sin(turns)
    assert cosine == pytest.approx(np.cos(2 * np.pi * turns), abs=2e-15)
    assert sine == pytest.approx(np.sin(2 * np.pi * turns), abs=2e-15)
