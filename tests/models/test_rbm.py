"""RBMs small enough to write out: free energy, conditionals and samples against all states."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import energies, exact_log_z, exact_visible, host, parameters, states, stripes, tiny_rbm
from scipy.integrate import quad
from scipy.special import expit, logsumexp
from scipy.stats import chisquare

from sparserbm import RBM, Bernoulli, ErdosRenyi, FromScipy, Gaussian, ReLU
from sparserbm.rng import Streams


def visible_means(rbm, h):
    """Means of the visible units given rows of hidden states."""
    mean = rbm.backend.empty((rbm.visible.n, len(h)))
    return host(rbm.visible_given(rbm.backend.asarray(h.T), mean)).T


SIZES = pytest.mark.parametrize(("n_visible", "n_hidden", "density"), [(4, 3, 1.0), (10, 8, 0.3), (3, 7, 0.5)])


@SIZES
def test_the_free_energy_sums_over_hidden_states(backend, n_visible, n_hidden, density):
    rbm = tiny_rbm(backend, n_visible, n_hidden, density)
    summed = -logsumexp(-energies(rbm), axis=1)
    assert_allclose(rbm.free_energy(states(n_visible)), summed, rtol=1e-11, atol=1e-11)


@SIZES
def test_probabilities_sum_to_one(backend, n_visible, n_hidden, density):
    rbm = tiny_rbm(backend, n_visible, n_hidden, density)
    assert np.exp(-rbm.free_energy(states(n_visible)) - exact_log_z(rbm)).sum() == pytest.approx(1, abs=1e-12)


@SIZES
def test_conditional_means_are_those_of_the_joint_distribution(backend, n_visible, n_hidden, density):
    rbm = tiny_rbm(backend, n_visible, n_hidden, density)
    joint = np.exp(-energies(rbm))
    v, h = states(n_visible), states(n_hidden)
    assert_allclose(rbm.transform(v), (joint @ h) / joint.sum(axis=1, keepdims=True), rtol=1e-10)
    assert_allclose(visible_means(rbm, h), (joint.T @ v) / joint.sum(axis=0)[:, None], rtol=1e-10)


def test_gaussian_visible_units_sum_over_hidden_states(backend):
    """E(v, h) = |v - a|**2 / (2 sigma**2) - b h - v W h / sigma**2 (Cho, Ilin and Raiko 2011)."""
    sigma = 0.7
    rbm = tiny_rbm(backend, density=0.6, units=(Gaussian(4, sigma=sigma), Bernoulli(3)))
    w, a, b = parameters(rbm)
    v, h = np.random.default_rng(0).normal(size=(9, 4)), states(3)
    energy = ((v - a) ** 2).sum(axis=1)[:, None] / (2 * sigma**2) - h @ b - v @ w @ h.T / sigma**2
    assert_allclose(rbm.free_energy(v), -logsumexp(-energy, axis=1), rtol=1e-12)
    chance = np.exp(-energy) / np.exp(-energy).sum(axis=1, keepdims=True)
    assert_allclose(rbm.transform(v), chance @ h, rtol=1e-12)
    # p(v | h) is normal around a + W h: no other mean makes the energy smallest
    assert_allclose(visible_means(rbm, h), a + h @ w.T, rtol=1e-12)


def test_gaussian_hidden_units_integrate_over_hidden_states(backend):
    rbm = tiny_rbm(backend, units=(Bernoulli(3), Gaussian(2, sigma=0.8)), scale=0.5)
    w, a, b = parameters(rbm)
    v = states(3)

    def integral(field, bias):
        return np.log(quad(lambda h: np.exp(-((h - bias) ** 2) / 1.28 + h * field / 0.64), -15, 15)[0])

    free = np.array([-row @ a - sum(integral(row @ w[:, j], b[j]) for j in range(2)) for row in v])
    found = rbm.free_energy(v)
    assert_allclose(found - found[0], free - free[0], rtol=1e-7, atol=1e-7)  # the constant is left out


def test_renaming_hidden_units_changes_nothing(backend):
    rbm = tiny_rbm(backend, 6, 5, density=0.5)
    order = np.array([3, 0, 4, 2, 1])
    renamed = RBM(Bernoulli(6), Bernoulli(5), wiring=FromScipy(rbm.matrix.to_scipy()[order]), backend=rbm.backend)
    renamed.biases[0]["bias"] = rbm.visible_bias
    renamed.biases[1]["bias"] = host(rbm.hidden_bias)[order]
    assert_allclose(renamed.free_energy(states(6)), rbm.free_energy(states(6)), rtol=1e-12)
    assert_allclose(renamed.transform(states(6)), rbm.transform(states(6))[:, order], rtol=1e-12)


def test_reconstructions_are_means_of_means(backend):
    rbm = tiny_rbm(backend, 5, 4, density=0.6)
    w, a, b = parameters(rbm)
    X = np.random.default_rng(0).random((7, 5))
    assert_allclose(rbm.reconstruct(X), expit(expit(X @ w + b) @ w.T + a), rtol=1e-12)


def test_data_longer_than_a_block(backend):
    rbm = tiny_rbm(backend)
    X = np.random.default_rng(0).random((2500, 4))
    for method in (rbm.transform, rbm.reconstruct, rbm.free_energy):
        assert_allclose(method(X)[[0, 1023, 1024, 2499]], method(X[[0, 1023, 1024, 2499]]), rtol=1e-12)


def test_integers_are_data_too(backend):
    rbm = tiny_rbm(backend, dtype="float32")
    X = states(4)
    for kind in (np.uint8, bool, np.int64):
        assert_allclose(rbm.free_energy(X.astype(kind)), rbm.free_energy(X), rtol=1e-5)
        assert_allclose(rbm.transform(X.astype(kind)), rbm.transform(X), rtol=1e-5)


# -- samples ---------------------------------------------------------------------------------------------------------


def test_sampling_reaches_the_exact_distribution(backend):
    rbm = tiny_rbm(backend, 4, 3, scale=0.8)
    drawn = rbm.sample(8000, sweeps=60, seed=1)
    counts = np.bincount((drawn @ 2 ** np.arange(4)).astype(int), minlength=16)
    assert 1e-3 < chisquare(counts, 8000 * exact_visible(rbm)).pvalue < 1 - 1e-3


def test_sampling_starts_from_random_hidden_states(backend):
    """After one sweep, visible states are those given uniform hidden ones."""
    rbm = tiny_rbm(backend, 4, 3, scale=2.0)
    w, a, _ = parameters(rbm)
    drawn = rbm.sample(20_000, sweeps=1)
    assert_allclose(drawn.mean(axis=0), expit(states(3) @ w.T + a).mean(axis=0), atol=4 * 0.5 / np.sqrt(20_000))


def test_gaussian_samples_have_the_exact_moments(backend):
    """A mixture of normal distributions, one for each hidden state."""
    rbm = tiny_rbm(backend, units=(Gaussian(2, sigma=0.5), Bernoulli(2)), scale=0.6)
    w, a, b = parameters(rbm)
    h = states(2)
    centre = a + h @ w.T
    log_weight = h @ b + ((centre**2).sum(axis=1) - (a**2).sum()) / (2 * 0.25)
    weight = np.exp(log_weight - logsumexp(log_weight))
    mean = weight @ centre
    variance = 0.25 + weight @ centre**2 - mean**2
    drawn = rbm.sample(20_000, sweeps=60)
    assert_allclose(drawn.mean(axis=0), mean, atol=4 * np.sqrt(variance.max() / 20_000))
    assert_allclose(drawn.var(axis=0), variance, rtol=0.06)


def test_samples_depend_on_the_seed_alone(backend):
    rbm = tiny_rbm(backend, 6, 4)
    first = rbm.sample(20, sweeps=5)
    assert first.shape == (20, 6)
    assert np.array_equal(first, rbm.sample(20, sweeps=5))
    assert np.array_equal(first, rbm.sample(20, sweeps=5, seed=rbm.seed))
    assert not np.array_equal(first, rbm.sample(20, sweeps=5, seed=99))
    assert np.array_equal(first[:7], rbm.sample(7, sweeps=5))  # a chain does not know how many others there are
    for wrong in ({"n_samples": 0}, {"n_samples": 3, "sweeps": 0}):
        with pytest.raises(ValueError, match="use at least 1 of both"):
            rbm.sample(**wrong)


def test_a_fused_draw_is_a_draw_around_the_mean(backend):
    rbm = tiny_rbm(backend, 6, 4)
    library = rbm.backend
    X = library.asarray(stripes(30, side=2).repeat(2, axis=1)[:, :6].T)
    mean, sample = library.empty((4, 30)), library.empty((4, 30))
    rbm.hidden_given(X, mean, Streams(3).draws("here", 8), sample)
    key = Streams(3).draws("here", 8).next()
    assert np.array_equal(host(sample), host(library.bernoulli(key, mean, library.empty(mean.shape))))


# -- building --------------------------------------------------------------------------------------------------------


def test_the_first_wiring_and_weights(backend):
    rbm = RBM("bernoulli(784)", "bernoulli(500)", wiring="erdos_renyi(epsilon=11)", seed=4, backend=backend)
    assert rbm.n_connections == 14124
    assert rbm.density == 14124 / (784 * 500)
    assert host(rbm.matrix.weight).std() == pytest.approx(0.05, rel=0.03)
    assert not rbm.visible_bias.any()
    assert not rbm.hidden_bias.any()
    assert not rbm.matrix.slots["born"].any()


def test_wiring_and_weights_do_not_depend_on_the_backend(backend):
    first, second = (
        RBM(Bernoulli(30), Bernoulli(20), wiring=ErdosRenyi(density=0.2), seed=7, backend=name, dtype=dtype)
        for name, dtype in (("reference", "float64"), (backend, "float32"))
    )
    assert np.array_equal(first.matrix.pattern.keys, second.matrix.pattern.keys)
    assert np.array_equal(host(first.matrix.weight).astype(np.float32), host(second.matrix.weight))


def test_sides_that_an_rbm_cannot_have():
    with pytest.raises(
        ValueError, match="ReLU units have no distribution; an RBM needs Bernoulli, Gaussian, Potts or, as hidden units"
    ):
        RBM(Bernoulli(3), ReLU(3))
    with pytest.raises(ValueError, match="Gaussian units on both sides has no finite partition function; use one side"):
        RBM(Gaussian(3), Gaussian(3))
    with pytest.raises(TypeError, match="3 is no unit type; give e.g. Bernoulli"):
        RBM(3, Bernoulli(3))
    with pytest.raises(ValueError, match="epsilon=11 asks for 66 connections but 3 x 3 has room for 9"):
        RBM(Bernoulli(3), Bernoulli(3), wiring="erdos_renyi(epsilon=11)")
    assert RBM(Bernoulli(3), Bernoulli(3)).density == 1.0  # nobody asked for 11: as much as there is room for


def test_data_that_do_not_fit(backend):
    rbm = tiny_rbm(backend)
    for method in (rbm.transform, rbm.reconstruct, rbm.free_energy, rbm.check_data):
        with pytest.raises(ValueError, match="X has 3 features, but the model has 4 inputs"):
            method(np.zeros((2, 3)))
        with pytest.raises(ValueError, match=r"1 (NaN or )?infinite values, the first \(inf\) at row 1, column 2"):
            method(np.array([[0.0] * 4, [0, 0, np.inf, 0]]))
    with pytest.raises(ValueError, match=r"1 NaN or infinite values, the first \(nan\) at row 1, column 2"):
        rbm.check_data(np.array([[0.0] * 4, [0, 0, np.nan, 0]]))


def test_a_copy_can_be_changed_and_adopted(backend):
    rbm = tiny_rbm(backend)
    before = rbm.free_energy(states(4))
    twin = rbm.copy()
    twin.matrix.weight[:] = 0
    twin.biases[0]["bias"][:] = 0
    twin.step = 5
    assert np.array_equal(rbm.free_energy(states(4)), before)
    rbm.adopt(twin)
    assert rbm.step == 5
    assert np.ptp(rbm.free_energy(states(4))) == 0


def test_numbers_that_are_not_finite_are_found(backend):
    rbm = tiny_rbm(backend)
    rbm.check_finite()
    rbm.hidden_bias[1] = np.inf
    with pytest.raises(FloatingPointError, match="biases are NaN or infinite"):
        rbm.check_finite()
    rbm.matrix.weight[0] = np.nan
    with pytest.raises(FloatingPointError, match="weights are NaN or infinite"):
        rbm.check_finite()
