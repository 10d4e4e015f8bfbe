"""Incoming weights of the best-connected hidden units, as images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import image_shape
from sparserbm.runs import Run
from sparserbm.topology import fan_in

FIGURE = "receptive-fields"


@dataclass(frozen=True)
class Fields:
    """Weights into some hidden units.

    Attributes
    ----------
    name : str
        Of the run.
    epoch : int
    units : (n,) int
        Hidden units, most connections first.
    fan_in : (n,) int
    images : (n, rows, columns) float
        Incoming weights; NaN where there is no connection.
    zone : (rows, columns) bool or None
        The active zone.
    """

    name: str
    epoch: int
    units: np.ndarray
    fan_in: np.ndarray
    images: np.ndarray
    zone: np.ndarray | None


def load(runs: list[Run], n: int = 25, image_shape: Sequence[int] | None = None) -> Fields:
    """The newest whole pattern of one run.

    Parameters
    ----------
    runs : list of one Run
    n : int, at least 1
        Hidden units to show; fewer where there are not so many with a connection.
    image_shape : (rows, columns), optional
        For a run that states none.

    Raises
    ------
    ValueError
        If there are several runs, or the run has no image shape, pattern or connection.
    """
    if len(runs) != 1:
        raise ValueError(f"{FIGURE} draws one run, but {len(runs)} were given; draw them one by one")
    if n < 1:
        raise ValueError(f"n={n} hidden units cannot be drawn; use n of at least 1")
    return _fields(runs[0], n, image_shape)


def _fields(run: Run, n: int, given: Sequence[int] | None) -> Fields:
    shape = image_shape(run, FIGURE, given)
    epoch, layer = run.last_pattern(0)
    assert layer.indptr is not None  # for mypy: last_pattern gives whole patterns only
    assert layer.pre is not None
    assert layer.weight is not None
    degrees = fan_in(layer.indptr)
    order = np.argsort(-degrees, kind="stable")
    units = order[: min(n, int(np.count_nonzero(degrees)))]
    if units.size == 0:
        raise ValueError(f"{FIGURE}: run {run.name} has no connection left at epoch {epoch}")
    images = np.full((units.size, shape[0] * shape[1]), np.nan)
    for image, unit in zip(images, units):
        connections = slice(layer.indptr[unit], layer.indptr[unit + 1])
        image[layer.pre[connections]] = layer.weight[connections]
    zone = None if run.zone_mask is None else run.zone_mask.reshape(shape)
    return Fields(run.name, epoch, units, degrees[units], images.reshape(-1, *shape), zone)


def size(table: Fields) -> tuple[float, float]:
    rows, columns = mosaic_shape(len(table.units))
    ratio = rows * table.images.shape[1] / (columns * table.images.shape[2])
    return _style.WIDTH, 0.5 + 0.83 * _style.WIDTH * ratio


def mosaic_shape(n: int) -> tuple[int, int]:
    """Rows and columns for `n` images, about as wide as high or wider."""
    columns = int(np.ceil(np.sqrt(n)))
    return -(-n // columns), columns


def _gap(shape: tuple[int, ...]) -> int:
    """Pixels of background between two images of (n, rows, columns)."""
    return max(1, round(shape[2] / 14))


def draw(figure: Figure | SubFigure, table: Fields) -> None:
    """A mosaic on one colour scale, symmetric about 0; grey: no connection; the active zone outlined."""
    # a few large weights would leave the others pale: the scale ends at the 99th percentile
    weights = np.abs(table.images[np.isfinite(table.images)])
    limit = float(np.percentile(weights, 99)) or 1.0
    scale = ScalarMappable(Normalize(-limit, limit), _style.colormap(_style.DIVERGING))
    axes = figure.subplots()
    axes.imshow(_mosaic(table.images, scale), interpolation="nearest")
    if table.zone is not None:
        for place in range(len(table.units)):
            _style.outline(axes, table.zone, "#444444", 0.6, at=_corner(table.images.shape, place))
    axes.axis("off")
    extend = "both" if weights.max() > limit else "neither"
    figure.colorbar(scale, ax=axes, label="weight (grey: no connection)", extend=extend, aspect=30, pad=0.02)
    fewest, most = table.fan_in.min(), table.fan_in.max()
    seen = f"{fewest} to {most} inputs" if fewest < most else f"{most} inputs each"
    _style.set_title(
        figure,
        f"The {len(table.units)} best-connected hidden units see {seen} (epoch {table.epoch})",
    )


def _mosaic(images: np.ndarray, scale: ScalarMappable) -> np.ndarray:
    n, height, width = images.shape
    rows, columns = mosaic_shape(n)
    gap = _gap(images.shape)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4))  # transparent gaps
    for place, image in enumerate(images):
        colours = scale.to_rgba(np.nan_to_num(image))
        colours[np.isnan(image)] = to_rgba(_style.ABSENT)
        left, top = _corner(images.shape, place)
        canvas[top : top + height, left : left + width] = colours
    return canvas


def _corner(shape: tuple[int, ...], place: int) -> tuple[int, int]:
    """The left and top pixel of an image in the mosaic of (n, rows, columns) images."""
    columns, gap = mosaic_shape(shape[0])[1], _gap(shape)
    return place % columns * (shape[2] + gap), place // columns * (shape[1] + gap)
