"""In-time over-parameterisation: the share of a layer's places that has had a connection so far."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from sparserbm.plotting import _style
from sparserbm.plotting._runs import group_labels
from sparserbm.runs import Run
from sparserbm.topology import Explored, WiringHistory, explored

SEEN, MOST = "seen in snapshots", "at most: whoever no snapshot saw at a place of its own"


@dataclass(frozen=True)
class Tried:
    """One run: its group (runs of a group share a colour), and what it has tried."""

    group: str
    explored: Explored


def load(runs: list[Run], layer: int = 0) -> list[Tried]:
    """What the runs have tried, by the snapshots that hold whole patterns.

    Parameters
    ----------
    runs : list of Run
    layer : int
        Matrix of connections, from 0 at the input.
    """
    return [Tried(group, explored(WiringHistory.of_run(run, layer))) for run, group in zip(runs, group_labels(runs))]


def size(table: list[Tried]) -> tuple[float, float]:
    return _style.WIDTH, 3.6 + _style.legend_height([SEEN, MOST] if len(table) == 1 else _groups(table))


def draw(figure: Figure | SubFigure, table: list[Tried]) -> None:
    """A line for each run, by what snapshots saw; a single run has its upper bound beside it."""
    axes = figure.subplots()
    colours = dict(zip(_groups(table), _style.category_colours(len(_groups(table)))))
    handles = [Line2D([], [], color=colour, label=group) for group, colour in colours.items()]
    for one in table:
        axes.plot(one.explored.epochs, 100 * one.explored.share, color=colours[one.group], lw=1.6)
    if len(table) == 1:
        found, colour = table[0].explored, colours[table[0].group]
        handles = [Line2D([], [], color=colour, label=SEEN)]
        if found.at_most is not None and not _exact(found):
            handles += axes.plot(found.epochs, 100 * found.at_most, color=colour, lw=1.2, ls=":", label=MOST)
    axes.set_ylabel("places that had a connection (%)")
    axes.set_ylim(0)
    _style.epoch_axis(axes)
    _style.legend_below(figure, handles)
    _style.set_title(figure, _finding(table))


def _exact(found: Explored) -> bool:
    return found.at_most is not None and bool(found.at_most[-1] == found.share[-1])


def _groups(table: list[Tried]) -> list[str]:
    return list(dict.fromkeys(one.group for one in table))


def _finding(table: list[Tried]) -> str:
    seen = [one.explored.share[-1] for one in table]
    share = " to ".join(dict.fromkeys((f"{min(seen):.0%}", f"{max(seen):.0%}")))
    epoch = max(one.explored.epochs[-1] for one in table)
    at_first = f"{min(one.explored.share[0] for one in table):.1%} at first"
    bound = "" if all(_exact(one.explored) for one in table) else "At least "
    return f"{bound}{share} of the places had a connection by epoch {epoch}, {at_first}"
