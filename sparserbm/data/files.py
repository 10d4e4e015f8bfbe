"""Data files, read by their suffix into raw arrays."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.data.idx import is_idx_name, labels_beside, read_images, read_labels, reading
from sparserbm.data.sources import as_samples

# What would take more as a float32 array is not made one: a sparse matrix stays sparse, an array stays in its file.
MAX_DENSE_BYTES = 2**30
_LABEL_COLUMNS = ("label", "target", "y", "class")


@dataclass(frozen=True, eq=False)
class RawData:
    """Arrays as a file holds them, before checks and scaling; X is (n_samples, n_features), maybe sparse or mapped."""

    X: Any
    y: np.ndarray | None = None
    X_test: Any = None
    y_test: np.ndarray | None = None
    image_shape: tuple[int, int] | None = None


def read_file(path: Path) -> RawData:
    """Read a data file; its suffix says how.

    Raises
    ------
    ValueError
        If the suffix is unknown, or the file is damaged or lacks what is needed.
    FileNotFoundError
        If there is no such file.
    """
    reader = reader_for(path)
    if reader is None:
        raise ValueError(f"unknown suffix {path.suffix!r} of {path}; known: {SUFFIXES}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.absolute()}; check the path")
    return reader(path)


def reader_for(path: Path) -> Callable[[Path], RawData] | None:
    """The function that reads files of this name, or None."""
    return _read_idx if is_idx_name(path.name) else _READERS.get(path.suffix.lower())


def _read_idx(path: Path) -> RawData:
    X, image_shape = read_images(path)
    labels = labels_beside(path)
    return RawData(X, None if labels is None else read_labels(labels), image_shape=image_shape)


def _read_npy(path: Path) -> RawData:
    with reading(path, "npy"):
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        large = _dense_bytes(mapped.shape) > MAX_DENSE_BYTES
        return RawData(as_samples(mapped) if large else np.load(path, allow_pickle=False))


def _read_npz(path: Path) -> RawData:
    # NumPy does not close a file that it opened and then found damaged.
    with reading(path, "npz"), open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
        names = list(stored.files)
        is_sparse = "X" not in names and {"format", "shape", "data"} <= set(names)
        arrays = {name: stored[name] for name in names if name in _WANTED}
    return _read_sparse(path) if is_sparse else _from_arrays(arrays, names, path)


def _read_sparse(path: Path) -> RawData:
    """What scipy.sparse.save_npz wrote."""
    from scipy.sparse import load_npz

    with reading(path, "sparse matrix"):
        matrix = load_npz(path)
    return RawData(_dense(matrix, path))


def _read_mat(path: Path) -> RawData:
    with open(path, "rb") as stream:
        is_hdf5 = b"\x89HDF\r\n\x1a\n" in stream.read(1024)
    if is_hdf5:
        return _read_mat_hdf5(path)
    from scipy.io import loadmat

    with reading(path, "MATLAB v5"):
        stored = loadmat(path)
    arrays = {name: _dense(stored[name], path) for name in stored if name in _WANTED}
    return _from_arrays(arrays, [name for name in stored if not name.startswith("__")], path)


def _read_mat_hdf5(path: Path) -> RawData:
    try:
        import h5py
    except ImportError:
        raise ImportError(
            f"{path} is a MATLAB v7.3 file (HDF5), which h5py reads, and h5py is not installed: "
            f"pip install h5py, or save the file in MATLAB with '-v7'"
        ) from None
    with reading(path, "MATLAB v7.3"), h5py.File(path, "r") as stored:
        names = list(stored)
        # MATLAB writes its arrays column by column, so HDF5 shows them transposed.
        arrays = {name: np.asarray(stored[name]).T for name in names if name in _WANTED}
    return _from_arrays(arrays, names, path)


def _read_csv(path: Path) -> RawData:
    """Numbers separated by commas; a header line is optional and may name one column of labels."""
    codes: dict[str, int] = {}

    def encode(text: str) -> int:
        if not text.strip():
            raise ValueError  # NumPy catches it and says in which line
        return codes.setdefault(text.strip(), len(codes))

    with reading(path, "csv"):
        with open(path, encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            first = next(lines, [])
            has_header = not all(_is_number(field) for field in first)
            if not (next(lines, []) if has_header else first):
                raise ValueError("it begins with an empty line or holds no line of numbers")
        column = _label_column(first) if has_header else None
        table = np.loadtxt(
            path,
            delimiter=",",
            comments=None,
            quotechar='"',
            encoding="utf-8-sig",
            skiprows=int(has_header),
            # Codes, not text: one pass reads numbers and labels, and checks that all lines are equally long.
            converters=None if column is None else {column: encode},
            ndmin=2,
        )
    if column is None:
        return RawData(table)
    labels = _typed(np.array(list(codes)))
    return RawData(np.delete(table, column, axis=1), labels[table[:, column].astype(int)])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label_column(header: list[str]) -> int | None:
    found = [column for column, name in enumerate(header) if name.strip().lower() in _LABEL_COLUMNS]
    if len(found) > 1:
        names = ", ".join(header[column].strip() for column in found)
        raise ValueError(f"its header has several columns of labels: {names}; keep one of these names")
    return found[0] if found else None


def _typed(texts: np.ndarray) -> np.ndarray:
    """Texts as int64 where all are whole numbers, as float64 where all are numbers, else unchanged."""
    for dtype in (np.int64, np.float64):
        try:
            return texts.astype(dtype)
        except (ValueError, OverflowError):
            continue
    return texts


def _read_svmlight(path: Path) -> RawData:
    from sklearn.datasets import load_svmlight_file

    with reading(path, "svmlight"):
        X, y = load_svmlight_file(str(path))
    whole = np.array_equal(y, np.trunc(y))  # the format has no number types: "3" is read as 3.0
    return RawData(_dense(X, path), y.astype(np.int64) if whole else y)


def _dense(array: Any, path: Path) -> Any:
    """A SciPy sparse matrix as a float32 array where that is small enough, else as CSR; arrays pass."""
    if isinstance(array, np.ndarray):
        return array
    with reading(path, "sparse matrix"):
        array = as_samples(array).matrix
    if _dense_bytes(array.shape) > MAX_DENSE_BYTES:
        return array
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is reported as that
        return array.astype(np.float32).toarray()


def _dense_bytes(shape: tuple[int, ...]) -> int:
    return math.prod(shape) * np.dtype(np.float32).itemsize


def _from_arrays(arrays: Mapping[str, np.ndarray], names: list[str], path: Path) -> RawData:
    if "X" not in arrays:
        raise ValueError(f"{path} has no array X; it holds: {', '.join(names) or 'nothing'}")
    # MATLAB knows no 1-D arrays: labels come as a column or a row.
    flat = {name: array.reshape(-1) if 1 in array.shape else array for name, array in arrays.items()}
    y, y_test = flat.get("y", flat.get("Y")), flat.get("y_test", flat.get("Y_test"))
    return RawData(arrays["X"], y, arrays.get("X_test"), y_test)


_WANTED = ("X", "y", "Y", "X_test", "y_test", "Y_test")
_READERS: dict[str, Callable[[Path], RawData]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": _read_csv,
    ".mat": _read_mat,
    ".svm": _read_svmlight,
    ".svmlight": _read_svmlight,
    ".libsvm": _read_svmlight,
}
SUFFIXES = ", ".join([*_READERS, ".idx", "-ubyte", ".gz (IDX)"])
