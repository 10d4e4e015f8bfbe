"""How far topologies are apart: of runs at their start and end, or of one run over its epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import run_labels, spread
from sparserbm.runs import Run, Snapshot
from sparserbm.topology import distances

FIGURE = "topology-distance"
MOST = 12  # snapshots of one run; every pair is an assignment


@dataclass(frozen=True)
class Distances:
    """Distances (NNSTD) between topologies.

    Attributes
    ----------
    labels : tuple of str
        Of the topologies, run by run.
    runs : (n,) int
        The run that each belongs to.
    epochs : (n,) int
    distance, null : (n, n) float
        As `topology.distances` gives them.
    names : tuple of str
        Of the runs.
    """

    labels: tuple[str, ...]
    runs: np.ndarray
    epochs: np.ndarray
    distance: np.ndarray
    null: np.ndarray
    names: tuple[str, ...]


def load(runs: list[Run], n_epochs: int | None = None) -> Distances:
    """Distances between the whole patterns that the runs have kept.

    Parameters
    ----------
    runs : list of Run
    n_epochs : int, at least 2, optional
        Snapshots of each run, first and last among them; 12 for one run, 2 for several.
    """
    n_epochs = n_epochs or (MOST if len(runs) == 1 else 2)
    names = run_labels(runs)
    nets, labels, places, epochs = [], [], [], []
    for number, run in enumerate(runs):
        for epoch in spread(_whole(run), n_epochs):
            nets.append(layers_of(run.snapshots[epoch]))
            labels.append(f"epoch {epoch}" if len(runs) == 1 else f"{names[number]}, epoch {epoch}")
            places.append(number)
            epochs.append(epoch)
    kinds = {(len(net), net[0][2]): names[place] for net, place in zip(nets, places)}
    if len(kinds) > 1:
        texts = (f"{name} has {layers} layers over {inputs} inputs" for (layers, inputs), name in kinds.items())
        raise ValueError(
            f"{FIGURE} compares nets with as many layers and inputs: {', '.join(texts)}; draw them separately"
        )
    if len(nets) < 2:
        raise ValueError(f"{FIGURE} needs two topologies; train with snapshot_every=1 or more, or give several runs")
    distance, null = distances(nets)
    return Distances(tuple(labels), np.array(places), np.array(epochs), distance, null, tuple(names))


def _whole(run: Run) -> list[int]:
    """Epochs whose snapshots hold all connections."""
    found = [epoch for epoch in sorted(run.snapshots) if run.snapshots[epoch].layers[0].has_pattern]
    if not found:
        raise ValueError(f"run {run.name} has no snapshot with whole patterns; train with snapshot_every=1 or more")
    return found


def last_layers(run: Run) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """The newest whole topology of a run."""
    return layers_of(run.snapshots[_whole(run)[-1]])


def layers_of(snapshot: Snapshot) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """The whole patterns of a snapshot, as `topology.nnstd` takes them."""
    return [
        (layer.pre, layer.indptr, len(layer.degree_pre))
        for layer in snapshot.layers
        if layer.pre is not None and layer.indptr is not None
    ]


def size(table: Distances) -> tuple[float, float]:
    return _style.WIDTH, 4.2 if len(table.names) == 1 else 4.2 + _style.legend_height(table.names)


def draw(figure: Figure | SubFigure, table: Distances) -> None:
    """On the left all pairs, on the right a map in which near means alike."""
    matrix, plane = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _matrix(figure, matrix, table)
    _embedding(figure, plane, table)
    _style.set_title(figure, _finding(table))


def _matrix(figure: Figure | SubFigure, axes: Axes, table: Distances) -> None:
    shown = axes.imshow(table.distance, cmap=_style.SEQUENCE, vmin=0, vmax=1, interpolation="nearest")
    ticks = np.arange(len(table.labels))
    texts = [str(epoch) for epoch in table.epochs] if len(table.names) == 1 else _numbered(table)
    step = -(-len(ticks) // 16)
    # Of several runs first and last epochs take turns: an odd step names both.
    keep = ticks[:: step + (step % 2 == 0 and len(table.names) > 1)]
    axes.set_xticks(keep, [texts[k] for k in keep], rotation=90)
    axes.set_yticks(keep, [texts[k] for k in keep])
    axes.set_xlabel("epoch" if len(table.names) == 1 else "run: epoch")
    if len(table.labels) <= 10:
        for i, j in np.ndindex(table.distance.shape):
            if i != j:
                colour = "white" if table.distance[i, j] < 0.6 else "black"
                axes.text(
                    j, i, f"{table.distance[i, j]:.2f}".lstrip("0"), ha="center", va="center", color=colour, fontsize=7
                )
    bar = figure.colorbar(shown, ax=axes, location="bottom", label="distance (NNSTD)", aspect=30, pad=0.02)
    null = np.nanmean(table.null)
    bar.ax.axvline(null, color="black", lw=1.2)
    word = "random, mean" if np.nanstd(table.null) > 0.005 else "random"
    bar.ax.annotate(word, (null, 1), (0, 1), textcoords="offset points", ha="center", va="bottom", fontsize=8)


def _numbered(table: Distances) -> list[str]:
    return [f"{run + 1}: {epoch}" for run, epoch in zip(table.runs, table.epochs)]


def _embedding(figure: Figure | SubFigure, axes: Axes, table: Distances) -> None:
    """Classical scaling (Torgerson 1952): the plane in which straight distances come nearest to those of the matrix."""
    places, share = embedded(table.distance)
    colours = _style.category_colours(len(table.names))
    handles = []
    for number, name in enumerate(table.names):
        of_run = np.flatnonzero(table.runs == number)
        path = places[of_run]
        (line,) = axes.plot(path[:, 0], path[:, 1], "-", color=colours[number], lw=1.2, label=f"{number + 1}: {name}")
        axes.plot(path[0, 0], path[0, 1], "o", mfc="white", mec=colours[number], ms=6)
        axes.plot(path[1:, 0], path[1:, 1], "o", color=colours[number], ms=4)
        handles.append(line)
        if len(table.names) == 1:
            for k in of_run[[0, -1]]:
                axes.annotate(str(table.epochs[k]), places[k], (5, 4), textcoords="offset points", fontsize=8)
        else:
            axes.annotate(str(number + 1), path[-1], (5, 4), textcoords="offset points", fontsize=8)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(title="open: first, filled: later", xlabel=f"in a plane ({share:.0%} of the scatter)")
    axes.grid(True)
    if len(table.names) > 1:
        _style.legend_below(figure, handles)


def embedded(distance: np.ndarray) -> tuple[np.ndarray, float]:
    """Places in a plane, (n, 2), and the share of the squared distances' scatter that they keep."""
    n = len(distance)
    centred = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centred @ distance**2 @ centred)
    largest = np.maximum(values[::-1][:2], 0.0)
    vectors = vectors[:, ::-1][:, :2]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), [0, 1]] < 0, -1, 1)  # one sign of two
    places = np.zeros((n, 2))
    places[:, : vectors.shape[1]] = vectors * np.sqrt(largest)
    whole = np.maximum(values, 0).sum()
    return places, float(largest.sum() / whole) if whole > 0 else 1.0


def _finding(table: Distances) -> str:
    if len(table.names) == 1:
        return (
            f"From epoch {table.epochs[0]} to {table.epochs[-1]} the topology moves by {table.distance[0, -1]:.2f}; "
            f"random ones are {table.null[0, -1]:.2f} apart"
        )
    (first, at_first), (last, null) = (_ends(table, which) for which in (0, -1))
    random = f"{null:.2f}" if f"{at_first:.2f}" == f"{null:.2f}" else f"{at_first:.2f} and {null:.2f}"
    return f"{len(table.names)} runs are {first:.2f} apart at first, {last:.2f} at last; random topologies {random}"


def _ends(table: Distances, which: int) -> tuple[float, float]:
    """Mean distance between the runs, of their first (0) or last (-1) topologies, and its null."""
    of_run = [np.flatnonzero(table.runs == number)[which] for number in range(len(table.names))]
    pairs = np.ix_(of_run, of_run)
    others = ~np.eye(len(of_run), dtype=bool)
    return float(table.distance[pairs][others].mean()), float(table.null[pairs][others].mean())
