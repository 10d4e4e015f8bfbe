"""Sparse networks as graphs: squares, path lengths and the giant component.

A layer is a bipartite graph, and so is a whole network: its layers alternate between the two sides. Directions and
weights do not count. There are no triangles, so that the usual clustering coefficient is 0; squares take their place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from sparserbm.topology.matrices import layers_of

WORDS = 16  # of 64 sources each, whose paths are followed at the same time,
HELD = 32_000_000  # but no more than so many words at all connections
BLOCK = 2_000_000  # pairs of units whose shared neighbours are held at the same time, about


# -- measures ----------------------------------------------------------------------------------------------------------


def squares(network: Any) -> int:
    """Cycles of four connections: two units that share two neighbours.

    Parameters
    ----------
    network : network
        An estimator, a model, a scipy.sparse matrix (n_post, n_pre), the tuple (pre, indptr, n_pre) of a layer, a path
        to an .npz file of `scipy.sparse.save_npz`, or a sequence of layers, the one at the input first. Explicit zeros
        are connections.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If this is no network.
    ValueError
        If it has no layer, or layers do not fit together.

    Notes
    -----
    The sum of ``c * (c - 1) / 2`` over pairs of units on one side with c common neighbours. Takes time in proportion to
    the sum of the squared degrees, on the side where that is smaller.
    """
    graph = _graph(network)
    by_column, by_row = (float(np.square(_degrees(graph, axis)).sum()) for axis in (0, 1))
    side = graph if by_column <= by_row else sparse.csr_matrix(graph.T)
    other, total = sparse.csr_matrix(side.T), 0.0
    step = max(1, int(BLOCK * side.shape[0] / max(min(by_column, by_row), 1.0)))
    for first in range(0, side.shape[0], step):
        shared = (side[first : first + step] @ other).data
        total += float((shared * (shared - 1)).sum())
    degrees = np.diff(side.indptr).astype(float)  # every unit shares all with itself
    return round((total - float((degrees * (degrees - 1)).sum())) / 4)


def square_clustering(network: Any) -> float:
    """Share of the paths of three connections that close to a square.

    ``4 * squares / paths of length 3``: the global coefficient of Robins and Alexander (2004), "Small worlds among
    interlocking directors", Computational and Mathematical Organization Theory 10, 69-94.

    Parameters
    ----------
    network : network
        As in `squares`.

    Returns
    -------
    float in [0, 1]
        1 for a full layer; NaN without a path of three connections. A random wiring has about its density.

    Raises
    ------
    TypeError, ValueError
        As `squares`.
    """
    graph = _graph(network).tocoo()
    # The connection in the middle of a path goes on at both of its ends.
    further = [_degrees(graph, axis)[units] - 1 for axis, units in ((1, graph.row), (0, graph.col))]
    paths = float(further[0] @ further[1])
    return 4 * squares(network) / paths if paths else math.nan


def giant_component(network: Any) -> int:
    """How many units the largest connected part has; those of all layers are counted, inputs included.

    Parameters
    ----------
    network : network
        As in `squares`.

    Returns
    -------
    int, at least 1

    Raises
    ------
    TypeError, ValueError
        As `squares`.
    """
    _, labels = connected_components(_adjacency(_graph(network)), directed=False)
    return int(np.bincount(labels).max())


@dataclass(frozen=True)
class PathLength:
    """The mean shortest path between the units of the largest connected part; `float()` gives the mean.

    Attributes
    ----------
    mean : float
        In connections; NaN where no two units are connected.
    standard_error : float
        For want of the other sources; 0 if paths were followed from all units.
    n_sources, n_units : int
        Units that paths were followed from, and those of the part.
    """

    mean: float
    standard_error: float
    n_sources: int
    n_units: int

    def __float__(self) -> float:
        return self.mean


def path_length(network: Any, *, sources: int = 2000, seed: int = 0) -> PathLength:
    """Mean number of connections on the shortest paths between units of the largest connected part.

    Parameters
    ----------
    network : network
        As in `squares`. Paths run through connections in both directions and between units of all layers.
    sources : int, at least 2
        From so many units paths are followed: all of them, and exactly, where the part has no more; else a sample.
    seed : int
        Of the sample.

    Returns
    -------
    PathLength

    Raises
    ------
    TypeError, ValueError
        As `squares`, and with fewer than two sources.

    Notes
    -----
    Breadth first from up to 1,024 units at a time, one bit each.
    """
    if sources < 2:
        raise ValueError(f"sources={sources} gives no standard error; use at least 2")
    adjacency = _adjacency(_graph(network))
    _, labels = connected_components(adjacency, directed=False)
    units = np.flatnonzero(labels == np.argmax(np.bincount(labels)))
    n = len(units)
    if n < 2:
        return PathLength(math.nan, 0.0, n, n)
    part = adjacency[units][:, units]
    chosen = np.arange(n) if n <= sources else np.random.default_rng(seed).choice(n, sources, replace=False)
    together = 64 * min(max(HELD // part.nnz, 1), WORDS)
    means = np.concatenate([_depths(part, some) for some in np.array_split(chosen, -(-len(chosen) // together))])
    means /= n - 1
    error = 0.0 if len(chosen) == n else math.sqrt(float(means.var(ddof=1)) / len(chosen) * (1 - len(chosen) / n))
    return PathLength(float(means.mean()), error, len(chosen), n)


def _depths(part: sparse.csr_matrix, sources: np.ndarray) -> np.ndarray:
    """Sum of the distances of each source to all units of a connected graph, (n_sources,)."""
    n, words = part.shape[0], -(-len(sources) // 64)
    reached = np.zeros((n, words * 8), dtype=np.uint8)
    place = np.arange(len(sources))
    reached[sources, place // 8] = 1 << (place % 8).astype(np.uint8)
    bits = reached.view(np.uint64)
    total = np.zeros(len(sources))
    while True:
        missing = n - _per_source(reached, len(sources))  # units further away than the present distance
        if not missing.any():
            return total
        total += missing
        bits |= np.bitwise_or.reduceat(bits[part.indices], part.indptr[:-1], axis=0)


def _per_source(reached: np.ndarray, n_sources: int) -> np.ndarray:
    return np.unpackbits(reached, axis=1, bitorder="little").sum(axis=0, dtype=np.int64)[:n_sources].astype(float)


# -- networks as graphs ------------------------------------------------------------------------------------------------


def _graph(network: Any) -> sparse.csr_matrix:
    """One 0/1 matrix for all layers: rows are the units of levels 1, 3, ... and columns those of 0, 2, ..."""
    layers = layers_of(network)
    if len(layers) == 1:
        return layers[0]
    blocks = [[None] * (len(layers) // 2 + 1) for _ in range((len(layers) + 1) // 2)]
    for number, layer in enumerate(layers):  # layer k is between the levels k and k + 1
        blocks[number // 2][(number + 1) // 2] = layer if number % 2 == 0 else layer.T
    return sparse.csr_matrix(sparse.bmat(blocks))


def _adjacency(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    """(n_units, n_units), symmetric: rows of the graph first, then its columns."""
    return sparse.csr_matrix(sparse.bmat([[None, graph], [graph.T, None]]))


def _degrees(graph: sparse.csr_matrix, axis: int) -> np.ndarray:
    """Connections of the columns (axis 0) or rows (axis 1), float."""
    return np.asarray(graph.sum(axis=axis), dtype=float).ravel()
