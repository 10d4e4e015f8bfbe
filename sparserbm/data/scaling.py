"""From raw values to what the visible units see: float32, with statistics of the training set only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.data.sources import ReadSource, Samples, Source, SparseSource, as_samples

MODES = ("unit", "standard", "binary", "stochastic", "none")

# Values of one block. Blocks keep the float64 temporaries at 8 MB, in cache, however large the data set is.
_BLOCK = 1 << 20


def scale_features(X: Any, mode: str = "unit", reference: Any = None, seed: int = 0) -> Any:
    """Scale examples to float32.

    Parameters
    ----------
    X : (n_samples, n_features) bool, integer or float
        Finite raw values: an array, a sparse matrix of SciPy or a `BatchSource`. Never changed, and never shared with
        the result.
    mode : {"unit", "standard", "binary", "stochastic", "none"}
        ``"unit"``: to [0, 1]. Values already within [0, 1] stay; uint8 is divided by 255; everything else is
        min-max scaled over all features together, so that the features keep their proportions.
        ``"standard"``: unit, then ``(x - mean) / std`` with one mean and one std over all values (for MNIST
        0.1307 and 0.3081). ``"binary"``: 1 where unit > 0.5, else 0. ``"stochastic"``: 1 with the probability
        unit, drawn once. ``"none"``: the values as they are.
    reference : as `X`, optional
        The training set, where `X` is the test set: range, mean and std are taken from it, and values of `X`
        beyond its range are clipped. None: `X` is the training set.
    seed : int
        Of the stochastic draw. A test set (one with `reference`) has another stream of the same seed.

    Returns
    -------
    (n_samples, n_features) float32
        C-order; a CSR matrix for a sparse `X`; for a source, one that scales what is read.

    Raises
    ------
    ValueError
        If the mode is unknown, the values are not finite numbers, `X` is empty or not 2-D, the numbers of
        features differ, or all training values are equal where a range is needed; if zeros of a sparse matrix would
        not stay zeros, or draws would have to be kept for data that are not held in memory.
    """
    check_mode(mode)
    is_array = isinstance(X, np.ndarray)  # the result of one is in memory, also for a memory map
    X = check_features(X, "X")
    train = X if reference is None else check_features(reference, "reference")
    if train.shape[1] != X.shape[1]:
        raise ValueError(f"X has {X.shape[1]} features but the reference {train.shape[1]}; they must agree")
    stream = np.random.Philox(seed)
    scaling = _Scaling(mode)
    if mode != "none":
        low, high = _unit_range(train)
        moments = _moments(train, low, high) if mode == "standard" else (0.0, 1.0)
        draws = np.random.Generator(stream if reference is None else stream.jumped())
        scaling = _Scaling(mode, low, high, *moments, draws)
    if isinstance(X, SparseSource):
        return _scaled_entries(X, scaling)
    if isinstance(X, ReadSource) and not is_array:
        if mode == "stochastic":
            raise ValueError(
                "scale='stochastic' draws once, and data read when they are needed keep no draws; use unit"
            )
        return X.changed(scaling)
    scaled = np.empty(X.shape, dtype=np.float32)
    for rows in _blocks(X):
        scaled[rows] = scaling(X[rows])
    return check_features(scaled, "X as float32") if mode == "none" else scaled


@dataclass(frozen=True)
class _Scaling:
    """What `scale_features` does to values, of any shape."""

    mode: str
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    draws: Any = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self.mode == "none":
            with np.errstate(over="ignore"):  # what is too large is found to be infinite
                return values.astype(np.float32)
        unit: Any = np.clip((values.astype(np.float64) - self.low) / (self.high - self.low), 0.0, 1.0)
        if self.mode == "binary":
            unit = unit > 0.5
        elif self.mode == "stochastic":
            unit = self.draws.random(unit.shape) < unit
        else:
            unit = (unit - self.mean) / self.std
        return unit.astype(np.float32)


def _scaled_entries(X: SparseSource, scaling: _Scaling) -> Any:
    """A CSR matrix of the scaled entries of a sparse one, whose zeros have to stay zeros."""
    if scaling.mode == "standard" or scaling.low != 0:
        raise ValueError(
            f"scale={scaling.mode!r} would make other numbers of the zeros of a sparse matrix (its values begin at "
            f"{X.min():g}); use scale='none', or give it as an array: X.toarray()"
        )
    entries = scaling(X.matrix.data), X.matrix.indices.copy(), X.matrix.indptr.copy()
    matrix = type(X.matrix)(entries, shape=X.shape)
    matrix.eliminate_zeros()
    check_features(matrix, "X as float32")
    return matrix


def check_mode(mode: str) -> None:
    """Raise ValueError unless `mode` is a scaling mode."""
    if mode not in MODES:
        raise ValueError(f"unknown scale {mode!r}; known: {', '.join(MODES)}")


def check_features(X: Any, what: str = "X", n_features: int | None = None, missing: bool = False) -> Any:
    """Return `X` as an array, or as a `Source`, if it can be trained on; errors call it `what`.

    With `missing`, NaN may stand for values that are missing.

    Raises
    ------
    ValueError
        If `X` is not 2-D, is empty, is not numeric, has another number of features than `n_features` (where that
        is given), or holds NaN or infinite values.
    """
    X = as_samples(X)
    if X.dtype.kind not in "buif":
        raise ValueError(f"{what} has dtype {X.dtype}; give a dense array of real numbers")
    if X.ndim != 2:
        raise ValueError(f"{what} has shape {X.shape}; reshape it to two dimensions, (n_samples, n_features)")
    if X.size == 0:
        raise ValueError(f"{what} is empty (shape {X.shape}); give at least one sample of one feature")
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"{what} has {X.shape[1]} features, but the model has {n_features} inputs")
    if isinstance(X, Source):
        found = X.survey
        if missing and found.first_infinite is not None:
            raise _not_finite(what, found.n_bad - found.n_missing, found.first_infinite, "infinite")
        if not missing and found.first_bad is not None:
            raise _not_finite(what, found.n_bad, found.first_bad)
        return X
    finite = np.isfinite(X) if X.dtype.kind == "f" else np.True_
    if missing and not finite.all():
        infinite = np.isinf(X)
        if infinite.any():
            row, column = np.unravel_index(np.argmax(infinite), X.shape)
            first = int(row), int(column), X[row, column]
            raise _not_finite(what, int(np.count_nonzero(infinite)), first, "infinite")
    elif not finite.all():
        row, column = np.unravel_index(np.argmin(finite), X.shape)
        raise _not_finite(what, int(finite.size - np.count_nonzero(finite)), (int(row), int(column), X[row, column]))
    return X


def _not_finite(what: str, count: int, first: tuple[int, int, float], kind: str = "NaN or infinite") -> ValueError:
    row, column, value = first
    return ValueError(
        f"{what} holds {count} {kind} values, the first ({value}) at row {row}, column {column} (counted "
        f"from 0); remove or fill them in first"
    )


def _unit_range(train: Samples) -> tuple[float, float]:
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


def _moments(train: Samples, low: float, high: float) -> tuple[float, float]:
    """Mean and standard deviation over all values of the unit-scaled training set."""
    mean = sum(float(train[rows].sum(dtype=np.float64)) for rows in _blocks(train)) / train.size
    squares = sum(float(np.square(train[rows].astype(np.float64) - mean).sum()) for rows in _blocks(train))
    std = (squares / train.size) ** 0.5
    if std == 0.0:
        raise ValueError(f"every training value is {mean:g}: their standard deviation is 0; use scale='none'")
    return (mean - low) / (high - low), std / (high - low)


def _blocks(X: Samples) -> Iterator[slice]:
    height = max(1, _BLOCK // X.shape[1])
    return (slice(start, start + height) for start in range(0, len(X), height))
