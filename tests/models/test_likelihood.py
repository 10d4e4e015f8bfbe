"""Exact log Z, log-likelihoods and pseudo-likelihoods, against all states."""

import warnings

import numpy as np
import pytest
from enumerated import PAIRS, small, written_out
from numpy.testing import assert_allclose
from problems import exact_log_z, exact_visible, parameters, states, tiny_rbm
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from sparserbm import (
    RBM,
    Bernoulli,
    FromScipy,
    Gaussian,
    LikelihoodWarning,
    Mixed,
    Partition,
    Potts,
    TruncatedGaussian,
    binarise,
    free_energy_gap,
    log_likelihood,
    log_partition,
    mean_log_likelihood,
    partition_function,
    pseudo_likelihood,
)
from sparserbm.models import likelihood
from sparserbm.models.enumeration import draw_exactly, smaller_side, states_of
from sparserbm.rng import Streams

pytestmark = pytest.mark.draws


@pytest.mark.parametrize(("n_visible", "n_hidden", "density"), [(9, 5, 0.4), (5, 9, 0.4), (4, 4, 1.0)])
def test_log_z_enumerates_the_smaller_side(backend, n_visible, n_hidden, density):
    rbm = tiny_rbm(backend, n_visible, n_hidden, density)
    assert log_partition(rbm) == pytest.approx(exact_log_z(rbm), rel=1e-12)
    assert_allclose(np.exp(log_likelihood(rbm, states(n_visible))), exact_visible(rbm), rtol=1e-10)


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_log_z_of_every_pair_of_types(backend, pair, gates):
    rbm = small(pair, backend, gates=gates)
    visible, measure, expected, log_z = written_out(rbm)
    assert log_partition(rbm) == pytest.approx(log_z, rel=1e-10)
    found = log_likelihood(rbm, visible)
    assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert logsumexp(found + measure) == pytest.approx(0, abs=1e-9)  # the probabilities sum to 1


def test_more_than_one_block_of_states(backend):
    """Without weights, Z is a product over units; 13 units are two blocks."""
    rbm = tiny_rbm(backend, 20, 13, density=0.5)
    rbm.matrix.weight[:] = 0
    _, visible, hidden = parameters(rbm)
    expected = np.logaddexp(0, visible).sum() + np.logaddexp(0, hidden).sum()
    seen = []
    assert log_partition(rbm, lambda done, total: seen.append((done, total))) == pytest.approx(expected, rel=1e-12)
    assert seen == [(4096, 8192), (8192, 8192)]


@pytest.mark.parametrize("gates", [False, True])
def test_a_network_without_connections(backend, gates):
    none = FromScipy(csr_matrix((3, 5)))
    rbm = RBM(Bernoulli(5), Bernoulli(3), wiring=none, gates=gates, backend=backend, dtype="float64")
    rbm.biases[0]["bias"] = np.array([0.0, 1, 2, -1, 5])
    expected = np.logaddexp(0, [0.0, 1, 2, -1, 5]).sum() + 3 * np.log(2)
    assert log_partition(rbm) == pytest.approx(expected, rel=1e-12)
    assert np.exp(log_likelihood(rbm, states(5))).sum() == pytest.approx(1)
    logs = -np.logaddexp(0, -np.array([0.0, 1, 2, -1, 5]) * (2 * states(5) - 1)).sum(axis=1)
    assert_allclose(pseudo_likelihood(rbm, states(5), exact=True), logs)
    assert_allclose(partition_function(rbm, method="ais", temperatures=3, chains=5).log_z, expected, atol=0.5)


def test_dead_units_and_silent_gates_count_as_they_should(backend):
    """A hidden unit without effect multiplies Z by 1 + exp(b) and changes no probability."""
    rbm = tiny_rbm(backend, 5, 4, gates=True)
    rbm.biases[1]["gate"] = np.array([0.7, 0.0, 1.0, 0.0])
    rest = tiny_rbm(backend, 5, 4, gates=True)
    rest.biases[1]["gate"] = np.array([0.7, 0.0, 1.0, 0.0])
    bias = np.array(parameters(rest)[2])
    bias[[1, 3]] = -1000.0
    rest.biases[1]["bias"] = bias
    more = np.logaddexp(0, parameters(rbm)[2][[1, 3]]).sum()
    assert log_partition(rbm) == pytest.approx(log_partition(rest) + more, rel=1e-12)
    assert_allclose(log_likelihood(rbm, states(5)), log_likelihood(rest, states(5)))


