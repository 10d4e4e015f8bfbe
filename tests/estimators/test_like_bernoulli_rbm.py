"""What scikit-learn tests of its BernoulliRBM, for SparseRBM with all connections."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import load_digits

import sparserbm as sr
from sparserbm.rng import Streams

DenseRBM = functools.partial(sr.SparseRBM, density=1.0, evolution=None)

CSC = [sparse.csc_matrix, sparse.csc_array]
CSR = [sparse.csr_matrix, sparse.csr_array]
LIL = [sparse.lil_matrix, sparse.lil_array]

# Mean pseudo-likelihood of the digits under BernoulliRBM with the same settings; ours must not be worse.
THEIRS = -21.0


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data / 16
    X.flags.writeable = False  # training changes nothing in place
    return X


# -- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [False, True])
def test_fit(digits, persistent):
    rules = {"learning_rate": 0.1, "batch_size": 10, "n_iter": 7, "random_state": 9}
    rbm = DenseRBM(64, persistent=persistent, **rules).fit(digits)
    assert rbm.score_samples(digits).mean() > THEIRS


def test_a_full_layer_has_no_place_to_evolve_to(digits):
    fits = [sr.SparseRBM(8, density=1.0, n_iter=2, random_state=0, evolution=rule) for rule in ("set", None)]
    assert_array_equal(*(rbm.fit(digits[:100]).components_ for rbm in fits))


def test_partial_fit(digits):
    rbm = DenseRBM(64, learning_rate=0.1, batch_size=20, random_state=9)
    for _ in range(4):
        for batch in np.array_split(digits, 90):
            assert rbm.partial_fit(batch) is rbm
    assert rbm.score_samples(digits).mean() > THEIRS


@pytest.mark.parametrize("container", [*CSR, *CSC])
def test_a_few_sparse_samples_are_enough(digits, container):
    rbm = DenseRBM().fit(container(digits[:4]))
    assert rbm.components_.shape == (256, 64)
    assert np.isfinite(rbm.components_).all()


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("container", [*CSC, *CSR])
def test_sparse_samples_train_the_same_model(digits, method, container):
    thin, dense = (DenseRBM(64, learning_rate=0.1, batch_size=10, n_iter=2, random_state=9) for _ in range(2))
    getattr(thin, method)(container(digits[:100]))
    getattr(dense, method)(digits[:100])
    assert_array_equal(thin.components_, dense.components_)
    assert_array_equal(thin.score_samples(container(digits[:100])), dense.score_samples(digits[:100]))
    assert_array_equal(thin.transform(container(digits[:100])), dense.transform(digits[:100]))


# -- hidden units -------------------------------------------------------------------------------------------------


def test_transform_gives_the_means_of_the_hidden_units(digits):
    rbm = DenseRBM(16, batch_size=5, n_iter=5, random_state=42).fit(digits[:100])
    model = rbm.model_
    visible = model.backend.asarray(np.ascontiguousarray(digits[:100].T))
    mean = model.hidden_given(visible, model.backend.empty((16, 100)))
    assert_allclose(rbm.transform(digits[:100]), model.backend.to_numpy(mean).T, rtol=1e-12)


def test_draws_of_hidden_units_scatter_around_their_means(digits):
    rbm = DenseRBM(2, batch_size=5, n_iter=5, random_state=42).fit(digits[:100])
    model = rbm.model_
    visible = model.backend.asarray(np.repeat(digits[:1].T, 2000, axis=1))
    mean, drawn = model.backend.empty((2, 2000)), model.backend.empty((2, 2000))
    model.hidden_given(visible, mean, Streams(0).draws("test", 0), drawn)
    p = rbm.transform(digits[:1])[0]
    assert_allclose(model.backend.to_numpy(drawn).mean(axis=1), p, atol=4 * 0.5 / np.sqrt(2000))


# -- Gibbs sampling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [np.asarray, *CSC])
def test_gibbs_brings_back_what_was_learnt(container):
    # Theirs passes for its seed only: it trains for so short a time that a draw is right with a chance of one half.
    X = np.array([[0.0], [1.0]])
    rbm = DenseRBM(2, batch_size=2, n_iter=400, learning_rate=1.0, random_state=42).fit(container(X))
    assert_array_equal(np.round(rbm.reconstruct(X)), X)
    many = np.repeat(X, 500, axis=0)
    assert np.mean(rbm.gibbs(container(many)) == many) > 0.95
    assert_array_equal(rbm.components_, rbm.fit(X).components_)


def test_gibbs_of_all_digits_is_finite_and_draws_anew(digits):
    rbm = DenseRBM(42, batch_size=40, n_iter=10, random_state=42).fit(digits)
    first, second = rbm.gibbs(digits), rbm.gibbs(digits)
    assert np.isfinite(first).all()
    assert (first != second).any(axis=1).all()
    assert_array_equal(rbm.fit(digits).gibbs(digits), first)


# -- scores -------------------------------------------------------------------------------------------------------


def test_pseudo_likelihood_is_not_clipped():
    # Fabian Pedregosa's case: two opposite samples of 1,000 features, hardly learnt.
    X = np.vstack([np.zeros(1000), np.ones(1000)])
    rbm = DenseRBM(10, batch_size=2, n_iter=10, random_state=42).fit(X)
    assert (rbm.score_samples(X) < -300).all()


@pytest.mark.parametrize("container", LIL)
def test_scores_of_sparse_samples_are_those_of_dense_ones(container):
    X = np.vstack([np.zeros(1000), np.ones(1000)])
    rbm = DenseRBM(10, batch_size=2, n_iter=10, random_state=42).fit(X)
    assert_array_equal(rbm.score_samples(container(X)), rbm.score_samples(X))


def test_scores_of_large_values_do_not_overflow():
    X = np.vstack([np.zeros(1000), np.ones(1000)])
    rbm = DenseRBM(10, batch_size=2, n_iter=10, random_state=42).fit(X)
    with np.errstate(under="ignore"):
        assert np.isfinite(rbm.score_samples([np.arange(1000) * 100])).all()


# -- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [np.asarray, *CSC])
def test_verbose_says_something_of_every_epoch(capsys, container):
    DenseRBM(2, batch_size=2, n_iter=1, random_state=42, verbose=True).fit(container([[0.0], [1.0]]))
    out, err = capsys.readouterr()
    assert out == ""  # theirs writes on standard output, which is for results
    assert "epoch 1/1  loss 0." in err


@pytest.mark.parametrize(("given", "computed"), [(np.float32, np.float32), (np.float64, np.float64), (int, np.float64)])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_number_types(digits, given, computed, container):
    X = container(digits[:100].astype(given))
    assert DenseRBM(16, batch_size=5, n_iter=5, random_state=42).fit_transform(X).dtype == computed


def test_both_number_types_learn_the_same(digits):
    double, single = (
        DenseRBM(16, batch_size=5, n_iter=5, random_state=42).fit(digits[:100].astype(dtype))
        for dtype in (np.float64, np.float32)
    )
    assert single.components_.dtype == np.float32
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        assert_allclose(getattr(single, name), getattr(double, name), atol=1e-5)
    assert_allclose(single.transform(digits), double.transform(digits), atol=1e-5)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_names_of_the_components(digits, method):
    rbm = getattr(DenseRBM(10, n_iter=1), method)(digits[:100])
    assert_array_equal(rbm.get_feature_names_out(), [f"sparserbm{number}" for number in range(10)])
