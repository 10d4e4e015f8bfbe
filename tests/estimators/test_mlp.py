"""SparseMLPClassifier and SparseMLPRegressor: what they learn, when they stop, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

import sparserbm as sr

SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


@pytest.fixture(scope="module")
def friedman():
    X, y = make_friedman1(600, noise=0.3, random_state=0)
    return scale(X), scale(y)


# -- learning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_digits_are_learnt(digits, solver):
    X, X_test, y, y_test = train_test_split(*digits, random_state=0)
    classifier = sr.SparseMLPClassifier(solver=solver, batch_size=50, max_iter=40, random_state=0).fit(X, y)
    assert classifier.score(X_test, y_test) > 0.93
    assert classifier.connections_[0].nnz == 11 * (64 + 100)


@pytest.mark.parametrize(("activation", "slopes"), [("all_relu(0.6)", [-0.6, 0.6]), ("leaky_relu(0.2)", [0.2, 0.2])])
def test_activations_by_the_text_of_a_unit(friedman, activation, slopes):
    X, y = friedman
    regressor = sr.SparseMLPRegressor((9, 8), activation, max_iter=2, random_state=0).fit(X, y)
    assert [units.slope for units in regressor.model_.units[1:-1]] == slopes


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_regression(friedman, activation):
    X, X_test, y, y_test = train_test_split(*friedman, random_state=0)
    regressor = sr.SparseMLPRegressor(
        (50,), activation, density=0.6, solver="adam", max_iter=60, batch_size=30, evolution=None, random_state=0
    )
    # Friedman's function is two thirds linear: R^2 of the best linear model is 0.7.
    assert regressor.fit(X, y).score(X_test, y_test) > (0.6 if activation == "identity" else 0.8)


def test_several_targets(friedman):
    X, y = friedman
    both = np.column_stack([y, -y])
    regressor = sr.SparseMLPRegressor((30,), max_iter=30, batch_size=30, random_state=0).fit(X, both)
    assert regressor.n_outputs_ == 2
    assert regressor.predict(X).shape == (600, 2)
    assert regressor.score(X, both) > 0.6


def test_labels_of_any_kind(digits):
    X, y = digits[0][:200], np.array(["even", "odd"])[digits[1][:200] % 2]
    classifier = sr.SparseMLPClassifier(max_iter=30, random_state=0).fit(X, y)
    assert_array_equal(classifier.classes_, ["even", "odd"])
    assert classifier.n_outputs_ == 2
    assert set(classifier.predict(X)) == {"even", "odd"}
    probability = classifier.predict_proba(X)
    assert_allclose(probability.sum(axis=1), 1)
    assert_allclose(classifier.predict_log_proba(X), np.log(probability))
    assert np.mean(probability[np.arange(200), digits[1][:200] % 2]) > 0.7


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit_goes_on_where_it_stopped(digits, friedman, solver):
    rules = SMALL | {"solver": solver, "epsilon": 2, "batch_size": 50}
    (X, y), whole, parts = digits, sr.SparseMLPClassifier(**rules), sr.SparseMLPClassifier(**rules)
    whole.fit(X[:300], y[:300])
    for _ in range(3):
        assert parts.partial_fit(X[:300], y[:300], classes=np.arange(10)) is parts
    assert_array_equal(parts.coefs_[0], whole.coefs_[0])
    assert parts.n_iter_ == whole.n_iter_ == 3
    (X, y), whole, parts = friedman, sr.SparseMLPRegressor(**rules), sr.SparseMLPRegressor(**rules)
    whole.fit(X, y)
    for _ in range(3):
        parts.partial_fit(X, y)
    assert_array_equal(parts.predict(X), whole.predict(X))
    assert parts.loss_ == whole.loss_


def test_partial_fit_knows_classes_of_later_batches(digits):
    X, y = digits
    classifier = sr.SparseMLPClassifier((50,), batch_size=20, random_state=0)
    for _ in range(12):
        for part in np.array_split(np.argsort(y[:500] % 3, kind="stable"), 5):
            classifier.partial_fit(X[part], y[part], classes=np.arange(10))
    assert classifier.n_iter_ == 60
    assert classifier.score(X[:500], y[:500]) > 0.6  # chance is 0.1


def test_fit_repeats(digits):
    X, y = digits[0][:200], digits[1][:200]
    classifier = sr.SparseMLPClassifier(**SMALL)
    first = classifier.fit(X, y).predict_proba(X)
    assert_array_equal(classifier.fit(X, y).predict_proba(X), first)
    assert not np.array_equal(classifier.set_params(random_state=1).fit(X, y).predict_proba(X), first)


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_backends_agree(digits, backend):
    X, y = digits[0][:200], digits[1][:200]
    fits = [sr.SparseMLPClassifier(**SMALL, backend=name).fit(X, y) for name in (backend, "reference")]
    assert_allclose(fits[0].predict_proba(X), fits[1].predict_proba(X), atol=1e-6)


# -- attributes ---------------------------------------------------------------------------------------------------


def test_fitted_attributes(digits):
    X, y = digits[0][:200], digits[1][:200]
    classifier = sr.SparseMLPClassifier(**SMALL, epsilon=2, image_shape=(8, 8)).fit(X, y)
    assert [w.shape for w in classifier.coefs_] == [(64, 12), (12, 8), (8, 10)]
    assert [c.shape for c in classifier.connections_] == [(12, 64), (8, 12), (10, 8)]
    assert [c.nnz for c in classifier.connections_] == [2 * 76, 2 * 20, 80]  # the output layer is dense
    assert [b.shape for b in classifier.intercepts_] == [(12,), (8,), (10,)]
    for dense, csr, table in zip(classifier.coefs_, classifier.connections_, classifier.topology_):
        assert_array_equal(dense, csr.toarray().T)
        assert_array_equal(table["fan_in"], np.diff(csr.indptr))
        assert table["n_connections"] == csr.nnz
    assert ["zone" in table for table in classifier.topology_] == [True, False, False]
    assert classifier.topology_[0]["zone"].verdict in ("positive", "negative", "none")
    assert classifier.n_features_in_ == 64
    assert len(classifier.history_["loss"]) == classifier.n_iter_ + 1 == 4
    assert classifier.loss_ == classifier.history_["loss"][-1]
    assert isinstance(classifier.model_, sr.MLP)


def test_the_forward_pass_is_that_of_the_coefficients(digits):
    X, y = digits[0][:200], digits[1][:200]
    classifier = sr.SparseMLPClassifier(**SMALL).fit(X, y)
    a = X
    for w, b in zip(classifier.coefs_[:-1], classifier.intercepts_[:-1]):
        a = np.maximum(a @ w + b, 0)
    z = np.exp(a @ classifier.coefs_[-1] + classifier.intercepts_[-1])
    assert_allclose(classifier.predict_proba(X), z / z.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({"hidden_layer_sizes": 20}, [11 * 84, 200]),
        ({"hidden_layer_sizes": ()}, [640]),
        ({"hidden_layer_sizes": [20], "density": 0.1}, [128, 200]),
        ({"density": 1.0}, [768, 96, 80]),
        ({"wiring": "fixed_fan_in(3)"}, [36, 24, 80]),
        ({"wiring": ("dense", "fixed_fan_in(3)", sr.ErdosRenyi(density=0.5))}, [768, 24, 40]),
    ],
)
def test_number_of_connections(digits, given, counts):
    classifier = sr.SparseMLPClassifier(**(SMALL | given)).fit(digits[0][:100], digits[1][:100])
    assert [len(c.data) for c in classifier.connections_] == counts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_number_type_is_that_of_the_data(digits, friedman, dtype):
    X, y = digits[0][:100].astype(dtype), digits[1][:100]
    classifier = sr.SparseMLPClassifier(**SMALL).fit(X, y)
    assert classifier.predict_proba(X).dtype == classifier.model_.backend.dtype == dtype
    X, y = friedman
    assert sr.SparseMLPRegressor(**SMALL).fit(X.astype(dtype), y).predict(X.astype(dtype)).dtype == dtype


def test_l2_keeps_weights_small(digits):
    X, y = digits[0][:200], digits[1][:200]
    sizes = [
        np.abs(sr.SparseMLPClassifier(**SMALL, evolution=None, l2=l2).fit(X, y).coefs_[0]).sum() for l2 in (0, 0.1, 1.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


# -- when training ends -------------------------------------------------------------------------------------------


def test_training_ends_when_the_loss_stays(digits):
    X, y = digits[0][:200], digits[1][:200]
    still = SMALL | {"max_iter": 50, "learning_rate_init": 1e-9, "evolution": None}
    assert sr.SparseMLPClassifier(**still, n_iter_no_change=4).fit(X, y).n_iter_ == 5
    assert sr.SparseMLPClassifier(**still, n_iter_no_change=4, tol=-1.0).fit(X, y).n_iter_ == 50


def test_early_stopping_restores_the_best(digits):
    X, y = digits[0][:600], digits[1][:600]
    classifier = sr.SparseMLPClassifier(
        (30,), early_stopping=True, validation_fraction=0.2, n_iter_no_change=5, batch_size=20, random_state=0
    ).fit(X, y)
    accuracy = classifier.history_["validation_accuracy"]
    assert classifier.n_iter_ < 200
    assert len(accuracy) == classifier.n_iter_ + 1
    seed = classifier.model_.seed
    _, X_held, _, y_held = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=y)
    assert classifier.score(X_held, y_held) == pytest.approx(np.max(accuracy[1:]))


def test_early_stopping_of_a_regressor(friedman):
    X, y = friedman
    regressor = sr.SparseMLPRegressor((30,), early_stopping=True, max_iter=40, solver="adam", random_state=0).fit(X, y)
    losses = regressor.history_["validation_loss"]
    _, X_held, _, y_held = train_test_split(X, y, test_size=0.1, random_state=regressor.model_.seed)
    assert np.mean((regressor.predict(X_held) - y_held) ** 2) == pytest.approx(losses[1:].min())


def test_callbacks_and_progress(digits, capsys):
    X, y = digits[0][:100], digits[1][:100]
    stop = (lambda model, metrics: metrics["epoch"] == 2,)
    classifier = sr.SparseMLPClassifier(**(SMALL | {"max_iter": 9}), callbacks=stop, verbose=True).fit(X, y)
    assert classifier.n_iter_ == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 1/9" in err


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epsilon": 5, "density": 0.1}, r"epsilon=5 and density=0.1 contradict each other"),
        ({"epsilon": 50}, r"epsilon=50 asks for 3,800 connections"),
        ({"activation": None}, "cannot read 'None.*' as unit"),
        ({"activation": "swish"}, r"unknown unit 'swish'; known: all_relu, "),
        ({"solver": "lbfgs"}, r"unknown solver 'lbfgs'; known: sgd, adam"),
        ({"batch_size": "all"}, r"batch_size='all' is not possible"),
        ({"batch_size": 0}, r"batch_size=0 is not possible"),
        ({"max_iter": 0}, r"max_iter=0 is not possible"),
        ({"n_iter_no_change": 0}, r"n_iter_no_change=0 is not possible"),
        ({"hidden_layer_sizes": (5, 0)}, r"number of units must be an integer of at least 1"),
        ({"wiring": ("dense", "dense")}, r"wiring has 2 entries for 3 matrices"),
        ({"momentum": 1.5}, r"momentum=1.5 is out of range"),
        ({"solver": "adam", "beta_1": 1.0}, r"beta1=1.0 is out of range"),
    ],
)
def test_bad_parameters(digits, given, message):
    with pytest.raises(ValueError, match=message):
        sr.SparseMLPClassifier(**(SMALL | given)).fit(digits[0][:100], digits[1][:100])


def test_bad_labels_of_partial_fit(digits):
    X, y = digits[0][:50], digits[1][:50]
    classifier = sr.SparseMLPClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"labels that are not in classes_: \[5 6 7 8 9\]"):
        classifier.partial_fit(X, y, classes=np.arange(5))
    classifier.partial_fit(X, y, classes=np.arange(10))
    with pytest.raises(ValueError, match="not those of the first call"):
        classifier.partial_fit(X, y, classes=np.arange(11))
    classifier.partial_fit(X, y)
    assert classifier.n_iter_ == 2


def test_a_regressor_refuses_labels():
    with pytest.raises(ValueError, match="y has dtype <U1; a regressor needs real numbers"):
        sr.SparseMLPRegressor(**SMALL).fit(np.zeros((4, 2)), ["a", "b", "a", "b"])


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_targets_of_any_size_are_learnt(solver):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 5))
    y = np.column_stack([1000 + 300 * X[:, 0], 1e-4 * X[:, 1]])
    regressor = sr.SparseMLPRegressor((30,), solver=solver, max_iter=60, random_state=0).fit(X[:150], y[:150])
    assert regressor.score(X[150:], y[150:]) > 0.8
    parts = sr.SparseMLPRegressor((30,), solver=solver, random_state=0)
    for _ in range(3):
        parts.partial_fit(X[:150], y[:150])
    assert np.allclose(parts.y_mean_, y[:150].mean(axis=0))
