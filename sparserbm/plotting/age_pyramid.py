"""How old the connections are, in the active zone and in the margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import run_labels, spread
from sparserbm.runs import Run
from sparserbm.topology import AgePyramid, WiringHistory, age_pyramid

FIGURE = "age-pyramid"
BINS = 12
MOST = 3  # pyramids of one run


@dataclass(frozen=True)
class Pyramid:
    """Ages at one moment.

    Attributes
    ----------
    title : str
    steps_per_epoch : float
    ages : AgePyramid
    share : float
        Of the inputs, those in the active zone; NaN without one.
    young : (inside, outside)
        Median ages in epochs in the active zone and in the margin, or of all and NaN.
    """

    title: str
    steps_per_epoch: float
    ages: AgePyramid
    share: float
    young: tuple[float, float]


def load(runs: list[Run], n_epochs: int | None = None) -> list[Pyramid]:
    """Three moments of one run, or the last one of each of several.

    Parameters
    ----------
    runs : list of Run
        With steps of birth in their snapshots.
    n_epochs : int, at least 2, optional
        Moments of one run.
    """
    found = []
    for run, label in zip(runs, run_labels(runs)):
        history = WiringHistory.of_run(run)
        later = [int(epoch) for epoch in history.epochs if epoch > 0] or [int(history.epochs[-1])]
        chosen = spread(later, n_epochs or MOST) if len(runs) == 1 else later[-1:]
        found += [_pyramid(run, history, epoch, f"epoch {epoch}" if len(runs) == 1 else label) for epoch in chosen]
    return found


def _pyramid(run: Run, history: WiringHistory, epoch: int, title: str) -> Pyramid:
    mask = run.zone_mask
    place = int(np.flatnonzero(history.epochs == epoch)[0])
    if history.steps is None or history.born is None:
        raise ValueError(f"{FIGURE}: run {run.name} has no steps of birth")
    per_epoch = float(history.steps[place]) / max(epoch, 1) or 1.0
    # Ages are whole epochs where events come once an epoch: bins end between them.
    width = -(-max(epoch, 1) // BINS)
    edges = per_epoch * np.concatenate([[0], np.arange(width, max(epoch, 1) + width, width) + 0.5])
    ages = age_pyramid(history, epoch=epoch, mask=mask, bins=edges)
    each = (history.steps[place] - history.born[place]) / per_epoch
    if mask is None:
        return Pyramid(title, per_epoch, ages, float("nan"), (_median(each), float("nan")))
    inside = mask[history.keys[place] % history.n_pre]
    return Pyramid(title, per_epoch, ages, float(mask.mean()), (_median(each[inside]), _median(each[~inside])))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def size(table: list[Pyramid]) -> tuple[float, float]:
    return _style.WIDTH, 0.9 + 3.0 * _rows(table)


def _rows(table: list[Pyramid]) -> int:
    return -(-len(table) // 3)


def draw(figure: Figure | SubFigure, table: list[Pyramid]) -> None:
    """The margin to the left, the active zone to the right, the oldest on top: connections per input of each."""
    columns = min(3, len(table))
    panels = figure.subplots(_rows(table), columns, squeeze=False)
    for place in panels.flat[len(table) :]:
        place.axis("off")
    for panel, one in zip(panels.flat, table):
        _draw(panel, one)
    for row in panels:
        row[0].set_ylabel("age in epochs")
    if len(table) > 1:
        figure.supxlabel("each panel on a scale of its own", fontsize=9, color=_style.GREY)
    _style.set_title(figure, _finding(table))


def _draw(axes: Axes, one: Pyramid) -> None:
    edges = one.ages.edges / one.steps_per_epoch
    heights, total = np.diff(edges), one.ages.counts.sum()
    if one.ages.inside is None or one.ages.outside is None:
        axes.barh(edges[:-1], one.ages.counts / total, heights, align="edge", color=_style.CATEGORIES[0])
        axes.set_xlabel("share of connections")
    else:
        # Per input, so that zones of different size compare.
        right, left = one.ages.inside / one.share, one.ages.outside / (1 - one.share)
        scale = max(right.max(), left.max(), 1e-12)
        axes.barh(edges[:-1], right / scale, heights, align="edge", color=_style.CATEGORIES[1])
        axes.barh(edges[:-1], -left / scale, heights, align="edge", color=_style.CATEGORIES[0])
        axes.axvline(0, color="black", lw=0.8)
        axes.set_xlim(-1.05, 1.05)
        axes.set_xticks([-0.5, 0.5], ["margin", "active zone"])
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("connections per input")
    axes.set(title=one.title, ylim=(0, edges[-1]))


def _finding(table: list[Pyramid]) -> str:
    inside, outside = (f"{age:.3g}" for age in table[-1].young)
    if inside == outside == "nan":
        return f"There are no connections ({table[-1].title})"
    if "nan" in (inside, outside):
        only = inside if outside == "nan" else outside
        where = "" if np.isnan(table[-1].share) else f" in the {'active zone' if outside == 'nan' else 'margin'}"
        return f"Half of the connections{where} are at most {only} epochs old ({table[-1].title})"
    return (
        f"Half of the connections are at most {inside} epochs old in the active zone, {outside} in the margin "
        f"({table[-1].title})"
    )