def test_what_cannot_be_enumerated_is_said():
    big = RBM(Bernoulli(21), Bernoulli(22), wiring="dense", backend="reference")
    with pytest.raises(ValueError, match="smaller side, here 21 units; possible up to 20; estimate it by AIS"):
        log_partition(big)
    with pytest.raises(ValueError, match="smaller side"):
        partition_function(big, method="exact")
    real = RBM(Gaussian(3), TruncatedGaussian(2), wiring="dense", backend="reference")
    with pytest.raises(ValueError, match="needs Bernoulli or Potts units on one side, and this model has gaussian"):
        log_partition(real)
    groups = RBM(Potts(42, states=3), Bernoulli(30), wiring="dense", backend="reference")
    with pytest.raises(ValueError, match=r"here 2\*\*22 of potts.*; possible up to 2\*\*20"):
        log_partition(groups)
    gaussian = RBM(Gaussian(3), Bernoulli(2), wiring="dense", backend="reference")
    with pytest.raises(ValueError, match="it needs Bernoulli visible units"):
        pseudo_likelihood(gaussian, np.zeros((2, 3)))


def test_which_side_is_enumerated():
    def side(visible, hidden):
        return smaller_side(RBM(visible, hidden, wiring="dense", backend="reference"))

    assert side(Bernoulli(20), Bernoulli(21)) == 0
    assert side(Bernoulli(21), Bernoulli(20)) == 1
    assert side(Gaussian(3), Bernoulli(20)) == 1
    assert side(Bernoulli(19), Gaussian(2)) == 0
    assert side(Potts(40, states=4), Bernoulli(100)) == 0  # 4**10 = 2**20
    assert side(Potts(44, states=4), Bernoulli(100)) is None
    assert side(Mixed((Bernoulli(3), Gaussian(1))), Bernoulli(100)) is None


def test_states_by_number():
    units = Mixed((Bernoulli(2), Potts(3), Potts(4, states=2)))
    found = states_of(units, np.arange(4 * 3 * 4))
    assert len(np.unique(found, axis=0)) == 48
    assert np.array_equal(found[0], [0, 0, 1, 0, 0, 1, 0, 1, 0])
    assert np.array_equal(found[1], [1, 0, 1, 0, 0, 1, 0, 1, 0])
    assert np.array_equal(found[4], [0, 0, 0, 1, 0, 1, 0, 1, 0])
    assert set(found[:, 2:5].sum(axis=1)) == {1}


@pytest.mark.parametrize("pair", ["more hidden", "bernoulli, bernoulli", "bernoulli, potts"])
def test_exact_samples(backend, pair):
    rbm, n = small(pair, backend, scale=1.0), 20_000
    visible, _, log_p, _ = written_out(rbm)
    drawn = rbm.backend.to_numpy(draw_exactly(rbm, n, Streams(0))).T
    numbers = drawn @ 2.0 ** np.arange(visible.shape[1])
    counts = np.array([(numbers == state @ 2.0 ** np.arange(visible.shape[1])).sum() for state in visible])
    chance = np.exp(log_p)
    assert counts.sum() == n
    assert np.all(np.abs(counts - n * chance) < 4.5 * np.sqrt(n * chance * (1 - chance)))


# -- means -------------------------------------------------------------------------------------------------------------


def test_mean_and_its_bounds():
    rbm = tiny_rbm("reference", 6, 4)
    X = states(6)[3:40]
    rows = log_likelihood(rbm, X)
    found = mean_log_likelihood(rbm, X)
    assert found.mean == found.lower == found.upper == pytest.approx(rows.mean())
    assert found.standard_error == pytest.approx(rows.std(ddof=1) / np.sqrt(37))
    assert found.n_samples == 37
    assert found.partition.method == "exact"
    between = mean_log_likelihood(rbm, X, Partition(7.0, method="ais", upper=7.5))
    assert between.upper - between.lower == pytest.approx(0.5)
    assert between.mean == between.upper == pytest.approx(found.mean + log_partition(rbm) - 7.0)
    assert mean_log_likelihood(rbm, X, Partition(7.0)).lower is None
    assert log_likelihood(rbm, X, 7.0).mean() == pytest.approx(between.mean)
    assert between.as_dict()["partition"]["width"] == pytest.approx(0.5)
    assert mean_log_likelihood(rbm, X[:1]).standard_error == np.inf


def test_grey_values_are_no_states():
    rbm = tiny_rbm("reference", 6, 4)
    grey = np.random.default_rng(0).random((5, 6))
    with pytest.warns(LikelihoodWarning, match=r"no log-likelihood of any data; draw states with binarise"):
        mean_log_likelihood(rbm, grey)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean_log_likelihood(rbm, binarise(grey))
        mixed = small((Mixed((Gaussian(2), Bernoulli(2))), Bernoulli(3)), "reference")
        mean_log_likelihood(mixed, np.column_stack([grey[:, :2], grey[:, :2] > 0.5]))
    with pytest.warns(LikelihoodWarning):
        mean_log_likelihood(mixed, grey[:, :4])


