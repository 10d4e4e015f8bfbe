"""A study in one picture: sign of learning and quality of the model for every cell of its grid."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sparserbm.plotting import _style
from sparserbm.plotting._runs import cell_labels, epochs_of, kind, last_value, study_of
from sparserbm.plotting._zone_series import index_at, signed
from sparserbm.runs import Run
from sparserbm.topology.zones import VERDICT_Z

FIGURE = "study-summary"
QUALITY = {"mlp": "accuracy", "rbm": "reconstruction error"}  # mean squared error
CHANCE = "#dcdcdc"  # behind the values of z that have no verdict
LABEL = 34  # characters in one line of a label


@dataclass(frozen=True)
class Study:
    """One entry per run of the study, all (n_runs,); runs of a cell stand together.

    Attributes
    ----------
    model : str
    cell : str
        The settings that differ between the cells; "" where only the models differ.
    z, index : float
        Learning index at the last snapshot.
    verdict : str
    quality : float
        Validation accuracy of an MLP (a share), validation reconstruction error of an RBM.
    """

    model: np.ndarray
    cell: np.ndarray
    z: np.ndarray
    index: np.ndarray
    verdict: np.ndarray
    quality: np.ndarray

    def cells(self, model: str) -> list[str]:
        """The cells of a model, in order."""
        return list(dict.fromkeys(self.cell[self.model == model]))

    def of(self, values: np.ndarray, model: str, cell: str) -> np.ndarray:
        """The finite ones of a cell's values."""
        chosen = values[(self.model == model) & (self.cell == cell)]
        return chosen[np.isfinite(chosen)]


def in_study(runs: list[Run]) -> list[Run]:
    """The runs that belong to a study."""
    return [run for run in runs if study_of(run)]


def load(runs: list[Run], zone: np.ndarray | None = None) -> Study:
    """The last epoch of every run that has a study entry; other runs are left out.

    Raises
    ------
    ValueError
        If no run belongs to a study.
    """
    members = in_study(runs)
    if not members:
        raise ValueError(
            f"{FIGURE} compares the runs of a study, but none of the {len(runs)} runs has a study entry; "
            f"give folders that `sparserbm study` wrote"
        )
    members = _in_order(members)
    found = [index_at(run, epochs_of(run)[-1], FIGURE, zone) for run in members]
    return Study(
        np.array([kind(run) for run in members], dtype=object),
        np.array(cell_labels(members, without=("model", "seed")), dtype=object),
        np.array([one.z for one in found]),
        np.array([one.index for one in found]),
        np.array([one.verdict for one in found], dtype=object),
        np.array([_quality(run) for run in members]),
    )


def _in_order(runs: list[Run]) -> list[Run]:
    """Runs by model, then by the values of one key after the other: numbers by size, anything else as it comes."""
    keys = dict.fromkeys(key for run in runs for key in study_of(run) if key != "model")
    ranks = [_rank([kind(run) for run in runs]), *(_rank([study_of(run).get(key) for run in runs]) for key in keys)]
    return [runs[place] for place in sorted(range(len(runs)), key=lambda place: [rank[place] for rank in ranks])]


def _rank(values: Sequence[Any]) -> list[tuple[int, float]]:
    return [(0, value) if isinstance(value, (int, float)) else (1, values.index(value)) for value in values]


def _quality(run: Run) -> float:
    if kind(run) == "rbm":
        return last_value(run, "validation_loss")
    return last_value(run, "validation_accuracy")


def size(table: Study) -> tuple[float, float]:
    return _style.WIDTH, 0.9 + sum(_heights(table))


def _heights(table: Study) -> list[float]:
    """Inches of each model's axes, with their title and labels."""
    heights = []
    for model in dict.fromkeys(table.model):
        cells = table.cells(model)
        lines = max(_label(cell).count("\n") + 1 for cell in cells)
        heights.append(0.75 + len(cells) * (0.14 + 0.14 * lines))
    return heights


