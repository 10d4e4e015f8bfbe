"""NNSTD against all permutations, by hand, and between networks of every kind."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import sparserbm as sr
from sparserbm.topology import distance, distances, nnstd


def wiring(n_post, n_pre, density, seed):
    random = np.random.default_rng(seed)
    return sparse.csr_matrix((random.random((n_post, n_pre)) < density).astype(float))


def renamed(matrix, order):
    """The same neurons in another order."""
    return sparse.csr_matrix(matrix.toarray()[order])


def cost_of(a, b):
    """Of one neuron with these inputs beside another one; (n_pre,) bool each."""
    either = (a | b).sum()
    return (a ^ b).sum() / either if either else 0.0


def by_all_permutations(first, second):
    """The smallest sum of costs over the larger number of neurons, neurons that nobody has standing for partners."""
    a, b = (matrix.toarray().astype(bool) for matrix in (first, second))
    n = max(len(a), len(b))
    table = np.ones((n, n))
    for j, k in itertools.product(range(len(a)), range(len(b))):
        table[j, k] = cost_of(a[j], b[k])
    return min(table[range(n), order].sum() for order in itertools.permutations(range(n))) / n


@pytest.fixture(params=["dense", "sparse"])
def assignment(request, monkeypatch):
    monkeypatch.setattr(distance, "DENSE_ASSIGNMENT", 10**9 if request.param == "dense" else 0)
    monkeypatch.setattr(distance, "SPARSE_PAIRS", 1.0)


@pytest.mark.parametrize("density", [0.1, 0.3, 0.7])
@pytest.mark.parametrize(("n", "m"), [(6, 6), (4, 6), (6, 3), (1, 5)])
def test_it_is_the_best_of_all_permutations(assignment, n, m, density):
    for seed in range(5):
        first, second = wiring(n, 7, density, seed), wiring(m, 7, density, 100 + seed)
        assert_allclose(nnstd(first, second, null=0), by_all_permutations(first, second), atol=1e-12)
        assert_allclose(nnstd(second, first, null=0), by_all_permutations(first, second), atol=1e-12)


def test_a_case_by_hand(assignment):
    first = sparse.csr_matrix([[1, 1, 0, 0], [0, 0, 1, 1]])
    second = sparse.csr_matrix([[0, 0, 1, 1], [1, 1, 1, 0]])
    found = nnstd(first, second, null=0)
    assert_allclose(found, (0 + 1 / 3) / 2)
    assert found.layers[0].match.tolist() == [1, 0]
    assert_allclose(found.layers[0].cost, [1 / 3, 0])


def test_renaming_neurons_changes_nothing(assignment):
    random = np.random.default_rng(0)
    first = [wiring(40, 30, 0.2, 1), wiring(25, 40, 0.2, 2), wiring(10, 25, 0.3, 3)]
    order = [random.permutation(len) for len in (40, 25)]
    second = [
        renamed(first[0], order[0]),
        renamed(first[1][:, order[0]], order[1]),
        first[2][:, order[1]],
    ]
    found = nnstd(first, second)
    assert found == 0
    assert found.null > 0.5
    assert [layer.distance for layer in found.layers.values()] == [0, 0, 0]
    assert_array_equal(order[0][found.layers[0].match], np.arange(40))  # where its neurons went


def test_names_are_carried_to_the_next_layer(assignment):
    """The second layer is the same under other names, and nothing else: only a carried permutation sees that."""
    first = [wiring(30, 50, 0.2, 4), wiring(20, 30, 0.2, 5)]
    order = np.random.default_rng(1).permutation(30)
    second = [renamed(first[0], order), first[1][:, order]]
    assert nnstd(first, second, null=0).layers[1].distance == 0
    assert nnstd([first[1]], [second[1]], null=0) > 0.4


def test_nothing_shared_is_at_one(assignment):
    first = sparse.csr_matrix(np.hstack([np.ones((4, 3)), np.zeros((4, 3))]))
    second = sparse.csr_matrix(np.hstack([np.zeros((4, 3)), np.ones((4, 3))]))
    assert nnstd(first, second, null=0) == 1


def test_neurons_without_inputs_go_together(assignment):
    first = sparse.csr_matrix([[0, 0, 0], [1, 1, 0], [0, 0, 0]])
    second = sparse.csr_matrix([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert_allclose(nnstd(first, second, null=0), 1 / 3)
    empty = sparse.csr_matrix((3, 3))
    assert nnstd(empty, empty, null=0) == 0
    assert nnstd(empty, second, null=0) == 2 / 3


def test_neurons_without_a_partner_are_inputs_that_the_other_net_lacks(assignment):
    first = [sparse.csr_matrix(np.eye(3)[:2]), sparse.csr_matrix([[1, 0], [1, 1]])]
    second = [sparse.csr_matrix(np.eye(3)), sparse.csr_matrix([[1, 0, 0], [1, 1, 1]])]
    found = nnstd(first, second, null=0)
    assert_allclose(found.layers[0].distance, 1 / 3)
    assert_allclose(found.layers[1].cost, [0, 1 / 3])
    assert_allclose(nnstd(second, first, null=0), found)


def test_full_layers_are_left_out_and_named(assignment):
    first, second = wiring(8, 9, 0.3, 0), wiring(8, 9, 0.3, 1)
    full = sparse.csr_matrix(np.ones((3, 8)))
    found = nnstd([first, full], [second, full])
    assert found.excluded == ("layer 1 (full)",)
    assert_allclose(found, nnstd(first, second))
    assert "without layer 1 (full)" in repr(found)
    with pytest.raises(ValueError, match="all layers are full"):
        nnstd([full], [full])


def test_the_null_is_where_random_wirings_are():
    """784 x 784 with 3,688 connections: 0.82, as measured with the authors' function."""
    nets = [sparse.random(784, 784, 3688 / 784**2, random_state=seed) for seed in range(2)]
    found = nnstd(*nets, seed=5)
    assert abs(found - 0.82) < 0.01
    assert abs(found - found.null) < 0.01
    assert nnstd(*nets, seed=5).null == found.null
    assert nnstd(*nets, null=0).null is None