def test_free_energy_gap(backend):
    rbm = tiny_rbm(backend, 6, 4, dtype="float32")
    X, validation = states(6)[:20], states(6)[30:]
    expected = log_likelihood(rbm, X).mean() - log_likelihood(rbm, validation).mean()
    assert free_energy_gap(rbm, X, validation) == pytest.approx(expected, rel=1e-6)
    assert free_energy_gap(rbm, X, X) == 0


def test_large_energies_are_added_in_float64(backend):
    """In float32, a free energy of 200,000 nats would be known to 0.02."""
    rbm = tiny_rbm(backend, 20, 200, dtype="float32", seed=1)
    bias = np.random.default_rng(0).normal(2000, 1, 200).astype(np.float32)
    rbm.biases[1]["bias"] = bias
    rbm.matrix.weight[:] = 0
    v = np.eye(20)[[0, 5, 11]]
    visible = parameters(rbm)[1]
    assert_allclose(log_likelihood(rbm, v, 0.0), v @ visible + bias.astype(float).sum(), rtol=1e-13)


# -- pseudo-likelihood -------------------------------------------------------------------------------------------------


def conditional_logs(rbm):
    """log P(v_i | all other v) of every state and unit: (2**n, n)."""
    chance = np.exp(written_out(rbm)[2])
    n = rbm.visible.n
    numbers = states(n)[:, ::-1] @ 2.0 ** np.arange(n)  # `written_out` lets the last variable change fastest
    chance = chance[numbers.astype(int)]
    flipped = np.arange(2**n)[:, None] ^ (1 << np.arange(n))
    return np.log(chance[:, None] / (chance[:, None] + chance[flipped]))


@pytest.mark.parametrize("density", [0.5, 1.0])
@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("hidden", [Bernoulli(4), Gaussian(2, sigma=0.7), TruncatedGaussian(2), Potts(6, states=3)])
def test_the_exact_pseudo_likelihood_flips_every_bit(backend, hidden, gates, density):
    rbm = small((Bernoulli(5), hidden), backend, density=density, gates=gates)
    found = pseudo_likelihood(rbm, states(5), exact=True)
    assert_allclose(found, conditional_logs(rbm).sum(axis=1), rtol=1e-8)


@pytest.mark.parametrize("terms", [1, 70, 400])
def test_flips_in_blocks(backend, terms, monkeypatch):
    """Some visible units have no connections, some have more than a block holds."""
    monkeypatch.setattr(likelihood, "TERMS", terms)
    rbm = tiny_rbm(backend, 7, 6, density=0.2)
    assert (rbm.matrix.pattern.fan_out() == 0).any()
    found = pseudo_likelihood(rbm, states(7), exact=True)
    assert_allclose(found, conditional_logs(rbm).sum(axis=1), rtol=1e-8)


def test_the_pseudo_likelihood_is_that_of_one_unit(backend):
    rbm = tiny_rbm(backend, 5, 4, density=0.7)
    logs, found = conditional_logs(rbm), pseudo_likelihood(rbm, states(5), seed=3)
    assert np.all(np.isclose(found[:, None], 5 * logs, rtol=1e-9).any(axis=1))


def test_the_pseudo_likelihood_flips_every_unit_as_often(backend):
    rbm = tiny_rbm(backend, 5, 4, density=0.7)
    logs = conditional_logs(rbm)
    repeats = 300
    mean = np.mean([pseudo_likelihood(rbm, states(5), seed=seed) for seed in range(repeats)], axis=0)
    error = 5 * logs.std(axis=1) / np.sqrt(repeats)
    assert np.all(np.abs(mean - pseudo_likelihood(rbm, states(5), exact=True)) < 4.5 * error)


def test_the_pseudo_likelihood_of_a_row_is_its_own(backend):
    """Whatever the other rows and their order, and with probabilities rounded to states."""
    rbm = tiny_rbm(backend, 5, 4)
    whole = pseudo_likelihood(rbm, states(5))
    assert np.array_equal(pseudo_likelihood(rbm, states(5)[::-1])[::-1], whole)
    assert np.array_equal(pseudo_likelihood(rbm, 0.2 + 0.6 * states(5)), whole)
    assert not np.array_equal(pseudo_likelihood(rbm, states(5), seed=1), whole)
