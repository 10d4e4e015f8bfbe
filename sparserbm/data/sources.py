"""Samples that are not one array in memory: sparse matrices, memory maps, and sources of a user's own."""

from __future__ import annotations

import functools
import hashlib
import mmap
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sparserbm.backends import Backend, on_host

CHUNK = 1 << 20  # values at a time in a pass over all samples: 8 MB of float64, in cache


@runtime_checkable
class BatchSource(Protocol):
    """What training asks of data that it does not hold: write a class with these three for data of any kind.

    Training reads one mini-batch at a time, and goes through all samples a few times before the first one (are they
    finite, their mean, their checksum). The same samples must have the same values whenever they are asked for.

    Examples
    --------
    >>> class Pixels:  # a data set of h5py, which wants increasing rows as well
    ...     def __init__(self, stored):
    ...         self.stored, self.n_features = stored, stored.shape[1]
    ...
    ...     def __len__(self):
    ...         return len(self.stored)
    ...
    ...     def rows(self, index):
    ...         return self.stored[index]
    """

    @property
    def n_features(self) -> int:
        """Features of a sample."""

    def __len__(self) -> int:
        """Number of samples."""

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Samples by their numbers.

        Parameters
        ----------
        index : (n,) int64
            Increasing, from 0, each at most once.

        Returns
        -------
        (n, n_features) of real numbers
        """


class Survey(NamedTuple):
    """What one pass over all values finds."""

    smallest: float
    largest: float
    n_bad: int  # NaN or infinite
    first_bad: tuple[int, int, float] | None  # row, column, value
    n_missing: int = 0  # NaN
    first_infinite: tuple[int, int, float] | None = None


class Source(ABC):
    """Samples that are made dense a few at a time; it has the attributes of an array that training asks for.

    Attributes
    ----------
    shape : (n_samples, n_features)
    dtype : numpy dtype
    nbytes : int
        What is held in memory.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    nbytes: int = 0
    ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def n_features(self) -> int:
        return self.shape[1]

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    @abstractmethod
    def rows(self, index: np.ndarray) -> np.ndarray:
        """As in `BatchSource`."""

    @abstractmethod
    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> Source:
        """The same samples, each block of them as `change` makes it when it is read."""

    @abstractmethod
    def take(self, index: np.ndarray) -> Source:
        """Some of the samples, each at most once, in any order."""

    def _stored_at(self, index: np.ndarray) -> np.ndarray:
        """Where these samples are; those at increasing places are read together."""
        return index

    def put(self, backend: Backend, index: np.ndarray, out: Any) -> Any:
        """Write the samples `index`, in any order, into `out`, (n_features, n_samples) on the device."""
        order = np.argsort(self._stored_at(index))
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        return backend.gather(backend.asarray(self.rows(index[order])), backend.asarray(places), out)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.rows(np.arange(*part.indices(len(self))))

    @functools.cached_property
    def survey(self) -> Survey:
        smallest, largest, n_bad, first = np.inf, -np.inf, 0, None
        n_missing, first_infinite = 0, None
        for part, values in chunks(self):
            finite = np.isfinite(values) if values.dtype.kind == "f" else np.True_
            if not finite.all():
                infinite = np.isinf(values)
                first = first or _first(part, values, np.logical_not(finite))
                first_infinite = first_infinite or (_first(part, values, infinite) if infinite.any() else None)
                n_bad += finite.size - int(np.count_nonzero(finite))
                n_missing += int(np.count_nonzero(np.isnan(values)))
                values = values[finite]
            if values.size:
                smallest, largest = min(smallest, float(values.min())), max(largest, float(values.max()))
        return Survey(smallest, largest, n_bad, first, n_missing, first_infinite)

    def min(self) -> float:
        return self.survey.smallest

    def max(self) -> float:
        return self.survey.largest

    def add_to(self, digest: Any) -> None:
        """Add shape, dtype and values to a checksum, as for an array in memory with the same values."""
        digest.update(f"{self.dtype.newbyteorder('<').str}{self.shape};".encode())
        for _, values in chunks(self):
            digest.update(np.ascontiguousarray(values, self.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data)


class ReadSource(Source):
    """Samples that are read where they are whenever they are asked for: a memory map, or a source of a user's own.

    Parameters
    ----------
    read : callable
        Gives rows by increasing numbers, as `BatchSource.rows`.
    n_samples, n_features : int
    chosen : (n_chosen,) int, optional
        Only these samples count, in this order.
    change : callable, optional
        Applied to every block of rows: scaling.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Any],
        n_samples: int,
        n_features: int,
        chosen: np.ndarray | None = None,
        change: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self._read, self._chosen, self._change = read, chosen, change
        self._n_all = int(n_samples)
        self.shape = self._n_all if chosen is None else len(chosen), int(n_features)
        # An empty source has no rows to ask for; it is refused for being empty.
        self.dtype = self.rows(np.arange(1)).dtype if self.size else np.dtype(float)

    def _stored_at(self, index: np.ndarray) -> np.ndarray:
        return index if self._chosen is None else self._chosen[index]

    def rows(self, index: np.ndarray) -> np.ndarray:
        index = self._stored_at(np.asarray(index))
        if (index[1:] <= index[:-1]).any():
            order = np.argsort(index)
            return self._block(index[order])[np.argsort(order)]
        return self._block(index)

    def _block(self, index: np.ndarray) -> np.ndarray:
        block = np.asarray(on_host(self._read(index)))
        if block.shape != (len(index), self.n_features) or block.dtype.kind not in "buif":
            raise ValueError(
                f"rows(index) of X gave {block.dtype} {block.shape} for {len(index)} samples; it must give real "
                f"numbers, ({len(index)}, {self.n_features})"
            )
        return block if self._change is None else self._change(block)

    def take(self, index: np.ndarray) -> ReadSource:
        chosen = index if self._chosen is None else self._chosen[index]
        return ReadSource(self._read, self._n_all, self.n_features, chosen, self._change)

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> ReadSource:
        own = self._change
        both = change if own is None else lambda block: change(own(block))
        return ReadSource(self._read, self._n_all, self.n_features, self._chosen, both)


class SparseSource(Source):
    """Samples of a sparse matrix of SciPy; CSR is taken as it is, other formats are turned into it.

    Attributes
    ----------
    matrix : CSR matrix or array of SciPy
        Rows in order, nothing twice.
    """

    def __init__(self, matrix: Any):
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)  # a damaged index would be written through, beyond the array
        matrix = matrix.tocsr()
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype
        self.nbytes = sum(array.nbytes for array in (matrix.data, matrix.indices, matrix.indptr))

    def rows(self, index: np.ndarray) -> np.ndarray:
        return self.matrix[index].toarray()

    def take(self, index: np.ndarray) -> SparseSource:
        return SparseSource(self.matrix[index])

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> ReadSource:
        return ReadSource(self.rows, *self.shape, change=change)

    def put(self, backend: Backend, index: np.ndarray, out: Any) -> Any:
        part = self.matrix[index]
        samples = np.repeat(np.arange(len(index)), np.diff(part.indptr))
        out.fill(0)
        out[backend.asarray(part.indices), backend.asarray(samples)] = backend.asarray(part.data, backend.dtype)
        return out

    @functools.cached_property
    def survey(self) -> Survey:
        values = self.matrix.data
        # A value that no entry holds is 0.
        finite = np.isfinite(values)
        bad, known = np.logical_not(finite), values[finite] if not finite.all() else values
        missing = np.isnan(values) if len(known) < len(values) else bad
        extremes = [*([0.0] if len(values) < self.size else []), *((known.min(), known.max()) if len(known) else ())]
        smallest, largest = (float(min(extremes)), float(max(extremes))) if extremes else (np.inf, -np.inf)
        counts = int(np.count_nonzero(bad)), int(np.count_nonzero(missing))
        return Survey(smallest, largest, counts[0], self._place(bad), counts[1], self._place(bad & ~missing))

    def _place(self, mark: np.ndarray) -> tuple[int, int, float] | None:
        """Row, column and value of the first entry that is marked."""
        if not mark.any():
            return None
        entry = int(np.argmax(mark))
        row = int(np.searchsorted(self.matrix.indptr, entry, side="right")) - 1
        return row, int(self.matrix.indices[entry]), float(self.matrix.data[entry])

    def add_to(self, digest: Any) -> None:
        """Of the entries only; zeros that are stored and zeros that are not are the same."""
        matrix = self.matrix
        if not matrix.data.all():
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        digest.update(f"sparse{self.dtype.newbyteorder('<').str}{tuple(self.shape)};".encode())
        kinds = ((matrix.indptr, "<i8"), (matrix.indices, "<i8"), (matrix.data, self.dtype.newbyteorder("<")))
        for array, kind in kinds:
            digest.update(np.ascontiguousarray(array, kind).view(np.uint8).data)


Samples = np.ndarray | Source


def as_samples(X: Any) -> Any:
    """`X` as a `Source` where it is not held as one array: a sparse matrix, a memory map, a `BatchSource`.

    Anything else passes through, arrays of CuPy as NumPy's.
    """
    if isinstance(X, Source):
        return X
    if _is_sparse(X):
        return SparseSource(X) if X.ndim == 2 else X
    if _is_mapped(X):
        return ReadSource(functools.partial(_rows_of, X), *X.shape) if _is_table(X) else np.asarray(X)
    if isinstance(X, BatchSource) and not isinstance(X, type):
        return ReadSource(X.rows, len(X), X.n_features)
    return np.asarray(on_host(X))


def is_source(X: Any) -> bool:
    """Whether `as_samples` makes a `Source` of it that is no sparse matrix."""
    return isinstance(X, Source) or (_is_mapped(X) and _is_table(X)) or isinstance(X, BatchSource)


def _is_sparse(X: Any) -> bool:
    sparse = sys.modules.get("scipy.sparse")  # whoever has such a matrix has imported it
    return sparse is not None and sparse.issparse(X)


def _is_mapped(X: Any) -> bool:
    """Whether the memory of an array is a file; what was computed from a memory map has memory of its own."""
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap.mmap)


def _is_table(X: np.ndarray) -> bool:
    return X.ndim == 2 and X.dtype.kind in "buif"


def _rows_of(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.asarray(array)[index]


def chunks(X: Samples) -> Iterator[tuple[slice, np.ndarray]]:
    """Dense blocks of all samples in order, (n, n_features) each; how many depends on the shape alone."""
    height = max(1, CHUNK // X.shape[1])
    for start in range(0, len(X), height):
        part = slice(start, min(start + height, len(X)))
        yield part, X[part]


def _first(part: slice, values: np.ndarray, mark: np.ndarray) -> tuple[int, int, float]:
    """Row, column and value of the first of some values of a block that is marked."""
    row, column = (int(place) for place in np.unravel_index(np.argmax(mark), values.shape))
    return part.start + row, column, float(values[row, column])


def has_missing(X: Any) -> bool:
    """Whether samples, an array on the host or the device or a `Source`, have NaN among them: missing values."""
    if isinstance(X, Source):
        return X.survey.n_missing > 0
    return X.dtype.kind == "f" and X.size > 0 and bool(np.isnan(float(X.min())))  # the minimum hands NaN on


def means(X: Samples, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean of every feature, (n_features,) float64, with `weight` (n_samples,) of mean 1 that of the weighted samples.

    The same bits for the same values, however they are held. Missing values do not count; a feature without any value
    has the mean NaN.
    """
    return _mean_of(lambda values: values, X, weight)


def variances(X: Samples, mean: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Variance of every feature around `mean`, as `means`."""
    return _mean_of(lambda values: (values - mean) ** 2, X, weight)


def _mean_of(what: Callable[[np.ndarray], np.ndarray], X: Samples, weight: np.ndarray | None) -> np.ndarray:
    total = np.zeros(X.shape[1])
    for part, values in chunks(X):
        block = what(np.ascontiguousarray(values, dtype=np.float64))
        total += (block if weight is None else block * weight[part, None]).sum(axis=0)
    if not np.isnan(total).any():
        return total / len(X)
    total, counted = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for part, values in chunks(X):
        block = what(np.ascontiguousarray(values, dtype=np.float64))
        known = ~np.isnan(block)
        share = known if weight is None else known * weight[part, None]
        total += (np.where(known, block, 0.0) * share).sum(axis=0)
        counted += share.sum(axis=0)
    return np.divide(total, counted, out=np.full(len(total), np.nan), where=counted > 0)


def take(X: Samples, index: np.ndarray) -> Any:
    """Some of the samples, each at most once, in any order."""
    return X.take(index) if isinstance(X, Source) else X[index]


def fingerprint(*arrays: Any) -> str:
    """The sha256 over bytes, shapes and dtypes of some arrays, in order; None counts as "no array here".

    A memory map has that of the array in memory; a sparse matrix has one of its own, the same in every format.
    """
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none;")
            continue
        array = as_samples(array)
        if isinstance(array, Source):
            array.add_to(digest)
            continue
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
