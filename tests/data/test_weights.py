import numpy as np
import pytest
from scipy import sparse

from sparserbm.data.weights import check_weights, weighted

X, Y = np.arange(12.0).reshape(4, 3), np.arange(4)


def test_weights_have_mean_one_and_zeros_are_left_out():
    kept, y, weight = weighted(X, Y, [2, 0, 4, 0])
    assert kept.tolist() == X[[0, 2]].tolist()
    assert y.tolist() == [0, 2]
    assert weight.tolist() == pytest.approx([2 / 3, 4 / 3])


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e308])
def test_only_their_proportions_count(scale):
    assert weighted(X, None, scale * np.array([1, 0.5, 0.25, 0.25]))[2].tolist() == [2, 1, 0.5, 0.5]


@pytest.mark.parametrize("same", [[1, 1, 1, 1], [0.3] * 4, np.ones(4, bool), None])
def test_equal_weights_are_none(same):
    found = weighted(X, Y, same)
    assert found[0] is X
    assert found[1] is Y
    assert found[2] is None


def test_a_sparse_matrix_loses_its_rows_too():
    from sparserbm.data.sources import as_samples

    kept, _, weight = weighted(as_samples(sparse.csr_array(X)), None, [0, 1, 1, 0])
    assert kept[:].tolist() == X[1:3].tolist()
    assert weight is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2, 3], r"sample_weight has int64 \(3,\); give one number for each of the 4 samples"),
        (np.ones((4, 1)), r"float64 \(4, 1\); give one number"),
        (1.0, r"float64 \(\); give one number"),
        (["a", "b", "c", "d"], "give one number for each"),
        ([1, None, "x", 2], "give one number for each"),
        ([1, -1, 2, -0.5], r"holds 2 values that are negative, NaN or infinite, the first \(-1.0\) at sample 1"),
        ([1, 2, np.nan, 1], r"the first \(nan\) at sample 2 .*; use 0 to leave a sample out"),
        ([1, 2, 3, np.inf], r"the first \(inf\) at sample 3"),
        ([0, 0, 0, 0], "at least one non-zero number: every sample_weight is 0"),
    ],
)
def test_bad_weights(given, message):
    with pytest.raises(ValueError, match=message):
        check_weights(given, 4)
