"""SparseRBMClassifier: probabilities, draws given a class, connections of the classes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import blobs
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

import sparserbm as sr

SMALL = {"n_components": 12, "n_iter": 4, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    X, y = blobs(150, seed=1)
    return X, np.array(["ant", "bee", "cat"])[y]


def test_probabilities_are_those_of_free_energies(data, backend):
    X, y = data
    model = sr.SparseRBMClassifier(**SMALL, backend=backend).fit(X, y)
    log_joint = [
        -model.model_.free_energy(np.hstack([X, np.tile(np.eye(3)[label], (len(X), 1))])) for label in range(3)
    ]
    expected = np.exp(np.array(log_joint).T - np.logaddexp.reduce(log_joint, axis=0)[:, None])
    assert_allclose(model.predict_proba(X), expected, rtol=1e-9)
    assert_allclose(model.predict_log_proba(X), np.log(expected), rtol=1e-8, atol=1e-9)
    assert_array_equal(model.predict(X), np.array(["ant", "bee", "cat"])[expected.argmax(axis=1)])


@pytest.mark.parametrize("rules", [{}, {"algorithm": "cd(centred=True)", "learning_rate": 0.1}])
def test_classes_are_learned(data, rules):
    X, y = data
    model = sr.SparseRBMClassifier(20, n_iter=25, random_state=0, **rules).fit(X, y)
    assert model.score(X, y) > 0.95


def test_digits_across_folds():
    X, y = load_digits(return_X_y=True)
    scores = cross_val_score(sr.SparseRBMClassifier(60, n_iter=6, batch_size=20, random_state=0), X / 16, y, cv=2)
    assert scores.mean() > 0.75  # chance is 0.1


def test_a_class_draws_its_own_features(data):
    X, y = data
    rules = {"algorithm": "cd(centred=True)", "learning_rate": 0.1}
    model = sr.SparseRBMClassifier(20, n_iter=40, random_state=0, **rules).fit(X, y)
    for label in model.classes_:
        drawn = model.sample(label, 400, sweeps=30, random_state=1)
        assert drawn.shape == (400, 6)
        assert_allclose(drawn.mean(axis=0), X[y == label].mean(axis=0), atol=0.2)
    again = [model.sample("ant", 3, sweeps=2, random_state=1) for _ in range(2)]
    assert_array_equal(*again)
    assert not np.array_equal(model.sample("ant", 9, sweeps=2), model.sample("ant", 9, sweeps=2))
    with pytest.raises(ValueError, match="label='dog' is not in classes_"):
        model.sample("dog")


def test_connections_of_classes_are_dense_and_stay(data):
    X, y = data
    model = sr.SparseRBMClassifier(**SMALL, epsilon=1).fit(X, y)
    assert model.class_components_.shape == (12, 3)
    assert model.components_.shape == (12, 6)
    fan_out = model.topology_["fan_out"]
    assert_array_equal(fan_out[6:], [12, 12, 12])
    assert fan_out[:6].sum() == 6 + 12
    history = model.history_
    # the share zeta of the connections of features, after every epoch but the last
    assert_array_equal(history["dropped"][1:], [0, 5, 5, 5])
    assert len({tuple(s.layers[0].degree_pre[6:]) for s in model.run_.snapshots.values()}) == 1
    assert len({tuple(s.layers[0].degree_pre[:6]) for s in model.run_.snapshots.values()}) > 1


def test_partial_fit_is_fit_in_pieces(data):
    X, y = data
    whole = sr.SparseRBMClassifier(**SMALL).fit(X, y)
    parts = sr.SparseRBMClassifier(**SMALL)
    for _ in range(4):
        parts.partial_fit(X, y, classes=["cat", "ant", "bee"])
    assert (whole.connections_ != parts.connections_).nnz == 0
    twin = pickle.loads(pickle.dumps(parts))
    assert_array_equal(twin.predict_proba(X), parts.predict_proba(X))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        sr.SparseRBMClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="are not those of the first call"):
        parts.partial_fit(X, y, classes=["ant", "bee"])
    with pytest.raises(ValueError, match="labels that are not in classes_"):
        parts.partial_fit(X, np.where(y == "ant", "dog", y))


@pytest.mark.parametrize("algorithm", ["hybrid(0.1)", "cd"])
def test_sparse_and_mapped_features_are_those_of_an_array(data, algorithm, tmp_path):
    X, y = data
    X = np.where(X < 0.5, 0, X)
    np.save(tmp_path / "X.npy", X)
    kind = SMALL | {"algorithm": algorithm}
    models = [
        sr.SparseRBMClassifier(**kind).fit(rows, y)
        for rows in (X, sparse.csr_array(X), np.load(tmp_path / "X.npy", mmap_mode="r"))
    ]
    for model in models:
        assert (model.connections_ != models[0].connections_).nnz == 0
        assert_array_equal(model.predict_proba(sparse.csr_array(X)), models[0].predict_proba(X))


def test_weights_of_samples(data):
    X, y = data
    weight = np.where(y == "ant", 0.0, 1.0)
    model = sr.SparseRBMClassifier(**SMALL | {"n_iter": 15}).fit(X, y, sample_weight=weight)
    assert list(model.classes_) == ["ant", "bee", "cat"]
    assert not (model.predict(X[y != "ant"]) == "ant").any()


def test_scaled_features(data):
    X, y = data
    model = sr.SparseRBMClassifier(**SMALL, scale=True).fit(10 * X + 5, y)
    drawn = model.sample("ant", 20, sweeps=3)
    assert drawn.min() >= 5
    assert drawn.max() <= 15
    with pytest.raises(ValueError, match=r"Bernoulli units need values in \[0, 1\]"):
        sr.SparseRBMClassifier(**SMALL).fit(10 * X, y)


def test_real_features(data):
    X, y = data
    rules = {"visible": "gaussian(sigma=0.2)", "learning_rate": 0.02}
    assert sr.SparseRBMClassifier(20, n_iter=20, random_state=0, **rules).fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"algorithm": "backprop"}, "does not train an RBM"),
        ({"visible": sr.Bernoulli(5)}, "visible=Bernoulli.n=5. is not possible"),
        ({"n_iter": 0}, "n_iter=0 is not possible"),
        ({"visible": "gaussian(learned=True)"}, "not worked out for gates and learned variances"),
    ],
)
def test_settings_that_are_not_possible(data, settings, said):
    X, y = data
    with pytest.raises(ValueError, match=said):
        clone(sr.SparseRBMClassifier(**SMALL | settings)).fit(X, y)


def test_one_class_is_none(data):
    X, _ = data
    with pytest.raises(ValueError, match="y has one class"):
        sr.SparseRBMClassifier(**SMALL).fit(X, np.zeros(len(X), int))
