"""States drawn from probabilities: how the literature makes binary data of grey pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparserbm.data.scaling import check_features
from sparserbm.data.sources import Source, SparseSource, chunks
from sparserbm.rng import Streams


def binarise(X: Any, seed: int = 0) -> Any:
    """Draw states 0 and 1, each 1 with the probability that `X` has there (Salakhutdinov and Murray 2008).

    The likelihood of an RBM with Bernoulli units is that of binary data. Published likelihoods of MNIST are of draws
    like these; two draws of one data set differ, so say the seed with the number.

    Parameters
    ----------
    X : (n_samples, n_features) of [0, 1]
        An array, or a sparse matrix of SciPy.
    seed : int
        The same seed and array give the same states. Draw training and test set with two seeds.

    Returns
    -------
    (n_samples, n_features) float32
        A CSR matrix where `X` is sparse.

    Raises
    ------
    ValueError
        If values lie outside [0, 1], or `X` is read from elsewhere as it is needed: draws could not be kept.
    """
    X = check_features(X)
    smallest, largest = float(X.min()), float(X.max())
    if smallest < 0 or largest > 1:
        raise ValueError(
            f"states are drawn with probabilities, but X has values from {smallest:.6g} to {largest:.6g}; scale it to "
            f'[0, 1] first (scale="unit")'
        )
    draws = Streams(seed).host("binarise")
    if isinstance(X, SparseSource):
        matrix = X.matrix.astype(np.float32)
        matrix.data = _drawn(draws, X.matrix.data)
        matrix.eliminate_zeros()
        return matrix
    if isinstance(X, Source):
        raise ValueError("data that are read when they are needed cannot keep draws; binarise an array in memory")
    states = np.empty(X.shape, dtype=np.float32)
    for rows, values in chunks(X):
        states[rows] = _drawn(draws, values)
    return states


def _drawn(draws: np.random.Generator, probability: np.ndarray) -> np.ndarray:
    return (draws.random(probability.shape) < probability).astype(np.float32)
