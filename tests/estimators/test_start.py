"""Estimators that start from a model which was trained before."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sparserbm as sr

LITTLE = {"max_iter": 1, "learning_rate_init": 1e-9, "evolution": None, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


@pytest.fixture(scope="module")
def stack(digits):
    stack = sr.Stack(sr.Bernoulli(64), sr.Bernoulli(30), sr.Bernoulli(20), wiring=sr.ErdosRenyi(epsilon=3), seed=1)
    return sr.train_stack(stack, digits[0], epochs=2, batch_size=20).model


def assert_hidden_layers_of(stack, classifier, tol=1e-6):
    for own, bias, layer in zip(classifier.connections_, classifier.intercepts_, stack):
        theirs = layer.matrix.to_scipy()
        assert_array_equal(own.indices, theirs.indices)
        assert_array_equal(own.indptr, theirs.indptr)
        assert_allclose(own.data, theirs.data, atol=tol)
        assert_allclose(bias, layer.hidden_bias, atol=tol)


@pytest.mark.parametrize("estimator", [sr.SparseMLPClassifier, sr.SparseMLPRegressor])
def test_a_network_starts_from_a_stack(digits, stack, estimator):
    X, y = digits
    before = stack.transform(X)
    fitted = estimator(start_from=stack, **LITTLE).fit(X, y)
    assert_hidden_layers_of(stack, fitted)
    assert [type(units).__name__ for units in fitted.model_.units[1:3]] == ["Sigmoid", "Sigmoid"]
    longer = estimator(start_from=stack, max_iter=5, random_state=0).fit(X, y)
    assert_array_equal(stack.transform(X), before)  # the stack itself learns nothing
    assert longer.connections_[0].nnz == len(stack[0].matrix)
    assert not np.array_equal(longer.connections_[0].indices, stack[0].matrix.pattern.pre)


def test_backpropagation_goes_on_from_the_stack(digits, stack):
    X, y = digits
    tuned = sr.SparseMLPClassifier(start_from=stack, max_iter=60, batch_size=20, learning_rate_init=0.2, random_state=0)
    assert tuned.fit(X, y).score(X, y) > 0.95


def test_the_number_type_is_that_of_the_data(digits, stack):
    X, y = digits
    assert sr.SparseMLPClassifier(start_from=stack, **LITTLE).fit(X, y).model_.backend.dtype == np.float64
    single = sr.SparseMLPClassifier(start_from=stack, **LITTLE).fit(X.astype(np.float32), y)
    assert single.model_.backend.dtype == np.float32


def test_what_else_it_may_start_from(digits, stack):
    X, y = digits
    first = sr.Stack.from_rbms(stack.layers[:1])
    for given in (stack[0], [stack[0]], first):
        assert_hidden_layers_of(first, sr.SparseMLPClassifier(start_from=given, **LITTLE).fit(X, y))
    assert_hidden_layers_of(stack, sr.SparseMLPClassifier(start_from=stack.layers, **LITTLE).fit(X, y))
    rbm = sr.SparseRBM(12, n_iter=1, random_state=0).fit(X)
    assert_hidden_layers_of([rbm.model_], sr.SparseMLPClassifier(start_from=rbm, **LITTLE).fit(X, y))


def test_an_mlp_keeps_its_output_layer_where_it_is_the_same(digits, stack):
    X, y = digits
    mlp = stack.to_mlp(sr.Softmax(10), seed=5)
    sr.train(mlp, X, sr.Backprop(), y=y, epochs=2, optimizer=sr.SGD(0.1, momentum=0.9))
    kept = sr.SparseMLPClassifier(start_from=mlp, **LITTLE).fit(X, y)
    assert_allclose(kept.predict_proba(X), mlp.predict(X), atol=1e-5)
    assert kept.model_.epoch == 1
    few = y < 4
    fresh = sr.SparseMLPClassifier(start_from=mlp, **LITTLE).fit(X[few], y[few])
    assert fresh.model_.output == sr.Softmax(4)
    assert_allclose(fresh.coefs_[1], mlp.connections[1].to_dense().T, atol=1e-6)


def test_units_with_slots_of_their_own_keep_them(digits):
    X, y = digits
    mlp = sr.MLP(64, sr.SReLU(9), sr.Softmax(10), gates=True, seed=1)
    mlp.biases[0]["t_left"][...] = -0.5
    mlp.biases[0]["gate"][3] = 0
    started = sr.SparseMLPClassifier(start_from=mlp, **LITTLE).fit(X, y)
    assert_allclose(started.model_.biases[0]["t_left"], -0.5, atol=1e-6)
    assert started.model_.biases[0]["gate"][3] == 0
    assert_allclose(started.predict_proba(X), mlp.predict(X), atol=1e-5)


def test_a_pipeline_of_rbms_is_a_greedy_stack(digits):
    X, y = digits
    pipeline = make_pipeline(
        sr.SparseRBM(30, n_iter=2, random_state=0), sr.SparseRBM(20, n_iter=2, random_state=1)
    ).fit(X)
    stack = sr.Stack.from_rbms([step.model_ for step in pipeline])
    assert_allclose(stack.transform(X), pipeline.transform(X), rtol=1e-12)
    by_hand = sr.Stack.from_rbms([sr.RBM(sr.Bernoulli(n), sr.Bernoulli(m)) for n, m in ((64, 30), (30, 20))])
    assert [units.n for units in by_hand.units] == [units.n for units in stack.units]
    assert_hidden_layers_of(stack, sr.SparseMLPClassifier(start_from=stack, **LITTLE).fit(X, y))


# -- the conventions of scikit-learn ---------------------------------------------------------------------------------


def test_clones_start_from_the_same(digits, stack):
    X, y = digits
    classifier = sr.SparseMLPClassifier(start_from=stack, max_iter=2, random_state=0)
    assert classifier.get_params()["start_from"] is stack
    twin = clone(classifier)
    assert twin.start_from is not stack
    assert_array_equal(twin.fit(X, y).predict_proba(X), classifier.fit(X, y).predict_proba(X))
    assert_array_equal(classifier.fit(X, y).coefs_[0], twin.coefs_[0])  # every fit begins anew
    other = clone(classifier).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(other.coefs_[2], twin.coefs_[2])
    assert "start_from=Stack(bernoulli(n=64)" in repr(classifier)


def test_in_a_grid(digits, stack):
    grid = {"start_from": [None, stack], "hidden_layer_sizes": [(30, 20)]}
    search = GridSearchCV(sr.SparseMLPClassifier(max_iter=2, random_state=0), grid, cv=2, error_score="raise")
    search.fit(*digits)
    assert len(search.cv_results_["params"]) == 2


def test_partial_fit_starts_from_it_once(digits, stack):
    X, y = digits
    classifier = sr.SparseMLPClassifier(start_from=stack, learning_rate_init=0.1, evolution=None, random_state=0)
    classifier.partial_fit(X, y, classes=np.arange(10))
    first = classifier.coefs_[0].copy()
    classifier.partial_fit(X, y)
    assert classifier.n_iter_ == 2
    assert not np.array_equal(classifier.coefs_[0], first)
    assert_array_equal(classifier.connections_[0].indices, stack[0].matrix.pattern.pre)


# -- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"hidden_layer_sizes": (30, 10)},
            r"hidden_layer_sizes=\(30, 10\), but start_from has hidden layers of \(30, 20\)",
        ),
        ({"activation": "tanh"}, r"activation='tanh', but the hidden layers of start_from are sigmoid\(n=30\)"),
        ({"epsilon": 5}, "start_from brings the connections of the hidden layers; leave epsilon out"),
        ({"density": 0.5, "wiring": "dense"}, "leave density and wiring out"),
    ],
)
def test_parameters_that_say_otherwise(digits, stack, settings, match):
    with pytest.raises(ValueError, match=match):
        sr.SparseMLPClassifier(start_from=stack, **settings).fit(*digits)


def test_parameters_that_say_the_same(digits, stack):
    settings = {"hidden_layer_sizes": [30, 20], "activation": "logistic"}
    classifier = sr.SparseMLPClassifier(start_from=stack, **settings, **LITTLE).fit(*digits)
    assert_hidden_layers_of(stack, classifier)


def test_other_features(digits, stack):
    X, y = digits
    with pytest.raises(ValueError, match="start_from has 64 inputs, but X has 5 features"):
        sr.SparseMLPClassifier(start_from=stack).fit(X[:, :5], y)


def test_nothing_to_start_from(digits):
    X, y = digits
    with pytest.raises(TypeError, match="start_from='stack' is not possible; give a Stack, an RBM"):
        sr.SparseMLPClassifier(start_from="stack").fit(X, y)
    rbm = sr.SparseRBM(12, n_iter=1, random_state=0)
    with pytest.raises(ValueError, match="start_from=SparseRBM is not fitted .* start_from=estimator.model_"):
        sr.SparseMLPClassifier(start_from=rbm).fit(X, y)
    scaled = sr.SparseRBM(12, n_iter=1, scale=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"scales its features \(scale=True\)"):
        sr.SparseMLPClassifier(start_from=scaled).fit(X, y)
