"""States drawn from probabilities."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

from sparserbm import binarise


def test_every_state_has_its_probability():
    X = np.tile([0.0, 0.1, 0.5, 0.9, 1.0], (20_000, 1))
    states = binarise(X, seed=3)
    assert states.dtype == np.float32
    assert set(np.unique(states)) == {0.0, 1.0}
    mean = states.mean(axis=0)
    assert (mean[0], mean[4]) == (0, 1)
    assert np.all(np.abs(mean - X[0]) < 4.5 * np.sqrt(X[0] * (1 - X[0]) / len(X)) + 1e-12)


def test_a_seed_is_a_draw():
    X = np.random.default_rng(0).random((30, 20))
    assert_array_equal(binarise(X, 1), binarise(X.copy(), 1))
    assert (binarise(X, 1) != binarise(X, 2)).any()
    assert_array_equal(binarise(X > 0.5, 1), X > 0.5)  # states stay


def test_a_sparse_matrix_stays_one():
    X = np.random.default_rng(0).random((400, 30)) * (np.random.default_rng(1).random((400, 30)) < 0.2)
    states = binarise(csr_matrix(X), 1)
    assert states.format == "csr"
    dense = states.toarray()
    assert set(np.unique(dense)) == {0.0, 1.0}
    assert not dense[X == 0].any()
    assert abs(dense.sum() - X.sum()) < 4.5 * np.sqrt((X * (1 - X)).sum())


def test_what_are_no_probabilities():
    with pytest.raises(ValueError, match="X has values from 0 to 255; scale it"):
        binarise(np.array([[0, 255]]))


def test_draws_cannot_be_kept_for_a_file(tmp_path):
    np.save(tmp_path / "X.npy", np.random.default_rng(0).random((5, 3)))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    with pytest.raises(ValueError, match="cannot keep draws"):
        binarise(mapped)
