"""What training must get right whatever its settings: means, batches of every size, distributions of chains.

Each is something that another implementation of RBMs gets wrong: scikit-learn's BernoulliRBM (1.9) divides the
negative phase of a small last batch by the wrong number, so that 110 samples in batches of 100 end at a fifth of their
mean.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import exact_loss, exact_visible, finite_differences, gradient, host, states, stripes, tiny_rbm
from scipy.stats import chisquare

from sparserbm import CD, RBM, SGD, Bernoulli, Gaussian, SparseRBM, train
from sparserbm.data.batches import Batch, Batches
from sparserbm.rng import Streams

pytestmark = pytest.mark.draws

SIZES = [(1, 1), (3, 10), (7, 3), (10, 10), (11, 10), (19, 10), (30, 10), (5, 4), (2, 100)]
RULES = [CD(visible_bias="zero"), CD(persistent=True, visible_bias="zero"), CD(negative="sample", visible_bias="zero")]


def flat(backend, n_visible, **settings):
    """An RBM whose hidden units do not take part: every weight is 0."""
    return RBM(Bernoulli(n_visible), Bernoulli(3), wiring="dense", weights="zero", backend=backend, **settings)


@pytest.mark.parametrize(("n", "batch_size"), SIZES)
def test_at_the_mean_of_the_data_nothing_is_expected_to_change(backend, n, batch_size):
    """Visible units with the means of the data, and no weights: the updates of all mini-batches of an epoch sum to 0.

    Each batch counts by its number of samples. With means in both phases that is exact, for any number of chains.
    """
    data = (np.random.default_rng(n).random((n, 5)) < [0.2, 0.4, 0.5, 0.6, 0.8]).astype(float)
    rbm = RBM(Gaussian(5), Bernoulli(3), wiring="dense", weights="zero", backend=backend, dtype="float64")
    rbm.biases[0]["bias"] = data.mean(axis=0)
    rbm.step = 1
    trainer = CD().start(rbm, data, batch_size)
    total = np.zeros(5)
    for batch in Batches(rbm.backend, data, None, batch_size).epoch(Streams(0), 0):
        found = trainer.signals(rbm, batch, Streams(0).draws("activities", batch.step))
        means = [sign * host(array).mean(axis=1) for sign, array in found.biases[0]]
        total += batch.x.shape[1] * np.sum(means, axis=0)
    assert_allclose(total, np.zeros(5), atol=1e-10)


@pytest.mark.parametrize("rule", RULES, ids=["cd", "pcd", "cd-samples"])
@pytest.mark.parametrize(("n", "batch_size"), [(3, 10), (11, 10), (110, 100), (20, 10)])
def test_training_ends_at_the_mean_of_the_data(backend, rule, n, batch_size):
    """For every number of samples and size of mini-batches, the last and smaller one of which counts as any other."""
    data = np.zeros((n, 3))
    data[: -(-n // 2), 0] = 1
    data[: -(-n // 3), 1] = 1
    data[-(-n // 3) :, 2] = 1
    rbm = flat(backend, 3, seed=1, dtype="float64")
    epochs, rate = 300 // -(-n // batch_size), SGD(0.1)
    made = []

    def averaged(model, metrics):
        if metrics["epoch"] > epochs // 2:
            made.append(1 / (1 + np.exp(-host(model.visible_bias))))

    fixed = "max_norm(1e-9)"  # weights stay out of it
    train(
        rbm,
        data,
        rule,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=rate,
        regularization=fixed,
        callbacks=[averaged],
    )
    assert_allclose(np.mean(made, axis=0), data.mean(axis=0), atol=0.06)


@pytest.mark.parametrize("cut", [[200], [100, 100], [1, 199], [3, 50, 147], [10] * 20])
def test_any_split_for_partial_fit_ends_at_the_mean(backend, cut):
    """`partial_fit` on 200 rows saturates the hidden units of another implementation."""
    random = np.random.default_rng(0)
    X = (random.random((200, 6)) < [0.1, 0.3, 0.5, 0.5, 0.7, 0.9]).astype(float)
    model = SparseRBM(8, learning_rate=0.1, batch_size=10, random_state=0, evolution=None, density=0.5, backend=backend)
    for _ in range(6):
        for part in np.split(X, np.cumsum(cut)[:-1]):
            assert model.partial_fit(part) is model
    hidden = model.transform(X)
    assert 0.02 < hidden.mean() < 0.98
    drawn = model.sample(2000, sweeps=50, random_state=1)
    assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.12)


def test_partial_fit_on_parts_expects_what_fit_expects(backend):
    """The mean update over the parts, each counted by its samples, is the update of the whole."""
    rbm, data = tiny_rbm(backend, scale=0.5), stripes(30, side=2)
    rbm.step = 1
    rbm.biases[1]["bias"] = np.array([60.0, -60.0, 60.0])  # certain hidden states: no noise of draws
    whole = None
    for cut in ([30], [10, 20], [1, 29], [7, 7, 7, 9]):
        trainer, total = CD().start(rbm, data, 10), 0.0
        for part in np.split(data, np.cumsum(cut)[:-1]):
            batch = Batch(rbm.backend.asarray(np.ascontiguousarray(part.T)), None, 0)
            found = trainer.signals(rbm, batch, Streams(0).draws("activities", 0))
            total = total + len(part) * gradient(found.coactivity[0], rbm.matrix)
        whole = total if whole is None else whole
        assert_allclose(total, whole, rtol=1e-9, atol=1e-11)


def test_a_long_chain_has_the_distribution_of_the_model(backend):
    """Visits that are far apart in time, beside those of many chains."""
    rbm = tiny_rbm(backend, 4, 3, scale=0.6)
    drawn = np.concatenate([rbm.sample(120, sweeps=25 + 12 * k, seed=4) for k in range(6)])
    # the same seed gives the same chains: visits of one are 12 sweeps apart
    counts = np.bincount((drawn @ 2 ** np.arange(4)).astype(int), minlength=16)
    assert 1e-3 < chisquare(counts, len(drawn) * exact_visible(rbm)).pvalue < 1 - 1e-3


def test_persistent_chains_have_the_distribution_of_the_model(backend):
    """With a learning rate of 0 they are Gibbs chains, whatever the data are and however many."""
    rbm = tiny_rbm(backend, 4, 3, scale=0.6, seed=2)
    rbm.step = 1
    before = host(rbm.matrix.weight).copy()
    data = np.tile([[1.0, 0.0, 1.0, 1.0]], (23, 1))
    run = train(rbm, data, CD(persistent=True, chains=4000), epochs=20, batch_size=10, optimizer="sgd(0.0)")
    assert np.array_equal(host(rbm.matrix.weight), before)
    h = run.carry["trainer"]["chains"]
    joint = np.exp(-_energies(rbm))
    chance = joint.sum(axis=0) / joint.sum()
    counts = np.bincount((h.T @ 2 ** np.arange(3)).astype(int), minlength=8)
    assert 1e-3 < chisquare(counts, 4000 * chance).pvalue < 1 - 1e-3


def _energies(rbm):
    w = host(rbm.matrix.weight).reshape(3, 4).T
    a, b = host(rbm.visible_bias), host(rbm.hidden_bias)
    v, h = states(4), states(3)
    return -(v @ a)[:, None] - (h @ b)[None] - v @ w @ h.T


def averaged_gradient(rbm, rule, data, steps):
    trainer, total = rule.start(rbm, data, len(data)), 0.0
    batch = Batch(rbm.backend.asarray(np.ascontiguousarray(data.T)), None, 0)
    for step in range(steps):
        found = trainer.signals(rbm, batch, Streams(1).draws("activities", step))
        if step >= steps // 5:
            total = total + gradient(found.coactivity[0], rbm.matrix)
    return total / (steps - steps // 5)


def test_the_mean_of_many_persistent_steps_is_the_exact_gradient(backend):
    rbm = tiny_rbm(backend, 4, 3, scale=0.8)
    rbm.step = 1
    data = np.tile([[1.0, 0.0, 1.0, 1.0]], (500, 1))
    slopes = finite_differences(rbm.matrix.weight, lambda: exact_loss(rbm, data))
    found = averaged_gradient(rbm, CD(persistent=True), data, 60)
    assert_allclose(found, slopes, atol=6 * 0.5 * 2 / np.sqrt(500 * 48))  # neighbours in a chain are alike: twice


def test_more_sweeps_come_closer_to_the_exact_gradient(backend):
    rbm = tiny_rbm(backend, 4, 3, scale=1.6, seed=3)
    rbm.step = 1
    data = np.tile([[1.0, 0.0, 1.0, 1.0]], (20_000, 1))
    slopes = finite_differences(rbm.matrix.weight, lambda: exact_loss(rbm, data))
    off = [np.abs(averaged_gradient(rbm, CD(k=k, negative="sample"), data, 1) - slopes).max() for k in (1, 4, 60)]
    assert off[0] > off[1] > off[2]
    assert off[2] < 5 * 0.5 / np.sqrt(20_000) < off[0] / 4
