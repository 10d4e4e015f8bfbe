"""Whatever the backend, it is the same model: one step, 50 evolution events, whole trainings.

Under ``-m gpu`` these run on the device, and the libraries there serve as further oracles.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import arrays_of, assert_same_bytes, blobs, hosted, stripes, wired

import sparserbm as sr
from sparserbm.backends import SignedPair, get_backend


def rbm(backend, dtype="float64", seed=0):
    units = sr.Bernoulli(16), sr.Bernoulli(12)
    return sr.RBM(*units, wiring=sr.ErdosRenyi(density=0.4), seed=seed, backend=backend, dtype=dtype)


def mlp(backend, dtype="float64", seed=0):
    layers = 6, sr.Tanh(20), sr.ReLU(9), sr.Softmax(3)
    return sr.MLP(*layers, wiring=sr.ErdosRenyi(density=0.4), seed=seed, backend=backend, dtype=dtype)


def trained(build, backend, dtype="float64", seed=0, n_samples=64, **settings):
    model = build(backend, dtype, seed)
    X, y = blobs(n_samples) if build is mlp else (stripes(n_samples), None)
    algorithm = sr.Backprop() if build is mlp else sr.CD()
    return sr.train(model, X, algorithm, y=y, **{"epochs": 1, "batch_size": n_samples} | settings)


def assert_close(first, second, **accuracy):
    first, second = arrays_of(first), arrays_of(second)
    assert first.keys() == second.keys()
    for name in first:
        assert_allclose(first[name], second[name], **accuracy, err_msg=name)


@pytest.mark.parametrize("build", [rbm, mlp])
@pytest.mark.parametrize("optimizer", ["sgd(0.1, momentum=0.5)", "adam(0.01)"])
def test_one_step_is_that_of_the_reference(backend, build, optimizer):
    for dtype, accuracy in (("float64", 1e-11), ("float32", 2e-4)):
        found = trained(build, backend, dtype, optimizer=optimizer, regularization="l2(0.01)")
        exact = trained(build, "reference", dtype, optimizer=optimizer, regularization="l2(0.01)")
        assert_close(found.model, exact.model, rtol=accuracy, atol=accuracy)
        assert found.metrics[-1]["loss"] == pytest.approx(exact.metrics[-1]["loss"], rel=accuracy)


@pytest.mark.parametrize("build", [rbm, mlp])
def test_from_equal_weights_50_events_give_the_same_keys(backend, build):
    """Also the same births and newborn weights: topology is decided on the host."""
    models = [build(name, "float32") for name in (backend, "reference")]
    evolution, random = sr.SET(0.3), np.random.default_rng(0)
    first = [layer.pattern.keys for layer in models[0].connections]
    for event in range(1, 51):
        for number in range(len(first)):
            weights = random.normal(size=len(models[0].connections[number]))
            for model in models:
                model.connections[number].slots["weight"] = weights
        for model in models:
            model.step = 10 * event
            assert evolution.evolve(model, None, model.step).happened
        assert_same_bytes(*models)
    changed = [
        len(np.setdiff1d(layer.pattern.keys, keys))
        for layer, keys in zip(models[0].connections, first)
        if layer.density < 1
    ]
    assert min(changed) > 0


@pytest.mark.parametrize("build", [rbm, mlp])
def test_two_runs_with_one_seed_are_identical(backend, build):
    settings = {"epochs": 3, "batch_size": 10, "evolution": "set(0.3)", "dtype": "float32"}
    assert_same_bytes(trained(build, backend, **settings).model, trained(build, backend, **settings).model)


@pytest.mark.parametrize("build", [rbm, mlp])
def test_trainings_of_two_backends_differ_less_than_two_seeds(backend, build):
    settings = {"epochs": 6, "batch_size": 10, "evolution": "set(0.3)", "dtype": "float32", "optimizer": "sgd(0.1)"}
    losses = {
        name: np.array([trained(build, name, seed=seed, **settings).metrics[-1]["loss"] for seed in range(4)])
        for name in {backend, "reference"}
    }
    spread = losses["reference"].std(ddof=1)
    assert abs(losses[backend].mean() - losses["reference"].mean()) < spread
    assert np.abs(losses[backend] - losses["reference"]).max() < 3 * spread


# -- libraries on a device -------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("n", [100, 128])
def test_products_are_those_of_cusparse(n):
    import cupy
    from cupyx.scipy.sparse import csr_matrix

    library, layer = get_backend("cupy", "float32"), wired("cupy", 900, 700, 20_000, dtype="float32")
    x, y = (cupy.asarray(np.random.default_rng(0).normal(size=(units, n)), np.float32) for units in (900, 700))
    matrix = csr_matrix((layer.weight, layer.by_post.index, layer.by_post.indptr.astype(np.int32)), shape=(700, 900))
    out, back = library.empty((700, n)), library.empty((900, n))
    library.spmm(layer, layer.weight, x, out)
    library.spmm_t(layer, layer.weight, y, back)
    assert_allclose(out.get(), (matrix @ x).get(), rtol=1e-4, atol=1e-4)
    assert_allclose(back.get(), (matrix.T.tocsr() @ y).get(), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_sampled_products_are_those_of_torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch finds no device")
    layer = wired("cupy", 900, 700, 20_000, dtype="float32")
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(units, 128)).astype(np.float32) for units in (900, 700))
    found = np.full(20_000, np.nan, np.float32)
    hosted("cupy", "float32").sddmm(layer, [SignedPair(0.5, x, y)], found)
    place = torch.sparse_csr_tensor(
        torch.tensor(layer.pattern.indptr),
        torch.tensor(layer.pattern.pre, dtype=torch.int64),
        torch.zeros(20_000),
        (700, 900),
    ).cuda()
    exact = torch.sparse.sampled_addmm(place, torch.tensor(y).cuda(), torch.tensor(x).cuda().T, beta=0.0, alpha=0.5)
    assert_allclose(found, exact.values().cpu().numpy(), rtol=1e-4, atol=1e-4)
