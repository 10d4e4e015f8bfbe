"""First patterns and first weights: exact counts, and nothing favoured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import even
from scipy import sparse

from sparserbm import (
    ERK,
    Dense,
    ErdosRenyi,
    FixedFanIn,
    FromScipy,
    HeDense,
    HeSparse,
    Normal,
    SideBySide,
    UniformDense,
    Zero,
)
from sparserbm.registry import parse, to_text

FAIR = (1e-3, 1 - 1e-3)
PAIRS = ((784, 300), (300, 100), (100, 10))


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.01, 1.0), st.integers(0, 5))
def test_the_number_of_connections_is_exact(n_pre, n_post, density, seed):
    pattern = ErdosRenyi(density=density).pattern(n_pre, n_post, np.random.default_rng(seed))
    pattern.check()
    assert len(pattern) == round(density * n_pre * n_post)
    limit = n_pre * n_post / (n_pre + n_post)
    sparse = ErdosRenyi(epsilon=density * limit).pattern(n_pre, n_post, np.random.default_rng(seed))
    assert len(sparse) == round(density * limit * (n_pre + n_post))


def test_known_counts():
    assert ErdosRenyi(epsilon=11).count(784, 500) == 14124
    assert ErdosRenyi(epsilon=10).count(1024, 200) == 12240  # drawn with repetition it would be about 11,881
    assert ErdosRenyi(epsilon=0.5).count(10, 10) == 10


def test_an_epsilon_beyond_the_layer_names_the_limit():
    with pytest.raises(ValueError) as error:
        ErdosRenyi(epsilon=50).count(784, 50)
    assert str(error.value) == (
        "epsilon=50 asks for 41,700 connections but 784 x 50 has room for 39,200; use epsilon <= 47.0 or wiring=Dense()"
    )
    assert ErdosRenyi(epsilon=47.0).count(784, 50) <= 39_200
    assert ErdosRenyi(epsilon=50, clip=True).count(784, 50) == 39_200


@pytest.mark.parametrize("density", [0.02, 0.5, 0.97])
def test_no_row_and_no_column_is_favoured(density):
    n_pre, n_post = 200, 150
    pattern = ErdosRenyi(density=density).pattern(n_pre, n_post, np.random.default_rng(31))
    share = len(pattern) / pattern.n_places
    for degrees, n_units in ((pattern.fan_in(), n_post), (pattern.fan_out(), n_pre)):
        others = pattern.n_places / n_units
        # hypergeometric: the counts of all units together are fixed
        variance = others * share * (1 - share) * pattern.n_places / (pattern.n_places - 1)
        assert FAIR[0] < even(degrees, variance) < FAIR[1]


def test_the_seed_decides():
    first, again, other = (ErdosRenyi(density=0.1).pattern(50, 40, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first.keys, again.keys)
    assert len(np.intersect1d(first.keys, other.keys)) < 0.3 * len(first)


def test_every_unit_gets_its_fan_in():
    pattern = FixedFanIn(4).pattern(20, 300, np.random.default_rng(5))
    pattern.check()
    assert pattern.fan_in().tolist() == [4] * 300
    assert FAIR[0] < even(pattern.fan_out(), 300 * 0.2 * 0.8 * 20 / 19) < FAIR[1]
    assert FixedFanIn(20).pattern(20, 3, np.random.default_rng(5)).density == 1
    for wrong in (0, 21):
        with pytest.raises(ValueError, match=f"fan_in={wrong} is not possible with 20 inputs; use 1 to 20"):
            FixedFanIn(wrong).pattern(20, 3, np.random.default_rng(0))


def test_dense_is_full():
    pattern = Dense().pattern(5, 3, np.random.default_rng(0))
    assert pattern.keys.tolist() == list(range(15))


SIZES = st.lists(st.integers(1, 60), min_size=2, max_size=6)


@given(SIZES, st.floats(0.01, 1.0))
def test_one_density_for_the_network_is_kept_to_the_connection(sizes, density):
    pairs = list(zip(sizes, sizes[1:]))
    places = [n_pre * n_post for n_pre, n_post in pairs]
    density = max(density, min(1.0, 2 * sum(sizes) * len(sizes) / sum(places)))  # enough that no layer is left without
    rules = ERK(density).of_layers(sizes)
    patterns = [rule.pattern(*pair, np.random.default_rng(0)) for rule, pair in zip(rules, pairs)]
    counts = [len(pattern) for pattern in patterns]
    assert counts == [rule.count(*pair) for rule, pair in zip(rules, pairs)]
    assert sum(counts) == round(density * sum(places))
    # The layers that are not full have one epsilon, within the connection that rounding moves; no full one would fit it.
    epsilons = [count / sum(pair) for count, pair in zip(counts, pairs)]
    sparse = [layer for layer, count in enumerate(counts) if count < places[layer]]
    for layer in sparse:
        for other in range(len(pairs)):
            slack = 1 / sum(pairs[layer]) + 1 / sum(pairs[other])
            assert epsilons[other] <= epsilons[layer] + slack
            assert other not in sparse or epsilons[other] >= epsilons[layer] - slack


def test_the_layers_that_become_full_leave_the_rest_to_the_others():
    """784-300-100-10 at a tenth: 26,620 in all; the output layer would get 1,837 and has 1,000 places."""
    counts = [rule.count(*pair) for rule, pair in zip(ERK(0.1).of_layers([784, 300, 100, 10]), PAIRS)]
    assert counts == [18_714, 6_906, 1000]
    epsilon = (26_620 - 1000) / (1084 + 400)
    assert counts[:2] == [round(1084 * epsilon), round(400 * epsilon)]
    assert ERK(0.1).of_layers([784, 300, 100, 10])[2] == Dense()
    assert ERK(1.0).of_layers([5, 4, 3]) == [Dense(), Dense()]
    assert parse("wiring", "erk(density=0.1)") == ERK(0.1)


def test_one_layer_alone_has_the_density():
    assert ERK(0.3).of_layers([20, 10]) == [ErdosRenyi(density=0.3)]
    assert ERK(0.3).count(20, 10) == len(ERK(0.3).pattern(20, 10, np.random.default_rng(0))) == 60
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"density={wrong} is not possible; use a number above 0, at most 1"):
            ERK(wrong)
    with pytest.raises(ValueError, match="density=0.001 leaves the layer 4 x 2 without a connection; use more"):
        ERK(0.001).of_layers([50, 40, 4, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give one of the two"),
        ({"epsilon": 1, "density": 0.1}, "give one of the two"),
        ({"epsilon": 0}, "epsilon=0 is not possible"),
        ({"epsilon": float("nan")}, "epsilon=nan is not possible"),
        ({"density": 0.0}, "density=0.0 is not possible; use a number above 0, at most 1"),
        ({"density": 1.1}, "density=1.1 is not possible"),
    ],
)
def test_impossible_densities(arguments, message):
    with pytest.raises(ValueError, match=message):
        ErdosRenyi(**arguments)


# -- weights ---------------------------------------------------------------------------------------------------------

N = 40_000
FAN_IN = np.repeat([1, 2, 8, 50], N // 4)


@pytest.mark.parametrize(
    ("scale", "deviation"),
    [
        (Normal(0.3), np.full(4, 0.3)),
        (HeSparse(), np.sqrt(2 / np.array([1, 2, 8, 50]))),
        (HeDense(), np.full(4, np.sqrt(2 / 200))),
        (UniformDense(), np.full(4, 1 / np.sqrt(3 * 200))),
        (parse("weights", "set"), np.full(4, 0.1)),
        (parse("weights", "set_rbm"), np.full(4, 0.05)),
        (parse("weights", "hinton"), np.full(4, 0.01)),
    ],
)
def test_the_spread_of_the_weights(scale, deviation):
    drawn = scale.draw(np.random.default_rng(0), FAN_IN, 200).reshape(4, -1)
    assert drawn.mean(axis=1) == pytest.approx(np.zeros(4), abs=4 * deviation.max() / np.sqrt(N / 4))
    assert drawn.std(axis=1) == pytest.approx(deviation, rel=4 / np.sqrt(N / 2))


def test_bounds_and_zeros():
    uniform = UniformDense().draw(np.random.default_rng(0), FAN_IN, 16)
    assert np.abs(uniform).max() <= 0.25
    assert np.abs(uniform).max() > 0.249
    assert not Zero().draw(np.random.default_rng(0), FAN_IN, 16).any()
    assert np.isfinite(HeSparse().draw(np.random.default_rng(0), np.zeros(3, int), 16)).all()  # biases of lone units


def test_wirings_side_by_side():
    rule = SideBySide(("fixed_fan_in(3)", Dense()), (10, 4))
    pattern = rule.pattern(14, 6, np.random.default_rng(0))
    pattern.check()
    assert len(pattern) == rule.count(14, 6) == 6 * 3 + 24
    assert (pattern.fan_out()[10:] == 6).all()
    assert (pattern.fan_in() == 7).all()
    alone = FixedFanIn(3).pattern(10, 6, np.random.default_rng(0))
    assert np.array_equal(pattern.pre[pattern.pre < 10], alone.pre)
    assert parse("wiring", to_text(rule)) == rule
    with pytest.raises(ValueError, match=r"are 14 units, and the layer has 13 inputs"):
        rule.pattern(13, 6, np.random.default_rng(0))
    with pytest.raises(ValueError, match="2 wirings for 1 groups"):
        SideBySide(("dense", "dense"), (4,))
    with pytest.raises(ValueError, match="brings its own weights"):
        SideBySide((FromScipy(sparse.eye(3, format="csr")),), (3,))
