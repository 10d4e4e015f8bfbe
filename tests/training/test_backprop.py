"""Backpropagation against central differences of losses that dense NumPy computes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import blobs, dense_forward, dense_loss, finite_differences, gradient, host, hosted, tiny_mlp, tiny_rbm

from sparserbm import CD, Backprop, Bernoulli, CrossEntropy, Identity, ReLU, Sigmoid, Softmax, SquaredError, Tanh
from sparserbm.data.batches import Batch
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
]
networks = pytest.mark.parametrize(
    ("loss", "layers"), NETWORKS, ids=lambda value: value if isinstance(value, str) else type(value[-1]).__name__
)


def problem(backend, layers, n=17, density=0.5, dtype="float64"):
    """A network and data; targets are class numbers for Softmax, numbers of [0, 1] otherwise."""
    mlp = tiny_mlp(backend, 6, *layers, density=density, dtype=dtype)
    X, labels = blobs(n)
    y = labels if isinstance(layers[-1], Softmax) else np.random.default_rng(1).random((n, 3))
    return mlp, X, y


def signals(mlp, X, y, loss):
    library, rule = mlp.backend, Backprop(loss)
    y = rule.check(mlp, y)
    x = library.asarray(np.ascontiguousarray(X.T))
    target = library.asarray(y if y.ndim == 1 else np.ascontiguousarray(y.T))
    return rule.start(mlp, X, len(X)).signals(mlp, Batch(x, target, 0), DRAWS)


@networks
@pytest.mark.parametrize("density", [0.5, 1.0])
def test_gradients_are_finite_differences_of_the_loss(backend, loss, layers, density):
    mlp, X, y = problem(backend, layers, density=density)
    found = signals(mlp, X, y, loss)
    for layer, coactivity in zip(mlp.connections, found.coactivity):
        slopes = finite_differences(layer.weight, lambda: dense_loss(mlp, X, y, loss))
        assert_allclose(gradient(coactivity, layer), slopes, rtol=1e-5, atol=1e-8)
    for slots, terms in zip(mlp.biases, found.biases):
        means = [(sign / activity.shape[1], activity) for sign, activity in terms]
        sums = hosted(mlp.backend).row_sums(means, np.full(len(slots), np.nan))
        slopes = finite_differences(slots["bias"], lambda: dense_loss(mlp, X, y, loss))
        assert_allclose(sums, slopes, rtol=1e-5, atol=1e-8)


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
