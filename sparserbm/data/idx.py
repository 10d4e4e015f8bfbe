"""The IDX format of the MNIST files, plain or compressed with gzip."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file into a ValueError that names file and format."""
    try:
        yield
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # parsers raise nearly anything: BadZipFile, zlib.error, EOFError, KeyError
        raise ValueError(
            f"cannot read {path} as {kind} ({str(error) or type(error).__name__}); the file is damaged or of "
            f"another format: restore it, or give it the suffix of its format"
        ) from None


def is_idx_name(name: str) -> bool:
    """Whether a file of this name is taken for IDX: ``*-ubyte``, ``*.idx`` or ``*.gz``."""
    return name.lower().endswith(("-ubyte", ".idx", ".gz"))


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, of the shape and number type that its header states, in native byte order.

    Raises
    ------
    ValueError
        If the file is damaged or no IDX file.

    Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database", section "File formats".
    """
    with reading(path, "IDX"):
        with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as stream:
            content = stream.read()
        return _parse(content)


def _parse(content: bytes) -> np.ndarray:
    """``00 00 type ndim``, `ndim` sizes as uint32, then the values; all big-endian, last index fastest."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise ValueError(f"it begins with {content[:4].hex(' ') or 'nothing'}, which is no IDX header")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError("it ends within its header")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=content[3], offset=4))
    dtype = np.dtype(_TYPES[content[2]])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise ValueError(f"its header states {shape}, {expected} bytes, but {len(content) - start} follow")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def read_images(path: Path) -> tuple[np.ndarray, tuple[int, int] | None]:
    """The examples of an IDX file as rows, and (rows, columns) of a picture where it has three dimensions."""
    array = read_idx(path)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{path} holds an array of shape {array.shape}; examples are 2-D or more")
    image_shape = (array.shape[1], array.shape[2]) if array.ndim == 3 else None
    return array.reshape(len(array), -1), image_shape


def read_labels(path: Path) -> np.ndarray:
    """The labels of an IDX file, (n_samples,) int64 or float."""
    labels = read_idx(path)
    if labels.ndim != 1:
        raise ValueError(f"{path} holds an array of shape {labels.shape}; labels must be 1-D")
    # Bytes would wrap around at 255 in the user's own arithmetic.
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels


def labels_beside(path: Path) -> Path | None:
    """The label file beside an image file that is named as MNIST's are (``train-images-idx3-ubyte``)."""
    stem = path.name.removesuffix(".gz")
    name, n_changed = re.subn(r"images([-.])idx\d-ubyte$", r"labels\1idx1-ubyte", stem)
    return find_idx(path.parent, name) if n_changed else None


def find_idx(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, plain or with ``.gz``."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
