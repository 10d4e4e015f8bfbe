"""Mean connections per input in centred squares: is the middle of the image denser than the whole?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import epochs_of, group_label, image_shape, spread
from sparserbm.runs import Run
from sparserbm.topology import concentric_trend

FIGURE = "concentric-trend"
NOISE = 2  # squares of side 2 and 4 are 4 and 16 inputs: too few to state as a finding


@dataclass(frozen=True)
class Trends:
    """Curves over the side of the square.

    Attributes
    ----------
    sides : (n_sides,) int
        2, 4, ..., L, in pixels.
    curves : (n_curves, n_sides) float
        Mean connections per input; the last value is the mean over all inputs.
    labels, groups : tuple of str, one per curve
        What the curve is called, and which curves share a colour.
    over_time : bool
        Curves are epochs of one run, not runs.
    """

    sides: np.ndarray
    curves: np.ndarray
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    over_time: bool


def load(runs: list[Run], n_epochs: int = 6, image_shape: Sequence[int] | None = None) -> Trends:
    """Several epochs of one run, or the last epoch of several runs.

    Parameters
    ----------
    runs : list of Run
    n_epochs : int, at least 2
        Curves for one run.
    image_shape : (L, L), optional
        For runs that state none.
    """
    if len(runs) == 1:
        moments = [(runs[0], epoch) for epoch in spread(epochs_of(runs[0]), n_epochs)]
        labels = groups = tuple(f"epoch {epoch}" for _, epoch in moments)
    else:
        moments = [(run, epochs_of(run)[-1]) for run in runs]
        labels = tuple(f"{run.name}, epoch {epoch}" for run, epoch in moments)
        groups = tuple(group_label(run) for run in runs)
    curves = [trend_at(run, epoch, image_shape) for run, epoch in moments]
    if len({curve.size for curve in curves}) > 1:
        raise ValueError(f"{FIGURE} compares runs with images of one size; draw the others separately")
    return Trends(2 * np.arange(1, curves[0].size + 1), np.array(curves), labels, groups, len(runs) == 1)


def trend_at(run: Run, epoch: int, given: Sequence[int] | None = None) -> np.ndarray:
    """The curve of one run after `epoch` epochs."""
    return concentric_trend(run.snapshots[epoch].layers[0].degree_pre, image_shape(run, FIGURE, given))


def size(table: Trends) -> tuple[float, float]:
    return _style.WIDTH, 3.8 + 0.1 * max(0, len(set(table.groups)) - 6)


def draw(figure: Figure | SubFigure, table: Trends) -> None:
    """Curves over the side of the square, with the mean over all inputs as a dashed line."""
    axes = figure.subplots()
    groups = list(dict.fromkeys(table.groups))
    colours = (_style.sequence_colours if table.over_time else _style.category_colours)(len(groups))
    colour = dict(zip(groups, colours))
    for curve, group in zip(table.curves, table.groups):
        axes.plot(table.sides, curve, color=colour[group], lw=1.8, marker=".", ms=5)
    means = table.curves[:, -1]
    if np.ptp(means) < 1e-9 * means.max():
        axes.axhline(means[0], color=_style.GREY, ls="--", lw=1.2, label=f"all inputs: {means[0]:.1f}")
    else:
        for mean, group in zip(means, table.groups):
            axes.axhline(mean, color=colour[group], ls="--", lw=1)
        axes.plot([], [], color=_style.GREY, ls="--", lw=1, label="all inputs")
    for group, label in zip(table.groups, table.labels):
        if group in colour:
            shown = group if table.groups.count(group) > 1 else label
            axes.plot([], [], color=colour.pop(group), lw=1.8, marker=".", ms=5, label=shown)
    axes.set_xlabel("side of the centred square (pixels)")
    axes.set_ylabel("mean connections per input")
    axes.set_xticks(table.sides[1::2] if table.sides.size > 5 else table.sides)
    axes.grid(axis="y")
    figure.legend(loc="outside right upper")
    _style.set_title(figure, _finding(table))


def _finding(table: Trends) -> str:
    trusted = table.curves[:, min(NOISE, table.sides.size - 1) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = trusted / trusted[:, -1:] - 1.0
    which = len(table.labels) - 1 if table.over_time else int(np.nanargmax(np.abs(excess).max(axis=1)))
    place = int(np.argmax(np.abs(excess[which])))
    side, change = table.sides[-trusted.shape[1] :][place], excess[which, place]
    if not abs(change) >= 0.005:
        return f"No centred square is denser than the whole image ({table.labels[which]})"
    word = "more" if change > 0 else "fewer"
    return (
        f"The central {side} x {side} has {abs(change):.0%} {word} connections per input "
        f"than the whole image ({table.labels[which]})"
    )
