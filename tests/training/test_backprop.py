"""Backpropagation against central differences of losses that dense NumPy computes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import blobs, dense_forward, dense_loss, finite_differences, gradient, host, hosted, tiny_mlp, tiny_rbm

from sparserbm import (
    CD,
    AllReLU,
    Backprop,
    Bernoulli,
    CrossEntropy,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    SquaredError,
    SReLU,
    Tanh,
)
from sparserbm.data.batches import Batch
from sparserbm.registry import parse, to_text
from sparserbm.rng import Streams

DRAWS = Streams(0).draws("activities", 0)
NETWORKS = [
    ("cross_entropy", (ReLU(5), Softmax(3))),
    ("cross_entropy", (Tanh(5), Sigmoid(4), Softmax(3))),
    ("cross_entropy", (Softmax(3),)),
    ("cross_entropy", (Sigmoid(5), Sigmoid(3))),
    ("cross_entropy", (Tanh(5), Bernoulli(3))),
    ("mse", (Tanh(5), Identity(3))),
    ("mse", (ReLU(5), Sigmoid(3))),
    ("mse", (Sigmoid(5), Tanh(3))),
    ("mse", (Tanh(5), ReLU(3))),
    ("cross_entropy", (LeakyReLU(5, slope=0.2), Softmax(3))),
    ("cross_entropy", (AllReLU(5, slope=-0.6), AllReLU(4, slope=0.6), Softmax(3))),
    ("cross_entropy", (SReLU(5), SReLU(4), Softmax(3))),
    ("mse", (Tanh(5), LeakyReLU(3, slope=0.2))),
    ("sse", (Tanh(5), Identity(3))),
    ("sse", (ReLU(5), Sigmoid(3))),
]
networks = pytest.mark.parametrize(
    ("loss", "layers"), NETWORKS, ids=lambda value: value if isinstance(value, str) else type(value[-1]).__name__
)


def problem(backend, layers, n=17, density=0.5, dtype="float64", gates=False):
    """A network and data; targets are class numbers for Softmax, numbers of [0, 1] otherwise."""
    mlp = tiny_mlp(backend, 6, *layers, density=density, dtype=dtype, gates=gates)
    X, labels = blobs(n)
    y = labels if isinstance(layers[-1], Softmax) else np.random.default_rng(1).random((n, 3))
    return mlp, X, y


def signals(mlp, X, y, loss, draws=DRAWS, **settings):
    library, rule = mlp.backend, Backprop(loss, **settings)
    y = rule.check(mlp, y)
    x = library.asarray(np.ascontiguousarray(X.T))
    target = library.asarray(y if y.ndim == 1 else np.ascontiguousarray(y.T))
    return rule.start(mlp, X, len(X)).signals(mlp, Batch(x, target, 0), draws)


def check_gradients(mlp, found, loss):
    """All that `found` says is the slope of ``loss()``; returns the names of the units' further slots."""
    for layer, coactivity in zip(mlp.connections, found.coactivity):
        slopes = finite_differences(layer.weight, loss)
        assert_allclose(gradient(coactivity, layer), slopes, rtol=1e-5, atol=1e-8)
    for slots, terms in zip(mlp.biases, found.biases):
        means = [(sign / activity.shape[1], activity) for sign, activity in terms]
        sums = hosted(mlp.backend).row_sums(means, np.full(len(slots), np.nan))
        assert_allclose(sums, finite_differences(slots["bias"], loss), rtol=1e-5, atol=1e-8)
    for number, name, slope in found.others:
        assert_allclose(host(slope), finite_differences(mlp.biases[number][name], loss), rtol=1e-5, atol=1e-8)
    return [(number, name) for number, name, _ in found.others]


@networks
@pytest.mark.parametrize(("density", "gates"), [(0.5, False), (1.0, False), (0.5, True)])
def test_gradients_are_finite_differences_of_the_loss(backend, loss, layers, density, gates):
    mlp, X, y = problem(backend, layers, density=density, gates=gates)
    named = check_gradients(mlp, signals(mlp, X, y, loss), lambda: dense_loss(mlp, X, y, loss))
    hidden = enumerate(layers[:-1])
    assert sorted(named) == sorted((k, name) for k, units in hidden for name in (*units.own, *["gate"] * gates))


# -- dropout ---------------------------------------------------------------------------------------------------------

RATES = {"input_dropout": 0.2, "dropout": (0.3, 0.6)}


