"""What figures ask of runs: lists, groups, image shapes, zones, and the last value of a quantity."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sparserbm.runs import Run, load_run


def as_runs(runs: Run | str | os.PathLike | Iterable[Run | str | os.PathLike]) -> list[Run]:
    """One or several runs or run folders, as a list of runs.

    Raises
    ------
    ValueError
        If there is none, or a folder is no run folder.
    """
    if isinstance(runs, (Run, str, os.PathLike)):
        runs = [runs]
    found = [run if isinstance(run, Run) else load_run(run) for run in runs]
    if not found:
        raise ValueError("no run was given; give run folders that training wrote with out=, or Run objects")
    return found


def kind(run: Run) -> str:
    """The model kind of a run: "mlp" or "rbm"."""
    return str(run.config.get("model", {}).get("kind", "model"))


def study_of(run: Run) -> dict[str, Any]:
    """The place of a run in a study, such as model, l2 and seed; empty for a run of its own."""
    return run.config.get("study") or {}


def names(runs: Sequence[Run]) -> list[str]:
    """The names of the runs, numbered where two are the same."""
    seen: dict[str, int] = {}
    found = []
    for run in runs:
        seen[run.name] = seen.get(run.name, 0) + 1
        found.append(run.name if seen[run.name] == 1 else f"{run.name} ({seen[run.name]})")
    return found


def group_labels(runs: Sequence[Run]) -> list[str]:
    """For every run the name of its group: runs of a study that differ in their seed only; else its own name."""
    return [_study_label(study_of(run)) or name for run, name in zip(runs, names(runs))]


def _study_label(study: dict[str, Any]) -> str:
    parts = []
    for key, value in study.items():
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if key == "model":
            parts.append(text.upper())
        elif key != "seed":
            parts.append(f"{'L2' if key == 'l2' else key.replace('_', ' ')} {text}")
    return ", ".join(parts)


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by their group label, in the order given."""
    groups: dict[str, list[Run]] = {}
    for run, label in zip(runs, group_labels(runs)):
        groups.setdefault(label, []).append(run)
    return groups


def epochs_of(run: Run) -> list[int]:
    """Epochs with a snapshot, ascending.

    Raises
    ------
    ValueError
        If the run has none.
    """
    epochs = sorted(run.snapshots)
    if not epochs:
        raise ValueError(f"run {run.name} has no topology snapshots; was its training interrupted at once?")
    return epochs


def spread(epochs: Sequence[int], n: int) -> list[int]:
    """At most `n` of the epochs, evenly spaced by position, first and last kept."""
    if n < 2:
        raise ValueError(f"{n} epochs cannot show a change; use 2 or more")
    places = np.unique(np.linspace(0, len(epochs) - 1, min(n, len(epochs))).round().astype(int))
    return [epochs[place] for place in places]


def image_shape(run: Run, figure: str, given: Sequence[int] | None = None) -> tuple[int, int]:
    """Rows and columns of the image that a run's inputs form.

    Raises
    ------
    ValueError
        If neither the run nor `given` states it, or it has not one pixel per input.
    """
    data = run.config.get("data", {})
    n_inputs = run.snapshots[epochs_of(run)[0]].layers[0].degree_pre.size
    shape = given or data.get("image_shape")
    if not shape:
        raise ValueError(
            f"{figure} draws the inputs as an image, but run {run.name} states no image shape; "
            f"pass image_shape=(rows, columns) with rows * columns = {n_inputs}"
        )
    if len(shape) != 2 or shape[0] * shape[1] != n_inputs:
        raise ValueError(
            f"{figure}: image_shape={tuple(shape)} does not fit the {n_inputs} inputs of run {run.name}; "
            f"pass image_shape=(rows, columns) with rows * columns = {n_inputs}"
        )
    return int(shape[0]), int(shape[1])


def last_value(run: Run, *keys: str) -> float:
    """The newest measured value of the first of these metrics that the run has; NaN if it has none."""
    for key in keys:
        values = [line[key] for line in run.metrics if line.get(key) is not None]
        if values:
            return float(values[-1])
    return float("nan")
