"""Small files of the MNIST layout."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@pytest.fixture
def write_idx() -> Callable[[Path, np.ndarray], None]:
    """Write an array as IDX, compressed where the name ends in .gz."""

    def write(path: Path, array: np.ndarray) -> None:
        code = _CODES[array.dtype.str[1:]]
        header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
        content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return write


@pytest.fixture
def write_mnist(write_idx: Callable[[Path, np.ndarray], None]) -> Callable[..., dict[str, np.ndarray]]:
    """Write a set of 6 + 4 pictures of 3 x 2 pixels; `shift` makes sets that differ."""

    def write(folder: Path, suffix: str = ".gz", shift: int = 0) -> dict[str, np.ndarray]:
        folder.mkdir(parents=True, exist_ok=True)
        pictures = (np.arange(60, dtype=np.uint8) * 4 + shift).reshape(10, 3, 2)
        labels = np.arange(10, dtype=np.uint8)
        write_idx(folder / f"train-images-idx3-ubyte{suffix}", pictures[:6])
        write_idx(folder / f"train-labels-idx1-ubyte{suffix}", labels[:6])
        write_idx(folder / f"t10k-images-idx3-ubyte{suffix}", pictures[6:])
        write_idx(folder / f"t10k-labels-idx1-ubyte{suffix}", labels[6:])
        return {"X": pictures[:6].reshape(6, 6), "X_test": pictures[6:].reshape(4, 6), "labels": labels}

    return write
