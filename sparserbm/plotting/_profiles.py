"""Connections per input over a place in the image: curves of several epochs or runs, with seeds as bands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from sparserbm.plotting import _style
from sparserbm.plotting._runs import epochs_of, group_labels, run_labels, spread
from sparserbm.runs import Run


@dataclass(frozen=True)
class Profile:
    """One layer at one moment: over (n_places,) places the mean connections per input, with standard errors.

    `overall` is the mean over all inputs.
    """

    places: np.ndarray
    density: np.ndarray
    error: np.ndarray
    overall: float


@dataclass(frozen=True)
class Profiles:
    """Curves over the same places.

    Attributes
    ----------
    places : (n_places,) float
        Where in the image; the figure says what that means.
    curves : (n_curves, n_places) float
        Mean connections per input.
    errors : (n_curves, n_places) float
        Standard errors; NaN where there is one input only.
    overall : (n_curves,) float
        Mean over all inputs.
    labels, groups : tuple of str, one per curve
        What the curve is called, and which curves are drawn as one, by their mean.
    over_time : bool
        Curves are epochs of one run, not runs.
    """

    places: np.ndarray
    curves: np.ndarray
    errors: np.ndarray
    overall: np.ndarray
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    over_time: bool

    def means(self) -> dict[str, np.ndarray]:
        """One curve per group, by its label: its own where it is alone, else that of the group."""
        found = {}
        for group in dict.fromkeys(self.groups):
            members = self.members(group)
            label = self.labels[members[0]] if len(members) == 1 else f"{group}, mean of {len(members)}"
            found[label] = self.curves[members].mean(axis=0)
        return found

    def errors_of_means(self) -> np.ndarray:
        """Standard errors of `means`, (n_groups, n_places), by those of their members."""
        members = [self.members(group) for group in dict.fromkeys(self.groups)]
        return np.array([np.sqrt((self.errors[places] ** 2).sum(axis=0)) / len(places) for places in members])

    def members(self, group: str) -> list[int]:
        return [place for place, other in enumerate(self.groups) if other == group]

    def only(self, groups: list[str]) -> Profiles:
        """The curves of these groups."""
        chosen = [place for place, group in enumerate(self.groups) if group in groups]
        labels, names = (tuple(texts[place] for place in chosen) for texts in (self.labels, self.groups))
        curves, errors, overall = (values[chosen] for values in (self.curves, self.errors, self.overall))
        return replace(self, curves=curves, errors=errors, overall=overall, labels=labels, groups=names)


def profiles(runs: list[Run], n_epochs: int, measure: Callable[[Run, int], Profile], differ: str) -> Profiles:
    """`n_epochs` epochs of one run, or the last epoch of several; ValueError `differ` if places are not the same."""
    if len(runs) == 1:
        moments = [(runs[0], epoch) for epoch in spread(epochs_of(runs[0]), n_epochs)]
        labels = groups = tuple(f"epoch {epoch}" for _, epoch in moments)
    else:
        moments = [(run, epochs_of(run)[-1]) for run in runs]
        labels = tuple(f"{name}, epoch {epoch}" for name, (_, epoch) in zip(run_labels(runs), moments))
        groups = tuple(group_labels(runs))
    found = [measure(run, epoch) for run, epoch in moments]
    if not all(np.array_equal(each.places, found[0].places) for each in found):
        raise ValueError(differ)
    return Profiles(
        found[0].places,
        np.array([each.density for each in found]),
        np.array([each.error for each in found]),
        np.array([each.overall for each in found]),
        labels,
        groups,
        len(runs) == 1,
    )


def height(table: Profiles) -> float:
    """Of the whole figure, in inches."""
    return sum(_heights(_parts(table)))


def _parts(table: Profiles) -> list[Profiles]:
    """The curves that share axes; epochs of one run always do, their colours have an order."""
    if table.over_time:
        return [table]
    return [table.only(groups) for groups in _style.in_parts(list(dict.fromkeys(table.groups)))]


def _heights(parts: list[Profiles]) -> list[float]:
    return [3.4 + _style.legend_height([*part.means(), "all inputs: 0.0"]) for part in parts]


def draw_profiles(figure: Figure | SubFigure, table: Profiles, xlabel: str, noisy: int = 0) -> list[Axes]:
    """One pair of axes, or several, one below the other and on one scale, where groups are more than have colours.

    A group is its mean within a band from its lowest to its highest member; a run by itself has one of its standard
    errors, and of epochs the last. The first `noisy` places are drawn pale.
    """
    parts = _parts(table)
    places = _style.stacked(figure, _heights(parts))
    axes = [_draw_part(place, part, xlabel, noisy) for place, part in zip(places, parts)]
    if len(parts) > 1:
        _style.same_scale(axes)
    return axes


def _draw_part(figure: Figure | SubFigure, table: Profiles, xlabel: str, noisy: int) -> Axes:
    axes = figure.subplots()
    groups, means = list(dict.fromkeys(table.groups)), table.means()
    colours = (_style.sequence_colours if table.over_time else _style.category_colours)(len(groups))
    for group, (label, mean), colour in zip(groups, means.items(), colours):
        axes.plot(table.places[noisy:], mean[noisy:], color=colour, lw=1.8, marker=".", ms=5, label=label)
        axes.plot(table.places[: noisy + 1], mean[: noisy + 1], color=colour, lw=1, alpha=0.5)
        if not table.over_time or group == groups[-1]:
            low, high = _band(table, table.members(group))
            axes.fill_between(table.places[noisy:], low[noisy:], high[noisy:], color=colour, alpha=0.2, lw=0)
    overall = np.array([table.overall[table.members(group)].mean() for group in groups])
    if np.ptp(overall) <= 1e-9 * overall.max():
        axes.axhline(overall[0], color=_style.GREY, ls="--", lw=1.2, label=f"all inputs: {overall[0]:.1f}")
    else:
        for value, colour in zip(overall, colours):
            axes.axhline(value, color=colour, ls="--", lw=1)
        axes.plot([], [], color=_style.GREY, ls="--", lw=1, label="all inputs")
    axes.set_xlabel(xlabel)
    axes.set_ylabel("mean connections per input")
    axes.grid(axis="y")
    _style.legend_below(figure, axes.get_legend_handles_labels()[0])
    return axes


def _band(table: Profiles, members: list[int]) -> tuple[np.ndarray, np.ndarray]:
    curves = table.curves[members]
    if len(members) > 1:
        return curves.min(axis=0), curves.max(axis=0)
    error = np.nan_to_num(table.errors[members[0]])
    return curves[0] - error, curves[0] + error