def masks_of(mlp, n, *rates, dtype="float64"):
    """What dropout leaves, by the first draws of the step; (n_units, n) each."""
    library, draws, masks = hosted("reference", dtype), Streams(0).draws("activities", 0), []
    for units, rate in zip(mlp.units, rates):
        kept = np.full((units.n, n), 1 - rate, dtype)
        masks.append(library.bernoulli(draws.next(), kept, kept) / (1 - rate))
    return masks


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("layers", [(ReLU(7), Tanh(5)), (AllReLU(7, slope=-0.6), SReLU(5))], ids=["plain", "special"])
def test_gradients_with_dropout_are_those_of_the_masked_network(backend, layers, gates):
    mlp, X, y = problem(backend, (*layers, Softmax(3)), gates=gates, density=0.8)
    masks = [mask.T for mask in masks_of(mlp, 17, 0.2, 0.3, 0.6)]
    found = signals(mlp, X, y, "cross_entropy", Streams(0).draws("activities", 0), **RATES)
    check_gradients(mlp, found, lambda: dense_loss(mlp, X, y, "cross_entropy", masks))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_silences_the_same_units_on_every_backend(backend, dtype):
    mlp, X, y = problem(backend, (Sigmoid(50), Sigmoid(40), Softmax(3)), n=300, dtype=dtype)
    found = signals(mlp, X + 0.1, y, "cross_entropy", Streams(0).draws("activities", 0), **RATES)
    for coactivity, mask in zip(found.coactivity, masks_of(mlp, 300, 0.2, 0.3, 0.6, dtype=dtype)):
        assert np.array_equal(host(coactivity.pairs[0].pre) != 0, mask != 0)


def test_dropout_keeps_the_expected_activity(backend):
    mlp, X, y = problem(backend, (Sigmoid(40), Softmax(3)))
    X, y = np.repeat(X[:1], 16_000, axis=0), np.repeat(y[:1], 16_000)
    whole, part = (signals(mlp, X, y, "cross_entropy", dropout=rate).coactivity[1].pairs[0].pre for rate in (0.0, 0.3))
    expected = host(whole)[:, 0]
    deviation = expected * np.sqrt(0.3 / 0.7 / 16_000)
    assert np.abs((host(part).mean(axis=1) - expected) / deviation).max() < 4.5
    values = np.unique(np.round(host(part) / expected[:, None], 10))
    assert values == pytest.approx([0.0, 1 / 0.7])


def test_evaluation_knows_no_dropout(backend):
    mlp, X, y = problem(backend, (ReLU(5), Softmax(3)))
    plain, rule = Backprop().start(mlp, X, 10), Backprop(dropout=0.5, input_dropout=0.5)
    assert rule.start(mlp, X, 10).evaluate(mlp, X, y) == plain.evaluate(mlp, X, y)


def test_rates_of_dropout():
    assert Backprop(dropout=[0.1, 0.2]).rates(4) == [0.0, 0.1, 0.2]
    assert Backprop(dropout=0.1, input_dropout=0.3).rates(4) == [0.3, 0.1, 0.1]
    assert parse("algorithm", "backprop(dropout=0.3)") == Backprop(dropout=0.3)
    several = Backprop("mse", dropout=(0.1, 0.2))
    assert parse("algorithm", to_text(several)) == several
    for wrong in (1.0, -0.1, "half", True, (0.1, 2)):
        with pytest.raises(ValueError, match=r"a dropout of .* is not possible; use a number in \[0, 1\)"):
            Backprop(dropout=wrong)
    mlp, _, y = problem("reference", (ReLU(5), Softmax(3)))
    with pytest.raises(ValueError, match=r"dropout=\(0.1, 0.2\) has 2 rates for 1 hidden layers"):
        Backprop(dropout=(0.1, 0.2)).check(mlp, y)


@networks
def test_the_loss_is_summed_over_the_batch(backend, loss, layers):
    mlp, X, y = problem(backend, layers)
    found = signals(mlp, X, y, loss)
    assert found.n_samples == 17
    assert float(found.sums["loss"]) == pytest.approx(17 * dense_loss(mlp, X, y, loss), rel=1e-10)


@networks
def test_evaluation_needs_no_batch(backend, loss, layers):
    mlp, X, y = problem(backend, layers, n=1500)  # more than one block
    rule = Backprop(loss)
    found = rule.start(mlp, X, 10).evaluate(mlp, X, rule.check(mlp, y))
    assert found["loss"] == pytest.approx(dense_loss(mlp, X, y, loss), rel=1e-10)
    if isinstance(layers[-1], Softmax):
        assert found["accuracy"] == np.mean(dense_forward(mlp, X).argmax(axis=1) == y)


def test_several_labels_are_right_together(backend):
    mlp, X, _ = problem(backend, (Sigmoid(3),), n=40)
    y = np.round(np.random.default_rng(2).random((40, 3)))
    found = Backprop().start(mlp, X, 10).evaluate(mlp, X, y)
    assert found["accuracy"] == np.mean(np.all((dense_forward(mlp, X) > 0.5) == (y > 0.5), axis=1))