def _label(cell: str) -> str:
    """The settings of a cell, as many in a line as fit."""
    lines: list[str] = []
    for setting in cell.split(", "):
        if lines and len(lines[-1]) + len(setting) + 2 <= LABEL:
            lines[-1] += f", {setting}"
        else:
            lines += textwrap.wrap(setting, LABEL)
    return "\n".join(lines)


def draw(figure: Figure | SubFigure, table: Study, measure: str = "z") -> None:
    """One row per cell: runs as dots, their mean as a bar; left the learning index, right the quality.

    Parameters
    ----------
    figure : Figure or SubFigure
    table : Study
    measure : {"z", "index"}
        What to draw on the left: the deviation from chance, or log(centre density / margin density).
    """
    if measure not in ("z", "index"):
        raise ValueError(f"measure={measure!r} is not known; use 'z' or 'index'")
    models = list(dict.fromkeys(table.model))
    axes = figure.subplots(len(models), 2, squeeze=False, sharey="row", height_ratios=_heights(table))
    for (left, right), model, colour in zip(axes, models, _style.category_colours(len(models))):
        _rows(left, table, model, getattr(table, measure), colour)
        _rows(right, table, model, table.quality, colour)
        left.set_title(model.upper(), loc="left", fontweight="bold")
        left.set_xlabel("z (learning index)" if measure == "z" else "learning index")
        label = QUALITY.get(model, "accuracy")
        right.set_xlabel(textwrap.fill(f"validation {label}", 24))
        if label == "accuracy":
            right.xaxis.set_major_formatter(PercentFormatter(1.0))
    limits = np.array([left.get_xlim() for left in axes[:, 0]] + [(0.0, 0.0)])
    if measure == "z" and np.abs(limits).max() < 3.5:
        limits = np.array([-3.5, 3.5])  # the ends of the band should be seen
    for left in axes[:, 0]:
        left.set_xlim(limits.min(), limits.max())  # one scale for all models
        left.axvline(0, color=_style.GREY, lw=0.8, zorder=1)
        if measure == "z":
            left.axvspan(-VERDICT_Z, VERDICT_Z, color=CHANCE, lw=0, zorder=0.5)
    dot = Line2D([], [], color=_style.GREY, label="one run", ls="", marker="o", ms=5, alpha=0.5, mew=0)
    bar = Line2D([], [], color=_style.GREY, label="mean", ls="", marker="|", ms=11, mew=2)
    chance = [Patch(color=CHANCE, label=f"no verdict (|z| < {VERDICT_Z:g})")] if measure == "z" else []
    _style.legend_below(figure, [dot, bar, *chance])
    _style.set_title(figure, _finding(table))


def _rows(axes: Axes, table: Study, model: str, values: np.ndarray, colour: Any) -> None:
    cells = table.cells(model)
    for place, cell in enumerate(cells):
        if place % 2 == 0 and len(cells) > 2:
            axes.axhspan(place - 0.5, place + 0.5, color="#f3f3f3", lw=0, zorder=0)
        chosen = table.of(values, model, cell)
        axes.plot(chosen, np.full(chosen.size, place), "o", color=colour, ms=5, alpha=0.5, mew=0)
        if chosen.size:
            axes.plot(chosen.mean(), place, color=colour, marker="|", ms=11, mew=2)
    if not np.isfinite(values[table.model == model]).any():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=_style.GREY)
    axes.set_yticks(range(len(cells)), [_label(cell) for cell in cells])
    axes.set_ylim(len(cells) - 0.5, -0.5)  # the first cell on top
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.grid(axis="x")


def _finding(table: Study) -> str:
    """Where the mean z of each model is lowest and highest."""
    parts = []
    for model in dict.fromkeys(table.model):
        values = {cell: table.of(table.z, model, cell) for cell in table.cells(model)}
        means = {cell: float(z.mean()) for cell, z in values.items() if z.size}
        if not means:
            continue
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        ends = f"from {signed(means[low])}{_where(low)} to " if low != high else ""
        parts.append(f"{model.upper()}: mean z {ends}{signed(means[high])}{_where(high)}")
    return "; ".join(parts) or "No run has connections"


def _where(cell: str) -> str:
    return f" ({cell})" if cell else ""
