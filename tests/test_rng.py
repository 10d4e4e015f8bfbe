"""Streams on the host, and places drawn without repetition: exact counts, and every place equally likely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import even
from scipy.stats import chisquare, hypergeom

from sparserbm.rng import DrawKey, Streams, distinct_ranks

FAIR = (1e-3, 1 - 1e-3)  # a p-value outside is either uneven or too even to be chance


def test_the_same_call_gives_the_same_numbers():
    first = Streams(5).host("grow", step=3, index=1).random(4)
    again = Streams(5).host("grow", step=3, index=1).random(4)
    assert first.tobytes() == again.tobytes()


def test_every_part_of_the_name_makes_another_stream():
    calls = [
        (seed, stream, step, index) for seed in (0, 1) for stream in ("a", "b") for step in (0, 1) for index in (0, 1)
    ]
    drawn = {Streams(seed).host(stream, step, index).random() for seed, stream, step, index in calls}
    assert len(drawn) == len(calls)


def test_device_keys_count_draws_and_depend_on_seed_and_stream():
    draws = Streams(7).draws("activities", 12)
    keys = [draws.next() for _ in range(3)]
    assert [key.draw for key in keys] == [0, 1, 2]
    assert {key.step for key in keys} == {12}
    assert len({key[:2] for key in keys}) == 1
    others = [Streams(8).draws("activities", 12).next(), Streams(7).draws("sample", 12).next()]
    assert len({key[:2] for key in [keys[0], *others]}) == 3
    assert all(0 <= word < 2**32 for key in keys for word in key)
    assert Streams(7).draws("activities", 2**32 + 5).next().step == 5  # a counter word has 32 bits


def test_keys_of_a_seed_never_change():
    """A run must be repeatable in later versions: these words come from version 0.1."""
    assert Streams(0).draws("activities", 0).next() == DrawKey(3452764956, 468200024, 0, 0)
    assert Streams(0).host("wiring").bit_generator.random_raw() == 7561580109687825059


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (0.5, TypeError), ("0", TypeError), (None, TypeError)])
def test_seeds_are_whole_and_not_negative(seed, error):
    with pytest.raises(error, match="seed"):
        Streams(seed)
    assert Streams(np.int64(3)).seed == 3


@given(st.integers(0, 60), st.data())
def test_distinct_ranks_are_distinct_sorted_and_counted(n_places, data):
    count = data.draw(st.integers(0, n_places))
    ranks = distinct_ranks(np.random.default_rng(data.draw(st.integers(0, 99))), n_places, count)
    assert ranks.dtype == np.int64
    assert len(ranks) == count
    assert np.all(np.diff(ranks) > 0)
    assert count == 0 or (ranks[0] >= 0 and ranks[-1] < n_places)


def test_more_ranks_than_places_are_refused():
    for count in (-1, 4):
        with pytest.raises(ValueError, match=f"{count} distinct numbers out of 3"):
            distinct_ranks(np.random.default_rng(0), 3, count)


def test_memory_does_not_depend_on_the_places():
    ranks = distinct_ranks(np.random.default_rng(0), 10**15, 5)
    assert len(ranks) == 5
    assert ranks[-1] > 10**12


@pytest.mark.parametrize("density", [0.01, 0.5, 0.95])
def test_every_rank_is_equally_likely(density):
    n, repeats = 200, 500
    count = round(density * n)
    generator = np.random.default_rng(17)
    counts = sum(np.bincount(distinct_ranks(generator, n, count), minlength=n) for _ in range(repeats))
    variance = repeats * density * (1 - density) * n / (n - 1)
    assert FAIR[0] < even(counts, variance) < FAIR[1]


@pytest.mark.parametrize("count", [2, 3])
def test_every_set_of_ranks_is_equally_likely(count):
    generator = np.random.default_rng(23)
    sets = [tuple(distinct_ranks(generator, 5, count)) for _ in range(5000)]
    found = {chosen: sets.count(chosen) for chosen in set(sets)}
    assert len(found) == 10
    assert FAIR[0] < chisquare(list(found.values())).pvalue < FAIR[1]


# -- large numbers of ranks, which are thinned out by ranks -----------------------------------------------------------


@given(st.integers(0, 1000), st.data())
def test_large_numbers_of_ranks_are_distinct_sorted_and_counted(n_places, data):
    count = data.draw(st.integers(0, n_places))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparserbm.rng.LARGE", 100)
        ranks = distinct_ranks(np.random.default_rng(data.draw(st.integers(0, 99))), n_places, count)
    assert ranks.dtype == np.int64
    assert len(ranks) == count
    assert np.all(np.diff(ranks) > 0)
    assert count == 0 or (ranks[0] >= 0 and ranks[-1] < n_places)


@pytest.mark.parametrize("count", [150, 400, 1000, 1600])
def test_every_rank_of_many_is_equally_likely(monkeypatch, count):
    monkeypatch.setattr("sparserbm.rng.LARGE", 100)
    n, repeats = 2000, 300
    generator = np.random.default_rng(41)
    counts = np.zeros(n)
    for _ in range(repeats):
        ranks = distinct_ranks(generator, n, count)
        assert len(ranks) == count
        assert np.all(np.diff(ranks) > 0)
        counts[ranks] += 1
    share = count / n
    assert FAIR[0] < even(counts, repeats * share * (1 - share) * n / (n - 1)) < FAIR[1]


@pytest.mark.parametrize("count", [400, 1600])
def test_many_ranks_do_not_cling_together(monkeypatch, count):
    """How many are in the lower half follows the hypergeometric distribution, as for any set without repetition."""
    monkeypatch.setattr("sparserbm.rng.LARGE", 100)
    generator = np.random.default_rng(43)
    lower = [int(np.sum(distinct_ranks(generator, 2000, count) < 1000)) for _ in range(1000)]
    law = hypergeom(2000, 1000, count)
    edges = law.ppf(np.linspace(0, 1, 11)[1:-1])
    expected = np.diff(law.cdf([-np.inf, *edges, np.inf]))
    observed = np.bincount(np.searchsorted(edges, lower, side="left"), minlength=len(expected))
    assert FAIR[0] < chisquare(observed, 1000 * expected).pvalue < FAIR[1]
