"""A study in one picture: sign of learning and quality of the model against the strength of L2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter

from sparserbm.plotting import _style
from sparserbm.plotting._runs import epochs_of, kind, last_value, study_of
from sparserbm.plotting._zone_series import index_at, signed
from sparserbm.plotting.zone_density import verdict_band
from sparserbm.runs import Run

FIGURE = "study-summary"
QUALITY = {"mlp": "accuracy", "rbm": "reconstruction error"}  # mean squared error


@dataclass(frozen=True)
class Study:
    """One entry per run of the study, all (n_runs,).

    Attributes
    ----------
    model : str
    l2 : float, or text where the strength is a schedule
    z, index : float
        Learning index at the last snapshot.
    verdict : str
    quality : float
        Validation accuracy of an MLP (a share), validation reconstruction error of an RBM.
    """

    model: np.ndarray
    l2: np.ndarray
    z: np.ndarray
    index: np.ndarray
    verdict: np.ndarray
    quality: np.ndarray


def in_study(runs: list[Run]) -> list[Run]:
    """The runs that belong to a study over L2."""
    return [run for run in runs if "l2" in study_of(run)]


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
    found = [index_at(run, epochs_of(run)[-1], FIGURE, zone) for run in members]
    return Study(
        np.array([kind(run) for run in members], dtype=object),
        np.array([study_of(run)["l2"] for run in members], dtype=object),
        np.array([one.z for one in found]),
        np.array([one.index for one in found]),
        np.array([one.verdict for one in found], dtype=object),
        np.array([_quality(run) for run in members]),
    )


def _quality(run: Run) -> float:
    if kind(run) == "rbm":
        return last_value(run, "validation_loss")
    return last_value(run, "validation_accuracy")


def size(table: Study) -> tuple[float, float]:
    return _style.WIDTH, 5.2


def draw(figure: Figure | SubFigure, table: Study, measure: str = "z") -> None:
    """Means as lines, seeds as dots; above the learning index, below the quality per model kind.

    Parameters
    ----------
    figure : Figure or SubFigure
    table : Study
    measure : {"z", "index"}
        What to draw above: the deviation from chance, or log(centre density / margin density).
    """
    if measure not in ("z", "index"):
        raise ValueError(f"measure={measure!r} is not known; use 'z' or 'index'")
    models = list(dict.fromkeys(table.model))
    colour = dict(zip(models, _style.category_colours(len(models))))
    strengths = sorted(set(table.l2), key=lambda value: (isinstance(value, str), value))
    axes = figure.subplot_mosaic([["above"] * len(models), models], height_ratios=(5, 4))
    above = axes["above"]
    for number, model in enumerate(models):
        shift = 0.08 * (number - (len(models) - 1) / 2)
        for place, values in ((above, getattr(table, measure)), (axes[model], table.quality)):
            _points(place, table, model, values, strengths, colour[model], shift if place is above else 0.0)
        label = QUALITY.get(model, "accuracy")
        axes[model].set_title(f"{model.upper()}: validation {label}", loc="left")
        if label == "accuracy":
            axes[model].yaxis.set_major_formatter(PercentFormatter(1.0))
    if measure == "z":
        verdict_band(above)
    else:
        above.axhline(0, color=_style.GREY, lw=0.8)
    above.set_ylabel("z (learning index)" if measure == "z" else "learning index")
    for place in axes.values():
        _strength_axis(place, strengths)
    if len(models) > 1:
        above.legend(loc="best")
    _style.set_title(figure, _finding(table, strengths))


def _points(
    axes: Axes, table: Study, model: str, values: np.ndarray, strengths: list, colour: str, shift: float
) -> None:
    places, means = [], []
    for place, strength in enumerate(strengths):
        chosen = values[(table.model == model) & (table.l2 == strength)]
        chosen = chosen[np.isfinite(chosen)]
        if chosen.size:
            axes.plot(np.full(chosen.size, place + shift), chosen, "o", color=colour, ms=5, alpha=0.5, mew=0)
            places.append(place + shift)
            means.append(chosen.mean())
    if not means:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=_style.GREY)
    axes.plot(places, means, color=colour, lw=1.8, marker="_", ms=12, mew=2, label=f"{model.upper()}, mean")


def _strength_axis(axes: Axes, strengths: list) -> None:
    # equal steps, since 0 has no place on a logarithmic axis
    axes.set_xticks(range(len(strengths)), [_text(s) for s in strengths])
    axes.set_xlim(-0.4, len(strengths) - 0.6)
    axes.set_xlabel("L2 strength")
    axes.grid(axis="y")


def _finding(table: Study, strengths: list) -> str:
    """Where the mean z of each model is lowest and highest."""
    parts = []
    for model in dict.fromkeys(table.model):
        mean = {s: table.z[(table.model == model) & (table.l2 == s)] for s in strengths}
        mean = {s: float(z.mean()) for s, z in mean.items() if z.size}
        low, high = min(mean, key=mean.__getitem__), max(mean, key=mean.__getitem__)
        ends = f"from {signed(mean[low])} (L2 {_text(low)}) to " if low != high else ""
        parts.append(f"{model.upper()}: mean z {ends}{signed(mean[high])} (L2 {_text(high)})")
    return "; ".join(parts)


def _text(strength: float | str) -> str:
    return strength if isinstance(strength, str) else f"{strength:g}"
