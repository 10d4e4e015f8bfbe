"""A contact sheet: many small pictures in one."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.image import imsave

GAP = 1  # pixels between pictures


def contact_sheet(
    images: np.ndarray, shape: Sequence[int], path: str | os.PathLike, low: float = 0, high: float = 1
) -> None:
    """Write pictures as one PNG file, row by row, in about as many rows as columns; no pixel is changed but in size.

    Parameters
    ----------
    images : (n_images, rows * columns)
    shape : (rows, columns)
    path : path
        Ends in .png.
    low, high : float
        Values of black and white.

    Raises
    ------
    ValueError
        If pictures and shape do not fit, or the file is no .png.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"cannot save a contact sheet as {Path(path).name}; use a name that ends in .png")
    images = np.asarray(images, dtype=float)
    if images.ndim != 2 or images.shape[1] != shape[0] * shape[1] or not len(images):
        raise ValueError(f"images of shape {images.shape} are no pictures of {shape[0]} x {shape[1]} pixels, one a row")
    wide = int(np.ceil(np.sqrt(len(images) * shape[0] / shape[1])))
    high_count = -(-len(images) // wide)
    height, width = shape[0] + GAP, shape[1] + GAP
    sheet = np.full((high_count * height + GAP, wide * width + GAP), low + 0.35 * (high - low))
    for number, image in enumerate(images):
        top, left = GAP + number // wide * height, GAP + number % wide * width
        sheet[top : top + shape[0], left : left + shape[1]] = image.reshape(shape[0], shape[1])
    times = max(1, 800 // max(sheet.shape))  # small pictures are shown larger, each pixel as a square
    stream = io.BytesIO()
    imsave(stream, np.kron(sheet, np.ones((times, times))), cmap="gray", vmin=low, vmax=high, format="png")
    Path(path).write_bytes(stream.getvalue())
