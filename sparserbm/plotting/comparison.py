"""Runs side by side: how far their topologies are apart, where their connections are, what they achieve."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sparserbm.plotting import _style
from sparserbm.plotting._p_values import p_number
from sparserbm.plotting._runs import epochs_of, last_value, names
from sparserbm.plotting._zone_series import index_at
from sparserbm.plotting.topology_distance import last_layers
from sparserbm.runs import Run
from sparserbm.topology import LearningIndex, distances
from sparserbm.topology.zones import VERDICT_Z

FIGURE = "comparison"
# Metric of the last epoch -> how it is called, and how it is written.
METRICS = {
    "loss": ("training loss", ".4g"),
    "validation_loss": ("validation loss", ".4g"),
    "accuracy": ("training accuracy", ".2%"),
    "validation_accuracy": ("validation accuracy", ".2%"),
    "free_energy_gap": ("free-energy gap", "+.3g"),
    "pseudo_likelihood": ("pseudo-likelihood", ".4g"),
}


@dataclass(frozen=True)
class Comparison:
    """Runs after their last epochs.

    Attributes
    ----------
    names : tuple of str
    epochs : tuple of int
    connections : tuple of int
        Of all layers.
    indices : tuple of LearningIndex or None
        Of runs with an active zone.
    metrics : dict of str to (n_runs,) float
        NaN where a run did not measure it; only those that some run did.
    distance, null : (n_runs, n_runs) float, or None
        Between the last topologies, as `topology.distances` gives them; NaN for two nets that do not compare, None
        where none do.
    why : str
        Why there are no distances.
    """

    names: tuple[str, ...]
    epochs: tuple[int, ...]
    connections: tuple[int, ...]
    indices: tuple[LearningIndex | None, ...]
    metrics: dict[str, np.ndarray]
    distance: np.ndarray | None
    null: np.ndarray | None
    why: str = ""

    def rows(self) -> list[tuple[str, list[str]]]:
        """What is compared, and its values as text, run by run."""
        found = [
            ("epochs", [str(epoch) for epoch in self.epochs]),
            ("connections", [f"{count:,}" for count in self.connections]),
        ]
        for key, values in self.metrics.items():
            title, form = METRICS[key]
            found.append((title, ["-" if math.isnan(value) else format(value, form) for value in values]))
        if any(index is not None for index in self.indices):
            for title, form in (
                ("centre_density", ".2f"),
                ("margin_density", ".2f"),
                ("index", "+.3f"),
                ("z", "+.1f"),
                ("p", ".2g"),
                ("verdict", ""),
            ):
                texts = [
                    "-" if index is None else p_number(index.p) if title == "p" else format(getattr(index, title), form)
                    for index in self.indices
                ]
                found.append((title.replace("_", " "), texts))
        if self.distance is not None and self.null is not None:
            for place, name in enumerate(self.names):
                texts = [
                    "0" if place == other else _distance_text(self.distance[place, other], self.null[place, other])
                    for other in range(len(self.names))
                ]
                found.append((f"distance to {name} (random nets)", texts))
        return found


def _distance_text(distance: float, null: float) -> str:
    return "-" if math.isnan(distance) else f"{distance:.3f} ({null:.3f})"


def load(runs: list[Run]) -> Comparison:
    """The last figures of the runs, and the distances between the newest whole patterns that they have kept.

    Parameters
    ----------
    runs : list of Run
        At least two.
    """
    if len(runs) < 2:
        raise ValueError(f"{FIGURE} needs two runs or more; give another run folder")
    distance = null = None
    why = ""
    try:
        distance, null = _distances(runs)
    except ValueError as error:
        why = str(error)
    indices = [None if run.zone_mask is None else index_at(run, epochs_of(run)[-1], FIGURE) for run in runs]
    last = [run.snapshots[epochs_of(run)[-1]] for run in runs]
    metrics = {key: np.array([last_value(run, key) for run in runs]) for key in METRICS}
    return Comparison(
        tuple(names(runs)),
        tuple(shot.epoch for shot in last),
        tuple(sum(int(layer.degree_pre.sum()) for layer in shot.layers) for shot in last),
        tuple(indices),
        {key: values for key, values in metrics.items() if not np.isnan(values).all()},
        distance,
        null,
        why,
    )


def _distances(runs: list[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Of all pairs; NaN where the nets have other numbers of layers or inputs."""
    nets = [last_layers(run) for run in runs]
    kinds = [(len(net), net[0][2]) for net in nets]
    if len(set(kinds)) == len(runs):
        texts = (f"{name}: {layers} over {inputs} inputs" for name, (layers, inputs) in zip(names(runs), kinds))
        raise ValueError(f"the nets have other numbers of layers or inputs ({'; '.join(texts)})")
    distance, null = (np.full((len(runs), len(runs)), np.nan) for _ in range(2))
    for kind in dict.fromkeys(kinds):
        places = np.array([place for place, other in enumerate(kinds) if other == kind])
        distance[np.ix_(places, places)], null[np.ix_(places, places)] = distances([nets[place] for place in places])
    return distance, null


