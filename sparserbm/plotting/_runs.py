"""What figures ask of runs: lists, groups, image shapes, zones, and the last value of a quantity."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sparserbm.runs import Run, load_run

LONGEST_VALUE = 28  # characters of a value in a label,
LONGEST_RULE = 48  # and of the rule of a zone


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
    """For every run the name of its group: its cell in a study, by what differs between them; else its own name."""
    return [label or name for label, name in zip(cell_labels(runs), names(runs))]


def run_labels(runs: Sequence[Run]) -> list[str]:
    """For every run a label of its own: its group, where it is the only run of that; else its name."""
    groups = group_labels(runs)
    return groups if len(set(groups)) == len(runs) else names(runs)


def cell_labels(runs: Sequence[Run], without: Sequence[str] = ("seed",)) -> list[str]:
    """For every run what its cell is called: the keys of its study that differ between the runs, with their values.

    Parameters
    ----------
    runs : sequence of Run
    without : sequence of str
        Keys that do not count.

    Returns
    -------
    list of str
        "" for runs of no study.
    """
    places = [{key: value for key, value in study_of(run).items() if key not in without} for run in runs]
    distinct = {_cell(place): place for place in places if place}
    keys = list(dict.fromkeys(key for place in distinct.values() for key in place))
    differing = [key for key in keys if len({json.dumps(place.get(key)) for place in distinct.values()}) > 1]
    labels: dict[str, str] = {}
    for chosen, width in ((differing, LONGEST_VALUE), (differing, None), (keys, None)):
        labels = {cell: _label(place, chosen, width) for cell, place in distinct.items()}
        if all(labels.values()) and len(set(labels.values())) == len(labels):
            break
    return [labels.get(_cell(place), "") for place in places]


def _cell(place: dict[str, Any]) -> str:
    return json.dumps(place, sort_keys=True)


def _label(place: dict[str, Any], keys: Sequence[str], width: int | None) -> str:
    texts = {key: value_text(place[key], width) for key in keys if key in place}
    return ", ".join(text.upper() if key == "model" else f"{key_text(key)} {text}" for key, text in texts.items())


def key_text(key: str) -> str:
    """A key of a study in words."""
    return {"l2": "L2", "l1": "L1"}.get(key, key.replace("_", " "))


def value_text(value: Any, width: int | None = None) -> str:
    """A value of a study in words, cut to `width` characters; it has no ", ", which parts settings."""
    if isinstance(value, (list, tuple)):
        text = "-".join(map(value_text, value))
    else:
        short = isinstance(value, float) and float(f"{value:g}") == value
        text = f"{value:g}" if short else "none" if value is None else str(value).replace(", ", ",")
    return text if width is None or len(text) <= width else f"{text[: width - 1]}\N{HORIZONTAL ELLIPSIS}"


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


def zone_of(run: Run, figure: str, given: np.ndarray | None = None) -> np.ndarray:
    """The mask of the active zone: (n_inputs,) bool.

    Raises
    ------
    ValueError
        If neither the run nor `given` states it.
    """
    mask = run.zone_mask if given is None else np.asarray(given, dtype=bool)
    if mask is None:
        n_inputs = run.snapshots[epochs_of(run)[0]].layers[0].degree_pre.size
        raise ValueError(
            f"{figure} compares the active zone with the other inputs, but run {run.name} has no zone; pass zone=, "
            f"a mask of its {n_inputs} inputs, e.g. sr.topology.central_square((28, 28), 20)"
        )
    return mask


def rule_of(run: Run) -> str:
    """The rule of the active zone; "" without one. A long one, such as a list of columns, by its name and its size."""
    zone = run.config.get("zone") or {}
    rule = str(zone.get("rule", ""))
    return rule if len(rule) <= LONGEST_RULE else f"{rule.split('(')[0]}, {len(zone.get('inputs', ()))} inputs"


def last_value(run: Run, key: str) -> float:
    """The newest measured value of this metric; NaN if the run has none."""
    values = [line[key] for line in run.metrics if line.get(key) is not None]
    return float(values[-1]) if values else float("nan")
