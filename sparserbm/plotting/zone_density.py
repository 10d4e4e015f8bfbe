"""Connections per input in the active zone and in the margin over the epochs, and how far that is from chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from sparserbm.plotting import _style
from sparserbm.plotting._runs import group_labels, kind, names, rule_of
from sparserbm.plotting._zone_series import ZoneSeries, finding, tally, zone_series
from sparserbm.runs import Run
from sparserbm.topology.zones import VERDICT_Z

FIGURE = "zone-density"


@dataclass(frozen=True)
class ZoneLine:
    """One run: name, group (runs of a group share a colour), model kind, rule of its zone, and its series."""

    name: str
    group: str
    kind: str
    rule: str
    series: ZoneSeries


def load(runs: list[Run], zone: np.ndarray | None = None) -> list[ZoneLine]:
    """The learning index of every run at all its snapshots.

    Parameters
    ----------
    runs : list of Run
    zone : (n_inputs,) bool, optional
        Instead of the zone of the runs.
    """
    return [
        ZoneLine(name, group, kind(run), rule_of(run) if zone is None else "", zone_series(run, FIGURE, zone))
        for run, name, group in zip(runs, names(runs), group_labels(runs))
    ]


def size(table: list[ZoneLine]) -> tuple[float, float]:
    return _style.WIDTH, sum(_heights(_parts(table)))


def _parts(table: list[ZoneLine]) -> list[list[ZoneLine]]:
    """The lines that share axes."""
    groups = _style.in_parts(list(dict.fromkeys(line.group for line in table)))
    return [[line for line in table if line.group in part] for part in groups]


def _heights(parts: list[list[ZoneLine]]) -> list[float]:
    return [4.2 + _style.legend_height(_labels(part)) for part in parts]


def draw(figure: Figure | SubFigure, table: list[ZoneLine]) -> None:
    """Above the two densities, below z with the band of no verdict; one column per model kind.

    More groups than have colours go into several such pictures, one below the other, on the same scales.
    """
    parts = _parts(table)
    scales: dict[tuple[str, int], list[Axes]] = {}
    for place, part in zip(_style.stacked(figure, _heights(parts)), parts):
        for model, column in _draw_part(place, part).items():
            for row, axes in enumerate(column):
                scales.setdefault((model, row), []).append(axes)
    for axes_of_scale in scales.values() if len(parts) > 1 else ():
        _style.same_scale(axes_of_scale)
    _style.set_title(figure, _finding(table))


def _draw_part(figure: Figure | SubFigure, table: list[ZoneLine]) -> dict[str, list[Axes]]:
    """The axes of each model kind, densities and z."""
    groups = list(dict.fromkeys(line.group for line in table))
    colour = dict(zip(groups, _style.category_colours(len(groups))))
    kinds = list(dict.fromkeys(line.kind for line in table))
    axes = figure.subplots(2, len(kinds), squeeze=False, sharex="col", height_ratios=(3, 2))
    for column, (density, deviation) in enumerate(axes.T):
        for line in (line for line in table if line.kind == kinds[column]):
            series, style = line.series, {"color": colour[line.group], "lw": 1.8 if len(table) < 8 else 1.2}
            density.plot(series.epochs, series.centre, ls="-", **style)
            density.plot(series.epochs, series.margin, ls="--", **style)
            deviation.plot(series.epochs, series.z, **style)
        verdict_band(deviation)
        _style.epoch_axis(density, label=False)
        _style.epoch_axis(deviation)
        if len(kinds) > 1:
            density.set_title(kinds[column].upper())
    axes[0, 0].set_ylabel("connections per input")
    axes[1, 0].set_ylabel("z (learning index)")
    _legend(figure, table, colour)
    return {model: list(column) for model, column in zip(kinds, axes.T)}


def verdict_band(axes) -> None:
    """The values of z that say nothing, shaded between -3 and 3."""
    axes.axhspan(-VERDICT_Z, VERDICT_Z, color="#ececec", lw=0, zorder=0)
    axes.axhline(0, color=_style.GREY, lw=0.8)
    axes.annotate(
        "chance",
        (1, -VERDICT_Z),  # the lower edge: lines fade to 0 from above more often than from below
        xycoords=("axes fraction", "data"),
        xytext=(-4, 1),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color="#555555",
        fontsize=8,
        bbox={"facecolor": "#ececec", "edgecolor": "none", "pad": 0.5},
        zorder=3,  # over the line at 0
    )


def _labels(table: list[ZoneLine]) -> list[str]:
    rules = {line.rule for line in table}
    zone = f"active zone ({rules.pop()})" if len(rules) == 1 and "" not in rules else "active zone"
    return [zone, "margin", *(dict.fromkeys(line.group for line in table) if len(table) > 1 else ())]


def _legend(figure: Figure | SubFigure, table: list[ZoneLine], colour: dict) -> None:
    zone, margin, *groups = _labels(table)
    shade = colour[table[0].group] if len(colour) == 1 else _style.GREY
    handles = [
        Line2D([], [], color=shade, ls="-", lw=1.8, label=zone),
        Line2D([], [], color=shade, ls="--", lw=1.8, label=margin),
    ]
    handles += [Line2D([], [], color=colour[group], lw=3, label=group) for group in groups]
    _style.legend_below(figure, handles)


def _finding(table: list[ZoneLine]) -> str:
    if len(table) == 1:
        return finding(table[0].series.last, table[0].series.epochs[-1])
    return f"Verdicts after the last epoch: {tally([line.series.last for line in table])}"
