"""Training on data with missing values: contrastive divergence with the known ones held in the positive phase."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import assert_same_bytes, finite_differences, gradient, host, states, stripes, tiny_rbm
from scipy.special import logsumexp

from sparserbm import CD, MLP, RBM, Bernoulli, Gaussian, Mixed, Potts, log_likelihood, resume, train
from sparserbm.data.batches import Batch
from sparserbm.models.likelihood import log_partition
from sparserbm.rng import Streams

pytestmark = pytest.mark.draws

NAN = np.nan


def with_gaps(X, share=0.3, seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, NAN, X)


def marginal_loss(rbm, data):
    return -log_likelihood(rbm, data, log_partition(rbm)).mean()


def mean_gradient(rbm, rule, data):
    """At the connections, and of both biases."""
    rbm.step = 1
    trainer = rule.start(rbm, data, len(data))
    batch = Batch(rbm.backend.asarray(np.ascontiguousarray(data.T)), None, 0)
    found = trainer.signals(rbm, batch, Streams(1).draws("activities", 0))
    biases = [np.sum([sign * host(array).mean(axis=1) for sign, array in terms], axis=0) for terms in found.biases]
    return gradient(found.coactivity[0], rbm.matrix), *biases


@pytest.mark.parametrize(
    ("visible", "row"),
    [
        (Bernoulli(4), [1.0, NAN, 0.0, NAN]),
        (Mixed((Bernoulli(2), Potts(3))), [1.0, NAN, NAN, NAN, NAN]),
        (Mixed((Bernoulli(2), Gaussian(1))), [NAN, 1.0, NAN]),
    ],
    ids=["bernoulli", "classes", "reals"],
)
def test_the_gradient_is_that_of_what_is_known(backend, visible, row):
    """With many samples and sweeps: of the marginal log-likelihood, by finite differences."""
    rbm = tiny_rbm(backend, units=(visible, Bernoulli(3)), scale=0.7)
    one = np.array([row])
    slopes = [
        finite_differences(values, lambda: marginal_loss(rbm, one))
        for values in (rbm.matrix.weight, rbm.visible_bias, rbm.hidden_bias)
    ]
    n = 20_000
    found = mean_gradient(rbm, CD(k=25, missing=25, negative="sample"), np.tile(one, (n, 1)))
    for mine, exact in zip(found, slopes):
        assert_allclose(mine, exact, atol=6 * (2 if isinstance(visible, Mixed) else 0.8) / np.sqrt(n))


def test_more_sweeps_come_closer_to_the_exact_positive_statistics(backend):
    rbm = tiny_rbm(backend, 4, 3, scale=2.5, seed=3)
    row = np.array([1.0, NAN, NAN, NAN])
    v, h = states(4), states(3)
    w, a, b = rbm.matrix.to_dense().T, host(rbm.visible_bias), host(rbm.hidden_bias)
    log_joint = (v @ a)[:, None] + h @ b + v @ w @ h.T + np.where(v[:, :1] == row[0], 0, -np.inf)
    chance = np.exp(log_joint - logsumexp(log_joint))
    exact = v.T @ chance @ h  # <v h> given what is known
    data, off = np.tile(row, (20_000, 1)), []
    for sweeps in (1, 60):
        rbm.step = 1
        trainer = CD(missing=sweeps).start(rbm, data, len(data))
        batch = Batch(rbm.backend.asarray(np.ascontiguousarray(data.T)), None, 0)
        pair = trainer.signals(rbm, batch, Streams(2).draws("activities", 0)).coactivity[0].pairs[0]
        off.append(np.abs(host(pair.pre) @ host(pair.post).T / len(data) - exact).max())
    assert off[1] < 5 * 0.5 / np.sqrt(20_000) < off[0]


RULES = [
    CD(missing=2),
    CD(persistent=True, chains=30),
    CD(centred=True, sparsity="sparsity(0.2)"),
    CD(positive="sample", negative="sample", chain="mean"),
]


@pytest.mark.draws
@pytest.mark.parametrize("rule", RULES, ids=["cd", "persistent", "centred", "set"])
def test_training_on_gaps_learns_what_is_known(backend, rule):
    data, whole = with_gaps(stripes(120, side=3)), stripes(60, seed=1, side=3)
    rbm = RBM(Bernoulli(9), Bernoulli(8), wiring="dense", backend=backend, dtype="float64", seed=0)
    before = log_likelihood(rbm, whole).mean()
    history = train(
        rbm, data, rule, epochs=12, batch_size=10, optimizer="sgd(0.1)", evolution="set(zeta=0.1)", validation=data
    ).history
    assert log_likelihood(rbm, whole).mean() > before + 0.4
    assert history["loss"][-1] < history["loss"][1] + 0.01
    assert np.isfinite([history["validation_loss"], history["pseudo_likelihood"]]).all()
    assert "free_energy_gap" not in history


def test_first_biases_are_the_means_of_what_is_known(backend):
    data = np.array([[1.0, NAN, NAN], [1.0, 0.0, NAN], [0.0, NAN, NAN], [NAN, 1.0, NAN]])
    rbm = RBM(Bernoulli(3), Bernoulli(2), backend=backend, dtype="float64")
    CD().start(rbm, data, 4)
    assert_allclose(host(rbm.visible_bias), [np.log(2), 0, 0], atol=1e-12)
    real = RBM(Gaussian(3, learned=True), Bernoulli(2), backend=backend, dtype="float64")
    CD().start(real, data, 4)
    assert_allclose(host(real.visible_bias), [2 / 3, 0.5, 0], atol=1e-12)
    assert_allclose(host(real.biases[0]["log_variance"]), np.log([2 / 9, 1 / 4, 1])[[0, 1, 2]], atol=1e-12)


def test_the_loss_is_that_of_known_values(backend):
    """Visible units without connections: the error of a known value is that of its bias."""
    data = np.array([[1.0, NAN, 0.0], [NAN, NAN, 1.0], [0.0, 1.0, 1.0]])
    rbm = RBM(Bernoulli(3), Bernoulli(2), wiring="dense", weights="zero", backend=backend, dtype="float64")
    rbm.biases[0]["bias"] = np.array([2.0, -1.0, 0.5])
    weight = np.array([2.0, 1.0, 3.0]) / 2
    expected = (data - 1 / (1 + np.exp(-np.array([2.0, -1.0, 0.5])))) ** 2
    known, w = ~np.isnan(data), weight[:, None]
    run = train(rbm, data, "cd", epochs=1, optimizer="sgd(0.0)", sample_weight=weight, validation=(data, None, weight))
    assert run.history["loss"][1] == pytest.approx(np.nansum(w * expected) / (w * known).sum())
    assert run.history["validation_loss"][1] == pytest.approx(run.history["loss"][1])
    run = train(rbm, data, "cd(persistent=True)", epochs=1, optimizer="sgd(0.0)", validation=data)
    assert run.history["loss"][1] == pytest.approx(np.nanmean(expected))
    assert run.history["validation_loss"][1] == pytest.approx(np.nanmean(expected))


def test_a_setting_for_gaps_changes_nothing_without_them(backend):
    data = stripes(30, side=3)
    models = []
    for rule in (CD(), CD(missing=9)):
        rbm = RBM(Bernoulli(9), Bernoulli(6), backend=backend)
        train(rbm, data, rule, epochs=2, batch_size=7)
        models.append(rbm)
    assert_same_bytes(*models)


def test_a_run_with_gaps_goes_on_as_if_not_stopped(backend, tmp_path):
    data = with_gaps(stripes(30, side=3))
    kind = {"batch_size": 8, "validation": data, "evolution": "set(zeta=0.2)"}
    models = [RBM(Bernoulli(9), Bernoulli(6), backend=backend, wiring="erdos_renyi(density=0.5)") for _ in range(2)]
    train(models[0], data, "cd(persistent=True)", epochs=3, **kind)
    train(models[1], data, "cd(persistent=True)", epochs=1, out=tmp_path / "run", **kind)
    run = resume(tmp_path / "run", data, epochs=3, validation=data, backend=backend)
    assert_same_bytes(models[0], run.model)


def test_gaps_in_sources_are_those_of_arrays(tmp_path):
    data = with_gaps(stripes(30, side=3))
    np.save(tmp_path / "X.npy", data)
    models = []
    for X in (data, np.load(tmp_path / "X.npy", mmap_mode="r")):
        rbm = RBM(Bernoulli(9), Bernoulli(6), backend="reference")
        train(rbm, X, "cd", epochs=1, batch_size=8)
        models.append(rbm)
        assert_array_equal(rbm.transform(X), models[0].transform(data))
    assert_same_bytes(*models)


def test_gaps_in_validation_data_only(backend):
    data = stripes(20, side=3)
    rbm = RBM(Bernoulli(9), Bernoulli(6), backend=backend)
    history = train(rbm, data, "cd", epochs=1, validation=with_gaps(data)).history
    assert 0 < history["validation_loss"][-1] < 1
    assert "free_energy_gap" not in history


def test_where_gaps_have_no_meaning():
    X = np.array([[1.0, NAN], [0.0, 1.0]])
    with pytest.raises(ValueError, match="1 NaN or infinite values"):
        train(MLP(2, "linear(2)", backend="reference"), X, "backprop('mse')", y=X)
    with pytest.raises(ValueError, match="missing=0 is not possible"):
        CD(missing=0)


def test_steps_with_gaps_are_replayed(pretended):
    """Nothing is read back within a step: it is recorded as a CUDA graph."""
    data = with_gaps(stripes(60, side=3))
    rbm = RBM(Bernoulli(9), Bernoulli(6), backend="cupy", dtype="float64")
    twin = RBM(Bernoulli(9), Bernoulli(6), backend="reference", dtype="float64")
    for model in (rbm, twin):
        train(model, data, "cd", epochs=2, batch_size=10)
    assert pretended.graph_launches > 6
    assert_allclose(host(rbm.matrix.weight), host(twin.matrix.weight), atol=1e-10)
