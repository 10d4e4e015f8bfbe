"""The MLP against dense products, and what can be built."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import assert_same_bytes, dense_forward, host, tiny_mlp

from sparserbm import MLP, Dense, ErdosRenyi, Identity, Normal, ReLU, Sigmoid, Softmax, SReLU, Tanh, UniformDense
from sparserbm.backends import Workspace
from sparserbm.network.connections import Pattern
from sparserbm.network.wiring import Wiring

SHAPES = [
    (5, ReLU(7), Softmax(3)),
    (5, Tanh(4), ReLU(6), Sigmoid(2)),
    (5, Sigmoid(4), Identity(1)),
    (5, Tanh(2)),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(type(units).__name__ for units in shape[1:]))
@pytest.mark.parametrize(("density", "dtype"), [(0.4, "float64"), (1.0, "float64"), (0.4, "float32")])
def test_predictions_are_those_of_a_dense_network(backend, shape, density, dtype):
    mlp = tiny_mlp(backend, *shape, density=density, dtype=dtype)
    X = np.random.default_rng(0).normal(size=(30, 5))
    tolerance = 1e-11 if dtype == "float64" else 2e-5
    assert_allclose(mlp.predict(X), dense_forward(mlp, X), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("gates", [False, True])
def test_activity_between_any_two_layers(backend, gates):
    mlp = tiny_mlp(backend, 5, Tanh(4), SReLU(6), Identity(5), gates=gates)
    X = np.random.default_rng(0).normal(size=(1500, 5))  # more than one block
    assert np.array_equal(mlp.activity(X, 3), mlp.predict(X))
    for middle in (0, 1, 2, 3):
        code = mlp.activity(X, middle)
        assert code.shape == (1500, mlp.units[middle].n)
        assert_allclose(mlp.activity(code, 3, given=middle), dense_forward(mlp, X), rtol=1e-11, atol=1e-11)


def test_every_layer_is_handed_out(backend):
    mlp = tiny_mlp(backend, 5, Tanh(4), Softmax(3))
    x = mlp.backend.asarray(np.random.default_rng(0).normal(size=(5, 8)))
    activities = mlp.forward(x, Workspace(mlp.backend))
    assert [a.shape for a in activities] == [(5, 8), (4, 8), (3, 8)]
    assert activities[0] is x
    first = mlp.connections[0].to_dense() @ host(x) + host(mlp.biases[0]["bias"])[:, None]
    assert_allclose(host(activities[1]), np.tanh(first), rtol=1e-12)
    assert_allclose(host(activities[2]).sum(axis=0), np.ones(8), rtol=1e-12)


def test_data_longer_than_a_block(backend):
    mlp = tiny_mlp(backend, 5, ReLU(4), Softmax(3))
    X = np.random.default_rng(0).normal(size=(2100, 5))
    assert_allclose(mlp.predict(X), dense_forward(mlp, X), rtol=1e-11)


def test_one_wiring_is_for_all_layers_but_the_last(backend):
    mlp = MLP(50, ReLU(40), ReLU(30), Softmax(10), wiring=ErdosRenyi(density=0.1), seed=1, backend=backend)
    assert [layer.density for layer in mlp.connections] == [0.1, 0.1, 1.0]
    assert mlp.density == (200 + 120 + 300) / (2000 + 1200 + 300)
    each = MLP(50, ReLU(40), Softmax(10), wiring=["dense", "erdos_renyi(density=0.5)"], backend=backend)
    assert [layer.density for layer in each.connections] == [1.0, 0.5]
    keys = mlp.connections[0].pattern.keys, mlp.connections[1].pattern.keys
    assert not np.array_equal(keys[0][:100], keys[1][:100])  # every layer has its own stream
    assert MLP(100, ReLU(100), Softmax(10), backend=backend).n_connections == 11 * 200 + 1000


def test_a_wiring_may_see_the_network_as_a_whole(backend):
    mlp = MLP(50, ReLU(40), ReLU(30), Softmax(10), wiring="erk(density=0.1)", seed=1, backend=backend)
    assert [len(layer) for layer in mlp.connections] == [158, 122, 70]  # in proportion to 90, 70 and 40
    assert mlp.density == 0.1
    assert len(mlp.origin["wiring"]) == 3
    with pytest.raises(TypeError, match="7 is no Wiring; give a rule or its text"):
        MLP(50, ReLU(40), Softmax(10), wiring=7, backend=backend)


def test_biases_start_at_zero_or_where_they_are_told(backend):
    plain = MLP(5, ReLU(4), Softmax(3), wiring="dense", backend=backend)
    assert not any(slots["bias"].any() for slots in plain.biases)
    torch = MLP(
        25, ReLU(400), Softmax(3), wiring="dense", weights=UniformDense(), biases=UniformDense(), backend=backend
    )
    bias = host(torch.biases[0]["bias"])
    assert np.abs(bias).max() <= 0.2
    assert bias.std() == pytest.approx(0.2 / np.sqrt(3), rel=0.1)
    assert host(torch.connections[0].weight).std() == pytest.approx(0.2 / np.sqrt(3), rel=0.03)


def test_every_layer_has_its_own_draws(backend):
    settings = {"wiring": [ErdosRenyi(density=0.5)] * 2, "weights": Normal(1.0), "biases": Normal(1.0)}
    first, second = (MLP(9, ReLU(9), ReLU(9), **settings, backend=backend) for _ in range(2))
    assert not np.array_equal(first.connections[0].pattern.keys, first.connections[1].pattern.keys)
    assert not np.array_equal(*(host(layer.weight) for layer in first.connections))
    assert not np.array_equal(*(host(slots["bias"]) for slots in first.biases))
    assert_same_bytes(first, second)


@dataclass(frozen=True)
class Uneven(Wiring):
    """Half of the units have 2 inputs, the others 50."""

    def pattern(self, n_pre, n_post, generator):
        inputs = np.where(np.arange(n_post) < n_post // 2, 2, 50)
        rows = [unit * n_pre + np.arange(count) for unit, count in enumerate(inputs)]
        return Pattern.from_keys(n_pre, n_post, np.concatenate(rows))


def test_weights_are_scaled_by_the_inputs_of_their_unit(backend):
    mlp = MLP(50, ReLU(2000), wiring=[Uneven()], weights="he_sparse", backend=backend)
    weight = host(mlp.connections[0].weight)
    assert weight[:2000].std() == pytest.approx(1.0, rel=0.06)  # sqrt(2 / 2)
    assert weight[2000:].std() == pytest.approx(0.2, rel=0.02)  # sqrt(2 / 50)


@pytest.mark.parametrize(
    ("units", "settings", "message"),
    [
        ((5,), {}, r"needs its number of inputs and at least one layer, e.g. MLP\(784, ReLU\(100\), Softmax\(10\)\)"),
        ((5, Softmax(3), ReLU(2)), {}, "Softmax units can only be the output layer"),
        (
            (5, ReLU(3), Softmax(2)),
            {"wiring": [Dense()]},
            "wiring has 1 entries for 2 matrices of connections; give one",
        ),
        ((5, ReLU(3), Softmax(2)), {"weights": [Normal(1)] * 3}, "weights has 3 entries for 2"),
        ((0, ReLU(3)), {}, r"Identity\(0\): the number of units must be an integer of at least 1"),
    ],
)
def test_networks_that_cannot_be(units, settings, message):
    with pytest.raises(ValueError, match=message):
        MLP(*units, **({"wiring": "dense"} | settings))


def test_data_that_do_not_fit(backend):
    mlp = tiny_mlp(backend, 5, ReLU(4), Softmax(3))
    with pytest.raises(ValueError, match="X has 4 features, but the model has 5 inputs"):
        mlp.predict(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="X is empty"):
        mlp.predict(np.zeros((0, 5)))
    with pytest.raises(ValueError, match="reshape it to two dimensions"):
        mlp.predict(np.zeros(5))
