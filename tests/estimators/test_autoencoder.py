"""SparseAutoencoder: what it brings back, what its codes are, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

import sparserbm as sr

SMALL = {"hidden_layer_sizes": 12, "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    return load_digits().data / 16


@pytest.fixture(scope="module")
def trained(X):
    rules = {"max_iter": 30, "batch_size": 50, "random_state": 0}
    return sr.SparseAutoencoder(40, **rules).fit(X[:1200])


# -- learning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_digits_are_brought_back(X, solver):
    rules = {"solver": solver, "max_iter": 20, "batch_size": 50, "random_state": 0}
    autoencoder = sr.SparseAutoencoder(40, **rules).fit(X[:1200])
    variance = np.var(X[1200:] - X[:1200].mean(axis=0))
    assert -autoencoder.score(X[1200:]) < 0.5 * variance
    assert [layer.nnz for layer in autoencoder.connections_] == [11 * 104, 11 * 104]  # the output is sparse too


def test_missing_features_are_filled_in(X, trained):
    X = X[1200:]
    missing = np.random.default_rng(0).random(X.shape) < 0.2
    holes = np.where(missing, 0, X)
    plain = sr.SparseAutoencoder(40, noise=0, max_iter=30, batch_size=50, random_state=0)
    plain.fit(load_digits().data[:1200] / 16)
    errors = [np.mean((network.reconstruct(holes) - X)[missing] ** 2) for network in (trained, plain)]
    assert errors[0] < 0.8 * errors[1]
    assert errors[0] < 0.5 * np.mean(X[missing] ** 2)


def test_noise_is_a_share_or_a_rule(X):
    def codes(noise):
        return sr.SparseAutoencoder(**SMALL, noise=noise).fit(X[:200]).transform(X)

    assert_array_equal(codes(0.2), codes("masking(0.2)"))
    assert_array_equal(codes(0), codes(None))
    assert_array_equal(codes("gaussian(0.2)"), codes(sr.GaussianNoise(0.2)))
    assert not np.array_equal(codes(0.2), codes("gaussian(0.2)"))
    assert not np.array_equal(codes(0.2), codes(0))


def test_dropout_is_of_training_alone(X):
    codes = {rate: sr.SparseAutoencoder(**SMALL, dropout=rate).fit(X[:200]).transform(X) for rate in (0.0, 0.2)}
    assert not np.array_equal(codes[0.0], codes[0.2])
    rates = sr.SparseAutoencoder((12, 5, 12), max_iter=1, random_state=0, dropout=(0.2, 0.0, 0.2)).fit(X[:200])
    assert_array_equal(rates.transform(X[:5]), rates.transform(X[:5]))


def test_a_learning_rate_means_the_same_for_any_number_of_features():
    random = np.random.default_rng(0)
    few = random.random((100, 3)) @ random.random((3, 10))
    rules = {"density": 1.0, "noise": 0, "max_iter": 10, "random_state": 0, "evolution": None}
    losses = []
    for copies in (1, 8):
        many = np.tile(few, copies)
        history = sr.SparseAutoencoder(10, **rules).fit(many).history_["loss"]
        losses.append(history[10] / history[1])
    assert losses[1] < 1.1 * losses[0]  # a loss averaged over features would learn an eighth as fast


@pytest.mark.parametrize("rules", [{}, {"noise": "gaussian(0.1)", "solver": "adam"}, {"scale": True}])
def test_partial_fit_goes_on_where_it_stopped(X, rules):
    whole, parts = (sr.SparseAutoencoder(**SMALL, epsilon=2, batch_size=50, **rules) for _ in range(2))
    whole.fit(X[:200])
    for _ in range(3):
        assert parts.partial_fit(X[:200]) is parts
    assert_array_equal(parts.transform(X), whole.transform(X))
    assert parts.n_iter_ == whole.n_iter_ == 3


def test_labels_are_not_looked_at(X):
    codes = [sr.SparseAutoencoder(**SMALL).fit(X[:200], y).transform(X[:5]) for y in (None, np.arange(200) % 3)]
    assert_array_equal(*codes)


def test_early_stopping_judges_without_noise(X):
    rules = {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 2, "random_state": 0}
    autoencoder = sr.SparseAutoencoder(10, max_iter=60, batch_size=20, learning_rate_init=0.05, **rules).fit(X[:400])
    losses = autoencoder.history_["validation_loss"]
    assert autoencoder.n_iter_ < 60
    assert losses[-1] > losses[1:].min()
    seed = autoencoder.model_.seed
    _, held = train_test_split(X[:400], test_size=0.2, random_state=seed)
    assert -autoencoder.score(held) * 64 / 2 == pytest.approx(losses[1:].min())


def test_samples_of_weight_two_count_twice(X):
    rules = {"noise": 0, "solver": "sgd", "batch_size": 1000, "shuffle": False, "max_iter": 5, "evolution": None}
    rules |= {"density": 1.0, "random_state": 0}
    twice = sr.SparseAutoencoder(8, **rules).fit(np.vstack([X[:30], X[:10]]))
    weighted = sr.SparseAutoencoder(8, **rules).fit(X[:30], sample_weight=np.where(np.arange(30) < 10, 2.0, 1.0))
    assert_allclose(weighted.coefs_[0], twice.coefs_[0], rtol=1e-9)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_data(X, kind):
    dense, thin = (sr.SparseAutoencoder(**SMALL, scale=True).fit(data) for data in (X[:200], kind(X[:200])))
    assert_allclose(thin.transform(kind(X)), dense.transform(X), atol=1e-9)
    assert thin.score(kind(X)) == pytest.approx(dense.score(X))
    assert_allclose(thin.reconstruct(kind(X[:5])), dense.reconstruct(X[:5]), atol=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_backends_agree(X, backend):
    fits = [sr.SparseAutoencoder(**SMALL, epsilon=2, backend=name).fit(X[:200]) for name in (backend, "reference")]
    assert_allclose(fits[0].transform(X), fits[1].transform(X), atol=1e-6)


# -- codes --------------------------------------------------------------------------------------------------------


def test_codes_and_reconstruction_are_those_of_the_coefficients(X):
    autoencoder = sr.SparseAutoencoder((20, 7, 20), "tanh", output="logistic", max_iter=2, random_state=0).fit(X[:200])
    a, layers = X, list(zip(autoencoder.coefs_, autoencoder.intercepts_))
    for w, b in layers[:2]:
        a = np.tanh(a @ w + b)
    assert_allclose(autoencoder.transform(X), a, atol=1e-10)
    (w, b), (w_out, b_out) = layers[2:]
    out = 1 / (1 + np.exp(-(np.tanh(a @ w + b) @ w_out + b_out)))
    assert_allclose(autoencoder.inverse_transform(a), out, atol=1e-6)
    assert_allclose(autoencoder.reconstruct(X), out, atol=1e-6)
    assert autoencoder.score(X) == pytest.approx(-np.mean((out - X) ** 2))
    assert list(autoencoder.get_feature_names_out()[[0, 6]]) == ["sparseautoencoder0", "sparseautoencoder6"]


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, [768, 768]),
        ({"epsilon": 3}, [228, 228]),
        ({"density": 0.25}, [192, 192]),
        ({"wiring": "fixed_fan_in(5)"}, [60, 320]),
        ({"wiring": ["dense", "erdos_renyi(density=0.5)"]}, [768, 384]),
        ({"wiring": sr.ERK(density=0.5)}, [384, 384]),
    ],
)
def test_number_of_connections(X, given, counts):
    autoencoder = sr.SparseAutoencoder(**SMALL, **given).fit(X[:100])
    assert [len(layer.data) for layer in autoencoder.connections_] == counts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_number_type_is_that_of_the_data(X, dtype):
    data = X[:100].astype(dtype)
    autoencoder = sr.SparseAutoencoder(**SMALL, scale=True).fit(data)
    codes = autoencoder.transform(data)
    for out in (codes, autoencoder.inverse_transform(codes), autoencoder.reconstruct(data)):
        assert out.dtype == autoencoder.model_.backend.dtype == dtype


@pytest.mark.parametrize("output", ["identity", "logistic"])
def test_scale_works_in_the_units_of_the_data(X, output):
    raw = 100 * X[:300] - 30
    autoencoder = sr.SparseAutoencoder(40, output=output, scale=True, max_iter=40, batch_size=20, random_state=0).fit(
        raw
    )
    assert -autoencoder.score(raw) < 0.5 * raw.var()
    assert_allclose(autoencoder.inverse_transform(autoencoder.transform(raw)), autoencoder.reconstruct(raw))
    low, high = raw.min(axis=0), raw.max(axis=0)
    within = (autoencoder.reconstruct(raw) >= low - 1e-9) & (
        autoencoder.reconstruct(raw) <= np.maximum(high, low + 1) + 1e-9
    )
    assert within.all() or output == "identity"


def test_in_a_pipeline_and_a_grid_search(X):
    y = load_digits().target[:400]
    network = sr.SparseAutoencoder(30, max_iter=10, batch_size=20, random_state=0)
    grid = {"sparseautoencoder__noise": [0.1, "gaussian(0.2)"]}
    search = GridSearchCV(make_pipeline(network, LogisticRegression(max_iter=500)), grid, cv=2, error_score="raise")
    assert search.fit(X[:400], y).best_score_ > 0.7
    alone = GridSearchCV(network.set_params(max_iter=2), {"noise": [0.1, 0.3]}, cv=2, error_score="raise").fit(X[:200])
    assert alone.best_score_ < 0  # minus the mean squared error
    assert clone(network).get_params() == network.get_params()


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"hidden_layer_sizes": (5, 5)}, ValueError, r"\(5, 5\) has no layer in the middle .* e.g. \(200, 50, 200\)"),
        ({"hidden_layer_sizes": ()}, ValueError, "has no layer in the middle"),
        ({"output": "relu"}, ValueError, "output='relu' is not possible; use one of identity, logistic"),
        ({"noise": 1.0}, ValueError, r"masking a share of 1.0 is not possible"),
        ({"dropout": 1.0}, ValueError, r"a dropout of 1.0 is not possible"),
        ({"noise": True}, TypeError, r"corruption=True is not possible"),
        ({"noise": "salt(0.1)"}, ValueError, r"unknown corruption 'salt'"),
        ({"solver": "lbfgs"}, ValueError, r"unknown solver 'lbfgs'"),
        ({"max_iter": 0}, ValueError, r"max_iter=0 is not possible"),
    ],
)
def test_bad_parameters(X, given, error, message):
    with pytest.raises(error, match=message):
        sr.SparseAutoencoder(**(SMALL | given)).fit(X[:50])


def test_data_that_do_not_fit(X):
    with pytest.raises(
        ValueError, match=r"values in \[0, 1\], but X has values from 0 to 16; use scale=True or output="
    ):
        sr.SparseAutoencoder(**SMALL, output="logistic").fit(16 * X)
    with pytest.raises(ValueError, match="H has 3 columns, but a code has 12 units"):
        sr.SparseAutoencoder(**SMALL).fit(X[:50]).inverse_transform(np.zeros((2, 3)))
