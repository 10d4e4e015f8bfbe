"""From raw values to what the visible units see: float32, with statistics of the training set only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sparserbm.backends import on_host

MODES = ("unit", "standard", "binary", "stochastic", "none")

# Values of one block. Blocks keep the float64 temporaries at 8 MB, in cache, however large the data set is.
_BLOCK = 1 << 20


def scale_features(X: np.ndarray, mode: str = "unit", reference: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Scale examples to float32.

    Parameters
    ----------
    X : (n_samples, n_features) bool, integer or float
        Finite raw values. Never changed, and never shared with the result.
    mode : {"unit", "standard", "binary", "stochastic", "none"}
        ``"unit"``: to [0, 1]. Values already within [0, 1] stay; uint8 is divided by 255; everything else is
        min-max scaled over all features together, so that the features keep their proportions.
        ``"standard"``: unit, then ``(x - mean) / std`` with one mean and one std over all values (for MNIST
        0.1307 and 0.3081). ``"binary"``: 1 where unit > 0.5, else 0. ``"stochastic"``: 1 with the probability
        unit, drawn once. ``"none"``: the values as they are.
    reference : (n_reference, n_features) array, optional
        The training set, where `X` is the test set: range, mean and std are taken from it, and values of `X`
        beyond its range are clipped. None: `X` is the training set.
    seed : int
        Of the stochastic draw. A test set (one with `reference`) has another stream of the same seed.

    Returns
    -------
    (n_samples, n_features) float32, C-order

    Raises
    ------
    ValueError
        If the mode is unknown, the values are not finite numbers, `X` is empty or not 2-D, the numbers of
        features differ, or all training values are equal where a range is needed.
    """
    check_mode(mode)
    X = check_features(X, "X")
    train = X if reference is None else check_features(reference, "reference")
    if train.shape[1] != X.shape[1]:
        raise ValueError(f"X has {X.shape[1]} features but the reference {train.shape[1]}; they must agree")
    if mode == "none":
        with np.errstate(over="ignore"):
            return check_features(np.array(X, dtype=np.float32, order="C"), "X as float32")
    low, high = _unit_range(train)
    mean, std = _moments(train, low, high) if mode == "standard" else (0.0, 1.0)
    stream = np.random.Philox(seed)
    draws = np.random.Generator(stream if reference is None else stream.jumped())
    scaled = np.empty(X.shape, dtype=np.float32)
    for rows in _blocks(X):
        unit = np.clip((X[rows].astype(np.float64) - low) / (high - low), 0.0, 1.0)
        if mode == "binary":
            scaled[rows] = unit > 0.5
        elif mode == "stochastic":
            scaled[rows] = draws.random(unit.shape) < unit
        else:
            scaled[rows] = (unit - mean) / std
    return scaled


def check_mode(mode: str) -> None:
    """Raise ValueError unless `mode` is a scaling mode."""
    if mode not in MODES:
        raise ValueError(f"unknown scale {mode!r}; known: {', '.join(MODES)}")


def check_features(X: Any, what: str = "X", n_features: int | None = None) -> np.ndarray:
    """Return `X` as an array if it can be trained on; errors call it `what`.

    Raises
    ------
    ValueError
        If `X` is not 2-D, is empty, is not numeric, has another number of features than `n_features` (where that
        is given), or holds NaN or infinite values.
    """
    X = np.asarray(on_host(X))
    if X.dtype.kind not in "buif":
        raise ValueError(f"{what} has dtype {X.dtype}; give a dense array of real numbers")
    if X.ndim != 2:
        raise ValueError(f"{what} has shape {X.shape}; reshape it to two dimensions, (n_samples, n_features)")
    if X.size == 0:
        raise ValueError(f"{what} is empty (shape {X.shape}); give at least one sample of one feature")
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"{what} has {X.shape[1]} features, but the model has {n_features} inputs")
    finite = np.isfinite(X) if X.dtype.kind == "f" else np.True_
    if not finite.all():
        row, column = np.unravel_index(np.argmin(finite), X.shape)
        raise ValueError(
            f"{what} holds {finite.size - np.count_nonzero(finite)} NaN or infinite values, the first "
            f"({X[row, column]}) at row {row}, column {column} (counted from 0); remove or fill them in first"
        )
    return X


def _unit_range(train: np.ndarray) -> tuple[float, float]:
    """The two values that become 0 and 1."""
    low, high = float(train.min()), float(train.max())
    # Asked before the dtype: binary data is often stored as uint8, and 1/255 would be a black picture.
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    if train.dtype == np.uint8:
        return 0.0, 255.0
    if low == high:
        raise ValueError(f"every training value is {low:g}, so there is no range to scale; use scale='none'")
    return low, high


def _moments(train: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Mean and standard deviation over all values of the unit-scaled training set."""
    mean = sum(float(train[rows].sum(dtype=np.float64)) for rows in _blocks(train)) / train.size
    squares = sum(float(np.square(train[rows].astype(np.float64) - mean).sum()) for rows in _blocks(train))
    std = (squares / train.size) ** 0.5
    if std == 0.0:
        raise ValueError(f"every training value is {mean:g}: their standard deviation is 0; use scale='none'")
    return (mean - low) / (high - low), std / (high - low)


def _blocks(X: np.ndarray) -> Iterator[slice]:
    height = max(1, _BLOCK // X.shape[1])
    return (slice(start, start + height) for start in range(0, len(X), height))
