"""scikit-learn's own checks of an estimator, and its conventions that they leave out."""

from __future__ import annotations

import importlib.util
import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM, MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import sparserbm as sr

MLP = {"hidden_layer_sizes": (20,), "max_iter": 30, "batch_size": 20}


def _estimators():
    # The checks feed values far outside [0, 1], where an RBM of Bernoulli units has to refuse: hence scale=True.
    for backend in ("auto", "reference"):
        yield sr.SparseRBM(n_components=8, n_iter=2, scale=True, backend=backend)
    yield sr.SparseRBMClassifier(60, n_iter=15, scale=True)
    yield sr.SparseMLPClassifier(**MLP)
    yield sr.SparseMLPRegressor(**MLP)
    yield sr.SparseAutoencoder(5, max_iter=3)
    yield sr.SparseAutoencoder((6, 3, 6), output="logistic", noise="gaussian(0.1)", scale=True, max_iter=2)
    yield sr.TopologySelector(sr.SparseAutoencoder(5, max_iter=2))
    yield sr.TopologySelector(sr.SparseMLPClassifier(5, max_iter=2), criterion="survival")


def _cannot_pass(estimator):
    """A mini-batch of copies is another one, and draws for them differ: see test_data.py for where weights are copies."""
    if isinstance(estimator, sr.TopologySelector):
        return {}
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": "mini-batches of copies are others" for kind in kinds}


@parametrize_with_checks(list(_estimators()), expected_failed_checks=_cannot_pass)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


def _defaults(estimator) -> dict:
    return {name: p.default for name, p in inspect.signature(estimator).parameters.items()}


def test_rbm_begins_with_the_parameters_of_bernoulli_rbm():
    theirs = _defaults(BernoulliRBM)
    ours = _defaults(sr.SparseRBM)
    assert list(ours)[: len(theirs)] == list(theirs)
    assert {name: ours[name] for name in theirs} == theirs


def test_mlp_shares_names_and_defaults_with_mlp_classifier():
    theirs, ours = _defaults(MLPClassifier), _defaults(sr.SparseMLPClassifier)
    assert {name for name in theirs if name in ours and ours[name] != theirs[name]} == {
        "solver",
        "learning_rate_init",
        "epsilon",
    }
    assert list(ours)[:3] == list(theirs)[:3]


@pytest.mark.parametrize("rbm", [sr.SparseRBM(n_components=20, n_iter=2, random_state=0)])
def test_pipeline_and_grid_search(digits, rbm):
    X, y = digits
    pipeline = make_pipeline(MinMaxScaler(), rbm, LogisticRegression(max_iter=1000))
    grid = {"sparserbm__evolution": [None, "set(zeta=0.2)"], "sparserbm__epsilon": [5, 11]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.6  # chance is 0.1
    assert search.best_estimator_[1].n_components == 20


def test_feature_names_and_output(digits):
    X, _ = digits
    rbm = sr.SparseRBM(n_components=3, n_iter=1, random_state=0).fit(X)
    assert list(rbm.get_feature_names_out()) == ["sparserbm0", "sparserbm1", "sparserbm2"]
    container = "pandas" if importlib.util.find_spec("pandas") else "default"
    out = rbm.set_output(transform=container).transform(X)
    assert out.shape == (300, 3)
    assert container == "default" or list(out.columns) == list(rbm.get_feature_names_out())


def test_clone_keeps_rule_objects():
    rules = {"evolution": sr.SET(zeta=sr.Cosine(0.3, 0.1, steps=100)), "regularization": [sr.L2(1e-3), "l1(1e-5)"]}
    twin = clone(sr.SparseRBM(**rules, l2="linear(0, 1e-3, 50)", callbacks=(print,)))
    assert twin.evolution == rules["evolution"]
    assert twin.regularization == rules["regularization"]
    assert twin.callbacks == (print,)


def test_pickled_models_go_on_alike(digits, backend):
    X, y = digits
    rbm = sr.SparseRBM(n_components=5, n_iter=1, persistent=True, momentum=0.5, random_state=0, backend=backend)
    mlp = sr.SparseMLPClassifier((5,), solver="adam", max_iter=1, random_state=0, backend=backend)
    for model in (rbm.fit(X), mlp.fit(X, y)):
        twin = pickle.loads(pickle.dumps(model))
        for each in (model, twin):
            each.partial_fit(X, y)
        assert (twin.connections_[0] != model.connections_[0]).nnz == 0
        assert twin.history_["loss"][-1] == model.history_["loss"][-1]


def test_unfitted_estimators_have_no_fitted_attributes():
    rbm, mlp = sr.SparseRBM(), sr.SparseMLPRegressor()
    for name in ("components_", "connections_", "topology_", "history_", "n_iter_", "intercept_hidden_"):
        assert not hasattr(rbm, name)
    assert not hasattr(mlp, "coefs_")
    with pytest.raises(NotFittedError):
        rbm.sample(2)
    with pytest.raises(NotFittedError):
        mlp.predict(np.zeros((2, 3)))
