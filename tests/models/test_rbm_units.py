"""RBMs of every pair of unit types against sums over all states, integrals over real ones.

Hidden states are written out, those of truncated Gaussian units on a fine grid; visible units are summed or integrated
by formulas that stand here.
"""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import finite_differences, gradient, host, hosted, parameters, states, tiny_rbm
from scipy.special import log_ndtr, logsumexp, softmax
from scipy.stats import chisquare

from sparserbm import CD, RBM, Bernoulli, Gaussian, Mixed, Potts, TruncatedGaussian, load_model, train
from sparserbm.data.batches import Batch
from sparserbm.rng import Streams

pytestmark = pytest.mark.draws

PAIRS = {
    "bernoulli-bernoulli": (Bernoulli(4), Bernoulli(3)),
    "gaussian-bernoulli": (Gaussian(3, sigma=0.6), Bernoulli(3)),
    "learned-bernoulli": (Gaussian(3, learned=True), Bernoulli(3)),
    "potts-bernoulli": (Potts(6, states=3), Bernoulli(3)),
    "classes-bernoulli": (Mixed((Bernoulli(3), Potts(3))), Bernoulli(3)),
    "mixed-bernoulli": (Mixed((Gaussian(2, learned=True), Potts(2), Gaussian(1, sigma=0.5))), Bernoulli(3)),
    "bernoulli-truncated": (Bernoulli(4), TruncatedGaussian(2)),
    "gaussian-truncated": (Gaussian(3, sigma=0.8), TruncatedGaussian(2)),
    "learned-truncated": (Gaussian(3, learned=True), TruncatedGaussian(2)),
    "potts-potts": (Potts(4, states=2), Potts(4, states=2)),
    "potts-gaussian": (Potts(3), Gaussian(2, sigma=0.7)),
}
pairs = pytest.mark.parametrize("units", PAIRS.values(), ids=PAIRS.keys())
N_CHAINS = 20_000


def small_rbm(backend, units, dtype="float64"):
    """With weights that are small where an RBM needs that, and variances of its own where they are learned."""
    rbm = tiny_rbm(backend, density=0.9, units=units, scale=0.35, seed=5, dtype=dtype)
    if "log_variance" in rbm.biases[0]:
        rbm.biases[0]["log_variance"] = np.log(np.linspace(0.6, 1.4, units[0].n))
    rbm.step = 1  # biases stay what they are
    return rbm


def parts_of(units):
    """Every part of units with the slice of its rows."""
    found, start = [], 0
    for part in units.parts if isinstance(units, Mixed) else (units,):
        found.append((part, slice(start, start + part.n)))
        start += part.n
    return found


def variances(units, slots):
    """(n,) of every unit; 1 where the energy is linear in the state."""
    found = np.ones(units.n)
    for part, rows in parts_of(units):
        if isinstance(part, Gaussian):
            found[rows] = np.exp(host(slots["log_variance"])[rows]) if part.learned else part.sigma**2
    return found


def energy(units, slots, state):
    """(n_rows,) of the states in rows."""
    bias, total = host(slots["bias"]), 0.0
    for part, rows in parts_of(units):
        s, b = state[:, rows], bias[rows]
        if isinstance(part, Gaussian):
            total = total + ((s - b) ** 2 / (2 * variances(units, slots)[rows])).sum(axis=1)
        else:
            total = total - s @ b + (s**2).sum(axis=1) / 2 * isinstance(part, TruncatedGaussian)
    return total


def log_partition(units, slots, z):
    """(n_rows,) of total inputs in rows."""
    bias, total = host(slots["bias"]), 0.0
    for part, rows in parts_of(units):
        x = z[:, rows]
        if isinstance(part, Bernoulli):
            each = np.logaddexp(0, x)
        elif isinstance(part, Potts):
            each = logsumexp(x.reshape(len(x), -1, part.states), axis=2)
        elif isinstance(part, TruncatedGaussian):
            each = x**2 / 2 + log_ndtr(x) + np.log(2 * np.pi) / 2
        else:
            variance = variances(units, slots)[rows]
            each = (x**2 - bias[rows] ** 2) / (2 * variance) + np.log(2 * np.pi * variance) / 2
        total = total + each.sum(axis=1)
    return total


def hidden_states(units):
    """All hidden states (n_states, n), and the logarithm of the weight that each has in a sum."""
    if isinstance(units, Bernoulli):
        return states(units.n), np.zeros(2**units.n)
    if isinstance(units, Potts):
        one = np.eye(units.states)
        return np.array([np.concatenate(each) for each in itertools.product(one, repeat=units.groups)]), 0.0
    grid = np.linspace(0, 7, 201) if isinstance(units, TruncatedGaussian) else np.linspace(-7, 7, 121)
    weight = np.full(len(grid), grid[1] - grid[0])
    weight[[0, -1]] /= 2
    h = np.stack([each.ravel() for each in np.meshgrid(grid, grid, indexing="ij")], axis=1)
    return h, np.log(np.outer(weight, weight).ravel())


def seen(units, slots, state):
    return state / variances(units, slots)


