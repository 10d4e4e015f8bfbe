"""Estimators take sparse matrices, memory maps, sources of one's own, and weights of samples."""

import numpy as np
import pytest
from problems import assert_same_bytes
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import compute_sample_weight
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    check_sample_weight_equivalence_on_sparse_data,
)

import sparserbm as sr

random = np.random.default_rng(0)
X = random.random((60, 9)) * (random.random((60, 9)) < 0.4)
Y = (X[:, :3].sum(axis=1) > 0.4).astype(int)
WEIGHT = random.integers(0, 4, 60)


class Rows:
    n_features = 9

    def __init__(self, array):
        self.array = array

    def __len__(self):
        return len(self.array)

    def rows(self, index):
        return self.array[index]


@pytest.fixture(params=["csr", "coo", "memmap", "own"])
def held(request, tmp_path):
    def as_file(array):
        path = tmp_path / f"{len(list(tmp_path.glob('*.npy')))}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return {"csr": sparse.csr_matrix, "coo": sparse.coo_array, "memmap": as_file, "own": Rows}[request.param]


ESTIMATORS = [
    sr.SparseRBM(5, n_iter=2, random_state=0),
    sr.SparseRBM(5, n_iter=3, random_state=0, scale=True, early_stopping=True),
    sr.SparseMLPClassifier((5,), max_iter=3, batch_size=16, random_state=0),
    sr.SparseMLPClassifier((5,), max_iter=3, early_stopping=True, solver="adam", random_state=0),
    sr.SparseMLPRegressor((5,), max_iter=3, batch_size=16, random_state=0),
    sr.SparseAutoencoder((5,), max_iter=3, random_state=0),
    sr.SparseAutoencoder((5,), max_iter=3, random_state=0, scale=True, output="logistic"),
]
NAMES = [f"{number}-{type(each).__name__}" for number, each in enumerate(ESTIMATORS)]
METHODS = ("transform", "reconstruct", "score_samples", "free_energy", "gibbs", "predict", "predict_proba")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=NAMES)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_same_bytes_as_for_an_array(held, estimator, weight):
    settings = {} if weight is None else {"sample_weight": weight}
    dense = clone(estimator).fit(X, Y, **settings)
    other = clone(estimator).fit(held(X), Y, **settings)
    assert_same_bytes(dense.model_, other.model_)
    assert other.n_features_in_ == 9
    for name in METHODS:
        if hasattr(dense, name):
            wanted, found = getattr(dense, name)(X), getattr(other, name)(held(X))
            assert found.dtype == wanted.dtype, name
            assert np.array_equal(found, wanted), name
    again = {"classes": [0, 1]} if isinstance(estimator, sr.SparseMLPClassifier) else {}
    for each, data in ((dense, X), (other, held(X))):
        each.partial_fit(data, Y, **again, **settings)
    assert_same_bytes(dense.model_, other.model_)
    assert dense.history_["loss"][-1] == other.history_["loss"][-1]


def test_what_is_fitted_with_one_kind_takes_the_others(held):
    rbm = sr.SparseRBM(5, n_iter=1, scale=True, random_state=0).fit(3 * X - 1)
    assert np.array_equal(rbm.transform(held(3 * X - 1)), rbm.transform(3 * X - 1))
    for each in (rbm, sr.SparseMLPClassifier((3,), max_iter=1).fit(X, Y)):
        with pytest.raises(ValueError, match="X has 8 features, but Sparse.* is expecting 9 features as input"):
            each.partial_fit(held(X)[:, :8] if held is not Rows else _narrow(), Y)
    with pytest.raises(ValueError, match=r"X has values from -1 to .*; scale the data"):
        sr.SparseRBM(5).fit(held(3 * X - 1))


def _narrow():
    rows = Rows(X[:, :8])
    rows.n_features = 8
    return rows


def test_targets_of_a_source():
    with pytest.raises(ValueError, match="X has 60 samples but y has 59"):
        sr.SparseMLPClassifier((3,), max_iter=1).fit(Rows(X), Y[1:])
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        sr.SparseMLPClassifier((3,), max_iter=1).fit(Rows(X), None)
    several = sr.SparseMLPRegressor((3,), max_iter=1).fit(Rows(X), np.stack([Y, 1 - Y], axis=1))
    assert several.predict(Rows(X)).shape == (60, 2)


def test_integers_in_a_file_are_read_as_they_are(tmp_path):
    np.save(tmp_path / "x.npy", (X > 0).astype(np.uint8))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    rbm = sr.SparseRBM(5, n_iter=1, random_state=0).fit(mapped)
    assert rbm.transform(mapped).dtype == np.float64
    assert np.array_equal(rbm.transform(mapped), rbm.transform((X > 0).astype(float)))


def test_sparse_data_in_a_pipeline_and_cross_validation():
    text = sparse.csr_matrix(X)
    mlp = sr.SparseMLPClassifier((8,), solver="adam", max_iter=30, random_state=0)
    rbm = sr.SparseRBM(20, n_iter=2, random_state=0)
    assert cross_val_score(mlp, text, Y, cv=3, error_score="raise").mean() > 0.7
    assert make_pipeline(rbm, mlp).fit(text, Y).predict(text).shape == (60,)


# -- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS[:5], ids=NAMES[:5])
def test_a_weight_of_0_is_a_sample_that_is_not_there(estimator):
    kept = WEIGHT > 0
    first = clone(estimator).fit(X, Y, sample_weight=WEIGHT)
    second = clone(estimator).fit(X[kept], Y[kept], sample_weight=10.0 * WEIGHT[kept])
    assert_same_bytes(first.model_, second.model_)
    plain = clone(estimator).fit(X, Y)
    assert_same_bytes(plain.model_, clone(estimator).fit(X, Y, sample_weight=np.ones(60)).model_)
    assert (plain.connections_[0] != first.connections_[0]).nnz > 0


@pytest.mark.parametrize("kind", [sr.SparseMLPClassifier, sr.SparseMLPRegressor])
@pytest.mark.parametrize(
    "check", [check_sample_weight_equivalence_on_dense_data, check_sample_weight_equivalence_on_sparse_data]
)
def test_weights_are_copies_where_a_batch_holds_all_samples(kind, check):
    estimator = kind((6,), batch_size=1000, max_iter=20)
    check(type(estimator).__name__, estimator)


def test_a_regressor_standardises_the_weighted_targets():
    y = np.concatenate([np.zeros(30), np.full(30, 4.0)])
    mlp = sr.SparseMLPRegressor((3,), max_iter=1).fit(X, y, sample_weight=np.repeat([3, 1], 30))
    assert (mlp.y_mean_, mlp.y_scale_) == (1.0, pytest.approx(3**0.5))


def test_a_rare_class_can_be_made_to_count():
    rare = np.flatnonzero(Y == 1)[:3]
    rows = np.concatenate([np.flatnonzero(Y == 0), rare])
    mlp = sr.SparseMLPClassifier((8,), solver="adam", max_iter=40, tol=0, random_state=0)
    plain = clone(mlp).fit(X[rows], Y[rows]).predict_proba(X[rare])[:, 1].mean()
    balanced = clone(mlp).fit(X[rows], Y[rows], sample_weight=compute_sample_weight("balanced", Y[rows]))
    assert balanced.predict_proba(X[rare])[:, 1].mean() > plain + 0.1
