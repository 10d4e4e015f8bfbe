"""Parallel tempering has the distribution of the model, also where Gibbs chains stay in the mode they began in."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from problems import exact_visible, host, states
from scipy.stats import chisquare

from sparserbm import RBM, Bernoulli, Mixed, Potts, SparseRBM
from sparserbm.models.tempering import inverse_temperatures

CHAINS, SWEEPS = 4000, 60


def two_modes(backend):
    """All visible units on (probability 0.7 or so), or all off (0.3): no chain leaves a mode in a thousand sweeps."""
    rbm = RBM(Bernoulli(6), Bernoulli(2), wiring="dense", weights="zero", backend=backend, dtype="float64", seed=3)
    rbm.matrix.slots["weight"][...] = 9.0
    rbm.biases[0]["bias"][...] = -8.9
    rbm.biases[1]["bias"][...] = -27.0
    return rbm


@pytest.mark.draws
def test_the_modes_have_their_probabilities(backend):
    rbm = two_modes(backend)
    probability = exact_visible(rbm)
    modes = np.sort(probability)[-2:]
    assert modes.sum() > 0.99
    assert modes[0] > 0.05  # else there is nothing to find
    drawn = rbm.sample(CHAINS, sweeps=SWEEPS, temperatures=12, seed=1)
    counts = [int((drawn.sum(axis=1) == n).sum()) for n in range(7)]
    expected = [probability[states(6).sum(axis=1) == n].sum() * CHAINS for n in range(7)]
    ends = [counts[0], counts[6], sum(counts[1:6])]
    assert chisquare(ends, [expected[0], expected[6], sum(expected[1:6])]).pvalue > 1e-3
    plain = rbm.sample(CHAINS, sweeps=SWEEPS, seed=1)
    assert abs((plain.sum(axis=1) == 6).mean() - expected[6] / CHAINS) > 0.1  # what it is for


@pytest.mark.draws
@pytest.mark.parametrize("gates", [False, True])
def test_every_state_of_other_units_too(backend, gates):
    random = np.random.default_rng(0)
    visible = Mixed((Bernoulli(2), Potts(3)))
    rbm = RBM(visible, Potts(4, states=2), wiring="dense", gates=gates, backend=backend, dtype="float64", seed=5)
    rbm.matrix.slots["weight"][...] = rbm.backend.asarray(random.normal(0, 2, len(rbm.matrix)))
    if gates:
        rbm.biases[1]["gate"] = random.random(4)
    drawn = rbm.sample(CHAINS, sweeps=SWEEPS, temperatures=[0.0, 0.4, 0.7, 1.0], seed=2)
    long = rbm.sample(CHAINS, sweeps=400, seed=9)
    bits = 2 ** np.arange(5)
    _, index = np.unique(np.concatenate([drawn @ bits, long @ bits]), return_inverse=True)
    found, other = np.bincount(index[:CHAINS], minlength=12), np.bincount(index[CHAINS:], minlength=12)
    assert len(found) == 12
    pooled = (found + other) / 2
    assert (
        (found - pooled) ** 2 / pooled + (other - pooled) ** 2 / pooled
    ).sum() < 31.3  # chi-square, 11 degrees, 0.1 %


@pytest.mark.draws
def test_clamped_values_stay_and_the_others_follow(backend):
    rbm = two_modes(backend)
    clamp = np.full((200, 6), np.nan)
    clamp[:100, :2], clamp[100:, :2] = 0, 1
    drawn = rbm.sample(200, sweeps=30, temperatures=6, clamp=clamp)
    assert_array_equal(drawn[:, :2], clamp[:, :2])
    assert drawn[:100, 2:].mean() < 0.05 < 0.95 < drawn[100:, 2:].mean()


@pytest.mark.draws
def test_the_seed_decides_and_the_model_stays(backend):
    rbm = two_modes(backend)
    before = host(rbm.matrix.weight).copy()
    first, second, other = (rbm.sample(50, sweeps=5, temperatures=5, seed=seed) for seed in (1, 1, 2))
    assert_array_equal(first, second)
    assert (first != other).any()
    assert_array_equal(host(rbm.matrix.weight), before)


def test_replicas_that_never_trade_are_told():
    rbm = RBM(Bernoulli(60), Bernoulli(30), wiring="dense", weights="normal(5.0)", backend="numpy")
    with pytest.warns(UserWarning, match="of the trades between inverse temperatures 0 and 1 were accepted"):
        rbm.sample(20, sweeps=20, temperatures=[0.0, 1.0])


@pytest.mark.parametrize("given", [1, 0, True, [0.5], [0.0, 0.5], [0.0, 0.5, 0.5, 1.0], [-0.1, 1.0], [[0.0, 1.0]]])
def test_temperatures_that_are_none(given):
    with pytest.raises(ValueError, match="temperatures="):
        inverse_temperatures(given)


def test_the_estimator_hands_them_on():
    X = (np.random.default_rng(0).random((40, 8)) < 0.4).astype(float)
    model = SparseRBM(4, n_iter=2, random_state=0, backend="numpy").fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = model.sample(10, sweeps=5, random_state=0, temperatures=3)
    assert_array_equal(drawn, model.model_.sample(10, sweeps=5, seed=0, temperatures=3))