def test_both_ways_of_matching_find_the_same():
    first, second = (wiring(200, 300, 0.05, seed) for seed in range(2))
    found = []
    for limit in (0, 10**9):
        distance.DENSE_ASSIGNMENT, before = limit, distance.DENSE_ASSIGNMENT
        try:
            found.append(nnstd(first, second, null=0))
        finally:
            distance.DENSE_ASSIGNMENT = before
    assert_allclose(*found, rtol=1e-12)


def test_models_estimators_matrices_and_files(tmp_path):
    X = (np.random.default_rng(0).random((30, 12)) < 0.5).astype(float)
    estimators = [sr.SparseRBM(9, epsilon=2, n_iter=1, random_state=seed, backend="numpy").fit(X) for seed in (0, 1)]
    models = [each.model_ for each in estimators]
    matrices = [model.matrix.to_scipy() for model in models]
    for seed, matrix in enumerate(matrices):
        sparse.save_npz(tmp_path / f"{seed}.npz", matrix)
    files = [tmp_path / f"{seed}.npz" for seed in (0, 1)]
    found = {float(nnstd(*pair, null=0)) for pair in (estimators, models, matrices, files)}
    assert len(found) == 1
    assert 0 < found.pop() < 1
    assert nnstd(matrices[0].T, matrices[1].T, null=0, rows="pre") == nnstd(*matrices, null=0)


def test_mlps_have_several_layers():
    nets = [
        sr.MLP(20, sr.ReLU(15), sr.ReLU(12), sr.Softmax(3), wiring=sr.ErdosRenyi(epsilon=3, clip=True), seed=seed)
        for seed in (0, 1)
    ]
    found = nnstd(*nets)
    assert set(found.layers) == {0, 1}
    assert found.excluded == ("layer 2 (full)",)
    assert nnstd(nets[0], nets[0]) == 0


def test_explicit_zeros_and_repeated_entries():
    with_zero = sparse.csr_matrix((np.array([0.0, 1.0]), (np.array([0, 0]), np.array([0, 1]))), shape=(1, 3))
    repeated = sparse.coo_matrix((np.ones(3), (np.zeros(3, int), np.array([0, 0, 1]))), shape=(1, 3))
    assert nnstd(with_zero, repeated, null=0) == 0


def test_neurons_of_one_place_are_partners_where_names_are_kept():
    first, second = wiring(40, 30, 0.1, 1), wiring(40, 30, 0.1, 2)
    found = nnstd(first, second, match=False)
    by_hand = [cost_of(a, b) for a, b in zip(*(net.toarray().astype(bool) for net in (first, second)))]
    assert_allclose(found, np.mean(by_hand))
    assert_allclose(found.layers[0].cost, by_hand)
    assert_array_equal(found.layers[0].match, np.arange(40))
    assert abs(found - found.null) < 0.05
    assert nnstd(first, second, null=0) < found
    order = np.roll(np.arange(40), 1)
    assert nnstd(first, renamed(first, order), match=False) > 0.8
    assert distances([first, second], match=False)[0][0, 1] == found


