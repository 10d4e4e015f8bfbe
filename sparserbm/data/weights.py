"""Weights of samples: how often each of them counts."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from sparserbm.backends import on_host
from sparserbm.data.sources import Samples, take


def check_weights(given: Any, n_samples: int) -> np.ndarray | None:
    """Weights as (n_samples,) float64; None stays None.

    Raises
    ------
    ValueError
        If there is not one finite weight of at least 0 for each sample, or all are 0.
    """
    if given is None:
        return None
    weight = np.asarray(on_host(given))
    if weight.dtype.kind == "O":  # a list with None in it, a column of a table
        with contextlib.suppress(TypeError, ValueError):
            weight = weight.astype(np.float64)
    if weight.dtype.kind not in "buif" or weight.shape != (n_samples,):
        raise ValueError(
            f"sample_weight has {weight.dtype} {weight.shape}; give one number for each of the {n_samples} samples"
        )
    weight = weight.astype(np.float64)
    wrong = ~np.isfinite(weight) | (weight < 0)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"sample_weight holds {np.count_nonzero(wrong)} values that are negative, NaN or infinite, the first "
            f"({weight[first]}) at sample {first} (counted from 0); use 0 to leave a sample out"
        )
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number: every sample_weight is 0")
    return weight


def weighted(X: Samples, y: Any, given: Any) -> tuple[Any, Any, np.ndarray | None]:
    """The samples that count, with their targets and weights.

    A sample of weight 0 is left out, so that training is that without it. The others are divided by their mean: a sum
    over a mini-batch over its number of samples then is, on average, the weighted mean over all samples. Weights that
    are all the same are None.

    Returns
    -------
    X, y, weight
        `weight` (n_samples,) float64 with mean 1, or None.
    """
    weight = check_weights(given, len(X))
    if weight is None:
        return X, y, None
    kept = np.flatnonzero(weight)
    if len(kept) < len(weight):
        X, y, weight = take(X, kept), None if y is None else y[kept], weight[kept]
    weight = weight / weight.max()  # the sum of large numbers may be none
    return X, y, None if weight.min() == 1 else weight / weight.mean()
