"""Patterns: rows in blocks, places kept, and absent places by their rank, against lists of keys."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from problems import blocks_of, even

from sparserbm.network.connections import Pattern
from sparserbm.network.slots import BLOCK
from sparserbm.rng import distinct_ranks

FAIR = (1e-3, 1 - 1e-3)
blocks = pytest.mark.parametrize("block", [1, 7, BLOCK])


@st.composite
def patterns(draw):
    """Up to 12 x 9 units, from no connection to many blocks of 7."""
    n_pre, n_post = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    keys = draw(st.lists(st.integers(0, n_pre * n_post - 1), unique=True, max_size=60))
    return Pattern.from_keys(n_pre, n_post, np.array(sorted(keys), np.int64))


def test_a_pattern_of_known_places():
    pattern = Pattern.from_keys(4, 3, np.array([0, 2, 3, 8, 11]))  # unit 1 has no inputs
    assert pattern.indptr.tolist() == [0, 3, 3, 5]
    assert pattern.pre.tolist() == [0, 2, 3, 0, 3]
    assert pattern.post.tolist() == [0, 0, 0, 2, 2]
    assert pattern.keys.tolist() == [0, 2, 3, 8, 11]
    assert pattern.fan_in().tolist() == [3, 0, 2]
    assert pattern.fan_out().tolist() == [2, 0, 1, 2]
    assert (len(pattern), pattern.n_places, pattern.density) == (5, 12, 5 / 12)


@pytest.mark.parametrize(
    ("indptr", "pre", "message"),
    [
        ([0, 1], [0], "does not describe 2 rows of 1"),
        ([0, 1, 3], [0, 1], "does not describe"),
        ([1, 1, 2], [0, 1], "does not describe"),
        ([0, 2, 1], [0], "does not describe"),
        ([0, 1, 2], [0, 3], "outside 0 to 2"),
        ([0, 1, 2], [-1, 0], "outside 0 to 2"),
        ([0, 2, 2], [1, 0], "not sorted and unique"),
        ([0, 2, 2], [1, 1], "not sorted and unique"),
    ],
)
def test_malformed_patterns_are_found(indptr, pre, message):
    with pytest.raises(ValueError, match=message):
        Pattern(3, 2, np.array(indptr), np.array(pre)).check()


# -- blocks ----------------------------------------------------------------------------------------------------------


@blocks
@given(fan_in=st.lists(st.integers(0, 20), min_size=1, max_size=30))
@example(fan_in=[0, 0, 0])  # no connections
@example(fan_in=[1000])
@example(fan_in=[0, 3, 1000, 0, 0])
@example(fan_in=[7, 0, 0, 7, 0])
def test_blocks_cover_all_rows_once(block, fan_in):
    """In order, as many rows together as fit, and a row alone that does not fit."""
    pre = np.concatenate([np.arange(n) for n in fan_in])
    pattern = Pattern(max(*fan_in, 1), len(fan_in), np.cumsum([0, *fan_in]), pre)
    with blocks_of(block):
        found = list(pattern.blocks())
    assert [units.start for units, _ in found] == [0, *(units.stop for units, _ in found[:-1])]
    assert found[-1][0].stop == len(fan_in)
    for units, connections in found:
        assert units.stop > units.start
        ends = pattern.indptr[[units.start, units.stop]].tolist()
        assert [connections.start, connections.stop] == ends
        assert ends[1] - ends[0] <= block or units.stop == units.start + 1
        if units.stop < len(fan_in):
            assert pattern.indptr[units.stop + 1] - ends[0] > block  # the next row would not have fitted
        mine = (pattern.keys >= units.start * pattern.n_pre) & (pattern.keys < units.stop * pattern.n_pre)
        assert pattern.keys_of(units).tolist() == pattern.keys[mine].tolist()


@blocks
@given(patterns())
def test_a_pattern_is_its_keys(block, pattern):
    with blocks_of(block):
        again = Pattern.from_keys(pattern.n_pre, pattern.n_post, pattern.keys)
        fan_out = again.fan_out()
    again.check()
    assert fan_out.tolist() == np.bincount(pattern.keys % pattern.n_pre, minlength=pattern.n_pre).tolist()
    assert again.fan_in().tolist() == np.bincount(pattern.keys // pattern.n_pre, minlength=pattern.n_post).tolist()
    assert again.pre.tolist() == (pattern.keys % pattern.n_pre).tolist()
    assert again.post.tolist() == (pattern.keys // pattern.n_pre).tolist()


@blocks
@given(patterns(), st.data())
def test_what_is_kept_are_the_places_that_are_marked(block, pattern, data):
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(pattern), max_size=len(pattern))), bool)
    before = pattern.keys
    with blocks_of(block):
        kept = pattern.keeping(keep)
    kept.check()
    assert kept.keys.tolist() == before[keep].tolist()
    assert (kept.n_pre, kept.n_post) == (pattern.n_pre, pattern.n_post)
    assert pattern.keys.tolist() == before.tolist()


# -- absent places ---------------------------------------------------------------------------------------------------


def absent_keys(generator, present, n_pre, n_post, count):
    """`count` absent places, drawn as a grow rule does."""
    pattern = Pattern.from_keys(n_pre, n_post, np.asarray(present, np.int64))
    return pattern.absent_keys(distinct_ranks(generator, pattern.n_places - len(pattern), count))


@blocks
@given(patterns(), st.data())
def test_absent_places_by_their_rank(block, pattern, data):
    absent = np.setdiff1d(np.arange(pattern.n_places), pattern.keys)
    some = st.sets(st.integers(0, len(absent) - 1)) if len(absent) else st.just(set())
    ranks = np.array(sorted(data.draw(some)), np.int64)
    with blocks_of(block):
        assert pattern.absent_keys(ranks).tolist() == absent[ranks].tolist()
        assert pattern.absent_keys(np.arange(len(absent))).tolist() == absent.tolist()


@blocks
@given(patterns(), st.data())
def test_absent_keys_are_absent_distinct_and_counted(block, pattern, data):
    present = pattern.keys
    count = data.draw(st.integers(0, pattern.n_places - len(present)))
    with blocks_of(block):
        keys = absent_keys(np.random.default_rng(1), present, pattern.n_pre, pattern.n_post, count)
    assert keys.dtype == np.int64
    assert len(keys) == count
    assert np.all(np.diff(keys) > 0)
    assert not set(keys) & set(present)
    assert set(keys) <= set(range(pattern.n_places))


def test_all_absent_places_can_be_taken():
    assert absent_keys(np.random.default_rng(0), [1, 2, 5], 7, 1, 4).tolist() == [0, 3, 4, 6]
    assert absent_keys(np.random.default_rng(0), [1, 2, 5], 4, 2, 5).tolist() == [0, 3, 4, 6, 7]
    assert absent_keys(np.random.default_rng(0), [], 3, 1, 3).tolist() == [0, 1, 2]


@blocks
@pytest.mark.parametrize("empty", [0, 6, 11])
@pytest.mark.parametrize(("n_pre", "n_post"), [(12, 1), (3, 4), (1, 12)])
def test_the_one_empty_place_is_found(block, empty, n_pre, n_post):
    present = np.delete(np.arange(12), empty)
    with blocks_of(block):
        assert absent_keys(np.random.default_rng(0), present, n_pre, n_post, 1).tolist() == [empty]


def test_a_full_layer_has_no_absent_place():
    assert len(absent_keys(np.random.default_rng(0), np.arange(12), 4, 3, 0)) == 0
    with pytest.raises(ValueError, match="1 distinct numbers out of 0"):
        absent_keys(np.random.default_rng(0), np.arange(12), 4, 3, 1)


@pytest.mark.parametrize("block", [7, BLOCK])
@pytest.mark.parametrize("density", [0.01, 0.5, 0.95])
def test_every_absent_place_is_equally_likely(block, density):
    n, repeats = 2000, 200
    present = np.sort(np.random.default_rng(3).choice(n, round(density * n), replace=False))
    absent = np.setdiff1d(np.arange(n), present)
    share, generator = 0.3, np.random.default_rng(29)
    count = round(share * len(absent))
    with blocks_of(block):
        drawn = sum(np.bincount(absent_keys(generator, present, 50, 40, count), minlength=n) for _ in range(repeats))
    assert drawn[present].sum() == 0
    variance = repeats * share * (1 - share) * len(absent) / (len(absent) - 1)
    assert FAIR[0] < even(drawn[absent], variance) < FAIR[1]
