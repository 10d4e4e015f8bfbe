"""What the report's slider shows of one run: the connections of every input, epoch by epoch, and its receptive fields.

The page draws both itself, from whole numbers and small pictures: an epoch of 784 inputs takes 1 kB.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.image import imsave

from sparserbm.plotting import _style, connection_map, receptive_fields
from sparserbm.plotting._runs import epochs_of, image_shape
from sparserbm.plotting.concentric_trend import noisy_sides
from sparserbm.runs import Run

COLOURS = 256


def frame_bytes(run: Run) -> int:
    """About how many bytes one epoch of a run takes before it is written as text; 0 where the inputs are no image."""
    try:
        image_shape(run, connection_map.FIGURE)
    except ValueError:
        return 0
    epochs = epochs_of(run)
    ends = [run.snapshots[epoch].layers[0].degree_pre for epoch in (epochs[0], epochs[-1])]
    return ends[0].size * _unsigned(np.array(ends)).itemsize


def frames(run: Run, limit: int) -> dict[str, Any]:
    """The connections of every input at no more than `limit` epochs, evenly spaced, first and last kept.

    Returns
    -------
    dict, JSON-ready
        `epochs`; `shape` (rows, columns); `degrees`, whole numbers of `bits` bits, little-endian, epoch by epoch and
        row by row, as base64; `low`, `high` and `extend`, the colour scale (see `_style.colour_limits`); `zone`, one
        byte an input as base64, or None; `noisy`, how many of the first concentric squares are noise, or None where the
        image has no such squares.

    Raises
    ------
    ValueError
        If the run states no image shape or has no snapshot.
    """
    row = connection_map.load([run], n_epochs=limit)[0]
    degrees = row.images.astype(_unsigned(row.images))
    low, high, extend = _style.colour_limits(row.images)
    rows, columns = row.images.shape[1:]
    return {
        "epochs": row.epochs.tolist(),
        "shape": [rows, columns],
        "bits": 8 * degrees.itemsize,
        "degrees": text_of(degrees.astype(degrees.dtype.newbyteorder("<")).tobytes()),
        "low": float(low),
        "high": float(high),
        "extend": extend,
        "zone": None if row.zone is None else text_of(row.zone.astype(np.uint8).tobytes()),
        "noisy": noisy_sides(rows // 2) if rows == columns and rows % 2 == 0 else None,
    }


def _unsigned(degrees: np.ndarray) -> np.dtype:
    """The smallest type of unsigned whole numbers that holds them."""
    return np.min_scalar_type(int(degrees.max()))


def fields(run: Run, n: int) -> dict[str, Any]:
    """The incoming weights of the `n` best-connected hidden units, as PNG pictures of one pixel an input.

    Raises
    ------
    ValueError
        If the run has no image shape, pattern or connection.
    """
    table = receptive_fields.load([run], n)
    weights = np.abs(table.images[np.isfinite(table.images)])
    limit = float(np.percentile(weights, 99)) or 1.0  # as in the figure: a few large weights would pale the others
    colours = _style.colormap(_style.DIVERGING).with_extremes(bad=_style.ABSENT)
    scale = ScalarMappable(Normalize(-limit, limit), colours)
    pictures = [scale.to_rgba(np.ma.masked_invalid(image), bytes=True) for image in table.images]
    return {
        "epoch": int(table.epoch),
        "limit": limit,
        "extend": "both" if weights.max() > limit else "neither",
        "units": table.units.tolist(),
        "fan_in": table.fan_in.tolist(),
        "pictures": [text_of(_png(picture)) for picture in pictures],
    }


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    nothing: dict[str, Any] = {"Software": None}  # what Matplotlib would write is a third of so small a picture
    imsave(stream, picture, format="png", metadata=nothing)
    return stream.getvalue()


def colour_table(name: str) -> str:
    """The red, green and blue bytes of a colour map from its low to its high end, as base64."""
    colours = _style.colormap(name)(np.linspace(0.0, 1.0, COLOURS), bytes=True)[:, :3]
    return text_of(np.ascontiguousarray(colours).tobytes())


def text_of(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
