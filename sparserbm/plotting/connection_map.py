"""Connections per input as images, from the first epoch to the last, on one colour scale."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import epochs_of, image_shape, run_labels, spread
from sparserbm.plotting._zone_series import finding, index_at, tally
from sparserbm.runs import Run
from sparserbm.topology import LearningIndex, degree_image, dispersion

FIGURE = "connection-map"


@dataclass(frozen=True)
class MapRow:
    """The maps of one run.

    Attributes
    ----------
    name : str
        Of the run, or of its cell where it is the only one.
    epochs : (n_maps,) int
    images : (n_maps, rows, columns) int
        Connections per input.
    zone : (rows, columns) bool or None
        The active zone.
    indices : tuple of LearningIndex
        One for each map; empty where there is no zone.
    limits : (low, high), optional
        Of the colour scale, where it is that of more maps than these.
    """

    name: str
    epochs: np.ndarray
    images: np.ndarray
    zone: np.ndarray | None
    indices: tuple[LearningIndex, ...]
    limits: tuple[float, float] | None = None

    @property
    def last(self) -> LearningIndex | None:
        """Of the last map."""
        return self.indices[-1] if self.indices else None


def load(
    runs: list[Run],
    n_epochs: int | None = None,
    image_shape: Sequence[int] | None = None,
    zone: np.ndarray | None = None,
) -> list[MapRow]:
    """Maps of the first layer of every run, one row per run.

    Parameters
    ----------
    runs : list of Run
    n_epochs : int, at least 2, optional
        Maps per run; 6 for one run, 4 for several.
    image_shape : (rows, columns), optional
        For runs that state none.
    zone : (n_inputs,) bool, optional
        Instead of the zone of the runs.
    """
    n_epochs = n_epochs or (6 if len(runs) == 1 else 4)
    return [_row(run, label, n_epochs, image_shape, zone) for run, label in zip(runs, run_labels(runs))]


def _row(run: Run, name: str, n_epochs: int, given: Sequence[int] | None, zone: np.ndarray | None) -> MapRow:
    shape = image_shape(run, FIGURE, given)
    epochs = spread(epochs_of(run), n_epochs)
    images = [degree_image(run.snapshots[epoch].layers[0].degree_pre, shape) for epoch in epochs]
    mask = run.zone_mask if zone is None else np.asarray(zone, dtype=bool)
    indices = () if mask is None else tuple(index_at(run, epoch, FIGURE, mask) for epoch in epochs)
    return MapRow(name, np.array(epochs), np.array(images), None if mask is None else mask.reshape(shape), indices)


def size(table: list[MapRow]) -> tuple[float, float]:
    rows, columns = _grid(table)
    ratio = table[0].images.shape[1] / table[0].images.shape[2]
    name = 0.35 if len(table) > 1 and _moments(table) == 1 else 0
    return _style.WIDTH, 0.5 + rows * (0.3 + name + 0.8 * _style.WIDTH / columns * ratio)


def stills(table: list[MapRow]) -> list[list[MapRow]]:
    """One map of each run at a time, all on one colour scale; a run that has fewer stays at its last."""
    limits = _limits(table)[:2]
    return [
        [_moment(row, min(place, len(row.epochs) - 1), limits) for row in table] for place in range(_moments(table))
    ]


def _moment(row: MapRow, place: int, limits: tuple[float, float]) -> MapRow:
    only = slice(place, place + 1)
    return replace(row, epochs=row.epochs[only], images=row.images[only], indices=row.indices[only], limits=limits)


def _limits(table: list[MapRow]) -> tuple[float, float, str]:
    low, high, extend = _style.colour_limits(np.concatenate([row.images.ravel() for row in table]))
    return (*table[0].limits, extend) if table[0].limits is not None else (low, high, extend)


def draw(figure: Figure | SubFigure, table: list[MapRow]) -> None:
    """Small multiples with the active zone outlined in white."""
    low, high, extend = _limits(table)
    rows, columns = _grid(table)
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for number, row in enumerate(table):
        cells = axes.flat if len(table) == 1 else axes.flat[number:] if _moments(table) == 1 else axes[number]
        for place, epoch, image in zip(cells, row.epochs, row.images, strict=False):
            place.axis("on")
            shown = _style.show_image(place, image, low, high)
            name = textwrap.fill(row.name, 24) + "\n" if len(table) > 1 and _moments(table) == 1 else ""
            place.set_title(f"{name}epoch {epoch}", pad=3)
            if row.zone is not None:
                _style.outline(place, row.zone)
        if len(table) > 1 and _moments(table) > 1:
            axes[number, 0].set_ylabel(textwrap.fill(row.name, 20), fontsize=9)
    aspect = 6 * size(table)[1]  # a bar of one width, however high the figure is
    figure.colorbar(shown, ax=axes, label="connections per input", extend=extend, aspect=aspect, pad=0.02)
    _style.set_title(figure, _finding(table))


def _grid(table: list[MapRow]) -> tuple[int, int]:
    """Rows and columns: a row for each run, or the maps of one run, or one map of each, side by side."""
    if len(table) > 1 and _moments(table) > 1:
        return len(table), _moments(table)
    n_maps = max(len(table), _moments(table))
    columns = min(n_maps, 3)
    return -(-n_maps // columns), columns


def _moments(table: list[MapRow]) -> int:
    return max(len(row.epochs) for row in table)


def _finding(table: list[MapRow]) -> str:
    indices = [row.last for row in table if row.last is not None]
    if len(table) > 1:
        epochs = {int(row.epochs[-1]) for row in table}
        when = f"epoch {epochs.pop()}" if len(epochs) == 1 else "the last epoch shown"
        return f"Verdict after {when}: {tally(indices)}" if indices else "Connections per input by epoch"
    row = table[0]
    if row.last is not None:
        return finding(row.last, row.epochs[-1])
    first, last = dispersion(row.images[0].ravel()), dispersion(row.images[-1].ravel())
    return f"Unevenness of connections per input (variance / mean): {first:.2f} at first, {last:.2f} at last"
