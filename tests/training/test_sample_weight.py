"""A weight says how often a sample counts: in the gradient, in the metrics, in what a run starts from."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    arrays_of,
    assert_same_bytes,
    blobs,
    finite_differences,
    gradient,
    host,
    stripes,
    tiny_mlp,
    tiny_rbm,
)

from sparserbm import (
    CD,
    MLP,
    RBM,
    SET,
    SGD,
    Adam,
    Backprop,
    Bernoulli,
    ErdosRenyi,
    Gaussian,
    Identity,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    train,
)
from sparserbm.backends import get_backend
from sparserbm.data.batches import Batch, Batches
from sparserbm.rng import Streams

X, Y = blobs(30)
TARGETS = np.random.default_rng(5).random((30, 2))
COPIES = np.random.default_rng(4).integers(0, 4, 30)
WEIGHT = np.random.default_rng(6).random(30)
PICTURES = stripes(30)

LOSSES = [
    ("cross_entropy", Softmax(3), Y),
    ("cross_entropy", Sigmoid(2), TARGETS),
    ("mse", Identity(2), TARGETS),
    ("mse", Tanh(2), TARGETS),
    ("sse", Identity(2), TARGETS),
]


def mlp_of(backend, output=None):
    return tiny_mlp(backend, 6, ReLU(5), output or Softmax(3))


# -- mini-batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
def test_weights_go_with_their_samples(backend, shuffle):
    weight = np.arange(30.0)
    batches = Batches(get_backend(backend, "float64"), X, Y, 8, weight=weight)
    seen = []
    for batch in batches.epoch(Streams(0), 0, shuffle):
        for x, weighs in zip(host(batch.x).T, host(batch.weight)):
            assert np.array_equal(X[int(weighs)], x)
            seen.append(weighs)
    assert sorted(seen) == weight.tolist()


# -- backpropagation -------------------------------------------------------------------------------------------------


def loss_of_mlp(loss, model, y, weight):
    return Backprop(loss).start(model, X, 10).evaluate(model, X, y, weight)["loss"]


@pytest.mark.parametrize(("loss", "output", "y"), LOSSES)
def test_the_gradient_is_that_of_the_weighted_mean_loss(backend, loss, output, y):
    mlp, weight = mlp_of(backend, output), WEIGHT / WEIGHT.mean()
    rule, device = Backprop(loss), mlp.backend
    y = rule.check(mlp, y)
    target = device.asarray(y.T.copy() if y.ndim == 2 else y)
    batch = Batch(device.asarray(X.T.copy()), target, 0, device.asarray(weight))
    signals = rule.start(mlp, X, 30).signals(mlp, batch, mlp.streams.draws("activities", 0))
    layer = mlp.connections[0]
    slopes = finite_differences(layer.weight, lambda: loss_of_mlp(loss, mlp, y, weight))
    assert_allclose(gradient(signals.coactivity[0], layer), slopes, rtol=1e-5, atol=1e-8)
    bias = mlp.biases[0]["bias"]
    slopes = finite_differences(bias, lambda: loss_of_mlp(loss, mlp, y, weight))
    terms = [host(activity).mean(axis=1) * sign for sign, activity in signals.biases[0]]
    assert_allclose(sum(terms), slopes, rtol=1e-5, atol=1e-8)
    assert float(signals.sums["loss"]) / 30 == pytest.approx(loss_of_mlp(loss, mlp, y, weight))


@pytest.mark.parametrize(("loss", "output", "y"), LOSSES)
def test_an_integer_weight_is_as_many_copies(backend, loss, output, y):
    """In one step with all samples, and in what is measured."""
    weighted, repeated = mlp_of(backend, output), mlp_of(backend, output)
    settings = {"epochs": 3, "batch_size": 200, "optimizer": Adam(0.01), "evolution": SET(0.3)}
    held = X[:12], y[:12]
    first = train(
        weighted, X, Backprop(loss), y=y, sample_weight=COPIES, validation=(*held, 0.5 * COPIES[:12]), **settings
    )
    held = tuple(np.repeat(each, COPIES[:12], axis=0) for each in held)
    copies = np.repeat(X, COPIES, axis=0), np.repeat(y, COPIES, axis=0)
    second = train(repeated, copies[0], Backprop(loss), y=copies[1], validation=held, **settings)
    first_arrays, second_arrays = arrays_of(weighted), arrays_of(repeated)
    for name in first_arrays:
        assert_allclose(first_arrays[name], second_arrays[name], rtol=1e-6, atol=1e-9, err_msg=name)
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy", "core_validation_loss"):
        if name in second.history:
            assert_allclose(first.history[name][1:], second.history[name][1:], rtol=1e-6, err_msg=name)


def test_dropout_and_gates_know_weights(backend):
    """What a sample adds to a gradient is that without its weight, times its weight."""
    mlp = tiny_mlp(backend, 6, ReLU(5), ReLU(4), Softmax(3), gates=True)
    trainer, device = Backprop(dropout=0.5).start(mlp, X, 30), mlp.backend

    def slopes(weight):
        batch = Batch(device.asarray(X.T.copy()), device.asarray(Y), 0, device.asarray(weight))
        signals = trainer.signals(mlp, batch, mlp.streams.draws("activities", 0))
        found = [gradient(each, layer) for each, layer in zip(signals.coactivity, mlp.connections)]
        return np.concatenate([*found, *(host(each).copy() for _, _, each in signals.others)])

    parts = [slopes(np.where(np.arange(30) == number, 1.0, 0.0)) for number in range(30)]
    assert_allclose(slopes(WEIGHT), sum(w * part for w, part in zip(WEIGHT, parts)), rtol=1e-9, atol=1e-12)


# -- contrastive divergence ------------------------------------------------------------------------------------------

CD_RULES = [
    CD(),
    CD(k=2, negative="sample", positive="sample"),
    CD(chain="mean"),
    CD(sparsity="sparsity(0.1, cost=0.0)"),
]


@pytest.mark.parametrize("rule", CD_RULES, ids=str)
@pytest.mark.parametrize("gates", [False, True])
def test_each_sample_adds_its_weight_to_both_phases(backend, rule, gates):
    rbm = tiny_rbm(backend, 16, 5, gates=gates)
    found = _slopes_of_rbm(rbm, rule)
    parts = [found(np.where(np.arange(30) == number, 1.0, 0.0)) for number in range(30)]
    assert_allclose(found(WEIGHT), sum(w * part for w, part in zip(WEIGHT, parts)), rtol=1e-9, atol=1e-12)
    assert_allclose(found(np.ones(30)), found(None), rtol=1e-12, atol=1e-15)


def test_a_learned_variance_too(backend):
    rbm = RBM(Gaussian(16, learned=True), Bernoulli(5), wiring="dense", backend=backend, dtype="float64")
    found = _slopes_of_rbm(rbm, CD(negative="sample"))
    parts = [found(np.where(np.arange(30) == number, 1.0, 0.0)) for number in range(30)]
    assert_allclose(found(WEIGHT), sum(w * part for w, part in zip(WEIGHT, parts)), rtol=1e-9, atol=1e-12)
    assert_allclose(found(np.ones(30)), found(None), rtol=1e-12, atol=1e-15)


def _slopes_of_rbm(rbm, rule):
    device = rbm.backend

    def slopes(weight):
        trainer = rule.start(rbm, PICTURES, 30)
        batch = Batch(device.asarray(PICTURES.T.copy()), None, 0, None if weight is None else device.asarray(weight))
        signals = trainer.signals(rbm, batch, rbm.streams.draws("activities", 0))
        terms = [
            sum(sign * host(activity).sum(axis=1) / host(activity).shape[1] for sign, activity in each)
            for each in signals.biases
        ]
        others = [host(each).copy() for _, _, each in signals.others]
        loss = [float(signals.sums["loss"])]
        return np.concatenate([gradient(signals.coactivity[0], rbm.matrix), *terms, *others, loss])

    return slopes


def test_persistent_chains_belong_to_no_sample(backend):
    """Only the positive phase is weighted: it is linear in the weights, with the negative phase as its constant."""
    rbm = tiny_rbm(backend, 16, 5)
    found = _slopes_of_rbm(rbm, CD(persistent=True))
    nothing = found(np.zeros(30))[:-1]
    parts = [found(np.where(np.arange(30) == number, 1.0, 0.0))[:-1] - nothing for number in range(30)]
    assert np.abs(nothing).max() > 0
    whole = found(WEIGHT)[:-1] - nothing
    assert_allclose(whole, sum(w * part for w, part in zip(WEIGHT, parts)), rtol=1e-9, atol=1e-9)


def test_the_first_visible_biases_are_those_of_the_weighted_data(backend):
    models = [RBM(Bernoulli(16), Bernoulli(5), wiring="dense", backend=backend) for _ in range(2)]
    train(models[0], PICTURES, CD(), sample_weight=COPIES, epochs=1, optimizer=SGD(0.0))
    train(models[1], np.repeat(PICTURES, COPIES, axis=0), CD(), epochs=1, optimizer=SGD(0.0))
    assert_allclose(host(models[0].visible_bias), host(models[1].visible_bias), rtol=1e-6)
    assert np.abs(host(models[0].visible_bias)).max() > 0


def test_the_loss_of_an_rbm_is_a_weighted_mean(backend):
    """Where every sample has the same loss but one."""
    data = np.vstack([np.zeros((20, 16)), np.ones((1, 16))])
    rbm = RBM(Bernoulli(16), Bernoulli(3), wiring="dense", weights="zero", backend=backend)
    rule = CD(visible_bias="zero")
    evaluate = rule.start(rbm, data, 7).evaluate
    rbm.biases[0]["bias"] = np.full(16, -2.0)
    one, many = (float(evaluate(rbm, rows, None)["loss"]) for rows in (data[20:], data[:20]))
    weight = np.append(np.full(20, 0.5), 11.0)
    found = evaluate(rbm, data, None, weight)["loss"]
    assert found == pytest.approx((20 * 0.5 * many + 11 * one) / 21, rel=1e-6)
    assert one > 5 * many


def test_an_rbm_learns_what_counts(backend):
    """Two kinds of pictures, one of which weighs a hundred times as much as the other."""
    pictures = np.repeat(np.eye(2), [50, 50], axis=0).repeat(8, axis=1)
    models = []
    for weight in (np.repeat([100, 1], 50), np.repeat([1, 100], 50)):
        models.append(RBM(Bernoulli(16), Bernoulli(8), wiring="dense", backend=backend, seed=1))
        train(models[-1], pictures, CD(), sample_weight=weight, epochs=10, batch_size=10, optimizer=SGD(0.05))
    differences = [float(np.diff(model.free_energy(pictures[[0, -1]]))[0]) for model in models]
    assert differences[0] > 1
    assert differences[1] < -1


# -- what weights must not change --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rbm", "mlp"])
def test_a_weight_of_0_is_a_sample_that_is_not_there(backend, kind):
    """To the bit: also in orders, means, the zone."""
    kept, settings = COPIES > 0, {"epochs": 3, "batch_size": 8, "evolution": SET(0.3)}
    models, runs = [], []
    for x, y, weight in ((X, Y, COPIES), (X[kept], Y[kept], COPIES[kept])):
        if kind == "rbm":
            models.append(RBM(Bernoulli(6), Bernoulli(5), wiring="dense", backend=backend))
            runs.append(train(models[-1], x, CD(), sample_weight=weight, **settings))
        else:
            models.append(MLP(6, ReLU(5), Softmax(3), wiring=[ErdosRenyi(density=0.5)] * 2, backend=backend))
            runs.append(train(models[-1], x, Backprop(), y=y, sample_weight=weight, **settings))
    assert_same_bytes(*models)
    assert runs[0].config["data"] == runs[1].config["data"]
    assert runs[0].config["data"]["n_samples"] == kept.sum()


def test_equal_weights_change_nothing(backend):
    models = [RBM(Bernoulli(6), Bernoulli(5), wiring="dense", backend=backend) for _ in range(2)]
    first = train(models[0], X, CD(), sample_weight=np.full(30, 0.3), epochs=2, batch_size=8)
    second = train(models[1], X, CD(), epochs=2, batch_size=8)
    assert_same_bytes(*models)
    assert first.config["data"] == second.config["data"]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(29), r"sample_weight has float64 \(29,\); give one number for each of the 30 samples"),
        (-np.ones(30), "holds 30 values that are negative"),
        (np.zeros(30), "at least one non-zero"),
    ],
)
def test_weights_that_cannot_be(weight, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(mlp_of("reference"), X, Backprop(), y=Y, sample_weight=weight, out=tmp_path / "run")
    with pytest.raises(ValueError, match=f"validation data: .*{message}"):
        train(mlp_of("reference"), X, Backprop(), y=Y, validation=(X, Y, weight), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_centred_gradient_knows_weights(backend):
    rbm = tiny_rbm(backend, 16, 5)
    found = _slopes_of_rbm(rbm, CD(centred=True))
    assert_allclose(found(np.ones(30)), found(None), rtol=1e-12, atol=1e-15)
    twice = found(np.where(np.arange(30) < 15, 2.0, 0.0))
    assert np.abs(twice - found(None)).max() > 1e-3


@pytest.mark.parametrize(("loss", "output", "y"), LOSSES)
def test_weighted_steps_are_recorded(pretended, loss, output, y):
    mlp, before = MLP(6, ReLU(5), output, backend="cupy"), pretended.graph_launches
    train(mlp, X, Backprop(loss), y=y, sample_weight=WEIGHT, epochs=1, batch_size=3, zone=None)
    assert pretended.graph_launches == before + 9  # all but the first
