"""What `estimate` predicts against what a run really makes; and the warning where dense would be faster."""

import warnings

import numpy as np
import pytest

import sparserbm as sr
from sparserbm.backends import get_backend
from sparserbm.training.estimate import estimate

N, BATCH = 60, 20


def rbm(wiring, backend="auto"):
    units = (sr.Bernoulli(40), sr.Bernoulli(30))
    return units, [wiring], sr.RBM(*units, wiring=wiring, backend=backend)


def mlp(wiring, backend="auto"):
    units = (sr.Identity(40), sr.ReLU(30), sr.ReLU(20), sr.Softmax(3))
    wirings = [wiring, wiring, sr.Dense()]
    return units, wirings, sr.MLP(*units, wiring=wirings, backend=backend)


def data():
    random = np.random.default_rng(0)
    return random.random((N, 40)).astype(np.float32), random.integers(0, 3, N)


MODELS = [
    (rbm, sr.CD(k=1)),
    (rbm, sr.CD(k=3)),
    (rbm, sr.CD(k=2, persistent=True)),
    (mlp, sr.Backprop()),
]
WIRINGS = [sr.ErdosRenyi(epsilon=3), sr.ErdosRenyi(density=0.2), sr.FixedFanIn(5), sr.Dense()]


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
@pytest.mark.parametrize("build", [rbm, mlp])
def test_connections_are_counted_without_wiring_them(build, wiring):
    units, wirings, model = build(wiring)
    algorithm = sr.CD() if build is rbm else sr.Backprop()
    found = estimate(
        [layer.n for layer in units], wirings, algorithm, sr.SGD(), batch_size=BATCH, n_samples=N, epochs=1
    )
    assert found.connections == tuple(len(layer) for layer in model.connections)


def counting(product, counted):
    def count(connections, weight, x, *arguments, **more):
        counted.append(2 * len(connections) * x.shape[1])
        return product(connections, weight, x, *arguments, **more)

    return count


@pytest.mark.parametrize(("build", "algorithm"), MODELS)
def test_flops_are_those_of_the_products_that_training_calls(monkeypatch, build, algorithm):
    backend = get_backend("auto")
    counted = []
    for name in ("spmm", "spmm_t"):
        monkeypatch.setattr(backend, name, counting(getattr(backend, name), counted))

    def sddmm(part, pairs, out, _own=backend.sddmm):
        counted.extend(2 * len(out) * pair.pre.shape[1] for pair in pairs)
        return _own(part, pairs, out)

    monkeypatch.setattr(backend, "sddmm", sddmm)
    units, wirings, model = build(sr.ErdosRenyi(epsilon=3), backend)
    X, y = data()
    sr.train(model, X, algorithm, y=y if build is mlp else None, epochs=1, batch_size=BATCH)
    found = estimate(
        [layer.n for layer in units], wirings, algorithm, sr.SGD(), batch_size=BATCH, n_samples=N, epochs=1
    )
    assert sum(counted) == found.flops * (N // BATCH)


@pytest.mark.parametrize(
    "optimizer", [sr.SGD(0.1), sr.SGD(0.1, momentum=0.9), sr.SGD(0.1, momentum=sr.Linear(0, 0.9, 9)), sr.Adam()]
)
@pytest.mark.parametrize("build", [rbm, mlp])
def test_bytes_of_the_connections_are_those_of_their_arrays(build, optimizer):
    units, wirings, model = build(sr.ErdosRenyi(epsilon=3))
    X, y = data()
    algorithm = sr.CD() if build is rbm else sr.Backprop()
    sr.train(model, X, algorithm, y=y if build is mlp else None, epochs=1, batch_size=BATCH, optimizer=optimizer)
    found = estimate(
        [layer.n for layer in units], wirings, algorithm, optimizer, batch_size=BATCH, n_samples=N, epochs=1
    )
    held = 0
    for layer in model.connections:
        arrays = [layer.pattern.pre, layer.by_pre.index, layer.by_pre.order]
        held += sum(array.nbytes for array in (*arrays, *layer.slots.to_numpy().values()))
    assert found.connection_bytes == held


def test_long_runs_need_four_bytes_for_the_step_of_birth():
    sizes = {"batch_size": 1, "n_samples": 1000}
    arguments = ((40, 30), [sr.ErdosRenyi(epsilon=3)], sr.CD(), sr.SGD())
    short, long = (estimate(*arguments, epochs=epochs, **sizes) for epochs in (65, 66))
    assert long.connection_bytes - short.connection_bytes == 2 * 210


def test_the_text_of_an_estimate_says_what_there_is():
    units, wirings, _ = mlp(sr.ErdosRenyi(epsilon=3))
    text = str(
        estimate(
            [layer.n for layer in units], wirings, sr.Backprop(), sr.SGD(), batch_size=BATCH, n_samples=N, epochs=1
        )
    )
    assert "connections     420 = 210 + 150 + 60" in text
    assert "bytes each" in text
    assert "MFLOP" in text


@pytest.mark.parametrize(
    ("wiring", "warned"),
    [
        (sr.Dense(), "500 x 400 (100%)"),
        (sr.ErdosRenyi(density=0.6), "500 x 400 (60%)"),
        (sr.ErdosRenyi(density=0.1), ""),
    ],
)
def test_a_layer_that_would_be_faster_dense_is_named_once(backend, wiring, warned):
    X = np.random.default_rng(0).random((4, 500)).astype(np.float32)
    model = sr.RBM(sr.Bernoulli(500), sr.Bernoulli(400), wiring=wiring, backend=backend)
    if model.matrix.density == 1 and backend == "numpy":
        warned = ""  # it has dense products
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        sr.train(model, X, sr.CD(), epochs=2, batch_size=4)
    found = [str(warning.message) for warning in caught if issubclass(warning.category, sr.EfficiencyWarning)]
    assert len(found) == bool(warned)
    assert all(warned in text for text in found)
    assert all(("wiring 'dense'" in text) == (backend == "numpy") for text in found)


def test_validation_counts_only_where_there_is_any():
    arguments = ((40, 30), [sr.ErdosRenyi(epsilon=3)], sr.CD(), sr.SGD())
    sizes = {"batch_size": BATCH, "n_samples": N, "epochs": 1}
    without, few, many = (estimate(*arguments, n_validation=n, **sizes) for n in (0, 10, 10**6))
    assert few.activity_bytes - without.activity_bytes == 4 * 2 * 70 * 10
    assert many.activity_bytes - without.activity_bytes == 4 * 2 * 70 * 1024