def hidden_log_weights(rbm):
    """All hidden states, and log of their probability, not normalised: visible units are summed out."""
    w, a, _ = parameters(rbm)
    h, weight = hidden_states(rbm.hidden)
    z = a + seen(rbm.hidden, rbm.biases[1], h) @ w.T
    return h, weight - energy(rbm.hidden, rbm.biases[1], h) + log_partition(rbm.visible, rbm.biases[0], z)


def exact_loss(rbm, data):
    """Mean negative log-likelihood of rows."""
    w, _, b = parameters(rbm)
    z = b + seen(rbm.visible, rbm.biases[0], data) @ w
    free = energy(rbm.visible, rbm.biases[0], data) - log_partition(rbm.hidden, rbm.biases[1], z)
    return free.mean() + logsumexp(hidden_log_weights(rbm)[1])


def rows_for(units, n, seed=0):
    """Data that these units can be."""
    random, found = np.random.default_rng(seed), []
    for part, _ in parts_of(units):
        if isinstance(part, Potts):
            chosen = random.integers(0, part.states, (n, part.groups))
            found.append(np.eye(part.states)[chosen].reshape(n, part.n))
        elif isinstance(part, Gaussian):
            found.append(random.normal(size=(n, part.n)))
        else:
            found.append((random.random((n, part.n)) < 0.4).astype(float))
    return np.concatenate(found, axis=1)


@pairs
def test_free_energy_and_hidden_means_are_sums_over_hidden_states(backend, units):
    rbm, v = small_rbm(backend, units), rows_for(units[0], 7)
    w, *_ = parameters(rbm)
    h, weight = hidden_states(rbm.hidden)
    slots = rbm.biases
    pull = seen(rbm.visible, slots[0], v) @ w @ seen(rbm.hidden, slots[1], h).T
    joint = weight + pull - energy(rbm.visible, slots[0], v)[:, None] - energy(rbm.hidden, slots[1], h)
    assert_allclose(rbm.free_energy(v), -logsumexp(joint, axis=1), rtol=5e-4, atol=5e-4)
    assert_allclose(rbm.transform(v), softmax(joint, axis=1) @ h, rtol=5e-4, atol=5e-4)


@pairs
def test_visible_means_are_the_slope_of_their_log_partition(backend, units):
    rbm = small_rbm(backend, units)
    w, a, _ = parameters(rbm)
    h = hidden_states(rbm.hidden)[0][::7][:9]
    z = a + seen(rbm.hidden, rbm.biases[1], h) @ w.T
    mean = rbm.backend.empty((rbm.visible.n, len(h)))
    rbm.visible_given(rbm.backend.asarray(h.T), mean)
    for unit in range(rbm.visible.n):
        up, down = z.copy(), z.copy()
        up[:, unit] += 1e-5
        down[:, unit] -= 1e-5
        slope = log_partition(rbm.visible, rbm.biases[0], up) - log_partition(rbm.visible, rbm.biases[0], down)
        found = host(mean)[unit] / variances(rbm.visible, rbm.biases[0])[unit]
        assert_allclose(found, slope / 2e-5, rtol=1e-6, atol=1e-8)


@pairs
def test_with_exact_samples_contrastive_divergence_gives_the_slope_of_the_likelihood(backend, units):
    """Chains that have the distribution of the model keep it: what one sweep gives is then exact but for noise."""
    rbm, data = small_rbm(backend, units), rows_for(units[0], 20, seed=1)
    h, log_weight = hidden_log_weights(rbm)
    chosen = np.random.default_rng(2).choice(len(h), N_CHAINS, p=softmax(log_weight))
    trainer = CD(persistent=True, negative="mean", chains=N_CHAINS).start(rbm, data, 20)
    trainer.restore({"chains": h[chosen].T})
    found = trainer.signals(rbm, Batch(rbm.backend.asarray(data.T), None, 0), Streams(3).draws("activities", 0))
    slopes = {"weight": (rbm.matrix.weight, gradient(found.coactivity[0], rbm.matrix))}
    for number, terms in enumerate(found.biases):
        means = [(sign / array.shape[1], array) for sign, array in terms]
        sums = hosted(rbm.backend).row_sums(means, np.full(rbm.units[number].n, np.nan))
        slopes[f"bias {number}"] = (rbm.biases[number]["bias"], sums)
    assert {name for _, name, _ in found.others} == set(rbm.visible.own)
    for number, name, slope in found.others:
        slopes[name] = (rbm.biases[number][name], host(slope))
    for name, (values, sampled) in slopes.items():
        exact = finite_differences(values, lambda: exact_loss(rbm, data), step=1e-4)
        spread = 4.0 if rbm.visible.real or not isinstance(rbm.hidden, (Bernoulli, Potts)) else 0.7
        assert_allclose(sampled, exact, atol=4.5 * spread / np.sqrt(N_CHAINS), err_msg=name)


