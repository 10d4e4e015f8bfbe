"""Corruption of the inputs, and networks whose targets are their inputs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import dense_loss, finite_differences, gradient, host, tiny_mlp

from sparserbm import MLP, Backprop, GaussianNoise, Identity, Masking, ReLU, Sigmoid, Softmax, Tanh, train
from sparserbm.backends import get_backend
from sparserbm.data.batches import Batch
from sparserbm.registry import parse, to_text
from sparserbm.rng import Streams

RULES = ["masking(0.3)", "gaussian(0.5)"]


def corrupted(backend, rule, x, dtype="float64", step=0):
    """What the first draw of a step makes of x, (n_units, n_samples), on the host."""
    library = get_backend(backend, dtype)
    out = library.empty(x.shape)
    key = Streams(0).draws("activities", step).next()
    assert parse("corruption", rule).corrupt(library, library.asarray(x), key, out) is out
    return host(out)


def test_masking_sets_a_share_to_zero_and_leaves_the_rest(backend):
    x = np.random.default_rng(0).uniform(1, 2, (60, 500))
    out = corrupted(backend, "masking(0.3)", x)
    kept = out != 0
    assert_array_equal(out[kept], x[kept])  # not scaled up
    assert kept.mean() == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / x.size))
    assert_array_equal(corrupted(backend, "masking(0)", x), x)


def test_gaussian_noise_has_its_deviation_around_the_inputs(backend):
    x = np.random.default_rng(0).normal(size=(60, 500))
    noise = corrupted(backend, "gaussian(0.5)", x) - x
    assert abs(noise.mean()) < 4 * 0.5 / np.sqrt(x.size)
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    assert_array_equal(corrupted(backend, "gaussian(0)", x), x)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_corrupts_alike_and_every_step_anew(backend, rule, dtype):
    x = np.random.default_rng(0).normal(size=(20, 130)).astype(dtype)
    found = corrupted(backend, rule, x, dtype)
    assert found.dtype == dtype
    assert_allclose(found, corrupted("reference", rule, x, dtype), rtol=1e-6)
    assert not np.array_equal(found, corrupted(backend, rule, x, dtype, step=1))


@pytest.mark.parametrize("rule", [None, *RULES])
@pytest.mark.parametrize("loss", ["mse", "sse"])
@pytest.mark.parametrize("layers", [(Tanh(5), Identity(6)), (ReLU(5), Sigmoid(6))], ids=["linear", "sigmoid"])
def test_gradients_bring_back_the_clean_inputs(backend, loss, rule, layers):
    mlp = tiny_mlp(backend, 6, *layers)
    X = np.random.default_rng(1).random((9, 6))
    noisy = X if rule is None else corrupted("reference", rule, np.ascontiguousarray(X.T)).T
    algorithm = Backprop(loss, corruption=rule, reconstruct=True)
    batch = Batch(mlp.backend.asarray(np.ascontiguousarray(X.T)), None, 0)
    found = algorithm.start(mlp, X, 9).signals(mlp, batch, Streams(0).draws("activities", 0))
    assert float(found.sums["loss"]) == pytest.approx(9 * dense_loss(mlp, noisy, X, loss))
    assert_array_equal(host(batch.x), X.T)
    for layer, coactivity in zip(mlp.connections, found.coactivity):
        slopes = finite_differences(layer.weight, lambda: dense_loss(mlp, noisy, X, loss))
        assert_allclose(gradient(coactivity, layer), slopes, rtol=1e-5, atol=1e-8)


def test_evaluation_knows_no_corruption(backend):
    mlp = tiny_mlp(backend, 6, Tanh(5), Identity(6))
    X = np.random.default_rng(1).random((1500, 6))  # more than one block
    rule = Backprop("sse", corruption="masking(0.5)", reconstruct=True)
    found = rule.start(mlp, X, 10).evaluate(mlp, X, None)
    assert found == {"loss": pytest.approx(dense_loss(mlp, X, X, "sse"))}


def test_an_autoencoder_learns_without_labels(backend):
    random = np.random.default_rng(0)
    X = random.random((200, 2)) @ random.random((2, 8))  # two numbers make eight
    mlp = MLP(8, Sigmoid(6), Identity(8), wiring="dense", backend=backend, dtype="float64")
    labels = np.zeros(200, dtype=int)  # not looked at
    rule = Backprop("sse", corruption="masking(0.1)", reconstruct=True)
    run = train(mlp, X, rule, y=labels, epochs=30, batch_size=20, optimizer="sgd(0.05, momentum=0.9)", validation=X)
    losses = run.history["validation_loss"]
    assert losses[-1] < 0.3 * losses[1]


def test_texts_and_what_is_refused():
    rule = Backprop("sse", corruption=Masking(0.3), reconstruct=True)
    assert parse("algorithm", to_text(rule)) == rule
    assert Backprop("mse", corruption="gaussian(sigma=0.1)").corruption == GaussianNoise(0.1)
    for wrong in (1.0, -0.1, True, "half"):
        with pytest.raises(ValueError, match=r"masking a share of .* is not possible; use a number in \[0, 1\)"):
            Masking(wrong)
        with pytest.raises(ValueError, match=r"noise of sigma=.* is not possible"):
            GaussianNoise(-1.0 if wrong == 1.0 else float("nan") if wrong is True else wrong)
    with pytest.raises(TypeError, match="corruption=0.2 is not possible; give a Corruption or its text"):
        Backprop(corruption=0.2)
    with pytest.raises(ValueError, match="reconstruct=True needs loss='mse' or 'sse', not 'cross_entropy'"):
        Backprop(reconstruct=True)
    with pytest.raises(ValueError, match="as many outputs as inputs, but the model has 3 and 6"):
        Backprop("sse", reconstruct=True).check(tiny_mlp("reference", 6, Tanh(5), Identity(3)), None)
    with pytest.raises(ValueError, match="not Softmax"):
        Backprop("sse", reconstruct=True).check(tiny_mlp("reference", 6, Softmax(6)), None)
