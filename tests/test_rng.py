"""Streams on the host, and places drawn without repetition: exact counts, and every place equally likely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import even
from scipy.stats import chisquare

from sparserbm.rng import DrawKey, Streams, absent_keys, distinct_ranks

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


@given(st.integers(1, 60), st.data())
def test_absent_keys_are_absent_distinct_and_counted(n_places, data):
    present = np.array(sorted(data.draw(st.sets(st.integers(0, n_places - 1)))), dtype=np.int64)
    count = data.draw(st.integers(0, n_places - len(present)))
    keys = absent_keys(np.random.default_rng(1), present, n_places, count)
    assert len(keys) == count
    assert np.all(np.diff(keys) > 0)
    assert not set(keys) & set(present)
    assert set(keys) <= set(range(n_places))


def test_all_absent_places_can_be_taken():
    assert absent_keys(np.random.default_rng(0), np.array([1, 2, 5]), 7, 4).tolist() == [0, 3, 4, 6]
    assert absent_keys(np.random.default_rng(0), np.array([], dtype=np.int64), 3, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("empty", [0, 6, 11])
def test_the_one_empty_place_is_found(empty):
    present = np.delete(np.arange(12), empty)
    assert absent_keys(np.random.default_rng(0), present, 12, 1).tolist() == [empty]


def test_a_full_layer_has_no_absent_place():
    assert len(absent_keys(np.random.default_rng(0), np.arange(12), 12, 0)) == 0
    with pytest.raises(ValueError, match="1 distinct numbers out of 0"):
        absent_keys(np.random.default_rng(0), np.arange(12), 12, 1)


@pytest.mark.parametrize("density", [0.01, 0.5, 0.95])
def test_every_absent_place_is_equally_likely(density):
    n, repeats = 2000, 200
    present = np.sort(np.random.default_rng(3).choice(n, round(density * n), replace=False))
    absent = np.setdiff1d(np.arange(n), present)
    share, generator = 0.3, np.random.default_rng(29)
    count = round(share * len(absent))
    drawn = sum(np.bincount(absent_keys(generator, present, n, count), minlength=n) for _ in range(repeats))
    assert drawn[present].sum() == 0
    variance = repeats * share * (1 - share) * len(absent) / (len(absent) - 1)
    assert FAIR[0] < even(drawn[absent], variance) < FAIR[1]
