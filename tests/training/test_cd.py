"""Contrastive divergence against expectations over all hidden and visible states."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import exact_loss, finite_differences, gradient, host, hosted, parameters, states, stripes, tiny_rbm
from scipy.special import expit

from sparserbm import CD, Bernoulli, FromScipy, Gaussian
from sparserbm.data.batches import Batch
from sparserbm.rng import Streams

N_CHAINS = 60_000
ERROR = 5 * 0.5 / np.sqrt(N_CHAINS)  # five standard errors of a mean of zeros and ones


def gradients(rbm, rule, data, steps=1, trainer=None):
    """Gradients of the weights, visible and hidden biases after `steps` mini-batches of the same data."""
    trainer = trainer or rule.start(rbm, data, len(data))
    batch = Batch(rbm.backend.asarray(data.T), None, 0)
    for step in range(steps):
        found = trainer.signals(rbm, batch, Streams(9).draws("activities", step))
    weight = gradient(found.coactivity[0], rbm.matrix)
    biases = [
        hosted(rbm.backend).row_sums([(sign / a.shape[1], a) for sign, a in terms], np.full(a.shape[0], np.nan))
        for terms in found.biases
        for a in [terms[0][1]]
    ]
    return weight, *biases, found


def chances(states_of, mean):
    """Probability of each state (columns) where the units have these means (rows)."""
    return np.prod(np.where(states_of[None] == 1, mean[:, None], 1 - mean[:, None]), axis=2)


def expected(rbm, start, rule):
    """Gradients of CD from the visible row `start`, as expectations over every draw."""
    w, a, b = parameters(rbm)
    v, h = states(len(a)), states(len(b))
    to_h, to_v = lambda x: expit(x @ w + b), lambda y: expit(y @ w.T + a)
    over_h = chances(h, to_h(start[None]))[0]
    for _ in range(rule.k - 1):
        over_h = over_h @ (
            chances(h, to_h(to_v(h))) if rule.chain == "mean" else chances(v, to_v(h)) @ chances(h, to_h(v))
        )
    if rule.chain == "mean" or (rule.negative == "mean" and not rule.persistent):
        seen, weights = to_v(h), over_h
    else:
        seen, weights = v, over_h @ chances(v, to_v(h))
    believed = to_h(seen)
    weight = seen.T @ (weights[:, None] * believed) - np.outer(start, to_h(start[None])[0])
    return weight.T.ravel(), weights @ seen - start, weights @ believed - to_h(start[None])[0]


@pytest.mark.parametrize(
    "rule",
    [
        CD(),
        CD(k=3),
        CD(negative="sample"),
        CD(k=2, positive="sample"),
        CD(positive="sample", negative="sample", chain="mean"),  # the algorithm of the SET-RBM code
        CD(k=3, negative="mean", chain="mean"),
        CD(k=2, persistent=True),
        CD(persistent=True, negative="sample"),
    ],
    ids=lambda rule: f"k{rule.k}-{rule.positive}-{rule.negative}-{rule.chain}-{rule.persistent}",
)
def test_gradients_are_expectations_over_all_states(backend, rule):
    rbm, start = tiny_rbm(backend, scale=2.5), np.array([1.0, 0.0, 1.0, 1.0])
    rbm.step = 1  # so that the visible biases stay what they are
    found = gradients(rbm, rule, np.tile(start, (N_CHAINS, 1)))
    for sampled, exact in zip(found, expected(rbm, start, rule)):
        assert_allclose(sampled, exact, atol=1.5 * ERROR)


@pytest.mark.parametrize("rule", [CD(k=2), CD(positive="sample", negative="sample"), CD(k=2, persistent=True)])
def test_gradients_of_gates(backend, rule):
    """With weights times gates in the place of weights: of each gate, the sum over its weights."""
    rbm, start = tiny_rbm(backend, scale=2.5, gates=True), np.array([1.0, 0.0, 1.0, 1.0])
    rbm.step = 1
    weight, visible, hidden, found = gradients(rbm, rule, np.tile(start, (N_CHAINS, 1)))
    exact, *biases = expected(rbm, start, rule)
    gate = np.repeat(host(rbm.gate), 4)  # of every connection
    assert_allclose(weight, gate * exact, atol=1.5 * ERROR)
    for sampled, bias in zip((visible, hidden), biases):
        assert_allclose(sampled, bias, atol=1.5 * ERROR)
    ((number, name, slope),) = found.others
    assert (number, name) == (1, "gate")
    weights = host(rbm.matrix.weight).reshape(3, 4)
    error = 1.5 * ERROR * np.abs(weights).sum(axis=1).max()
    assert_allclose(host(slope), (exact.reshape(3, 4) * weights).sum(axis=1), atol=error)


def test_gates_follow_the_slope_of_the_likelihood(backend):
    rbm = tiny_rbm(backend, 4, 3, density=0.8, scale=0.7, gates=True)
    rbm.step = 1
    data = np.tile(stripes(8, side=2), (2500, 1))
    *_, found = gradients(rbm, CD(k=30, negative="sample"), data)
    slopes = finite_differences(rbm.gate, lambda: exact_loss(rbm, data))
    assert_allclose(host(found.others[0][2]), slopes, atol=5 * 1.0 / np.sqrt(20_000))


def test_with_certain_hidden_states_nothing_is_left_to_chance(backend):
    """Hidden units held at 0 or 1: positive minus negative phase of CD-1, exactly."""
    rbm = tiny_rbm(backend, 6, 3, density=0.6)
    rbm.step = 1
    rbm.biases[1]["bias"] = np.array([60.0, -60.0, 60.0])
    data = stripes(30, side=3)[:, :6]
    weight, visible, hidden, found = gradients(rbm, CD(), data)
    w, a, b = parameters(rbm)
    h0 = np.tile([1.0, 0.0, 1.0], (30, 1))
    v1 = expit(h0 @ w.T + a)
    dense = (v1.T @ expit(v1 @ w + b) - data.T @ expit(data @ w + b)) / 30
    assert_allclose(weight, dense[rbm.matrix.pattern.pre, rbm.matrix.pattern.post], rtol=1e-9, atol=1e-12)
    assert_allclose(visible, (v1 - data).mean(axis=0), rtol=1e-9, atol=1e-12)
    assert_allclose(hidden, np.zeros(3), atol=1e-12)
    assert float(found.sums["loss"]) == pytest.approx(((v1 - data) ** 2).sum() / 6, rel=1e-9)


def test_long_chains_follow_the_slope_of_the_likelihood(backend):
    """With samples in the negative phase, that is: a mean of the last visible states is a little biased at any k."""
    rbm = tiny_rbm(backend, 4, 3, density=0.8, scale=0.7)
    rbm.step = 1
    data = np.tile(stripes(8, side=2), (2500, 1))
    found = gradients(rbm, CD(k=30, negative="sample"), data)
    for sampled, values in zip(found, (rbm.matrix.weight, rbm.visible_bias, rbm.hidden_bias)):
        assert_allclose(
            sampled, finite_differences(values, lambda: exact_loss(rbm, data)), atol=5 * 0.5 / np.sqrt(20_000)
        )


def test_persistent_chains_follow_it_after_many_batches(backend):
    """Far from the data, where one sweep is not enough."""
    rbm = tiny_rbm(backend, 4, 3)
    rbm.step = 1
    data = np.tile([[1.0, 0.0, 1.0, 1.0]], (20_000, 1))
    slopes = finite_differences(rbm.matrix.weight, lambda: exact_loss(rbm, data))
    short, long = (gradients(rbm, CD(persistent=True), data, steps=steps)[0] for steps in (1, 30))
    error = 5 * 0.5 / np.sqrt(20_000)
    assert np.abs(short - slopes).max() > 4 * error
    assert_allclose(long, slopes, atol=error)


def test_a_sparse_step_is_a_dense_step_at_its_places(backend):
    sparse, full = tiny_rbm(backend, 6, 5, density=0.4), tiny_rbm(backend, 6, 5)
    full.matrix.slots["weight"] = sparse.matrix.to_dense().ravel()
    full.biases = [slots.copy() for slots in sparse.biases]
    for rule in (CD(k=2), CD(negative="sample"), CD(persistent=True)):
        found, dense = (gradients(rbm, rule, stripes(40, side=3)[:, :6]) for rbm in (sparse, full))
        assert_allclose(found[0], dense[0][sparse.matrix.pattern.keys], rtol=1e-10, atol=1e-13)
        assert_allclose(found[1], dense[1], rtol=1e-10, atol=1e-13)


# -- chains, biases, measures ----------------------------------------------------------------------------------------


def test_persistent_chains_go_on_and_come_back(backend):
    rbm, data = tiny_rbm(backend), stripes(12, side=2)
    rule = CD(persistent=True)
    one, two = rule.start(rbm, data, 12), rule.start(rbm, data, 12)
    assert one.state() == {}
    gradients(rbm, rule, data, trainer=one)
    stored = {name: array.copy() for name, array in one.state().items()}
    assert stored["chains"].shape == (3, 12)
    assert set(np.unique(stored["chains"])) <= {0.0, 1.0}
    two.restore(stored)
    # other data, fewer of them: the chains are those of before all the same
    later = [gradients(rbm, rule, 1 - data[:5], trainer=trainer)[0] for trainer in (one, two)]
    assert np.array_equal(*later)
    assert one.state()["chains"].shape == (3, 12)
    fresh = gradients(rbm, rule, 1 - data[:5])[0]
    assert not np.array_equal(fresh, later[0])


def test_visible_biases_start_at_the_data(backend):
    data = stripes(200, side=2)
    rbm = tiny_rbm(backend, dtype="float64")
    rbm.biases[0]["bias"] = np.zeros(4)
    CD().start(rbm, data, 10)
    assert_allclose(expit(host(rbm.visible_bias)), data.mean(axis=0), rtol=1e-10)
    for rule, step in ((CD(visible_bias="zero"), 0), (CD(), 7), (CD(), 0)):  # told not to, trained, or set already
        rbm = tiny_rbm(backend)
        before, rbm.step = host(rbm.visible_bias).copy(), step
        rule.start(rbm, data, 10)
        assert np.array_equal(host(rbm.visible_bias), before)
    real = tiny_rbm(backend, units=(Gaussian(4), Bernoulli(3)))
    real.biases[0]["bias"] = np.zeros(4)
    CD().start(real, 5 * data, 10)
    assert_allclose(host(real.visible_bias), 5 * data.mean(axis=0), rtol=1e-12)


def test_the_measured_loss_is_that_of_one_reconstruction(backend):
    rbm = tiny_rbm(backend)
    w, a, _ = parameters(rbm)
    data = np.tile([[1.0, 0.0, 1.0, 1.0]], (20_000, 1))
    over_h = chances(states(3), expit(data[:1] @ w + parameters(rbm)[2]))[0]
    exact = over_h @ ((expit(states(3) @ w.T + a) - data[0]) ** 2).mean(axis=1)
    trainer = CD().start(rbm, data, 10)
    rbm.biases[0]["bias"] = a
    found = trainer.evaluate(rbm, data, None)["loss"]
    assert found == pytest.approx(exact, abs=5 * 0.5 / np.sqrt(20_000))
    assert trainer.evaluate(rbm, data, None)["loss"] == found


def test_training_and_validation_data_are_compared(backend):
    rbm = tiny_rbm(backend)
    seen, unseen = stripes(50, side=2), 1 - stripes(30, seed=1, side=2)
    found = CD(visible_bias="zero").start(rbm, seen, 10).compare(rbm, seen, unseen)
    assert found["free_energy_gap"] == pytest.approx(rbm.free_energy(unseen).mean() - rbm.free_energy(seen).mean())
    assert found["pseudo_likelihood"] < 0
    real = tiny_rbm(backend, units=(Gaussian(4), Bernoulli(3)))
    assert set(CD().start(real, seen, 10).compare(real, seen, unseen)) == {"free_energy_gap"}


def test_sorted_data_make_no_gap(backend):
    """The gap of the first 1,000 rows of data sorted by class would be that of two classes."""
    rbm = tiny_rbm(backend)
    sorted_rows = np.repeat(np.array([[0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1]]), 1000, axis=0)
    shuffled = np.random.default_rng(0).permutation(sorted_rows)
    energies = rbm.free_energy(np.array([[0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1]]))
    found = CD().start(rbm, sorted_rows, 10).compare(rbm, sorted_rows, shuffled)
    assert abs(found["free_energy_gap"]) < 0.1 * np.ptp(energies)


def test_the_chain_of_gaussian_units_matches_their_energy(backend):
    """Sigma enters the gradient through what connections see: v / sigma**2."""
    rbm = tiny_rbm(backend, units=(Gaussian(4, sigma=0.5), Bernoulli(3)))
    rbm.step = 1
    rbm.biases[1]["bias"] = np.array([300.0, -300.0, 300.0])
    data = np.random.default_rng(0).normal(size=(30, 4))
    w, a, _ = parameters(rbm)
    h0 = np.tile([1.0, 0.0, 1.0], (30, 1))
    weight, visible, *_ = gradients(rbm, CD(), data)
    dense = (h0 @ w.T + a - data).T @ h0 / 0.25 / 30
    assert_allclose(weight, dense.T.ravel(), rtol=1e-9, atol=1e-12)
    assert_allclose(visible, (h0 @ w.T + a - data).mean(axis=0) / 0.25, rtol=1e-9)


def test_the_pattern_may_come_from_elsewhere(backend):
    """Gradients belong to the connections that there are, zeros included."""
    rbm = tiny_rbm(backend, 6, 5, density=0.4)
    matrix = rbm.matrix.to_scipy()
    matrix.data[:] = 0
    assert FromScipy(matrix).pattern(6, 5, np.random.default_rng(0)).keys.tolist() == rbm.matrix.pattern.keys.tolist()
    rbm.matrix.slots["weight"] = matrix.data
    weight, *_ = gradients(rbm, CD(), stripes(40, side=3)[:, :6])
    assert len(weight) == 12
    assert weight.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k=0 is not possible; use an integer of at least 1"),
        ({"k": 1.5}, "k=1.5"),
        ({"k": True}, "k=True"),
        ({"positive": "both"}, "positive='both' is not possible; use one of mean, sample"),
        ({"chain": "sampled"}, "chain='sampled'"),
        ({"data": "drawn"}, "data='drawn' is not possible; use one of mean, sample"),
        ({"visible_bias": "mean"}, "visible_bias='mean' is not possible; use one of data, zero"),
        ({"persistent": True, "chain": "mean"}, 'persistent chains must be samples; use chain="sample" or'),
    ],
)
def test_settings_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        CD(**arguments)
