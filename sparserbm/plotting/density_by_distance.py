"""Connections per input over the distance from the border of the active zone: a cliff, a slope, or nothing?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._profiles import Profile, Profiles, draw_profiles, height, profiles
from sparserbm.plotting._runs import image_shape as shape_of
from sparserbm.plotting._runs import zone_of
from sparserbm.runs import Run
from sparserbm.topology import density_by_distance

FIGURE = "density-by-distance"


def load(
    runs: list[Run], n_epochs: int = 6, image_shape: Sequence[int] | None = None, zone: np.ndarray | None = None
) -> Profiles:
    """Several epochs of one run, or the last epoch of several runs; places are pixels from the border, inside negative.

    Parameters
    ----------
    runs : list of Run
    n_epochs : int, at least 2
        Curves for one run.
    image_shape : (rows, columns), optional
        For runs that state none.
    zone : (n_inputs,) bool, optional
        Instead of the zone of the runs.
    """

    def measure(run: Run, epoch: int) -> Profile:
        degrees = run.snapshots[epoch].layers[0].degree_pre
        mask, shape = zone_of(run, FIGURE, zone), shape_of(run, FIGURE, image_shape)
        distance, density, error, _ = density_by_distance(degrees, mask, shape)
        return Profile(distance, density, error, float(np.mean(degrees)))

    return profiles(
        runs,
        n_epochs,
        measure,
        f"{FIGURE} compares runs whose active zones have the same depth; draw the others separately, or pass zone=",
    )


def size(table: Profiles) -> tuple[float, float]:
    return _style.WIDTH, height(table)


def draw(figure: Figure | SubFigure, table: Profiles) -> None:
    """Curves from deep inside to far outside; seeds, or the standard error over inputs, as bands."""
    for axes in draw_profiles(figure, table, "pixels from the border of the active zone"):
        axes.axvline(0, color=_style.GREY, lw=1)
        for side, place, text in (("right", -0.01, "active zone"), ("left", 0.01, "margin")):
            axes.text(
                place, 1.0, f" {text} ", ha=side, va="bottom", color=_style.GREY, transform=axes.get_xaxis_transform()
            )
    _style.set_title(figure, _finding(table))


def _finding(table: Profiles) -> str:
    means = table.means()
    inside, outside = int(np.searchsorted(table.places, 0)) - 1, int(np.searchsorted(table.places, 0))
    steps = [mean[inside] - mean[outside] for mean in means.values()]
    which = len(steps) - 1 if table.over_time else int(np.argmax(np.abs(steps)))
    (label, mean), error = list(means.items())[which], table.errors_of_means()[which]
    last, first = (f"{mean[place]:.1f} ± {error[place]:.1f}" for place in (inside, outside))
    where = "connections per input in the last pixel inside the active zone"
    return f"{last} {where}, {first} in the first outside ({label})"
