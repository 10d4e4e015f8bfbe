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
CHANCE = 3.0  # standard errors


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
        degrees = run.snapshots[epoch].layers[0].degree_pre
        trend = concentric_trend(degrees, shape_of(run, FIGURE, image_shape))
        sides = 2 * np.arange(1, trend.size + 1)
        # Of the mean of so many inputs, drawn from all: the whole image has none.
        error = degrees.std() * np.sqrt((1 - sides**2 / degrees.size) / sides**2)
        return Profile(sides, trend, error, float(trend[-1]))

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
    means, noisy = table.means(), noisy_sides(table.places.size)
    trusted = np.array(list(means.values()))[:, noisy:]
    excess = trusted - trusted[:, -1:]
    # Squares are many, and hold each other: three standard errors, where one square would need two.
    sure = np.abs(excess) > CHANCE * table.errors_of_means()[:, noisy:]
    which = [len(means) - 1] if table.over_time else range(len(means))
    size_of = np.where(sure, np.abs(excess), 0.0)[which]
    row, place = np.unravel_index(int(size_of.argmax()), size_of.shape)
    label = list(means)[which[row]]
    if size_of[row, place] == 0:
        about = f" ({label})" if len(which) == 1 else ""
        return f"No centred square differs from the whole image by more than chance{about}"
    side, change = table.places[noisy:][place], excess[which[row], place]
    word = "more" if change > 0 else "fewer"
    share = abs(change) / trusted[which[row], -1]
    return f"The central {side} x {side} has {share:.0%} {word} connections per input than the whole image ({label})"
