"""Mean connections per input in centred squares: is the middle of the image denser than the whole?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import epochs_of, group_labels, image_shape, run_labels, spread
from sparserbm.runs import Run
from sparserbm.topology import concentric_trend

FIGURE = "concentric-trend"


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
        What the curve is called, and which curves are drawn as one, by their mean.
    over_time : bool
        Curves are epochs of one run, not runs.
    """

    sides: np.ndarray
    curves: np.ndarray
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    over_time: bool

    def means(self) -> dict[str, np.ndarray]:
        """One curve per group, by its label: its own where it is alone, else that of the group."""
        found = {}
        for group in dict.fromkeys(self.groups):
            members = self.members(group)
            label = self.labels[members[0]] if len(members) == 1 else f"{group}, mean of {len(members)}"
            found[label] = self.curves[members].mean(axis=0)
        return found

    def members(self, group: str) -> list[int]:
        return [place for place, other in enumerate(self.groups) if other == group]


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
        labels = tuple(f"{name}, epoch {epoch}" for name, (_, epoch) in zip(run_labels(runs), moments))
        groups = tuple(group_labels(runs))
    curves = [trend_at(run, epoch, image_shape) for run, epoch in moments]
    if len({curve.size for curve in curves}) > 1:
        raise ValueError(f"{FIGURE} compares runs with images of one size; draw the others separately")
    return Trends(2 * np.arange(1, curves[0].size + 1), np.array(curves), labels, groups, len(runs) == 1)


def trend_at(run: Run, epoch: int, given: Sequence[int] | None = None) -> np.ndarray:
    """The curve of one run after `epoch` epochs."""
    return concentric_trend(run.snapshots[epoch].layers[0].degree_pre, image_shape(run, FIGURE, given))


def noisy_sides(n_sides: int) -> int:
    """How many of the first squares are noise: those of 4 and 16 inputs, in a small image fewer."""
    return 2 if n_sides >= 6 else 1 if n_sides >= 3 else 0


def size(table: Trends) -> tuple[float, float]:
    return _style.WIDTH, sum(_heights(_parts(table)))


def _parts(table: Trends) -> list[Trends]:
    """The curves that share axes; epochs of one run always do, their colours have an order."""
    if table.over_time:
        return [table]
    parts = []
    for groups in _style.in_parts(list(dict.fromkeys(table.groups))):
        chosen = [place for place, group in enumerate(table.groups) if group in groups]
        labels, names = (tuple(texts[place] for place in chosen) for texts in (table.labels, table.groups))
        parts.append(replace(table, curves=table.curves[chosen], labels=labels, groups=names))
    return parts


def _heights(parts: list[Trends]) -> list[float]:
    return [3.4 + _style.legend_height([*part.means(), "all inputs: 0.0"]) for part in parts]


def draw(figure: Figure | SubFigure, table: Trends) -> None:
    """Curves over the side of the square, with the mean over all inputs as a dashed line.

    More groups than have colours go into several such pictures, one below the other, on the same scale.
    """
    parts = _parts(table)
    axes = [_draw_part(place, part) for place, part in zip(_style.stacked(figure, _heights(parts)), parts)]
    if len(parts) > 1:
        _style.same_scale(axes)
    _style.set_title(figure, _finding(table))


def _draw_part(figure: Figure | SubFigure, table: Trends) -> Axes:
    axes = figure.subplots()
    noisy = noisy_sides(table.sides.size)
    groups, means = list(dict.fromkeys(table.groups)), table.means()
    colours = (_style.sequence_colours if table.over_time else _style.category_colours)(len(groups))
    for group, (label, mean), colour in zip(groups, means.items(), colours):
        axes.plot(table.sides[noisy:], mean[noisy:], color=colour, lw=1.8, marker=".", ms=5, label=label)
        axes.plot(table.sides[: noisy + 1], mean[: noisy + 1], color=colour, lw=1, alpha=0.5)
        if len(members := table.members(group)) > 1:
            axes.plot(table.sides[noisy:], table.curves[members, noisy:].T, color=colour, lw=0.7, alpha=0.5)
    overall = np.array([mean[-1] for mean in means.values()])
    if np.ptp(overall) <= 1e-9 * overall.max():
        axes.axhline(overall[0], color=_style.GREY, ls="--", lw=1.2, label=f"all inputs: {overall[0]:.1f}")
    else:
        for height, colour in zip(overall, colours):
            axes.axhline(height, color=colour, ls="--", lw=1)
        axes.plot([], [], color=_style.GREY, ls="--", lw=1, label="all inputs")
    axes.set_xlabel("side of the centred square (pixels)")
    axes.set_ylabel("mean connections per input")
    axes.set_xticks(table.sides[1::2] if table.sides.size > 5 else table.sides)
    axes.grid(axis="y")
    _style.legend_below(figure, axes.get_legend_handles_labels()[0])
    return axes


def _finding(table: Trends) -> str:
    means = table.means()
    trusted = np.array(list(means.values()))[:, noisy_sides(table.sides.size) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.nan_to_num(trusted / trusted[:, -1:] - 1.0)  # NaN: no connections
    which = len(means) - 1 if table.over_time else int(np.argmax(np.abs(excess).max(axis=1)))
    place = int(np.argmax(np.abs(excess[which])))
    side, change = table.sides[-trusted.shape[1] :][place], excess[which, place]
    label = list(means)[which]
    if abs(change) < 0.005:
        return f"No centred square is denser or thinner than the whole image ({label})"
    word = "more" if change > 0 else "fewer"
    return (
        f"The central {side} x {side} has {abs(change):.0%} {word} connections per input than the whole image ({label})"
    )
