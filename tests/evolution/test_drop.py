"""The drop rule against a table worked out by hand, and what holds for any weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import even

from sparserbm.backends import get_backend
from sparserbm.evolution.drop import ConnectionsView, SignedMagnitude, mark_nearest_zero
from sparserbm.network.connections import Connections, Pattern

# Three weights of zero, four positive, three negative.
WEIGHTS = np.array([0.4, 0.0, -0.1, 0.9, -0.0, 0.05, -0.7, 0.2, -0.3, 0.0])


def view(weight):
    """One unit with a connection of each of these weights."""
    pattern = Pattern.from_keys(max(len(weight), 1), 1, np.arange(len(weight)))
    return ConnectionsView(Connections(get_backend("reference", "float64"), pattern, weight), step=0)


def dropped(weight, count, seed=0):
    return np.flatnonzero(SignedMagnitude().select(view(weight), count, np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (3, [1, 4, 9]),  # zeros, of either sign, go first
        (4, [1, 4, 5, 9]),  # 1 more: 4/7 of it is positive
        (5, [1, 2, 4, 5, 9]),  # 2 more: 8/7 positive
        (6, [1, 2, 4, 5, 7, 9]),  # 3 more: 12/7 positive
        (7, [1, 2, 4, 5, 7, 8, 9]),  # 4 more: 16/7 positive
        (8, [0, 1, 2, 4, 5, 7, 8, 9]),  # 5 more: 20/7 positive
        (9, [0, 1, 2, 4, 5, 6, 7, 8, 9]),  # 6 more: 24/7 positive
        (10, list(range(10))),
    ],
)
def test_a_table_worked_out_by_hand(count, expected):
    assert dropped(WEIGHTS, count).tolist() == expected


def test_signs_with_different_scales_are_judged_apart():
    """Plain magnitude would take all of the small negatives."""
    random = np.random.default_rng(0)
    weight = np.concatenate([random.normal(1.0, 0.1, 900), -np.abs(random.normal(0.01, 0.001, 100))])
    index = dropped(weight, 300)
    assert (index < 900).sum() == 270
    assert (index >= 900).sum() == 30


@pytest.mark.parametrize("sign", [1, -1])
def test_one_sign_alone(sign):
    weight = sign * np.array([3.0, 1.0, 2.0, 5.0])
    assert dropped(weight, 2).tolist() == [1, 2]
    assert dropped(weight, 4).tolist() == [0, 1, 2, 3]


@given(st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]), max_size=40), st.data())
def test_the_count_is_exact_and_the_kept_are_larger(values, data):
    weight = np.array(values)
    count = data.draw(st.integers(0, len(weight)))
    mark = SignedMagnitude().select(view(weight), count, np.random.default_rng(0))
    assert mark.dtype == bool
    assert mark.sum() == count
    if count < (weight == 0).sum():
        assert not np.any(mark & (weight != 0))
    else:
        assert mark[weight == 0].all()
        positive, negative = mark & (weight > 0), mark & (weight < 0)
        share = (count - (weight == 0).sum()) * (weight > 0).sum() / max((weight != 0).sum(), 1)
        assert abs(positive.sum() - share) <= 0.5
        for going, sign in ((positive, weight > 0), (negative, weight < 0)):
            staying = sign & ~mark
            if going.any() and staying.any():
                assert np.abs(weight[going]).max() <= np.abs(weight[staying]).min()


@pytest.mark.parametrize("value", [0.0, 0.5, -0.5])
def test_ties_are_broken_by_chance_not_by_place(value):
    weight = np.full(20, value)
    counts = sum(np.bincount(dropped(weight, 6, seed), minlength=20) for seed in range(1500))
    assert 1e-3 < even(counts, 1500 * 0.3 * 0.7 * 20 / 19) < 1 - 1e-3


def test_the_same_generator_breaks_ties_alike():
    weight = np.full(20, 0.5)
    assert dropped(weight, 6, seed=3).tolist() == dropped(weight, 6, seed=3).tolist()
    assert dropped(weight, 6, seed=3).tolist() != dropped(weight, 6, seed=4).tolist()


def test_the_order_of_the_connections_does_not_matter():
    """Without ties the same weights go, whatever their places."""
    weight = np.random.default_rng(1).normal(size=50)
    order = np.random.default_rng(2).permutation(50)
    assert set(weight[dropped(weight, 15)]) == set(weight[order][dropped(weight[order], 15)])


@given(st.lists(st.integers(-5, 5), max_size=30), st.integers(0, 35), st.sampled_from([1.0, -1.0]))
def test_the_nearest_to_zero_are_those_of_a_sort(values, count, sign):
    """Of one sign; marks that were set before, here on the zeros, stay."""
    values = np.array(values, dtype=float)
    before, mark, sizes = values.copy(), values == 0, sign * values
    mark_nearest_zero(mark, values, sign, count, np.random.default_rng(0))
    assert mark[values == 0].all()
    assert not mark[sizes < 0].any()
    among = sizes[sizes > 0]
    chosen = sizes[mark & (sizes > 0)]
    assert len(chosen) == min(count, len(among))
    assert sorted(chosen) == sorted(among)[:count]
    assert np.array_equal(values, before)
