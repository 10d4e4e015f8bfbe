"""How far two sparse topologies are apart, whatever their neurons are called: NNSTD.

Source: Liu, van der Lee, Yaman, Atashgahi, Ferraro, Sokar, Pechenizkiy and Mocanu (2020), "Topological insights into
sparse neural networks". Differences: layers of different width, and a null value beside every distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from sparserbm.topology.matrices import layers_of

DENSE_ASSIGNMENT = 512  # units; from there on the sparse matching is the faster one,
SPARSE_PAIRS = 0.5  # where at most this share of the pairs of neurons have an input in common
NULLS = 3  # pairs of random nets

# Costs and partners of the neurons of the first of two layers whose inputs have common names.
Pairing = Callable[[sparse.csr_matrix, sparse.csr_matrix], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class LayerDistance:
    """One layer of two networks, its neurons matched.

    Attributes
    ----------
    distance : float in [0, 1]
        Costs of the matched neurons and 1 for each that has no partner, over the larger number of neurons.
    null : float or None
        The same for two random wirings with these numbers of units and connections.
    match : (n_post,) int
        For each neuron of the first network its partner in the second one, -1 where that has none left. Partners that
        share no input, at a cost of 1, only give names to the next layer.
    cost : (n_post,) float
        Of each of these: the connections that only one of both has, over those that at least one has.
    """

    distance: float
    null: float | None
    match: np.ndarray
    cost: np.ndarray


class TopologyDistance(float):
    """The mean distance of the layers: a number of [0, 1], with what it is made of.

    Attributes
    ----------
    layers : dict of int to LayerDistance
        By number; without those in `excluded`.
    null : float or None
        Mean over these layers for random wirings with the same numbers of connections: below it, the topologies share
        more than chance gives them.
    excluded : tuple of str
        Layers that are full on both sides, where there is no topology to compare.
    """

    layers: dict[int, LayerDistance]
    null: float | None
    excluded: tuple[str, ...]

    def __new__(cls, layers: dict[int, LayerDistance], excluded: tuple[str, ...]) -> TopologyDistance:
        found = super().__new__(cls, np.mean([layer.distance for layer in layers.values()]))
        nulls = [layer.null for layer in layers.values() if layer.null is not None]
        found.layers, found.excluded = layers, excluded
        found.null = float(np.mean(nulls)) if nulls else None
        return found

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """For pickle and copies: floats know nothing of further arguments."""
        return TopologyDistance, (self.layers, self.excluded)

    def __repr__(self) -> str:
        null = "" if self.null is None else f", null {self.null:.4f}"
        left_out = f", without {', '.join(self.excluded)}" if self.excluded else ""
        return f"TopologyDistance({float(self):.4f}{null}{left_out})"


def nnstd(
    first: Any, second: Any, *, match: bool = True, null: int = NULLS, seed: int = 0, rows: str = "post"
) -> TopologyDistance:
    """Neural network sparse topology distance: 0 for one wiring under other names of neurons, 1 if nothing is shared.

    Parameters
    ----------
    first, second : network
        A fitted estimator, a model, a scipy.sparse matrix (one layer), a path to an .npz file of
        `scipy.sparse.save_npz`, a tuple ``(pre, indptr, n_pre)``, or a sequence of layers in these forms, the one at
        the input first. Explicit zeros are connections; biases take no part.
    match : bool
        Whether neurons may be renamed. False: neurons of one place are partners, as for two moments of one network or
        two networks of one origin. That sees smaller overlaps, as no pairs are found that are alike by chance.
    null : int
        Pairs of random wirings with the same units and connections whose mean distance is the `null`; 0: none.
    seed : int
        Of these wirings.
    rows : {"post", "pre"}
        What the rows of matrices are: of shape (n_post, n_pre) as everywhere here, or (n_pre, n_post).

    Returns
    -------
    TopologyDistance
        A float, with `layers`, `null` and `excluded`.

    Raises
    ------
    ValueError
        If both have different numbers of layers or inputs, no layer is sparse, or `null` is negative.

    Notes
    -----
    Neurons with the input sets A and B are at ``|A xor B| / |A or B|``, two without inputs at 0. The assignment with
    the smallest sum is found layer by layer from the input on, and the inputs of the next layer are renamed by it.
    Where one network has more neurons in a layer, those without a partner cost 1, and the sum is divided by the larger
    number; to the next layer they are inputs that the other network does not have. After a layer that is full in both,
    and says nothing of its neurons, names are taken as they are.

    The assignment is exact: `scipy.optimize.linear_sum_assignment` below 512 neurons; from there on, where at most half
    of the pairs share an input, `scipy.sparse.csgraph.min_weight_full_bipartite_matching` over those pairs, as all
    others cost as much as having no partner. Where several assignments are equally good, the one taken decides names in
    the next layer, so that its distance may come out somewhat too large.
    """
    nets = [layers_of(net, rows) for net in (first, second)]
    _check(*nets)
    if null < 0:
        raise ValueError(f"null={null} is not possible; give a number of pairs, or 0 for none")
    pair = _matched if match else _in_place
    generator = np.random.default_rng(seed)
    names: tuple[np.ndarray, np.ndarray] | None = None
    layers, excluded = {}, []
    for number, (a, b) in enumerate(zip(*nets)):
        if _full(a) and _full(b):
            excluded.append(f"layer {number} (full)")
            names = None
            continue
        costs, partners = pair(*_common(a, b, names))
        names = _names(partners, b.shape[0])
        layers[number] = LayerDistance(
            _mean_cost(costs, a.shape[0], b.shape[0]),
            _null(a, b, pair, null, generator) if null else None,
            partners,
            costs,
        )
    if not layers:
        raise ValueError("all layers are full: there is no topology to compare")
    return TopologyDistance(layers, tuple(excluded))


def distances(
    nets: Sequence[Any], *, match: bool = True, null: int = NULLS, seed: int = 0, rows: str = "post"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances between all pairs of networks, and their nulls.

    Parameters
    ----------
    nets : sequence of networks
        As in `nnstd`; the pair (i, j) with i < j gives both entries.
    match, null, seed, rows
        As in `nnstd`. Pairs with the same numbers of units and connections share one null.

    Returns
    -------
    distance, null : (n, n) float
        Symmetric, 0 on the diagonal of the first and NaN on that of the second.

    Raises
    ------
    ValueError
        As `nnstd`.
    """
    layers = [layers_of(net, rows) for net in nets]
    found, nulls = np.zeros((len(nets), len(nets))), np.full((len(nets), len(nets)), np.nan)
    known: dict[Any, float | None] = {}
    for i in range(len(nets)):
        for j in range(i + 1, len(nets)):
            sizes = tuple(sorted(tuple((*layer.shape, layer.nnz) for layer in net) for net in (layers[i], layers[j])))
            pair = nnstd(layers[i], layers[j], match=match, null=0 if sizes in known else null, seed=seed)
            known.setdefault(sizes, pair.null)
            found[i, j] = found[j, i] = pair
            value = known[sizes]
            nulls[i, j] = nulls[j, i] = np.nan if value is None else value
    return found, nulls


