"""How the connections of a layer come and go: births, deaths, ages, lifetimes, and places ever tried.

Snapshots see what is there when they are taken. A connection that is born and dropped between two of them is seen by
none; the numbers of newborns that training logs say how many these were.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class WiringHistory:
    """The wirings of one layer at the moments of its snapshots.

    Parameters
    ----------
    n_pre, n_post : int
        Units on both sides.
    epochs : (n_snapshots,) int, increasing
    keys : sequence of (n_connections,) int
        The places with a connection, ``post * n_pre + pre``, increasing.
    steps : (n_snapshots,) int, increasing, optional
        The same moments in mini-batches. An event at one of these steps comes after the snapshot.
    born : sequence of (n_connections,) int, optional
        For every connection its step of birth; 0: of the first wiring.
    grown_until : (n_lines,) int, increasing, optional
        Steps between which newborns were counted.
    grown : (n_lines,) int, optional
        ``grown[i]`` connections were born at the steps from ``grown_until[i - 1]`` to just before ``grown_until[i]``.

    Raises
    ------
    ValueError
        If there is no snapshot, lengths differ, something does not increase or is no whole number, a place does not
        exist, or the counts of newborns end before the last snapshot.
    """

    n_pre: int
    n_post: int
    epochs: np.ndarray
    keys: tuple[np.ndarray, ...]
    steps: np.ndarray | None = None
    born: tuple[np.ndarray, ...] | None = None
    grown_until: np.ndarray | None = None
    grown: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("n_pre", "n_post"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))  # NumPy's integers overflow
        for name in ("epochs", "steps", "grown_until", "grown"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(name, getattr(self, name)))
        for name in ("keys", "born"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(_whole(name, each) for each in getattr(self, name)))
        _check(self)

    @classmethod
    def of_run(cls, run: Any, layer: int = 0) -> WiringHistory:
        """Of the snapshots of a run that hold whole patterns, with what its metrics say.

        Parameters
        ----------
        run : Run
            As `train` gives it, or `load_run`.
        layer : int
            Matrix of connections, from 0 at the input.

        Raises
        ------
        ValueError
            If no snapshot holds whole patterns, or there is no such layer.

        Notes
        -----
        Metrics count the newborns of all layers together, so that they are used only where all other layers are full.
        """
        n_layers = max((len(run.snapshots[epoch].layers) for epoch in run.snapshots), default=0)
        if n_layers and not 0 <= layer < n_layers:
            raise ValueError(f"layer={layer} does not exist; run {run.name} has the layers 0 to {n_layers - 1}")
        step = {line["epoch"]: line["step"] for line in run.metrics}
        # A crash may have lost the last line of metrics, but not its snapshot: nobody knows the step.
        whole = [
            epoch
            for epoch in sorted(run.snapshots)
            if epoch in step and run.snapshots[epoch].layers[layer].indptr is not None
        ]
        if not whole:
            raise ValueError(
                "no snapshot of this run holds whole patterns and has its line in the metrics; train with "
                "snapshot_every=1"
            )
        found = [run.snapshots[epoch].layers for epoch in whole]
        n_pre, n_post = len(found[0][layer].degree_pre), len(found[0][layer].degree_post)
        lines = sorted((line["step"], line.get("grown", 0)) for line in run.metrics)
        others = [each for number, each in enumerate(found[0]) if number != layer]
        counted = any("grown" in line for line in run.metrics) and all(
            np.all(each.degree_post == len(each.degree_pre)) for each in others
        )
        return cls(
            n_pre,
            n_post,
            np.array(whole),
            tuple(_keys(each[layer].pre, each[layer].indptr, n_pre) for each in found),
            np.array([step[epoch] for epoch in whole]),
            tuple(each[layer].born for each in found),
            np.array([until for until, _ in lines]) if counted else None,
            np.array([count for _, count in lines]) if counted else None,
        )

    @property
    def n_places(self) -> int:
        return self.n_pre * self.n_post


def _keys(pre: np.ndarray, indptr: np.ndarray, n_pre: int) -> np.ndarray:
    post = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    return post * n_pre + pre


def _whole(name: str, values: Any) -> np.ndarray:
    found = np.asarray(values)
    if found.size and found.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers, not {found.dtype}")
    return found.astype(np.int64)


def _check(history: WiringHistory) -> None:
    n = len(history.epochs)
    if not n:
        raise ValueError("there is no snapshot; give at least one")
    for name in ("keys", "steps", "born"):
        given = getattr(history, name)
        if given is not None and len(given) != n:
            raise ValueError(f"{name} has {len(given)} entries, epochs {n}; give one for every snapshot")
    for name in ("epochs", "steps", "grown_until"):
        given = getattr(history, name)
        if given is not None and np.any(np.diff(given) <= 0):
            raise ValueError(f"{name} must increase from snapshot to snapshot; got {given[:10].tolist()}")
    for number, keys in enumerate(history.keys):
        if np.any(np.diff(keys) <= 0) or (len(keys) and not 0 <= keys[0] <= keys[-1] < history.n_places):
            raise ValueError(
                f"the keys of snapshot {number} must increase, from 0 to at most {history.n_places - 1} "
                f"(post * n_pre + pre)"
            )
        if history.born is not None and len(history.born[number]) != len(keys):
            raise ValueError(f"snapshot {number} has {len(keys)} keys and {len(history.born[number])} steps of birth")
    if (history.grown is None) != (history.grown_until is None) or (
        history.grown is not None and len(history.grown) != len(history.grown_until)  # type: ignore[arg-type]
    ):
        raise ValueError("give grown and grown_until together, with the same length")
    if history.grown is not None and np.any(history.grown < 0):
        raise ValueError(f"grown holds {history.grown.min()}; connections can only be counted from 0 on")
    if history.grown_until is not None and history.steps is not None:
        last = history.grown_until[-1] if len(history.grown_until) else 0
        if last < history.steps[-1]:
            raise ValueError(f"newborns are counted until step {last}, but the last snapshot is of {history.steps[-1]}")


# -- births and deaths -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turnover:
    """Connections that came and went from one snapshot to the next; arrays of length n_snapshots - 1.

    Attributes
    ----------
    epochs : (n_snapshots,) int
        Interval k is from ``epochs[k]`` to ``epochs[k + 1]``.
    births, deaths, stayed : int
        In the later snapshot only, in the earlier one only, in both.
    returned : int or None
        Births at places that lost their connection in the same interval. None without steps of birth: then they
        count as having stayed.
    unseen : int or None
        Newborns that died before the later snapshot. None where it is not known how many were grown.
    """

    epochs: np.ndarray
    births: np.ndarray
    deaths: np.ndarray
    stayed: np.ndarray
    returned: np.ndarray | None
    unseen: np.ndarray | None

    @property
    def share_stayed(self) -> np.ndarray:
        """Share of the connections of a snapshot that are there in the next one, NaN where there was none."""
        before = (self.stayed + self.deaths).astype(float)
        return np.divide(self.stayed, before, out=np.full(len(before), np.nan), where=before > 0)


def turnover(history: WiringHistory) -> Turnover:
    """Births and deaths between neighbouring snapshots.

    Parameters
    ----------
    history : WiringHistory
        A connection is the same in two snapshots if place and step of birth are (the place, without `born`).

    Returns
    -------
    Turnover

    Raises
    ------
    ValueError
        If more newborns are seen than were counted.
    """
    n = len(history.epochs) - 1
    stayed, places = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for k in range(n):
        _, first, second = np.intersect1d(history.keys[k], history.keys[k + 1], True, return_indices=True)
        places[k] = stayed[k] = len(first)
        if history.born is not None:
            stayed[k] = np.count_nonzero(history.born[k][first] == history.born[k + 1][second])
    sizes = np.array([len(keys) for keys in history.keys], dtype=np.int64)
    births, grown = sizes[1:] - stayed, _grown_between(history)
    if grown is not None and np.any(grown < births):
        k = int(np.flatnonzero(grown < births)[0])
        raise ValueError(
            f"the snapshot of epoch {history.epochs[k + 1]} holds {births[k]} newborns, but {grown[k]} were counted; "
            f"leave out grown where connections come from elsewhere too"
        )
    return Turnover(
        history.epochs,
        births,
        sizes[:-1] - stayed,
        stayed,
        None if history.born is None else places - stayed,
        None if grown is None else grown - births,
    )


def _grown_between(history: WiringHistory) -> np.ndarray | None:
    """Newborns between neighbouring snapshots, those that no snapshot saw counted."""
    if history.grown is None or history.grown_until is None or history.steps is None:
        return None
    total = np.append(0, np.cumsum(history.grown))
    return np.diff(total[np.searchsorted(history.grown_until, history.steps, side="right")])


# -- ages --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AgePyramid:
    """Connections by age.

    Attributes
    ----------
    edges : (n_bins + 1,) float, in steps
        The last bin has its upper edge too.
    counts : (n_bins,) int
    inside, outside : (n_bins,) int or None
        Those whose input is in the zone, and the others.
    """

    edges: np.ndarray
    counts: np.ndarray
    inside: np.ndarray | None
    outside: np.ndarray | None


def age_pyramid(
    history: WiringHistory, *, epoch: int | None = None, mask: np.ndarray | None = None, bins: Any = 10
) -> AgePyramid:
    """How old the connections of a snapshot are, in all and by zone.

    Parameters
    ----------
    history : WiringHistory
        With `steps` and `born`.
    epoch : int, optional
        Of the snapshot; the last one by default.
    mask : (n_pre,) bool, optional
        The zone: its inputs.
    bins : int or (n_bins + 1,) array
        As in `numpy.histogram`: so many of equal width from 0 to the first wiring's age, or their edges in steps.

    Returns
    -------
    AgePyramid

    Raises
    ------
    ValueError
        Without steps of birth, a snapshot of that epoch, or a mask that fits.
    """
    born, steps = births_and_steps(history)
    epoch = int(history.epochs[-1]) if epoch is None else epoch
    found = np.flatnonzero(history.epochs == epoch)
    if not len(found):
        raise ValueError(f"there is no snapshot of epoch {epoch}; there are {history.epochs.tolist()}")
    k = int(found[0])
    ages = steps[k] - born[k]
    edges = np.histogram_bin_edges(ages, bins, range=(0, max(int(steps[k]), 1)))
    counts = np.histogram(ages, edges)[0]
    if mask is None:
        return AgePyramid(edges, counts, None, None)
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != (history.n_pre,):
        raise ValueError(f"a mask of shape {mask.shape} is given; give one value for each of {history.n_pre} inputs")
    inside = np.histogram(ages[mask[history.keys[k] % history.n_pre]], edges)[0]
    return AgePyramid(edges, counts, inside, counts - inside)


def births_and_steps(history: WiringHistory) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Steps of birth and of the snapshots, checked; ValueError without them."""
    if history.born is None or history.steps is None:
        raise ValueError("ages need the steps of the snapshots and of all births; give steps and born")
    for number, (born, step) in enumerate(zip(history.born, history.steps)):
        # An event at the step of a snapshot comes after it; births of step 0 are those of the first wiring.
        if len(born) and not 0 <= born.min() <= born.max() <= max(step - 1, 0):
            raise ValueError(
                f"snapshot {number} is of step {step}, before the event of that step, and has births from "
                f"{born.min()} to {born.max()}"
            )
    return history.born, history.steps


