"""How many units have how many connections, before and after training, with the laws fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import cell_labels, epochs_of, kind, names
from sparserbm.runs import Run
from sparserbm.topology import PowerLawFit, power_law
from sparserbm.topology.degree_laws import SMALLEST_TAIL

FIGURE = "degree-distribution"
SIDES = {"post": "hidden units", "pre": "inputs"}
WORDS = {
    "power law": "a power law",
    "lognormal": "lognormal",
    "binomial": "binomial, as at random",
    "light tail": "a light tail",
    "undecided": "undecided",
}


@dataclass(frozen=True)
class Degrees:
    """Degrees of one side of the first layer at two epochs, of one run or of several taken together.

    Attributes
    ----------
    side : {"post", "pre"}
    what : str
        The units of that side.
    name : str
        Of the run, or how many there are.
    epochs : (first, last)
        Of the first run.
    degrees : two arrays (n_units,) int
        Units of all runs.
    random : (n_degrees,) float
        Expected share of units with at least 0, 1, 2 ... connections in a random wiring with as many connections.
    fit : PowerLawFit or None
        At the last epoch; None where no law can be fitted.
    """

    side: str
    what: str
    name: str
    epochs: tuple[int, int]
    degrees: tuple[np.ndarray, np.ndarray]
    random: np.ndarray
    fit: PowerLawFit | None


def load(runs: list[Run], layer: int = 0, bootstrap: int = 200) -> list[Degrees]:
    """Degrees of both sides of a layer; the units of several runs are taken together.

    Parameters
    ----------
    runs : list of Run
        Several: of one setting, so that their degrees are draws of the same thing.
    layer : int
        Matrix of connections, from 0 at the input.
    bootstrap : int
        Samples for the p value of the power law.
    """
    _check(runs, layer)
    return [_degrees(runs, side, layer, bootstrap) for side in SIDES]


def _check(runs: list[Run], layer: int) -> None:
    """That all have this layer, and are draws of one setting."""
    cells, nets = cell_labels(runs), []
    for run, cell in zip(runs, cells):
        layers = run.snapshots[epochs_of(run)[0]].layers
        if not 0 <= layer < len(layers):
            raise ValueError(f"{FIGURE}: run {run.name} has no layer {layer}; it has 0 to {len(layers) - 1}")
        setting = cell if len(set(cells)) > 1 else kind(run).upper()
        nets.append(f"{setting} {len(layers[layer].degree_pre)} x {len(layers[layer].degree_post)}")
    if len(different := list(dict.fromkeys(nets))) > 1:
        raise ValueError(
            f"{FIGURE} takes the units of all runs together, and these are different nets: {'; '.join(different)}; "
            f"draw them separately"
        )


def _degrees(runs: list[Run], side: str, layer: int, bootstrap: int) -> Degrees:
    from scipy.stats import binom

    ends = [(epochs_of(run)[0], epochs_of(run)[-1]) for run in runs]
    shown = [
        np.concatenate(
            [getattr(run.snapshots[epochs[place]].layers[layer], f"degree_{side}") for run, epochs in zip(runs, ends)]
        )
        for place in (0, 1)
    ]
    other = len(getattr(runs[0].snapshots[ends[0][0]].layers[layer], f"degree_{'pre' if side == 'post' else 'post'}"))
    largest = max(int(each.max()) for each in shown)
    some = np.unique(shown[1][shown[1] > 0]).size > 1
    fit = power_law(shown[1], n_other=other, bootstrap=bootstrap) if some else None
    return Degrees(
        side,
        SIDES[side] if layer == 0 else f"units {'behind' if side == 'post' else 'before'} layer {layer}",
        names(runs)[0] if len(runs) == 1 else f"{len(runs)} runs",
        ends[0],
        (shown[0], shown[1]),
        binom.sf(np.arange(largest + 1) - 1, other, shown[1].mean() / other),
        fit,
    )


def size(table: list[Degrees]) -> tuple[float, float]:
    return _style.WIDTH, 3.9


def draw(figure: Figure | SubFigure, table: list[Degrees]) -> None:
    """Share of units with at least so many connections, on logarithmic scales; a power law is a straight line there."""
    panels = figure.subplots(1, len(table), sharey=True, squeeze=False)[0]
    for panel, one in zip(panels, table):
        _draw(panel, one)
    panels[0].set_ylabel("units with at least as many")
    _style.legend_below(figure, panels[0].get_legend_handles_labels()[0])
    _style.set_title(figure, _finding(table))


def _draw(axes: Axes, one: Degrees) -> None:
    n = len(one.degrees[1])
    for place, (epoch, degrees) in enumerate(zip(one.epochs, one.degrees)):
        values, share = at_least(degrees)
        colour = (_style.GREY, _style.CATEGORIES[0])[place]
        axes.plot(
            values,
            share,
            "os"[place],
            ms=3.5,
            mfc="none" if place == 0 else colour,
            color=colour,
            label=f"epoch {epoch}",
        )
    grid = np.arange(1, len(one.random))
    axes.plot(grid, one.random[1:], "--", color=_style.GREY, lw=1, label="random wiring")
    if one.fit is not None and one.fit.n_tail >= SMALLEST_TAIL:
        tail = np.arange(one.fit.d_min, len(one.random))
        text = f"power law, exponent {one.fit.alpha:.1f}"
        axes.plot(
            tail,
            one.fit.survival(tail),
            color=_style.CATEGORIES[1],
            lw=1.4,
            label="power law",
        )
        p = "" if one.fit.p is None else "\np < 0.01" if one.fit.p < 0.01 else f"\np = {one.fit.p:.2f}"
        axes.text(0.04, 0.05, f"{text}\nfrom {one.fit.d_min} on{p}", transform=axes.transAxes, fontsize=8)
    fewest = min(int(each[each > 0].min()) for each in one.degrees if each.any()) if one.random.size > 1 else 1
    limits = (max(0.8, 0.7 * fewest), None)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=(0.5 / n, 1.5), xlabel="connections", title=one.what)
    _style.plain_logarithms(axes.xaxis)
    _style.plain_logarithms(axes.yaxis, percent=True)


def at_least(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees that occur, above 0, and the share of all units that have at least so many."""
    values, counts = np.unique(degrees, return_counts=True)
    share = counts[::-1].cumsum()[::-1] / len(degrees)
    return values[values > 0], share[values > 0]


def _finding(table: list[Degrees]) -> str:
    words = [f"{one.what}: {'all alike' if one.fit is None else WORDS[one.fit.verdict]}" for one in table]
    return f"Degrees after epoch {table[0].epochs[1]}, {table[0].name}: {'; '.join(words)}"
