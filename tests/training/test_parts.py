"""Training in parts: what is worked on at a time is no more than fits the cache, and changes no result."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import arrays_of, assert_same_bytes, blobs, blocks_of, host, stripes

from sparserbm import CD, L2, MLP, RBM, SET, SGD, Adam, Backprop, Bernoulli, ErdosRenyi, ReLU, Softmax, train
from sparserbm.network.slots import BLOCK

X, Y = blobs(45)
TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-6}, "float64": {"rtol": 1e-10, "atol": 1e-13}}
SETTINGS = {
    "momentum": {"optimizer": SGD(0.1, momentum=0.9), "regularization": L2(1e-2)},
    "nesterov": {"optimizer": SGD(0.1, momentum=0.9, nesterov=True), "regularization": "l1(1e-3)"},
    "adam": {"optimizer": Adam(0.01), "regularization": [L2(1e-2), L2(1e-2, coupled=False)]},
    "plain": {
        "optimizer": SGD(0.1),
        "regularization": ["elastic_net(1e-3, 1e-2)", "set_decay(1e-3)", "max_norm(0.6)", "max_norm(0.8, side=pre)"],
    },
}


def trained_rbm(backend, dtype, settings):
    rbm = RBM(Bernoulli(16), Bernoulli(12), wiring=ErdosRenyi(density=0.4), backend=backend, dtype=dtype)
    train(rbm, stripes(45), CD(k=2), epochs=3, batch_size=10, **settings)
    return rbm


def trained_mlp(backend, dtype, settings):
    wiring = [ErdosRenyi(density=0.5)] * 2
    mlp = MLP(6, ReLU(20), Softmax(3), wiring=wiring, backend=backend, dtype=dtype)
    train(mlp, X, Backprop(), y=Y, epochs=3, batch_size=10, **settings)
    return mlp


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", list(SETTINGS))
@pytest.mark.parametrize("trained", [trained_rbm, trained_mlp])
@pytest.mark.parametrize("evolution", [None, SET(0.3)])
def test_training_in_parts_is_training(backend, trained, settings, evolution, dtype):
    """The same topology and, within rounding, the same weights and slots, as with all connections in one part."""
    models = {}
    for block in (BLOCK, 7):
        with blocks_of(block):
            models[block] = trained(backend, dtype, SETTINGS[settings] | {"evolution": evolution})
            n_parts = [len(layer.parts) for layer in models[block].connections]
        assert n_parts == [1] * len(n_parts) if block == BLOCK else min(n_parts) > 2
    whole, parts = arrays_of(models[BLOCK]), arrays_of(models[7])
    assert whole.keys() == parts.keys()
    for name, array in whole.items():
        if array.dtype.kind == "f":
            assert_allclose(parts[name], array, **TOLERANCE[dtype], err_msg=name)
        else:
            assert np.array_equal(parts[name], array), name


@pytest.mark.parametrize("weights", ["normal(0.5)", "he_sparse", "he_dense", "uniform_dense"])
def test_first_weights_are_drawn_alike(weights):
    """Bit for bit: the draws of one block go on where those of the block before ended."""
    models = []
    for block in (7, BLOCK):
        with blocks_of(block):
            models.append(
                RBM(Bernoulli(16), Bernoulli(12), wiring=ErdosRenyi(density=0.4), weights=weights, backend="reference")
            )
    assert_same_bytes(*models)


@pytest.mark.parametrize("block", [7, BLOCK])
def test_newborns_are_newborns_when_steps_need_more_than_two_bytes(backend, block):
    """After each event, Adam's first update of a weight of 0 has the size of the learning rate: its age is 1."""
    mlp = MLP(6, ReLU(20), Softmax(3), wiring=[ErdosRenyi(density=0.5)] * 2, backend=backend, dtype="float64")
    mlp.step, kinds = 65_533, []

    def look(mlp, metrics):
        for layer in mlp.connections:
            born = host(layer.born)
            newborn = born == mlp.step - 1
            moved = np.abs(host(layer.weight)[newborn])
            moved = moved[moved > 0]  # a silent ReLU has no gradient
            assert newborn.sum() == (0 if mlp.epoch == 1 else int(0.3 * len(layer)))
            assert moved == pytest.approx(np.full(len(moved), 0.01), rel=1e-3)
            assert mlp.epoch == 1 or len(moved) > 2
            assert set(born.tolist()) <= {0, *range(65_534, mlp.step)}
        kinds.append(born.dtype)

    settings = {"optimizer": Adam(0.01), "evolution": SET(0.3, birth="zero"), "callbacks": [look]}
    with blocks_of(block):
        train(mlp, X, Backprop(), y=Y, epochs=5, batch_size=45, **settings)  # one mini-batch an epoch
    assert mlp.step == 65_538
    assert kinds == [np.uint16, np.uint16, np.uint16, np.uint32, np.uint32]