@pytest.mark.parametrize("name", ["potts-bernoulli", "classes-bernoulli", "bernoulli-truncated", "potts-potts"])
def test_samples_have_the_exact_distribution(backend, name):
    rbm = small_rbm(backend, PAIRS[name])
    w, _, b = parameters(rbm)
    every = states(rbm.visible.n)
    for part, rows in parts_of(rbm.visible):
        if isinstance(part, Potts):
            every = every[(every[:, rows].reshape(len(every), -1, part.states).sum(axis=2) == 1).all(axis=1)]
    chance = softmax(
        -energy(rbm.visible, rbm.biases[0], every) + log_partition(rbm.hidden, rbm.biases[1], b + every @ w)
    )
    drawn = rbm.sample(4000, sweeps=40, seed=1)
    code = 2 ** np.arange(rbm.visible.n)
    counts = (np.searchsorted(np.sort(every @ code), drawn @ code)[:, None] == np.arange(len(every))).sum(axis=0)
    assert 1e-3 < chisquare(counts, 4000 * chance[np.argsort(every @ code)]).pvalue < 1 - 1e-3


def test_hidden_rectified_units_are_smooth_rectifiers(backend):
    rbm = small_rbm(backend, (Bernoulli(2), TruncatedGaussian(3)))
    rbm.matrix.slots["weight"] = np.zeros(len(rbm.matrix))
    rbm.biases[1]["bias"] = np.array([-40.0, 0.0, 40.0])
    assert_allclose(rbm.transform(np.zeros((1, 2)))[0], [0.02497, np.sqrt(2 / np.pi), 40.0], rtol=1e-4)


def test_classes_are_told_from_pixels(backend):
    """A class group beside the pixels: after training, reconstructing pixels without their class shows it."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 300)
    pixels = np.abs(np.eye(2)[label].repeat(3, axis=1) - (random.random((300, 6)) < 0.05))
    X = np.concatenate([pixels, np.eye(2)[label]], axis=1)
    rbm = RBM(Mixed((Bernoulli(6), Potts(2))), Bernoulli(6), wiring="dense", seed=1, backend=backend)
    train(rbm, X, "cd(k=1)", epochs=30, batch_size=20, optimizer="sgd(0.1, momentum=0.5)")
    both = [np.concatenate([pixels, np.tile(np.eye(2)[c], (300, 1))], axis=1) for c in (0, 1)]
    told = np.argmin([rbm.free_energy(rows) for rows in both], axis=0)
    assert (told == label).mean() > 0.97


def test_learned_variances_are_found_and_saved(backend, tmp_path):
    """Data without structure: every feature gets its own variance; it begins there, and a wrong start is mended."""
    data = np.random.default_rng(1).normal([1.0, -2.0, 0.0], [0.5, 2.0, 1.0], (400, 3))
    rbm = RBM(Gaussian(3, learned=True), Bernoulli(2), wiring="dense", seed=0, backend=backend)
    CD().start(rbm, data, 10)
    assert_allclose(np.exp(host(rbm.biases[0]["log_variance"])), data.var(axis=0), rtol=1e-4)
    rbm = RBM(Gaussian(3, learned=True), Bernoulli(2), wiring="dense", weights="zero", seed=0, backend=backend)
    rbm.biases[0]["bias"] = data.mean(axis=0)
    train(rbm, data, CD(visible_bias="zero"), epochs=25, batch_size=20, optimizer="sgd(0.05)", out=tmp_path / "run")
    assert_allclose(np.exp(host(rbm.biases[0]["log_variance"])), data.var(axis=0), rtol=0.25)
    again = load_model(tmp_path / "run", backend)
    assert again.units == rbm.units
    assert np.array_equal(host(again.biases[0]["log_variance"]), host(rbm.biases[0]["log_variance"]))
    assert_allclose(again.free_energy(data), rbm.free_energy(data))


def test_pairs_that_an_rbm_cannot_have():
    with pytest.raises(
        ValueError, match="TruncatedGaussian units can only be hidden units; use others as visible ones"
    ):
        RBM(TruncatedGaussian(3), Bernoulli(3))
    with pytest.raises(ValueError, match="Gaussian units on both sides"):
        RBM(Mixed((Bernoulli(2), Gaussian(2))), Gaussian(3))
    with pytest.raises(ValueError, match="hidden units cannot have slots of their own"):
        RBM(Bernoulli(3), Gaussian(3, learned=True))
    rbm = RBM(Gaussian(3, learned=True), Bernoulli(3), backend="reference")
    with pytest.raises(ValueError, match="a learned variance needs visible samples"):
        train(rbm, np.zeros((5, 3)), CD(chain="mean"))


def test_data_that_are_no_states_are_refused(backend):
    rbm = RBM(Mixed((Bernoulli(2), Potts(2))), Bernoulli(3), backend=backend)
    rbm.check_data(np.array([[0.5, 1, 0, 1]]))
    with pytest.raises(ValueError, match="0 as the sum of group 0 in row 0"):
        train(rbm, np.array([[0.5, 1, 0, 0]]), CD())
    assert_allclose(rbm.reconstruct(np.array([[0, 0, 1, 0]]))[0, 2:].sum(), 1, rtol=1e-6)
