"""The discriminative and the hybrid objective of an RBM over features and class."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import finite_differences, gradient, host, tiny_rbm

from sparserbm import CD, RBM, Bernoulli, Gaussian, Hybrid, Mixed, Potts, TruncatedGaussian, train
from sparserbm.data.batches import Batch
from sparserbm.rng import Streams
from sparserbm.training.hybrid import ClassProbabilities

UNITS = {
    "bernoulli": (Mixed((Bernoulli(4), Potts(3))), Bernoulli(3)),
    "gaussian": (Mixed((Gaussian(3, sigma=0.7), Potts(2))), Bernoulli(3)),
    "potts": (Mixed((Potts(4, states=2), Potts(3))), Potts(4, states=2)),
    "truncated": (Mixed((Bernoulli(3), Potts(2))), TruncatedGaussian(3)),
    "gaussian hidden": (Mixed((Bernoulli(3), Potts(2))), Gaussian(2, sigma=0.8)),
}


def problem(backend, units, n=9, density=0.8):
    """A model and samples, one-hot where they have to be."""
    rbm = tiny_rbm(backend, units=UNITS[units], density=density, scale=0.7)
    random, columns = np.random.default_rng(1), []
    for part in rbm.visible.parts:
        if isinstance(part, Potts):
            chosen = random.integers(0, part.states, (n, part.groups))
            columns.append((chosen[:, :, None] == np.arange(part.states)).reshape(n, -1).astype(float))
        else:
            columns.append(random.random((n, part.n)))
    return rbm, np.hstack(columns)


def log_chances(rbm, data):
    """log p(y | x) of every class, from free energies of whole rows."""
    n = rbm.visible.parts[-1].n
    found = []
    for label in range(n):
        rows = data.copy()
        rows[:, -n:] = np.eye(n)[label]
        found.append(-rbm.free_energy(rows))
    found = np.array(found).T
    return found - np.logaddexp.reduce(found, axis=1)[:, None]


def conditional_loss(rbm, data, weight=1.0):
    n = rbm.visible.parts[-1].n
    return -np.mean(weight * (log_chances(rbm, data) * data[:, -n:]).sum(axis=1))


@pytest.mark.parametrize("units", UNITS)
def test_probabilities_of_classes_are_exact(backend, units):
    rbm, data = problem(backend, units)
    chances = ClassProbabilities(rbm)
    found = chances.of(rbm, chances.features(rbm, rbm.backend.asarray(np.ascontiguousarray(data.T))))
    assert_allclose(host(found).T, np.exp(log_chances(rbm, data)), rtol=1e-9)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_exact(backend, units, weighted):
    rbm, data = problem(backend, units)
    weight = np.random.default_rng(3).random(len(data)) + 0.5 if weighted else None
    trainer = Hybrid(0.0).start(rbm, data, len(data))
    rbm.visible_bias[...] = rbm.backend.asarray(np.random.default_rng(4).normal(size=rbm.visible.n))
    on_device = None if weight is None else rbm.backend.asarray(weight)
    batch = Batch(rbm.backend.asarray(np.ascontiguousarray(data.T)), None, 0, on_device)
    found = trainer.signals(rbm, batch, Streams(0).draws("activities", 0))
    mine = [gradient(found.coactivity[0], rbm.matrix)]
    mine += [np.sum([sign * host(array).mean(axis=1) for sign, array in terms], axis=0) for terms in found.biases]
    loss = lambda: conditional_loss(rbm, data, 1.0 if weight is None else weight)  # noqa: E731
    for own, values in zip(mine, (rbm.matrix.weight, rbm.visible_bias, rbm.hidden_bias)):
        assert_allclose(own, finite_differences(values, loss), atol=1e-7)
    assert float(found.sums["loss"]) / len(data) == pytest.approx(loss())
    chances = log_chances(rbm, data)
    hit = chances.argmax(axis=1) == data[:, -chances.shape[1] :].argmax(axis=1)
    assert float(found.sums["accuracy"]) == pytest.approx((hit * (1.0 if weight is None else weight)).sum())
    measured = trainer.evaluate(rbm, data, None, weight)
    assert measured["loss"] == pytest.approx(loss())


def test_the_generative_term_is_that_of_cd(backend):
    rbm, data = problem(backend, "bernoulli")
    rbm.step = 1
    batch = Batch(rbm.backend.asarray(np.ascontiguousarray(data.T)), None, 0)
    found = []
    for rule in (Hybrid(0.0), CD(), Hybrid(0.3)):
        signals = rule.start(rbm, data, len(data)).signals(rbm, batch, Streams(0).draws("activities", 0))
        biases = [np.sum([s * host(a).mean(axis=1) for s, a in terms], axis=0) for terms in signals.biases]
        found.append(np.concatenate([gradient(signals.coactivity[0], rbm.matrix), *biases]))
    assert_allclose(found[2], found[0] + 0.3 * found[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", ["hybrid(0.0)", "hybrid(0.1)", "hybrid(0.1, cd=cd(persistent=True))"])
def test_training_lowers_the_loss_on_every_backend(backend, rule):
    _, data = problem("reference", "bernoulli", n=60)
    data[:, 4:] = np.eye(3)[(data[:, :4] @ [1, 1, -1, -1] > 0).astype(int)]
    rbm = RBM(Mixed((Bernoulli(4), Potts(3))), Bernoulli(12), wiring="dense", backend=backend, dtype="float64")
    history = train(rbm, data, rule, epochs=25, optimizer="sgd(2.0)", batch_size=8, validation=data).history
    assert history["validation_loss"][-1] < 0.9 * history["validation_loss"][0]
    assert history["validation_accuracy"][-1] > 0.6
    assert 0 <= history["accuracy"][-1] <= 1


def test_steps_are_replayed(pretended):
    _, data = problem("reference", "bernoulli", n=40)
    models = []
    for name in ("cupy", "reference"):
        rbm = RBM(Mixed((Bernoulli(4), Potts(3))), Bernoulli(5), wiring="dense", backend=name, dtype="float64")
        train(rbm, data, "hybrid(0.1)", epochs=2, batch_size=5)
        models.append(host(rbm.matrix.weight))
    assert pretended.graph_launches > 6
    assert_allclose(*models, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Hybrid(-1), "generative=-1 is not possible"),
        (lambda: Hybrid(0.1, cd="backprop"), "cd='backprop' is not possible"),
        (lambda: Hybrid(0.1, cd="cd(centred=True)"), "centred gradient is not worked out for Hybrid"),
        (lambda: Hybrid(0.1, cd="cd(k=linear(1, 5, 100))"), "k is a number of sweeps, and no schedule"),
        (lambda: Hybrid().check(tiny_rbm("reference", 4, 3), None), "last visible units must be one group of Potts"),
        (
            lambda: Hybrid().check(tiny_rbm("reference", units=UNITS["bernoulli"], gates=True), None),
            "not worked out for gates",
        ),
    ],
)
def test_what_is_not_possible(make, said):
    with pytest.raises(ValueError, match=said):
        make()