def size(table: Comparison) -> tuple[float, float]:
    return _style.WIDTH, 1.6 + 0.36 * len(table.names)


def draw(figure: Figure | SubFigure, table: Comparison) -> None:
    """A line for each run: distances to all others, learning index, and the figure that says most of its model."""
    shown = [key for key in ("validation_accuracy", "validation_loss", "loss") if key in table.metrics][:1]
    panels = (table.distance is not None) + any(table.indices) + len(shown)
    axes = list(figure.subplots(1, max(panels, 1), sharey=True, squeeze=False)[0])
    places = np.arange(len(table.names))
    axes[0].set_yticks(places, [textwrap.shorten(name, 28, placeholder="...") for name in table.names])
    axes[0].set_ylim(len(places) - 0.5, -0.5)
    if table.distance is not None:
        _draw_distances(axes.pop(0), table)
    if any(table.indices):
        panel = axes.pop(0)
        _dots(panel, places, [math.nan if index is None else index.z for index in table.indices])
        panel.axvspan(-VERDICT_Z, VERDICT_Z, color="#ececec", lw=0, zorder=0)
        panel.set(xlabel="z (grey: chance)", title="learning index")
    for key, panel in zip(shown, axes):
        _dots(panel, places, table.metrics[key])
        panel.set(xlabel="last epoch", title=METRICS[key][0])
        panel.xaxis.set_major_locator(MaxNLocator(nbins=3))
        if METRICS[key][1].endswith("%"):
            panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
        for place in np.flatnonzero(np.isnan(table.metrics[key])):
            where = {"transform": panel.get_yaxis_transform(), "ha": "center", "va": "center"}
            panel.text(0.5, place, "not measured", fontsize=8, color=_style.GREY, **where)
    _style.set_title(figure, _finding(table))


def _draw_distances(axes: Axes, table: Comparison) -> None:
    assert table.distance is not None
    axes.imshow(table.distance, cmap=_style.SEQUENCE, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(table.names)), [str(place + 1) for place in range(len(table.names))])
    axes.set(xlabel="run", title="distance (NNSTD)")
    if len(table.names) <= 8:
        for i, j in np.ndindex(table.distance.shape):
            if i != j and not math.isnan(table.distance[i, j]):
                value = table.distance[i, j]
                colour = "white" if value < 0.6 else "black"
                axes.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", color=colour, fontsize=8)


def _dots(axes: Axes, places: np.ndarray, values: np.ndarray | list[float]) -> None:
    axes.plot(values, places, "o", color=_style.CATEGORIES[0], ms=5)
    axes.grid(axis="x")


def _finding(table: Comparison) -> str:
    if table.distance is None or table.null is None:
        return f"{len(table.names)} runs side by side"
    apart = table.distance[np.triu_indices(len(table.names), 1)]
    null = table.null[np.triu_indices(len(table.names), 1)]
    between = " to ".join(dict.fromkeys(f"{value:.2f}" for value in (np.nanmin(apart), np.nanmax(apart))))
    return f"Topologies {between} apart; random ones with as many connections {np.nanmean(null):.2f}"
