"""Exact log Z and the pseudo-likelihood, against all states."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import exact_log_z, exact_visible, parameters, states, tiny_rbm

from sparserbm import RBM, Bernoulli, Gaussian, log_likelihood, log_partition, pseudo_likelihood


@pytest.mark.parametrize(("n_visible", "n_hidden", "density"), [(9, 5, 0.4), (5, 9, 0.4), (4, 4, 1.0)])
def test_log_z_enumerates_the_smaller_side(backend, n_visible, n_hidden, density):
    rbm = tiny_rbm(backend, n_visible, n_hidden, density)
    assert log_partition(rbm) == pytest.approx(exact_log_z(rbm), rel=1e-12)
    assert_allclose(np.exp(log_likelihood(rbm, states(n_visible))), exact_visible(rbm), rtol=1e-10)


def test_more_than_one_block_of_states(backend):
    """Without weights, Z is a product over units; 13 units are two blocks."""
    rbm = tiny_rbm(backend, 20, 13, density=0.5)
    rbm.matrix.weight[:] = 0
    _, visible, hidden = parameters(rbm)
    expected = np.logaddexp(0, visible).sum() + np.logaddexp(0, hidden).sum()
    assert log_partition(rbm) == pytest.approx(expected, rel=1e-12)


def test_what_cannot_be_enumerated_is_said():
    big = RBM(Bernoulli(21), Bernoulli(22), wiring="dense", backend="reference")
    with pytest.raises(ValueError, match="smaller side, here 21 units; possible up to 20"):
        log_partition(big)
    gaussian = RBM(Gaussian(3), Bernoulli(2), wiring="dense", backend="reference")
    with pytest.raises(ValueError, match="exact log Z needs Bernoulli units on both sides"):
        log_partition(gaussian)
    with pytest.raises(ValueError, match="it needs Bernoulli visible units"):
        pseudo_likelihood(gaussian, np.zeros((2, 3)))


def conditional_logs(rbm):
    """log P(v_i | all other v) of every state and unit: (2**n, n)."""
    chance = exact_visible(rbm)
    n = rbm.visible.n
    flipped = np.arange(2**n)[:, None] ^ (1 << np.arange(n))
    return np.log(chance[:, None] / (chance[:, None] + chance[flipped]))


def test_the_pseudo_likelihood_is_that_of_one_unit(backend):
    rbm = tiny_rbm(backend, 5, 4, density=0.7)
    logs, found = conditional_logs(rbm), pseudo_likelihood(rbm, states(5), seed=3)
    assert np.all(np.isclose(found[:, None], 5 * logs, rtol=1e-9).any(axis=1))


def test_the_pseudo_likelihood_flips_every_unit_as_often(backend):
    rbm = tiny_rbm(backend, 5, 4, density=0.7)
    logs = conditional_logs(rbm)
    repeats = 1000
    mean = np.mean([pseudo_likelihood(rbm, states(5), seed=seed) for seed in range(repeats)], axis=0)
    error = 5 * logs.std(axis=1) / np.sqrt(repeats)
    assert np.all(np.abs(mean - 5 * logs.mean(axis=1)) < 4.5 * error)


def test_the_pseudo_likelihood_of_a_row_is_its_own(backend):
    """Whatever the other rows and their order, and with probabilities rounded to states."""
    rbm = tiny_rbm(backend, 5, 4)
    whole = pseudo_likelihood(rbm, states(5))
    assert np.array_equal(pseudo_likelihood(rbm, states(5)[::-1])[::-1], whole)
    assert np.array_equal(pseudo_likelihood(rbm, 0.2 + 0.6 * states(5)), whole)
    assert not np.array_equal(pseudo_likelihood(rbm, states(5), seed=1), whole)