# -- places ever tried -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explored:
    """Share of all places that have had a connection since the first snapshot, up to each snapshot.

    Attributes
    ----------
    epochs : (n_snapshots,) int
    share : (n_snapshots,) float in [0, 1]
        By the snapshots: a lower bound, exact where there is one between any two events.
    at_most : (n_snapshots,) float in [0, 1] or None
        If everyone that no snapshot saw came to a place of its own; None where it is not known how many were grown.
        Equal to `share` where everyone was seen.
    """

    epochs: np.ndarray
    share: np.ndarray
    at_most: np.ndarray | None


def explored(history: WiringHistory) -> Explored:
    """In-time over-parameterisation: how many of the places the layer has tried.

    Source: Liu, Yin, Mocanu and Pechenizkiy (2021), "Do we actually need dense over-parameterization? In-time
    over-parameterization in sparse training" (R_s, section 3), for one layer and with what snapshots saw.

    Parameters
    ----------
    history : WiringHistory

    Returns
    -------
    Explored

    Raises
    ------
    ValueError
        If more newborns are seen than were counted.
    """
    tried, counts = history.keys[0], [len(history.keys[0])]
    for keys in history.keys[1:]:
        place = np.minimum(np.searchsorted(tried, keys), max(len(tried) - 1, 0))
        fresh = keys[tried[place] != keys] if len(tried) else keys
        # Stable sorting merges what is sorted already; `union1d` takes a hundred times as long.
        tried = np.sort(np.concatenate([tried, fresh]), kind="stable")
        counts.append(len(tried))
    unseen = turnover(history).unseen
    most = None if unseen is None else counts + np.append(0, np.cumsum(unseen))
    return Explored(
        history.epochs,
        np.array(counts) / history.n_places,
        None if most is None else np.minimum(most / history.n_places, 1.0),
    )
