"""The curves of the report: what was measured of every run, epoch by epoch, and the panels that show it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from sparserbm.plotting import learning_curves
from sparserbm.plotting._runs import epochs_of, names, spread
from sparserbm.plotting._zone_series import MOST, index_at
from sparserbm.runs import Run

POINTS = 24_000  # of the lines of one quantity in all runs: with many runs each has fewer
SHARES = {"low": 0.1, "middle": 0.5, "high": 0.9}
DIGITS = 6

Series = dict[str, dict[str, list]]


def most_points(n_runs: int) -> int:
    """How many points a line may have: 200, or fewer where there are more than 120 runs."""
    return max(2, min(MOST, POINTS // n_runs))


def topology_series(run: Run, limit: int, stops: Collection[int] = ()) -> Series:
    """z and the densities of active zone and margin; without a zone, how evenly the inputs share the connections.

    Parameters
    ----------
    run : Run
    limit : int, at least 2
        Epochs, evenly spaced.
    stops : collection of int
        Epochs beside these, at which the slider stops.

    Raises
    ------
    ValueError
        If the run has no snapshot.
    """
    epochs = sorted({*spread(epochs_of(run), limit), *stops})
    if run.zone_mask is not None:
        found = [index_at(run, epoch, "report") for epoch in epochs]
        columns = {"z": "z", "centre": "centre_density", "margin": "margin_density"}
        lines = {key: np.array([getattr(one, name) for one in found]) for key, name in columns.items()}
    else:
        degrees = (run.snapshots[epoch].layers[0].degree_pre for epoch in epochs)
        shares = np.array([np.quantile(one, list(SHARES.values())) for one in degrees])
        lines = dict(zip(SHARES, shares.T))
    return {key: _series(epochs, values, len(epochs), ()) for key, values in lines.items()}


def _series(
    epochs: Sequence[int] | np.ndarray, values: np.ndarray, limit: int, stops: Collection[int]
) -> dict[str, list]:
    """The epochs at which a quantity was measured, `limit` of them and those in `stops`, and its values."""
    measured = np.flatnonzero(np.isfinite(values)).tolist()
    kept = spread(measured, max(2, limit)) if measured else []
    places = sorted({*kept, *(place for place in measured if epochs[place] in stops)})
    return {
        "epochs": [int(epochs[place]) for place in places],
        "values": [float(f"{values[place]:.{DIGITS}g}") for place in places],
    }


def learning_panels(
    runs: list[Run], limit: int, stops: Sequence[Collection[int]]
) -> tuple[list[dict[str, Any]], list[Series]]:
    """Panels of loss and quality, and for every run the series in them; `stops` is those of each run.

    Raises
    ------
    ValueError
        If no run has any.
    """
    tables = learning_curves.load(runs)
    place = {name: number for number, name in enumerate(names(runs))}
    several = len({table.kind for table in tables}) > 1
    series: list[Series] = [{} for _ in runs]
    panels = []
    for table in tables:
        metric, held_out = table.metric, f"validation_{table.metric}"
        for curve in table.curves:
            number = place[curve.name]
            series[number][metric] = _series(curve.epochs, curve.train, limit, stops[number])
            if table.split:
                series[number][held_out] = _series(curve.epochs, curve.validation, limit, stops[number])
        lines = [_line(held_out, "validation"), _line(metric, "training", dashed=True)]
        if not table.split:  # a figure of both sets, or of one by its name
            lines = [_line(metric, metric.replace("_", " "))]
        title = table.label[0].upper() + table.label[1:]
        panel = _panel(f"{title}, {table.kind.upper()}" if several else title, lines)
        panel |= {"kind": table.kind, "percent": metric == "accuracy"}
        panels.append(panel)
    return panels, series


def topology_panels(series: list[Series]) -> list[dict[str, Any]]:
    """The panels that these series fill."""
    panels = []
    if any("z" in one for one in series):
        panels.append(_panel("Learning index, z", [_line("z", "z")]) | {"band": True})
        lines = [_line("centre", "active zone"), _line("margin", "margin", dashed=True)]
        panels.append(_panel("Connections per input", lines))
    if any("middle" in one for one in series):
        lines = [_line("middle", "half of the inputs have no more than"), _line("low", "a tenth", dashed=True)]
        lines.append(_line("high", "nine tenths", dashed=True))
        panels.append(_panel("Connections per input (runs without a zone)", lines))
    return panels


def _panel(title: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "lines": lines, "kind": None, "percent": False, "band": False}


def _line(key: str, name: str, dashed: bool = False) -> dict[str, Any]:
    return {"key": key, "name": name, "dashed": dashed}
