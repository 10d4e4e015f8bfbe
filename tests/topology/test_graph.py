"""Squares, paths and components against brute force, and random wirings against all there are."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import sparserbm as sr
from sparserbm.topology.graph import PathLength, giant_component, path_length, square_clustering, squares
from sparserbm.topology.random_wirings import against_null, random_wiring


def wiring(n_post, n_pre, density, seed):
    return sparse.csr_matrix((np.random.default_rng(seed).random((n_post, n_pre)) < density).astype(float))


def adjacency(layers):
    """(n_units, n_units) bool of the whole network, level after level."""
    sizes = [layers[0].shape[1], *(layer.shape[0] for layer in layers)]
    found = np.zeros((sum(sizes), sum(sizes)), dtype=bool)
    start = np.cumsum([0, *sizes])
    for level, layer in enumerate(layers):
        found[start[level + 1] : start[level + 2], start[level] : start[level + 1]] = layer.toarray() != 0
    return found | found.T


def squares_by_hand(graph):
    """Over all four units and the three ways to go round them."""
    found = 0
    for a, b, c, d in itertools.combinations(range(len(graph)), 4):
        for p, q, r, s in ((a, b, c, d), (a, b, d, c), (a, c, b, d)):
            found += graph[p, q] and graph[q, r] and graph[r, s] and graph[s, p]
    return found


def paths_of_three(graph):
    """Each counted once, ends in either order."""
    n = range(len(graph))
    steps = (
        graph[a, b] and graph[b, c] and graph[c, d]
        for a, b, c, d in itertools.product(n, n, n, n)
        if len({a, b, c, d}) == 4
    )
    return sum(map(int, steps)) // 2


def distances_by_hand(graph):
    """All pairs, infinite between parts (Floyd and Warshall)."""
    found = np.where(graph, 1.0, np.inf)
    np.fill_diagonal(found, 0)
    for k in range(len(graph)):
        found = np.minimum(found, found[:, [k]] + found[[k]])
    return found


NETWORKS = {
    "one layer": [(5, 6, 0.4)],
    "wide": [(3, 8, 0.5)],
    "two layers": [(4, 3, 0.6), (4, 4, 0.5)],
    "three layers": [(3, 4, 0.6), (4, 3, 0.5), (2, 4, 0.9)],
    "sparse": [(6, 6, 0.15)],
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shapes", NETWORKS.values(), ids=NETWORKS)
def test_measures_are_those_of_brute_force(shapes, seed):
    layers = [wiring(*shape, 10 * seed + number) for number, shape in enumerate(shapes)]
    graph = adjacency(layers)
    assert squares(layers) == squares_by_hand(graph)
    paths = paths_of_three(graph)
    assert_allclose(square_clustering(layers), 4 * squares_by_hand(graph) / paths if paths else np.nan)
    apart = distances_by_hand(graph)
    sizes = np.isfinite(apart).sum(axis=1)
    assert giant_component(layers) == sizes.max()
    largest = [np.flatnonzero(np.isfinite(apart[unit])) for unit in np.flatnonzero(sizes == sizes.max())]
    means = [apart[np.ix_(part, part)].sum() / (len(part) * (len(part) - 1)) for part in largest if len(part) > 1]
    found = path_length(layers)
    assert found.standard_error == 0
    assert any(math.isclose(found.mean, mean) for mean in means) or not means


def test_known_graphs():
    ring = sparse.csr_matrix([[1, 1, 0], [0, 1, 1], [1, 0, 1]])  # six units in a circle
    assert squares(ring) == 0
    assert square_clustering(ring) == 0
    assert float(path_length(ring)) == (1 + 1 + 2 + 2 + 3) / 5
    full = sparse.csr_matrix(np.ones((4, 3)))
    assert squares(full) == 6 * 3  # pairs of post units times pairs of pre units
    assert square_clustering(full) == 1
    star = sparse.csr_matrix(np.ones((1, 4)))
    assert math.isnan(square_clustering(star))
    assert_allclose(path_length(star).mean, (4 * 1 + 4 * (1 + 3 * 2)) / 20)
    empty = sparse.csr_matrix((3, 2))
    assert (squares(empty), giant_component(empty)) == (0, 1)
    assert math.isnan(path_length(empty).mean)


def test_a_random_wiring_clusters_as_its_density():
    layer = wiring(300, 400, 0.05, 0)
    assert_allclose(square_clustering(layer), 0.05, rtol=0.05)


def test_squares_in_parts(monkeypatch):
    from sparserbm.topology import graph

    layer = wiring(60, 40, 0.3, 1)
    whole = squares(layer)
    monkeypatch.setattr(graph, "BLOCK", 500)
    assert squares(layer) == squares(sparse.csr_matrix(layer.T)) == whole


def test_paths_from_some_units():
    layer = wiring(150, 120, 0.03, 2)
    exact = path_length(layer)
    assert exact.n_sources == exact.n_units
    found = [path_length(layer, sources=60, seed=seed) for seed in range(100)]
    assert {each.n_sources for each in found} == {60}
    off = np.array([(each.mean - exact.mean) / each.standard_error for each in found])
    assert abs(off.mean()) < 0.35  # three standard errors and a little
    assert 0.8 < off.std() < 1.25
    assert path_length(layer, sources=60, seed=3) == found[3]


def test_many_sources_go_in_turns(monkeypatch):
    from sparserbm.topology import graph

    layer = wiring(100, 90, 0.05, 3)
    whole = path_length(layer)
    monkeypatch.setattr(graph, "HELD", 1)
    assert_allclose(path_length(layer).mean, whole.mean, rtol=1e-12)


def test_every_way_to_give_a_network(tmp_path):
    layers = [wiring(8, 12, 0.4, 0), wiring(5, 8, 0.5, 1)]
    expected = square_clustering(layers)
    triples = [(layer.indices, layer.indptr, layer.shape[1]) for layer in layers]
    assert square_clustering(triples) == expected
    assert square_clustering([layers[0], triples[1]]) == expected
    sparse.save_npz(tmp_path / "0.npz", layers[0])
    assert square_clustering((tmp_path / "0.npz", layers[1])) == expected
    assert square_clustering(triples[0]) == square_clustering(layers[0])
    rbm = sr.RBM(sr.Bernoulli(12), sr.Bernoulli(9), wiring=sr.ErdosRenyi(epsilon=2), seed=0)
    pattern = rbm.connections[0].pattern
    assert squares(rbm) == squares((pattern.pre, pattern.indptr, 12))
    zero = layers[0].copy()
    zero.data[:] = 0
    assert squares(zero) == squares(layers[0])  # a weight of 0 is a connection


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ([wiring(4, 5, 0.5, 0), wiring(4, 5, 0.5, 0)], "4 outputs and layer 1 5 inputs"),
        ([], "without layers"),
        ((np.array([0, 7]), np.array([0, 1, 2]), 5), "are no layer"),
        ((np.array([0, 1]), np.array([0, 1]), 5), "are no layer"),
    ],
)
def test_what_is_no_network(network, message):
    with pytest.raises(ValueError, match=message):
        squares(network)


# -- random wirings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(30, 50, 0.2), (50, 31, 0.2), (7, 9, 0.8), (1, 6, 0.5), (2, 40, 0.5), (5, 5, 0.0), (4, 6, 1.0)]
)
def test_degrees_stay(shape):
    for seed in range(5):
        layer = wiring(*shape, seed)
        found = random_wiring(layer, seed=seed)
        assert found.shape == layer.shape
        assert_array_equal(found.data, np.ones(layer.nnz))
        assert found.has_canonical_format  # no place twice
        for axis in (0, 1):
            assert_array_equal(found.sum(axis=axis), layer.sum(axis=axis))
    assert (random_wiring(layer, seed=1) != random_wiring(layer, seed=1)).nnz == 0


def test_what_was_there_is_forgotten():
    """Blocks of units that share nothing: 20 rounds leave no more of them than 100 do."""
    blocks = sparse.csr_matrix(sparse.block_diag([wiring(20, 30, 0.4, seed) for seed in range(5)]))

    def kept(rounds, seeds):
        found = [random_wiring(blocks, rounds=rounds, seed=seed) for seed in seeds]
        return np.mean([each.multiply(blocks).sum() / blocks.nnz for each in found])

    assert abs(kept(20, range(30)) - kept(100, range(30, 60))) < 0.006
    assert kept(2, range(5)) > 0.2


def all_wirings(rows, columns):
    """Every 0/1 matrix with these degrees, as bytes."""
    choices = [list(itertools.combinations(range(len(columns)), degree)) for degree in rows]
    for chosen in itertools.product(*choices):
        table = np.zeros((len(rows), len(columns)), dtype=np.int8)
        for row, places in enumerate(chosen):
            table[row, list(places)] = 1
        if (table.sum(axis=0) == columns).all():
            yield table.tobytes()


def chi_square_of_draws(rows, columns, draws, rounds):
    """Deviation from equal frequencies in standard deviations of chi-square."""
    index = {table: number for number, table in enumerate(all_wirings(rows, columns))}
    start = np.frombuffer(next(iter(index)), dtype=np.int8).reshape(len(rows), len(columns))
    counts = np.zeros(len(index))
    for seed in range(draws):
        found = random_wiring(sparse.csr_matrix(start), rounds=rounds, seed=seed)
        counts[index[found.toarray().astype(np.int8).tobytes()]] += 1
    expected, freedom = draws / len(index), len(index) - 1
    return (((counts - expected) ** 2).sum() / expected - freedom) / math.sqrt(2 * freedom)


def test_all_wirings_of_a_tiny_layer_are_equally_likely():
    assert len(list(all_wirings((1, 2, 3), (1, 2, 3)))) == 1
    assert len(list(all_wirings((2, 1, 1), (1, 1, 1, 1)))) == 12
    assert abs(chi_square_of_draws((2, 1, 1), (1, 1, 1, 1), 600, 6)) < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "columns", "many"),
    [((3, 2, 1, 1), (2, 2, 1, 1, 1), 68), ((2, 2, 2, 1, 1), (3, 2, 2, 1), 117), ((2, 2, 2), (2, 2, 1, 1), 15)],
)
def test_all_wirings_with_the_same_degrees_are_equally_likely(rows, columns, many):
    assert len(list(all_wirings(rows, columns))) == many
    assert abs(chi_square_of_draws(rows, columns, 6000, 20)) < 3.5


def test_against_null_finds_clusters_and_nothing_else():
    blocks = sparse.csr_matrix(sparse.block_diag([wiring(20, 20, 0.4, seed) for seed in range(5)]))
    found = against_null(square_clustering, blocks)
    assert found.value == square_clustering(blocks)
    assert found.z > 20
    assert found.p == 1 / 21
    assert len(found.null) == 20
    assert found.mean == found.null.mean()
    assert against_null(path_length, [blocks, wiring(30, 100, 0.05, 9)], n_wirings=5).z > 0
    assert "z +" in str(found)
    again = against_null(square_clustering, blocks)
    assert_array_equal(found.null, again.null)


def test_where_nothing_can_change():
    found = against_null(squares, sparse.csr_matrix(np.ones((3, 4))), n_wirings=4)
    assert (found.value, found.mean, found.sd, found.z, found.p) == (18, 18, 0, 0, 1)
    star = against_null(square_clustering, sparse.csr_matrix(np.ones((1, 4))), n_wirings=4)
    assert math.isnan(star.value)
    assert math.isnan(star.p)
    assert math.isnan(star.z)
    tenth = against_null(lambda layers: 0.1, sparse.csr_matrix(np.ones((3, 4))), n_wirings=7)
    assert (tenth.z, tenth.p) == (0, 1)  # though the mean of seven tenths is not a tenth
    assert float(PathLength(2.5, 0, 1, 1)) == 2.5


@pytest.mark.slow
def test_p_values_of_random_wirings_are_uniform():
    """Also after one round only: the network and its null are exchangeable."""
    p = [against_null(squares, wiring(12, 15, 0.3, seed), n_wirings=9, rounds=1, seed=seed).p for seed in range(150)]
    share = np.array([np.mean(np.array(p) <= limit) for limit in (0.1, 0.3, 0.5, 0.8)])
    assert np.all(np.abs(share - [0.1, 0.3, 0.5, 0.8]) < 0.11)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: random_wiring(layer, rounds=0), "rounds=0"),
        (lambda layer: random_wiring([layer, layer.T]), "2 layers"),
        (lambda layer: against_null(squares, layer, n_wirings=1), "n_wirings=1"),
        (lambda layer: path_length(layer, sources=1), "sources=1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(wiring(5, 6, 0.5, 0))
