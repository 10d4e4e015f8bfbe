"""Penalties: how fast a weight without gradient shrinks, and that the gradient is that of the penalty."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import arrays_of, blobs, finite_differences, host, tiny_mlp

from sparserbm import L1, L2, SGD, Adam, Backprop, ElasticNet, Linear, ReLU, Softmax, Steps, train
from sparserbm.backends import get_backend
from sparserbm.network.slots import Slots
from sparserbm.registry import parse, to_text
from sparserbm.regularization import penalties, soft_threshold

START = np.array([0.8, -0.35, 0.011, -0.002, 0.0])


def idle(backend, penalty, optimizer, steps, start=START, layer=0):
    """The weights after so many steps without gradient, in the order of the training loop; one row a step."""
    library = get_backend(backend, "float64")
    slots = Slots(library, len(start))
    slots["weight"] = start.copy()
    rows = [start]
    for step in range(steps):
        gradient = library.zeros(len(start))
        penalty.add_gradient(library, slots["weight"], gradient, layer, step)
        optimizer.step(library, slots, "weight", slice(None), gradient, step, 0)
        penalty.shrink(library, slots["weight"], layer, step, optimizer.rate(step))
        rows.append(host(slots["weight"]).copy())
    return np.array(rows)


def test_coupled_l2_without_momentum_shrinks_by_a_factor(backend):
    rows = idle(backend, L2(0.02), SGD(0.5), 30)
    assert_allclose(rows, START * (1 - 0.5 * 0.02) ** np.arange(31)[:, None], rtol=1e-12)


def test_coupled_l2_with_momentum_is_the_form_of_pytorch(backend):
    """g <- g + l2 w, v <- mu v + g, w <- w - lr v; per step a share of lr l2 / (1 - mu) is lost in the long run."""
    rate, mu, l2 = 0.1, 0.9, 1e-3
    rows = idle(backend, L2(l2), SGD(rate, momentum=mu), 400)
    w, v = START.copy(), np.zeros(5)
    for row in rows[1:]:
        v = mu * v + l2 * w
        w = w - rate * v
        assert_allclose(row, w, rtol=1e-12)
    shrink = 1 - rows[-1, 0] / rows[-2, 0]
    assert shrink == pytest.approx(rate * l2 / (1 - mu), rel=0.01)


def test_decoupled_l2_leaves_gradient_and_momentum_alone(backend):
    for optimizer in (SGD(0.5), SGD(0.5, momentum=0.9), Adam(0.5)):
        rows = idle(backend, L2(0.02, coupled=False), optimizer, 30)
        assert_allclose(rows, START * (1 - 0.5 * 0.02) ** np.arange(31)[:, None], rtol=1e-12)


def test_l1_reaches_zero_and_stays_there(backend):
    rows = idle(backend, L1(0.02), SGD(0.5), 50)
    expected = np.sign(START) * np.maximum(np.abs(START) - 0.01 * np.arange(51)[:, None], 0)
    assert_allclose(rows, expected, atol=1e-14)
    assert not rows[36:, 1:].any()  # exactly 0, 0.35 after 35 steps (and a rounding)
    assert rows[-1, 0] > 0


def test_the_elastic_net_thresholds_and_then_divides(backend):
    rows = idle(backend, ElasticNet(l1=0.02, l2=0.1), SGD(0.5), 20)
    w = START.copy()
    for row in rows[1:]:
        w = np.sign(w) * np.maximum(np.abs(w) - 0.01, 0) / 1.05
        assert_allclose(row, w, atol=1e-14)


def test_the_proximal_steps_minimise_what_they_should(backend):
    """sign(w) max(|w| - t, 0) is the u that makes (u - w)**2 / 2 + t |u| smallest."""
    library, u = get_backend(backend, "float64"), np.linspace(-2, 2, 400_001)
    for w in (1.3, -0.4, 0.05):
        value = library.asarray([w])
        soft_threshold(library, value, 0.1)
        assert float(value[0]) == pytest.approx(u[np.argmin((u - w) ** 2 / 2 + 0.1 * np.abs(u))], abs=1e-5)


@pytest.mark.parametrize("strength", [0.7, Steps((0.7, 5.0), (3,)), (9.0, 0.7)])
def test_the_gradient_of_l2_is_the_slope_of_its_penalty(backend, strength):
    library, penalty, layer, step = get_backend(backend, "float64"), L2(strength), 1, 2
    value, gradient = library.asarray(START.copy()), library.asarray(np.ones(5))
    slope = finite_differences(value, lambda: penalty.penalty(library, value, layer, step))
    penalty.add_gradient(library, value, gradient, layer, step)
    assert_allclose(host(gradient), 1 + slope, rtol=1e-8)
    assert penalty.penalty(library, value, layer, step) == pytest.approx(0.35 * (START**2).sum())


def test_penalties_of_known_values(backend):
    library = get_backend(backend, "float32")
    value = library.asarray([0.5, -2.0, 0.0])
    assert L1(0.1).penalty(library, value, 0, 0) == pytest.approx(0.25)
    assert L2(0.1).penalty(library, value, 0, 0) == pytest.approx(0.2125)
    assert ElasticNet(0.1, 0.1).penalty(library, value, 0, 0) == pytest.approx(0.4625)
    assert ElasticNet((0, 0.1), "linear(0, 0.2, 10)").penalty(library, value, 1, 5) == pytest.approx(0.4625)


def test_strengths_follow_schedules_and_layers(backend):
    ramp = idle(backend, L2(Linear(0.0, 0.1, steps=10), coupled=False), SGD(1.0), 12)
    factors = 1 - np.minimum(np.arange(12), 10) / 100
    assert_allclose(ramp[1:, 0], START[0] * np.cumprod(factors), rtol=1e-12)
    for layer, factor in ((0, 1.0), (1, 0.9)):
        rows = idle(backend, L2((0.0, 0.1), coupled=False), SGD(1.0), 1, layer=layer)
        assert_allclose(rows[1], factor * START, rtol=1e-12)
    with pytest.raises(ValueError, match="2 strengths for a model with at least 3 layers; give one for each"):
        idle(backend, L1((0.0, 0.1)), SGD(1.0), 1, layer=2)


@pytest.mark.parametrize("kind", ["l2(0.5{})", "l2(0.5{}, coupled=False)", "l1(0.5{})", "elastic_net(0.1, 0.5{})"])
def test_biases_are_left_alone_unless_asked(backend, kind):
    """After one mini-batch, that is: from the second one on, other weights mean other gradients for biases."""
    X, y = blobs(20)

    def trained(penalty):
        mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(3))
        train(mlp, X, Backprop(), y=y, epochs=1, batch_size=20, optimizer=SGD(0.1), regularization=penalty)
        return arrays_of(mlp)

    plain, weights_only, both = trained(None), trained(kind.format("")), trained(kind.format(", biases=True"))
    assert not np.array_equal(plain["weight 0"], weights_only["weight 0"])
    assert np.array_equal(plain["bias of biases 0"], weights_only["bias of biases 0"])
    assert np.array_equal(weights_only["weight 0"], both["weight 0"])
    assert not np.array_equal(plain["bias of biases 0"], both["bias of biases 0"])


@pytest.mark.parametrize("rule", ["l2((0, 0.5), coupled=False)", "l2((0.0, 0.5))", "l1((0, 0.05))"])
def test_training_hands_on_layer_and_learning_rate(backend, rule):
    """One mini-batch with the rate 0.1: what a penalty does to the second layer, and does not to the first."""
    X, y = blobs(20)
    found = []
    for penalty in (None, rule):
        mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(3))
        start = host(mlp.connections[1].weight).copy()
        train(mlp, X, Backprop(), y=y, epochs=1, batch_size=20, optimizer=SGD(0.1), regularization=penalty)
        found.append([host(layer.weight) for layer in mlp.connections])
    (first, plain), (same, penalised) = found
    assert np.array_equal(first, same)
    expected = {
        "l2((0, 0.5), coupled=False)": 0.95 * plain,
        "l2((0.0, 0.5))": plain - 0.05 * start,
        "l1((0, 0.05))": np.sign(plain) * np.maximum(np.abs(plain) - 0.005, 0),
    }[rule]
    assert_allclose(penalised, expected, rtol=1e-12, atol=1e-14)


def test_absent_connections_are_never_touched(backend):
    X, y = blobs(20)
    mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(3))
    absent = mlp.connections[0].to_dense() == 0
    train(mlp, X, Backprop(), y=y, epochs=2, regularization=[L1(0.1), L2(0.1)])
    assert not mlp.connections[0].to_dense()[absent].any()


def test_what_counts_as_regularization():
    assert penalties(None) == ()
    assert penalties("l2(1e-3)") == (L2(1e-3),)
    assert penalties([L1(1e-4), "l2(linear(0, 1e-3, 100))"]) == (L1(1e-4), L2(Linear(0, 1e-3, 100)))
    assert parse("penalty", to_text(L2([1e-3, "linear(0, 1, 5)"]))) == L2((1e-3, Linear(0, 1, 5)))
    with pytest.raises(TypeError, match="3 is no penalty; give e.g. L2"):
        penalties([3])
    with pytest.raises(ValueError, match="unknown penalty 'l3'.*known: elastic_net, l1, l2"):
        penalties("l3(1)")
    for wrong in (-1e-3, float("nan"), "linear(0, -1, 5)", (1e-3, -1.0)):
        with pytest.raises(ValueError, match=r"l2=\S+ is out of range; use a value in \[0, inf\)"):
            L2(wrong)
