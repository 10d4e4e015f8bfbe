"""Mean connections per input in centred squares: is the middle of the image denser than the whole?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._profiles import Profile, Profiles, draw_profiles, height, profiles
from sparserbm.plotting._runs import image_shape as shape_of
from sparserbm.runs import Run
from sparserbm.topology import concentric_trend

FIGURE = "concentric-trend"


def load(runs: list[Run], n_epochs: int = 6, image_shape: Sequence[int] | None = None) -> Profiles:
    """Several epochs of one run, or the last epoch of several runs; places are the sides 2, 4, ..., L, in pixels.

    Parameters
    ----------
    runs : list of Run
    n_epochs : int, at least 2
        Curves for one run.
    image_shape : (L, L), optional
        For runs that state none.
    """

    def measure(run: Run, epoch: int) -> Profile:
        trend = concentric_trend(run.snapshots[epoch].layers[0].degree_pre, shape_of(run, FIGURE, image_shape))
        return Profile(2 * np.arange(1, trend.size + 1), trend, None, float(trend[-1]))

    return profiles(
        runs, n_epochs, measure, f"{FIGURE} compares runs with images of one size; draw the others separately"
    )


def noisy_sides(n_sides: int) -> int:
    """How many of the first squares are noise: those of 4 and 16 inputs, in a small image fewer."""
    return 2 if n_sides >= 6 else 1 if n_sides >= 3 else 0


def size(table: Profiles) -> tuple[float, float]:
    return _style.WIDTH, height(table)


def draw(figure: Figure | SubFigure, table: Profiles) -> None:
    """Curves over the side of the square, seeds as bands, with the mean over all inputs as a dashed line."""
    for axes in draw_profiles(
        figure, table, "side of the centred square (pixels)", noisy=noisy_sides(table.places.size)
    ):
        axes.set_xticks(table.places[1::2] if table.places.size > 5 else table.places)
    _style.set_title(figure, _finding(table))


def _finding(table: Profiles) -> str:
    means = table.means()
    trusted = np.array(list(means.values()))[:, noisy_sides(table.places.size) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.nan_to_num(trusted / trusted[:, -1:] - 1.0)  # NaN: no connections
    which = len(means) - 1 if table.over_time else int(np.argmax(np.abs(excess).max(axis=1)))
    place = int(np.argmax(np.abs(excess[which])))
    side, change = table.places[-trusted.shape[1] :][place], excess[which, place]
    label = list(means)[which]
    if abs(change) < 0.005:
        return f"No centred square is denser or thinner than the whole image ({label})"
    word = "more" if change > 0 else "fewer"
    return (
        f"The central {side} x {side} has {abs(change):.0%} {word} connections per input than the whole image ({label})"
    )
