"""Active zone and margin of a run over its epochs, and the sentence that says what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparserbm.plotting._runs import epochs_of, spread, zone_of
from sparserbm.runs import Run
from sparserbm.topology import LearningIndex, learning_index

MOST = 200  # points of a line; more cannot be told apart, and every one is a file to read


@dataclass(frozen=True)
class ZoneSeries:
    """The learning index of one run over time; all arrays are (n_snapshots,).

    Attributes
    ----------
    epochs : int
    centre, margin : float
        Connections per input in the active zone and in the rest.
    z : float
    last : LearningIndex
        At the last snapshot.
    """

    epochs: np.ndarray
    centre: np.ndarray
    margin: np.ndarray
    z: np.ndarray
    last: LearningIndex


def zone_series(run: Run, figure: str, zone: np.ndarray | None = None) -> ZoneSeries:
    """Measure the first layer of a run at its snapshots, evenly thinned to 200 where there are more.

    Raises
    ------
    ValueError
        If neither the run nor `zone` states the active zone.
    """
    epochs = spread(epochs_of(run), MOST)
    found = [index_at(run, epoch, figure, zone) for epoch in epochs]
    return ZoneSeries(
        np.array(epochs),
        np.array([one.centre_density for one in found]),
        np.array([one.margin_density for one in found]),
        np.array([one.z for one in found]),
        found[-1],
    )


def index_at(run: Run, epoch: int, figure: str, zone: np.ndarray | None = None) -> LearningIndex:
    """The learning index of the first layer after `epoch` epochs."""
    layer = run.snapshots[epoch].layers[0]
    mask = zone_of(run, figure, zone)
    return learning_index(layer.degree_pre, mask, layer.degree_pre.size * layer.degree_post.size)


def signed(z: float) -> str:
    """A number with its sign, one decimal, and a minus as long as the plus."""
    return f"{z:+.1f}".replace("-", "\N{MINUS SIGN}")


def finding(index: LearningIndex, epoch: int) -> str:
    """One sentence: the verdict, how much denser the zone is, and how sure that is."""
    start = {"positive": "Positive learning", "negative": "Negative learning", "none": "No preference"}
    if math.isnan(index.ratio):
        return f"There are no connections at epoch {epoch}"
    if math.isinf(index.ratio):
        share = "all connections lie in the active zone"
    else:
        share = f"the active zone has {index.ratio:.2f} times the connections per input of the margin"
    return f"{start[index.verdict]}: {share} (z = {signed(index.z)}, epoch {epoch})"


def tally(indices: list[LearningIndex]) -> str:
    """Verdicts of several runs in words, e.g. "2 positive, 1 none"."""
    counts = [(sum(index.verdict == word for index in indices), word) for word in ("positive", "negative", "none")]
    return ", ".join(f"{count} {word}" for count, word in counts if count)
