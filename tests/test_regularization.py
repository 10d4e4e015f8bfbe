"""Penalties: how fast a weight without gradient shrinks, and that the gradient is that of the penalty."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import arrays_of, assert_same_bytes, blobs, finite_differences, host, tiny_mlp, tiny_rbm

from sparserbm import (
    CD,
    L1,
    L2,
    SGD,
    Adam,
    Backprop,
    ElasticNet,
    Linear,
    MaxNorm,
    ReLU,
    SetDecay,
    Softmax,
    Steps,
    train,
)
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


def test_the_decay_of_set_leaves_learning_rate_and_momentum_alone(backend):
    for optimizer in (SGD(0.5), SGD(0.01, momentum=0.9), SGD("linear(0.1, 0, 10)"), Adam(0.5)):
        rows = idle(backend, SetDecay(0.02), optimizer, 30)
        assert_allclose(rows, START * 0.98 ** np.arange(31)[:, None], rtol=1e-12)


def test_the_decay_of_set_is_a_share_of_the_weight_before_the_step(backend):
    """The published code: v <- mu v - lr g, then w <- w + v - d w."""
    library, rate, mu, decay = get_backend(backend, "float64"), 0.1, 0.9, 0.01
    slots, optimizer, penalty = Slots(library, len(START)), SGD(rate, momentum=mu), SetDecay(decay)
    slots["weight"] = START.copy()
    w, v = START.copy(), np.zeros(5)
    for step in range(10):
        g = np.random.default_rng(step).normal(size=5)
        gradient = library.asarray(g.copy())
        penalty.add_gradient(library, slots["weight"], gradient, 0, step)
        optimizer.step(library, slots, "weight", slice(None), gradient, step, 0)
        penalty.shrink(library, slots["weight"], 0, step, rate)
        v = mu * v - rate * g
        w = w + v - decay * w
    assert_allclose(host(slots["weight"]), w, rtol=1e-12)


@pytest.mark.parametrize(
    ("penalty", "optimizer", "tolerance"),
    [
        (L2(0.02), SGD(0.5), 1e-12),
        (L2(1e-3), SGD(0.1, momentum=0.5), 1e-3),  # to first order in lr l2 / (1 - mu)
        (L2(1e-3), SGD(0.01, momentum=0.9), 1e-3),
        (L2(1e-3), SGD(0.01, momentum=0.9, nesterov=True), 1e-3),
        (L2(0.02, coupled=False), SGD(0.5, momentum=0.9), 1e-12),
        (L2(0.02, coupled=False), Adam(0.5), 1e-12),
        (L2((0.5, 0.02)), SGD(0.5), 1e-12),
        (SetDecay(0.02), SGD(0.5, momentum=0.9), 1e-12),
        (SetDecay((0, "linear(0.02, 0, 500)")), Adam(0.5), 1e-12),
        (ElasticNet(0, 0.1), SGD(0.5, momentum=0.9), 1e-12),
        (ElasticNet(0.0, (3, 0.1)), Adam(0.5), 1e-12),
    ],
    ids=str,
)
def test_a_weight_without_gradient_shrinks_as_the_penalty_says(backend, penalty, optimizer, tolerance):
    """|w| after n steps is the product of 1 - s from where velocity, if any, has come to rest."""
    rest, steps = 200, 300
    rows = np.abs(idle(backend, penalty, optimizer, steps, start=START[:3], layer=1))
    kept = np.ones(steps - rest + 1)
    for n, step in enumerate(range(rest, steps), start=1):
        share = penalty.shrink_per_step(step, optimizer.rate(step), optimizer.momentum_at(step), 1)
        assert 0 < share < 0.1
        kept[n] = kept[n - 1] * (1 - share)
    assert_allclose(rows[rest:], rows[rest] * kept[:, None], rtol=tolerance)


def test_what_has_no_constant_factor_says_so():
    adam, step = Adam(0.1).momentum_at(0), 7
    assert adam is None
    assert L2(0.1).shrink_per_step(step, 0.1, adam, 0) is None
    assert L2(0.1, coupled=False).shrink_per_step(step, 0.1, adam, 0) == pytest.approx(0.01)
    assert L1(0.1).shrink_per_step(step, 0.1, 0.0, 0) is None
    assert MaxNorm(3).shrink_per_step(step, 0.1, 0.0, 0) is None


@pytest.mark.parametrize("side", ["post", "pre"])
@pytest.mark.parametrize("optimizer", ["sgd(0.5, momentum=0.5)", "adam(0.05)"])
def test_no_unit_is_above_its_norm_after_a_step(backend, side, optimizer):
    X, y = blobs(40)
    mlp = tiny_mlp(backend, 6, ReLU(9), Softmax(3))
    rbm = tiny_rbm(backend, 6, 9, density=0.6)
    norm = "steps((0.8, 0.5), (2,))"
    settings = {"epochs": 2, "batch_size": 20, "optimizer": optimizer, "evolution": None}
    train(mlp, X, Backprop(), y=y, regularization=f"max_norm(({norm}, 0.3), side={side})", **settings)
    train(rbm, X.round(), CD(), regularization=MaxNorm(norm, side=side), **settings)
    for layer, limit in zip((*mlp.connections, rbm.matrix), (0.5, 0.3, 0.5)):
        norms = np.linalg.norm(layer.to_dense(), axis=1 if side == "post" else 0)
        assert norms.max() == pytest.approx(limit, rel=1e-12)  # it is reached, and never passed


def test_training_below_the_norm_is_training(backend):
    """Bit for bit; and above it, one step is the free step scaled back."""
    X, y = blobs(20)

    def trained(penalty):
        mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(3))
        settings = {"epochs": 1, "batch_size": 20, "optimizer": SGD(0.1, momentum=0.9)}
        return train(mlp, X, Backprop(), y=y, regularization=penalty, **settings).model

    free, loose, tight = trained(None), trained("max_norm(1e3)"), trained(MaxNorm(1.0))
    assert_same_bytes(free, loose)
    for layer, bound in zip(free.connections, tight.connections):
        dense = layer.to_dense()
        norms = np.linalg.norm(dense, axis=1, keepdims=True)
        assert norms.min() < 1 < norms.max()
        assert_allclose(bound.to_dense(), dense * np.minimum(1, 1 / np.maximum(norms, 1e-9)), rtol=1e-12)
        assert np.array_equal(host(layer.slots["velocity"]), host(bound.slots["velocity"]))
    assert np.array_equal(*(host(model.biases[0]["bias"]) for model in (free, tight)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_norm(0)", "norm=0 would make every weight 0; use a number above 0"),
        ("max_norm((3, 'linear(1, 0, 5)'))", "norm=0 would make every weight 0"),
        ("max_norm(-1)", r"norm=-1 is out of range"),
        ("max_norm(3, side=visible)", "side='visible' is not possible for MaxNorm; use post or pre"),
        ("set_decay(1)", r"decay=1 is out of range; use a value in \[0, 1\)"),
        ("set_decay((0, linear(0, 2, 5)))", r"decay=2 is out of range; use a value in \[0, 1\)"),
    ],
)
def test_bounds_and_decays_that_cannot_be(text, message):
    with pytest.raises(ValueError, match=message):
        penalties(text)


@pytest.mark.parametrize(
    "rule",
    [
        L1("linear(0, 1e-4, 5000)"),
        L2((0, 1e-3, "power(0, 1e-3, 100, exponent=2)"), coupled=False),
        ElasticNet((0, 1e-4), "cosine(0, 1e-3, 9)", biases=True),
        SetDecay((2e-4, "power(0, 1e-3, 100, exponent=2)")),
        MaxNorm((3, "linear(5, 2, 9)"), side="pre"),
    ],
    ids=str,
)
def test_texts_of_penalties_can_be_read_again(rule):
    assert parse("penalty", to_text(rule)) == rule


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


@pytest.mark.parametrize(
    "kind", ["l2(0.5{})", "l2(0.5{}, coupled=False)", "l1(0.5{})", "elastic_net(0.1, 0.5{})", "set_decay(0.1{})"]
)
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