def test_kept_names_of_layers_that_grew():
    first, longer = [wiring(3, 5, 0.6, 1), wiring(2, 3, 0.6, 2)], wiring(5, 5, 0.6, 3)
    lower = sparse.vstack([first[0], longer[3:]]).tocsr()
    upper = sparse.hstack([first[1], sparse.csr_matrix(np.ones((2, 2)))]).tocsr()
    found = nnstd(first, [lower, upper], match=False, null=0)
    assert_allclose(found.layers[0].distance, 2 / 5)  # two neurons without a partner
    degrees = np.diff(first[1].indptr)
    assert_allclose(found.layers[1].cost, 2 / (degrees + 2))
    back = nnstd([lower, upper], first, match=False, null=0)
    assert_allclose(back, found)
    assert back.layers[0].match.tolist() == [0, 1, 2, -1, -1]


@pytest.mark.parametrize("match", [True, False])
def test_hidden_layers_of_different_width_have_a_null(match):
    nets = [[wiring(n, 30, 0.2, seed), wiring(8, n, 0.3, seed)] for seed, n in ((1, 20), (2, 25))]
    found = nnstd(*nets, match=match)
    assert abs(found - found.null) < 0.1
    assert distances(nets, match=match)[1][0, 1] == found.null


def test_a_distance_survives_pickling():
    nets = [[wiring(6, 5, 0.4, seed), sparse.csr_matrix(np.ones((2, 6)))] for seed in (1, 2)]
    found = nnstd(*nets)
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert (again, again.null, again.excluded) == (found, found.null, ("layer 1 (full)",))
        assert_array_equal(again.layers[0].match, found.layers[0].match)


def test_the_matrices_given_stay_as_they_are():
    unsorted = sparse.csr_matrix(([1.0, 2.0, 3.0], [2, 0, 1], [0, 2, 3]), shape=(2, 3))
    repeated = sparse.csr_matrix(([1.0, 2.0, 3.0], [1, 1, 0], [0, 2, 3]), shape=(2, 3))
    for matrix in (unsorted, repeated):
        before = matrix.toarray()
        nnstd(matrix, matrix, null=0)
        assert_array_equal(matrix.toarray(), before)
        assert matrix.nnz == 3
    pre = np.array([2, 0, 1])
    nnstd((pre, np.array([0, 2, 3]), 3), unsorted, null=0)
    assert pre.tolist() == [2, 0, 1]


def test_all_pairs_at_once():
    nets = [wiring(20, 30, 0.2, 1), wiring(20, 30, 0.2, 2), wiring(25, 30, 0.2, 3)]
    found, null = distances(nets)
    assert_array_equal(found, found.T)
    assert_array_equal(np.diag(found), 0)
    assert np.isnan(np.diag(null)).all()
    for i, j in itertools.combinations(range(3), 2):
        assert found[i, j] == nnstd(nets[i], nets[j], null=0)
        assert abs(null[i, j] - found[i, j]) < 0.05


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([wiring(3, 4, 0.5, 0)], [wiring(3, 5, 0.5, 0)], "4 and 5 inputs; only nets on the same inputs"),
        ([wiring(3, 4, 0.5, 0)], [wiring(3, 4, 0.5, 0), wiring(2, 3, 0.5, 0)], "has 1 layers of connections, .* 2"),
        ([wiring(3, 4, 0.5, 0), wiring(5, 6, 0.5, 0)], [wiring(3, 4, 0.5, 0)] * 2, 'outputs and .* use rows="pre"'),
        ([wiring(0, 4, 0.5, 0)], [wiring(0, 4, 0.5, 0)], "layer 0 has 4 inputs and 0 outputs; give at least 1"),
    ],
)
def test_nets_that_do_not_compare(first, second, message):
    with pytest.raises(ValueError, match=message):
        nnstd(first, second)


def test_what_is_no_network(tmp_path):
    with pytest.raises(TypeError, match="a ndarray is no network; give a fitted estimator, a model"):
        nnstd(np.eye(3), np.eye(3))
    np.savez(tmp_path / "other.npz", a=np.eye(3))
    with pytest.raises(ValueError, match="holds no sparse matrix"):
        nnstd(tmp_path / "other.npz", tmp_path / "other.npz")
    with pytest.raises(ValueError, match="rows='in' is not possible"):
        nnstd(wiring(3, 3, 0.5, 0), wiring(3, 3, 0.5, 1), rows="in")