def test_a_gradient_can_be_asked_for_at_places_without_connection(backend):
    """Finite differences of the full network with zeros in those places: what a grow rule wants to know."""
    mlp, X, y = problem(backend, (Tanh(5), Softmax(3)))
    found = signals(mlp, X, y, "cross_entropy").coactivity[0]
    absent = np.setdiff1d(np.arange(30), mlp.connections[0].pattern.keys)
    slopes_there = host(found.at_places(mlp.backend, absent))
    full = tiny_mlp(backend, 6, Tanh(5), Softmax(3), density=1.0)
    full.connections[0].slots["weight"] = mlp.connections[0].to_dense().ravel()
    full.connections[1], full.biases = mlp.connections[1], mlp.biases
    slopes = finite_differences(full.connections[0].weight, lambda: dense_loss(full, X, y, "cross_entropy"))
    assert_allclose(slopes_there, slopes[absent], rtol=1e-5, atol=1e-8)


def test_a_certain_mistake_costs_a_finite_loss(backend):
    mlp, X, _ = problem(backend, (Softmax(3),), density=1.0, dtype="float32")
    mlp.biases[0]["bias"] = np.array([500.0, -500.0, -500.0])
    loss = Backprop().start(mlp, X, 10).evaluate(mlp, X, np.ones(17, int))["loss"]
    assert 60 < loss < 80  # the logarithm of the smallest probability that counts


def test_float32_gradients_are_those_of_float64(backend):
    found = {}
    for dtype in ("float32", "float64"):
        mlp, X, y = problem(backend, (ReLU(5), Softmax(3)), dtype=dtype)
        coactivity = signals(mlp, X, y, "cross_entropy").coactivity[0]
        found[dtype] = gradient(coactivity, mlp.connections[0])
        assert found[dtype].shape == (15,)
    assert_allclose(found["float32"], found["float64"], rtol=1e-4, atol=1e-6)


# -- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "loss", "y", "message"),
    [
        (Softmax(3), "cross_entropy", np.array([0.0, 1.0]), "Softmax outputs need class numbers.*y has float64"),
        (Softmax(3), "cross_entropy", np.array([[0], [1]]), r"y has int64 \(2, 1\)"),
        (Softmax(3), "cross_entropy", np.array(["a", "b"]), "Softmax outputs need class numbers"),
        (Softmax(3), "cross_entropy", np.array([0, 3]), "classes from 0 to 3, but the model has 3 outputs: 0 to 2"),
        (Softmax(3), "cross_entropy", np.array([-1, 2]), "classes from -1 to 2"),
        (Sigmoid(2), "cross_entropy", np.array([[0, 2], [1, 1]]), r"targets in \[0, 1\]; y goes from 0 to 2"),
        (
            Identity(2),
            "cross_entropy",
            np.zeros((2, 2)),
            "needs Softmax or Sigmoid outputs, not Identity; use loss='mse'",
        ),
        (Softmax(3), "mse", np.zeros((2, 3)), "needs elementwise outputs .*, not Softmax"),
        (
            Identity(2),
            "mse",
            np.zeros((2, 3)),
            r"y has shape \(2, 3\), but the model has 2 outputs: use \(n_samples, 2\)",
        ),
        (Identity(2), "mse", np.array([[0, np.nan], [1, 1]]), r"y holds 1 NaN or infinite values.* at row 0, column 1"),
        (Sigmoid(1), "cross_entropy", np.array([0.0, np.inf]), "y holds 1 NaN or infinite values"),
        (Softmax(3), "cross_entropy", None, "an MLP needs targets: pass y"),
    ],
)
def test_targets_that_do_not_fit(layer, loss, y, message):
    with pytest.raises(ValueError, match=message):
        Backprop(loss).check(tiny_mlp("reference", 4, layer), y)


def test_one_output_may_have_a_flat_list_of_targets():
    mlp = tiny_mlp("reference", 4, Identity(1))
    assert Backprop("mse").check(mlp, np.arange(5)).tolist() == [[0.0], [1.0], [2.0], [3.0], [4.0]]


def test_losses_by_text():
    assert Backprop().loss == CrossEntropy()
    assert Backprop("mse").loss == SquaredError()
    with pytest.raises(ValueError, match="unknown loss 'hinge'; known: cross_entropy, mse"):
        Backprop("hinge")
    with pytest.raises(TypeError, match="loss=3 is not possible; give a Loss or its text"):
        Backprop(3)


def test_each_algorithm_knows_its_model():
    with pytest.raises(TypeError, match=r"Backprop trains an MLP, not a RBM; for an RBM use CD\(\)"):
        Backprop().check(tiny_rbm("reference"), None)
    with pytest.raises(TypeError, match=r"CD trains an RBM, not a MLP; for an MLP use Backprop\(\)"):
        CD().check(tiny_mlp("reference", 4, Softmax(3)), None)
