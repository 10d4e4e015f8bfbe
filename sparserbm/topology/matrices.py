"""Networks of every kind as 0/1 matrices, one for each layer."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from scipy import sparse


def layers_of(network: Any, rows: str = "post") -> list[sparse.csr_matrix]:
    """0/1 matrices of shape (n_post, n_pre), the layer at the input first; explicit zeros are connections.

    Parameters
    ----------
    network : network
        A fitted estimator, a model, a scipy.sparse matrix, a path to an .npz file of `scipy.sparse.save_npz`, a tuple
        ``(pre, indptr, n_pre)``, or a sequence of layers in these forms.
    rows : {"post", "pre"}
        What the rows of matrices are: of shape (n_post, n_pre) as everywhere here, or (n_pre, n_post).

    Raises
    ------
    TypeError
        If this is no network.
    ValueError
        If it has no layer, or layers do not fit together.
    """
    if rows not in ("post", "pre"):
        raise ValueError(f"rows={rows!r} is not possible; use post or pre")
    network = getattr(network, "model_", network)
    if hasattr(network, "connections"):
        patterns = [layer.pattern for layer in network.connections]
        return [_of_arrays(pattern.pre, pattern.indptr, pattern.n_pre) for pattern in patterns]
    parts = network if isinstance(network, (list, tuple)) and not _is_arrays(network) else [network]
    found = [_of_arrays(*part) if _is_arrays(part) else _read(part, rows) for part in parts]
    if not found:
        raise ValueError("a network without layers is given; give at least one")
    for number, layer in enumerate(found):
        if 0 in layer.shape:
            raise ValueError(
                f"layer {number} has {layer.shape[1]} inputs and {layer.shape[0]} outputs; give at least 1"
            )
    for number, (below, above) in enumerate(zip(found, found[1:])):
        if below.shape[0] != above.shape[1]:
            raise ValueError(
                f"layer {number} has {below.shape[0]} outputs and layer {number + 1} {above.shape[1]} inputs; "
                f'matrices are (n_post, n_pre), use rows="pre" for (n_pre, n_post)'
            )
    return found


def _is_arrays(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 3 and isinstance(given[2], (int, np.integer))


def _of_arrays(pre: np.ndarray, indptr: np.ndarray, n_pre: int) -> sparse.csr_matrix:
    pre, indptr = np.asarray(pre), np.asarray(indptr)
    if len(indptr) < 2 or indptr[-1] != len(pre) or (len(pre) and not 0 <= pre.min() <= pre.max() < n_pre):
        raise ValueError(
            f"{len(pre)} connections, an indptr of {len(indptr)} entries and n_pre={n_pre} are no layer; give pre "
            f"in [0, n_pre) and indptr (n_post + 1,) that ends with the number of connections"
        )
    return _incidence(sparse.csr_matrix((np.ones(len(pre)), pre, indptr), shape=(len(indptr) - 1, int(n_pre))))


def _read(given: Any, rows: str) -> sparse.csr_matrix:
    if isinstance(given, (str, os.PathLike)):
        try:
            given = sparse.load_npz(given)
        except ValueError as error:
            raise ValueError(f"{given} holds no sparse matrix ({error}); write it with scipy.sparse.save_npz") from None
    if not sparse.issparse(given):
        raise TypeError(
            f"a {type(given).__name__} is no network; give a fitted estimator, a model, scipy.sparse matrices, or "
            f"paths of their .npz files"
        )
    return _incidence(sparse.csr_matrix(given if rows == "post" else given.T))


def _incidence(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    # Summing duplicates sorts in place: never the arrays of whoever asks.
    given = (np.ones(matrix.nnz), matrix.indices, matrix.indptr)
    found = sparse.csr_matrix(given, shape=matrix.shape, copy=not matrix.has_canonical_format)
    found.sum_duplicates()
    found.data[:] = 1
    return found