# -- layers ------------------------------------------------------------------------------------------------------------


def _check(first: list[Any], second: list[Any]) -> None:
    if len(first) != len(second):
        raise ValueError(f"one network has {len(first)} layers of connections, the other {len(second)}")
    inputs = first[0].shape[1], second[0].shape[1]
    if inputs[0] != inputs[1]:
        raise ValueError(f"the networks have {inputs[0]} and {inputs[1]} inputs; only nets on the same inputs compare")


def _full(matrix: sparse.csr_matrix) -> bool:
    return bool(matrix.nnz == matrix.shape[0] * matrix.shape[1])


# -- matching ----------------------------------------------------------------------------------------------------------


def _common(
    a: sparse.csr_matrix, b: sparse.csr_matrix, names: tuple[np.ndarray, np.ndarray] | None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Both with the inputs under common names; `names` are those of each side's inputs."""
    if names is None:
        width = max(a.shape[1], b.shape[1])
        names = np.arange(a.shape[1]), np.arange(b.shape[1])
    else:
        width = 1 + max(int(side.max()) for side in names)
    return tuple(  # type: ignore[return-value]
        sparse.csr_matrix((m.data, side[m.indices], m.indptr), shape=(m.shape[0], width))
        for m, side in zip((a, b), names)
    )


def _names(match: np.ndarray, n_other: int) -> tuple[np.ndarray, np.ndarray]:
    """Names of the neurons of both sides in the next layer: partners have the same one."""
    mine, theirs = np.arange(len(match)), np.full(n_other, -1)
    paired = match >= 0
    theirs[match[paired]] = mine[paired]
    alone = theirs < 0
    theirs[alone] = len(match) + np.arange(int(alone.sum()))
    return mine, theirs


def _matched(a: sparse.csr_matrix, b: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Costs of the neurons of `a` with their best partners in `b`, (n,), and those partners, -1 without one."""
    degrees = np.diff(a.indptr), np.diff(b.indptr)
    costs, match = np.ones(a.shape[0]), np.full(a.shape[0], -1)
    # Two neurons without inputs cost 0, and one with any other 1, like no partner at all: the first go together.
    empty = [np.flatnonzero(each == 0) for each in degrees]
    n_empty = min(map(len, empty))
    match[empty[0][:n_empty]], costs[empty[0][:n_empty]] = empty[1][:n_empty], 0.0
    shared = sparse.coo_matrix(a @ b.T)
    cost = 1.0 - shared.data / (degrees[0][shared.row] + degrees[1][shared.col] - shared.data)
    dense = min(a.shape[0], b.shape[0]) < DENSE_ASSIGNMENT or shared.nnz > SPARSE_PAIRS * a.shape[0] * b.shape[0]
    pairs = (_by_dense if dense else _by_sparse)(shared, cost)
    match[pairs[0]], costs[pairs[0]] = pairs[1], pairs[2]
    # Who is left has no partner that shares an input; names for the next layer are given in order.
    left, free = np.flatnonzero(match < 0), np.setdiff1d(np.arange(b.shape[0]), match)
    n_left = min(len(left), len(free))
    match[left[:n_left]] = free[:n_left]
    return costs, match


def _in_place(a: sparse.csr_matrix, b: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """The same with neurons of one place for partners."""
    n = min(a.shape[0], b.shape[0])
    partners = np.where(np.arange(a.shape[0]) < n, np.arange(a.shape[0]), -1)
    shared = np.asarray(a[:n].multiply(b[:n]).sum(axis=1)).ravel()
    either = np.diff(a.indptr)[:n] + np.diff(b.indptr)[:n] - shared
    costs = np.ones(a.shape[0])
    costs[:n] = np.where(either > 0, 1.0 - shared / np.maximum(either, 1), 0.0)
    return costs, partners


def _by_dense(shared: sparse.coo_matrix, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.ones(shared.shape)
    table[shared.row, shared.col] = cost
    row, column = linear_sum_assignment(table)
    found = table[row, column]
    paired = found < 1
    return row[paired], column[paired], found[paired]


def _by_sparse(shared: sparse.coo_matrix, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every row also has a column of its own at the cost 1, so that it may stay alone. Costs are shifted by 1: a stored
    0 would be taken for an absent pair."""
    n, m = shared.shape
    alone = np.arange(n)
    table = sparse.csr_matrix(
        (
            np.concatenate([1 + cost, np.full(n, 2.0)]),
            (np.concatenate([shared.row, alone]), np.concatenate([shared.col, m + alone])),
        ),
        shape=(n, m + n),
    )
    row, column = min_weight_full_bipartite_matching(table)
    order = np.argsort(row)
    row, column = row[order], column[order]
    paired = column < m
    found = np.asarray(table[row, column]).ravel()  # one for every row, so never none at all
    return row[paired], column[paired], found[paired] - 1


def _mean_cost(costs: np.ndarray, n: int, m: int) -> float:
    # Neurons of the first that have no partner cost 1 already; those of the second are added.
    return float((costs.sum() + max(m - n, 0)) / max(n, m))


def _null(
    a: sparse.csr_matrix, b: sparse.csr_matrix, pair: Pairing, draws: int, generator: np.random.Generator
) -> float:
    """Mean distance of pairs of random wirings with the units and connections of `a` and `b`."""
    found = []
    for _ in range(draws):
        costs, _ = pair(*_common(_random(a, generator), _random(b, generator), None))
        found.append(_mean_cost(costs, a.shape[0], b.shape[0]))
    return float(np.mean(found))


def _random(matrix: sparse.csr_matrix, generator: np.random.Generator) -> sparse.csr_matrix:
    n_post, n_pre = matrix.shape
    places = generator.choice(n_post * n_pre, matrix.nnz, replace=False, shuffle=False)
    post, pre = np.divmod(places, n_pre)
    return sparse.csr_matrix((np.ones(len(places)), (post, pre)), shape=matrix.shape)
