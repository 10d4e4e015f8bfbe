"""Stacks so small that all states can be written out: the bound, draws, and the MLP that a stack becomes."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    assert_same_bytes,
    dense_forward,
    exact_loss,
    exact_visible,
    parameters,
    states,
    stripes,
    tiny_rbm,
)
from scipy.special import expit, logsumexp
from scipy.stats import chisquare

from sparserbm import MLP, RBM, Bernoulli, ErdosRenyi, Gaussian, Normal, Softmax, Stack, transposed, variational_bound


def tiny_stack(backend, *sizes, density=0.7, seed=0, gates=False, scale=1.0):
    """RBMs with normal weights and biases on top of each other."""
    pairs = enumerate(zip(sizes, sizes[1:]))
    rbms = [tiny_rbm(backend, *pair, density, seed=seed + number, scale=scale, gates=gates) for number, pair in pairs]
    return Stack.from_rbms(rbms)


def exact_stack(stack):
    """log P(v) of every state of the visible units, by summing over the states of all hidden units."""
    w, a, b = parameters(stack.layers[-1])
    v, h = states(len(a)), states(len(b))
    joint = (v @ a)[:, None] + (h @ b)[None, :] + v @ w @ h.T
    log_p = logsumexp(joint, axis=1) - logsumexp(joint)
    for layer in reversed(stack.layers[:-1]):
        w, a, b = parameters(layer)
        v, h = states(len(a)), states(len(b))
        total = h @ w.T + a
        log_p = logsumexp(v @ total.T - np.logaddexp(0, total).sum(axis=1) + log_p, axis=1)
    return log_p


# -- making one ------------------------------------------------------------------------------------------------------


def test_the_first_layer_is_the_rbm_of_that_seed(backend):
    stack = Stack(Bernoulli(12), "bernoulli(9)", Bernoulli(9), wiring=ErdosRenyi(density=0.3), seed=4, backend=backend)
    alone = RBM(Bernoulli(12), Bernoulli(9), wiring=ErdosRenyi(density=0.3), seed=4, backend=backend)
    assert_same_bytes(stack.layers[0], alone)
    assert stack.layers[1].seed != stack.layers[0].seed
    assert len(stack) == 2
    assert list(stack) == stack.layers
    assert stack[1] is stack.layers[1]
    assert [units.n for units in stack.units] == [12, 9, 9]
    assert stack.n_connections == 32 + 24
    assert stack.density == pytest.approx(56 / (108 + 81))
    assert stack.widest == 12
    assert "epochs 0 + 0" in repr(stack)


def test_wiring_and_weights_of_each_layer():
    wiring, weights = ["erdos_renyi(density=0.5)", "dense"], [Normal(0.1), Normal(1.0)]
    stack = Stack(Bernoulli(6), Bernoulli(4), Bernoulli(5), wiring=wiring, weights=weights, backend="reference")
    assert [len(layer.matrix) for layer in stack] == [12, 20]
    assert [layer.matrix.weights_rule for layer in stack] == weights
    assert len(stack.add(Bernoulli(3)).matrix) == 15
    with pytest.raises(ValueError, match="wiring has 1 entries for 2 RBMs; give one or 2"):
        Stack(Bernoulli(6), Bernoulli(4), Bernoulli(5), wiring=["dense"])


def test_what_is_no_stack():
    a, b = (tiny_rbm("reference", *sizes) for sizes in ((4, 3), (4, 3)))
    with pytest.raises(ValueError, match="needs visible units and at least one layer of hidden units, not 1"):
        Stack(Bernoulli(4))
    with pytest.raises(
        ValueError, match=r"hidden units bernoulli\(n=3\), but layer 1 has visible units bernoulli\(n=4"
    ):
        Stack.from_rbms([a, b])
    with pytest.raises(ValueError, match="at least one RBM"):
        Stack.from_rbms([])
    with pytest.raises(TypeError, match="is no RBM; of a fitted SparseRBM give its model_"):
        Stack.from_rbms([a, "b"])
    square = tiny_rbm("reference", 3, 3)
    with pytest.raises(ValueError, match=r"must be two RBMs .*and the same object"):
        Stack.from_rbms([square, square])
    with pytest.raises(ValueError, match="one backend and number type, not reference, float64 and reference, float32"):
        Stack.from_rbms([a, tiny_rbm("reference", 3, 2, dtype="float32")])
    with pytest.raises(ValueError, match="Gaussian units on both sides"):
        Stack(Gaussian(4), Gaussian(3), Bernoulli(2))


def test_twins_are_independent(backend):
    stack = tiny_stack(backend, 5, 4, 3)
    X = states(5)
    before = stack.transform(X)
    for twin in (stack.copy(), copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
        assert twin.transform(X).tobytes() == before.tobytes()
        for layer in twin:
            layer.matrix.weight[...] = 0
            layer.biases[1]["bias"][...] = 0
        assert np.all(twin.transform(X) == 0.5)
    assert stack.transform(X).tobytes() == before.tobytes()


# -- up and down -----------------------------------------------------------------------------------------------------


def test_means_go_up_and_down(backend):
    stack = tiny_stack(backend, 5, 4, 3)
    X = np.random.default_rng(0).random((7, 5))
    (w1, a1, b1), (w2, a2, b2) = (parameters(layer) for layer in stack)
    top = expit(expit(X @ w1 + b1) @ w2 + b2)
    assert_allclose(stack.transform(X), top, rtol=1e-10)
    assert_allclose(stack.reconstruct(X), expit(expit(top @ w2.T + a2) @ w1.T + a1), rtol=1e-10)


def test_samples_have_the_distribution_of_the_stack():
    stack = tiny_stack("numpy", 3, 3, 2)
    drawn = stack.sample(4000, sweeps=30, seed=1)
    assert drawn.shape == (4000, 3)
    counts = np.bincount((drawn @ [1, 2, 4]).astype(int), minlength=8)
    assert chisquare(counts, 4000 * np.exp(exact_stack(stack))).pvalue > 0.01


def test_samples_are_those_of_a_seed(backend):
    stack = tiny_stack(backend, 4, 3, 3)
    again = [stack.sample(6, sweeps=2, seed=seed).tobytes() for seed in (None, stack.seed, 9)]
    assert again[0] == again[1] != again[2]
    alone = Stack.from_rbms(stack.layers[:1])
    assert alone.sample(6, sweeps=2, seed=3).tobytes() == alone.layers[0].sample(6, sweeps=2, seed=3).tobytes()


# -- the bound -------------------------------------------------------------------------------------------------------


def test_one_layer_has_its_likelihood(backend):
    stack = tiny_stack(backend, 4, 3, gates=True)
    assert_allclose(variational_bound(stack, states(4)), np.log(exact_visible(stack[0])), rtol=1e-10)


@pytest.mark.parametrize("sizes", [(4, 3, 2), (3, 4, 3, 2), (2, 3, 4, 2, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_a_bound(sizes, seed):
    stack = tiny_stack("reference", *sizes, seed=10 * seed)
    bound, exact = variational_bound(stack, states(sizes[0])), exact_stack(stack)
    assert np.all(bound < exact + 1e-12)
    assert np.any(bound < exact - 1e-3)  # a bound that is the likelihood here would be something else
    assert logsumexp(exact) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("gates", [False, True])
def test_a_transpose_on_top_keeps_the_bound(backend, gates):
    stack = tiny_stack(backend, 5, 4, gates=gates)
    before = variational_bound(stack, states(5))
    new = stack.add_transpose()
    assert stack.layers[-1] is new
    assert [units.n for units in stack.units] == [5, 4, 5]
    assert_allclose(variational_bound(stack, states(5)), before, rtol=0, atol=1e-10)
    assert_allclose(exact_stack(stack), before, rtol=0, atol=1e-10)
    stack.add_transpose()
    assert_allclose(variational_bound(stack, states(5)), before, rtol=0, atol=1e-10)


def test_a_transpose_on_a_stack_keeps_its_bound():
    stack = tiny_stack("reference", 4, 3, 5)
    before = variational_bound(stack, states(4))
    stack.add_transpose()
    assert_allclose(variational_bound(stack, states(4)), before, rtol=0, atol=1e-10)


def test_learning_the_second_layer_never_lowers_the_bound():
    """Exact gradients of ``sum_v P(v) sum_h Q(h | v) log P_2(h)`` for the layer that began as a transpose."""
    stack = tiny_stack("reference", 4, 3, density=1.0, scale=2.0)
    v = stripes(40, side=2)
    new, h = stack.add_transpose(), states(3)
    w, _, b = parameters(stack[0])
    q = expit(v @ w + b)
    target = np.exp(np.log(q) @ h.T + np.log1p(-q) @ (1 - h).T).mean(axis=0)
    bounds = [variational_bound(stack, v).mean()]
    for _ in range(30):
        w, _, b = parameters(new)
        seen, model = expit(h @ w + b), exact_visible(new)
        for weights, sign in ((target, 1), (model, -1)):
            moments = weights[:, None] * h
            new.matrix.weight[:] += 0.3 * sign * (moments.T @ seen).T.ravel()
            new.biases[0]["bias"][:] += 0.3 * sign * moments.sum(axis=0)
            new.biases[1]["bias"][:] += 0.3 * sign * (weights @ seen)
        bounds.append(variational_bound(stack, v).mean())
    assert np.all(np.diff(bounds) > 0)
    assert bounds[0] == pytest.approx(-exact_loss(stack[0], v), abs=1e-10)  # what the first layer reached by itself
    assert bounds[-1] > bounds[0] + 0.1
    assert np.all(variational_bound(stack, v) < exact_stack(stack)[(v @ [1, 2, 4, 8]).astype(int)])


def test_what_has_no_bound():
    with pytest.raises(ValueError, match=r"needs Bernoulli units in all layers; layer 0 has gaussian"):
        variational_bound(Stack(Gaussian(4), Bernoulli(3), Bernoulli(2), backend="reference"), np.zeros((1, 4)))
    stack = Stack(Bernoulli(4), Bernoulli(15), Bernoulli(15), Bernoulli(2), backend="reference")
    with pytest.raises(ValueError, match=r"enumerates the hidden units below the top layer, here \[15, 15\]"):
        variational_bound(stack, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="must be 0 and 1"):
        variational_bound(tiny_stack("reference", 4, 3, 2), np.full((1, 4), 0.5))


# -- the transpose ---------------------------------------------------------------------------------------------------


def test_a_transpose_of_a_transpose_is_the_same_rbm(backend):
    rbm = tiny_rbm(backend, 6, 4, 0.4)
    turned = transposed(rbm, seed=5)
    assert (turned.visible.n, turned.hidden.n, turned.seed, turned.step) == (4, 6, 5, 0)
    assert np.array_equal(turned.matrix.to_dense(), rbm.matrix.to_dense().T)
    assert turned.matrix.weights_rule == rbm.matrix.weights_rule
    assert_same_bytes(transposed(turned), rbm)
    turned.matrix.weight[...] = 0
    turned.biases[0]["bias"][...] = 0
    assert abs(rbm.matrix.weight).max() > 0
    assert abs(rbm.hidden_bias).max() > 0


def test_an_explicit_zero_stays_a_connection(backend):
    rbm = tiny_rbm(backend, 6, 4, 0.4)
    rbm.matrix.weight[3] = 0
    assert len(transposed(rbm).matrix) == len(rbm.matrix)


# -- as an MLP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gates", [False, True])
def test_an_mlp_computes_what_the_stack_does(backend, gates):
    stack = tiny_stack(backend, 6, 5, 4, gates=gates)
    stack[0].matrix.weight[2] = 0
    mlp = stack.to_mlp(Softmax(3), seed=8)
    assert isinstance(mlp, MLP)
    X = np.random.default_rng(0).random((9, 6))
    assert_allclose(mlp.activity(X, 2), stack.transform(X), rtol=1e-10)
    assert_allclose(mlp.predict(X), dense_forward(mlp, X), rtol=1e-9)
    assert [type(units).__name__ for units in mlp.units] == ["Identity", "Sigmoid", "Sigmoid", "Softmax"]
    assert [len(layer) for layer in mlp.connections] == [*(len(layer.matrix) for layer in stack), 12]
    assert [layer.weights_rule for layer in mlp.connections[:2]] == [layer.matrix.weights_rule for layer in stack]
    assert (mlp.step, mlp.epoch, mlp.seed) == (0, 0, 8)
    assert all(set(layer.slots) == {"weight", "born"} for layer in mlp.connections)
    assert all(set(slots) == {"bias"} for slots in mlp.biases)
    before = stack.transform(X)
    mlp.connections[0].weight[...] = 0
    mlp.biases[0]["bias"][...] = 0
    assert np.array_equal(stack.transform(X), before)


@pytest.mark.parametrize("visible", [Gaussian(6, 0.5), Gaussian(6, 2.0)])
def test_gaussian_units_lose_their_scale_to_the_weights(backend, visible):
    stack = Stack.from_rbms([tiny_rbm(backend, units=(visible, Bernoulli(4))), tiny_rbm(backend, 4, 3)])
    X = np.random.default_rng(0).normal(size=(9, 6))
    assert_allclose(stack.to_mlp(Softmax(2)).activity(X, 2), stack.transform(X), rtol=1e-10)
    upside = Stack.from_rbms([tiny_rbm(backend, units=(Bernoulli(6), Gaussian(4, 0.5)))])
    upside.layers.append(tiny_rbm(backend, units=(Gaussian(4, 0.5), Bernoulli(3))))
    mlp = upside.to_mlp(Softmax(2))
    assert_allclose(mlp.activity(states(6), 2), upside.transform(states(6)), rtol=1e-10)
    assert [units.activation for units in mlp.units[1:3]] == ["linear", "sigmoid"]


def test_the_output_layer_of_an_mlp():
    stack = tiny_stack("reference", 6, 5)
    mlp = stack.to_mlp("linear(4)", wiring=ErdosRenyi(density=0.5), weights="zero", backend="numpy", dtype="float32")
    assert (mlp.backend.name, mlp.backend.dtype) == ("numpy", np.float32)
    assert len(mlp.connections[1]) == 10
    assert not mlp.connections[1].weight.any()
    assert mlp.origin["stack"] == {"epochs": [0], "seed": stack.seed}
    assert mlp.origin["wiring"][0].startswith("erdos_renyi(")
    assert stack.to_mlp(Softmax(2), dtype="float32").backend.name == "reference"
