"""How long connections live: the share that survives so many epochs."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import run_labels
from sparserbm.runs import Run
from sparserbm.topology import SurvivalCurve, WiringHistory, survival_curve, turnover

FIGURE = "survival"


@dataclass(frozen=True)
class Survival:
    """The newborn connections of one run.

    Attributes
    ----------
    name : str
    steps_per_epoch : float
    curve : SurvivalCurve
        Ages in steps.
    estimated : bool
        Some connections came and went between snapshots, so that only the numbers of the newborns tell of them.
    """

    name: str
    steps_per_epoch: float
    curve: SurvivalCurve
    estimated: bool


def load(runs: list[Run], first: bool = False) -> list[Survival]:
    """Survival of the connections of the first layer.

    Parameters
    ----------
    runs : list of Run
        With whole patterns in their snapshots.
    first : bool
        Count the connections of the first wiring too, and not only those that were grown.
    """
    found = []
    for run, label in zip(runs, run_labels(runs)):
        history = WiringHistory.of_run(run)
        try:
            curve = survival_curve(history, born_from=0 if first else 1)
        except ValueError as error:
            raise ValueError(f"{FIGURE}: run {label}: {error}") from None
        if not len(curve.ages):
            raise ValueError(f"{FIGURE}: no connection of run {label} died between its snapshots")
        unseen = turnover(history).unseen
        steps = 0 if history.steps is None else int(history.steps[-1])
        per_epoch = max(steps, 1) / max(int(history.epochs[-1]), 1)
        found.append(Survival(label, per_epoch, curve, unseen is not None and bool(unseen.any())))
    return found


def size(table: list[Survival]) -> tuple[float, float]:
    return _style.WIDTH, 3.9 + (_style.legend_height([one.name for one in table]) if len(table) > 1 else 0)


def draw(figure: Figure | SubFigure, table: list[Survival]) -> None:
    """Steps down at every age at which connections can die, with a band of 95 %; both scales are logarithmic."""
    axes = figure.subplots()
    colours, handles = _style.category_colours(len(table)), []
    for one, colour in zip(table, colours):
        ages, curve = one.curve.ages / one.steps_per_epoch, one.curve
        marker = "o" if len(ages) == 1 else None  # one age is no line
        (line,) = axes.step(ages, curve.survival, where="post", color=colour, label=one.name, marker=marker)
        axes.fill_between(ages, curve.lower, curve.upper, step="post", color=colour, alpha=0.2, lw=0)
        handles.append(line)
    axes.set(xlabel="age in epochs", ylabel="live longer", xscale="log", yscale="log")
    axes.set_ylim(top=1)
    _style.plain_logarithms(axes.xaxis)
    _style.plain_logarithms(axes.yaxis, percent=True)
    axes.grid(True)
    if len(table) > 1:
        _style.legend_below(figure, handles)
    _style.set_title(figure, _finding(table))


def _finding(table: list[Survival]) -> str:
    first = [f"{one.curve.survival[0]:.1%}" for one in table]
    shares = ", ".join(first)
    if len(table) > 2:
        shares = " to ".join(dict.fromkeys(sorted(first, key=lambda text: float(text[:-1]))[:: len(first) - 1]))
    found = f"Of the newborn connections {shares} live through their first event"
    if len(table) == 1:
        ages = f"{table[0].curve.ages[-1] / table[0].steps_per_epoch:.3g}"
        found += f", {table[0].curve.survival[-1]:.1%} for more than {ages} epochs"
    return found + (" (estimated: snapshots missed some)" if any(one.estimated for one in table) else "")
