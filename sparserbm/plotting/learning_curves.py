"""Loss and quality over the epochs, on training and validation data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from sparserbm.plotting import _style
from sparserbm.plotting._runs import group_labels, kind, names
from sparserbm.runs import Run

FIGURE = "learning-curves"

# model kind -> (metric, axis label); a metric that no run has gets no panel
PANELS = {
    "mlp": (("loss", "loss"), ("accuracy", "accuracy")),
    "rbm": (
        ("loss", "reconstruction error (MSE)"),
        ("pseudo_likelihood", "pseudo-likelihood (nats)"),
        ("free_energy_gap", "free-energy gap (nats)"),
    ),
}


@dataclass(frozen=True)
class Curve:
    """One metric of one run: (n_epochs,) arrays, NaN where it was not measured."""

    name: str
    group: str
    epochs: np.ndarray
    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Panel:
    """All curves of one metric of one model kind; `split`: training and validation were measured apart."""

    kind: str
    metric: str
    label: str
    curves: tuple[Curve, ...]

    @property
    def split(self) -> bool:
        return any(np.isfinite(curve.validation).any() for curve in self.curves)


def load(runs: list[Run]) -> list[Panel]:
    """One panel per model kind and metric that at least one run has.

    Raises
    ------
    ValueError
        If no run has any of the metrics.
    """
    titles = list(zip(runs, names(runs), group_labels(runs)))
    panels = []
    for model in dict.fromkeys(kind(run) for run in runs):
        for metric, label in PANELS.get(model, PANELS["mlp"]):
            curves = [_curve(*title, metric) for title in titles if kind(title[0]) == model]
            measured = tuple(curve for curve in curves if np.isfinite([curve.train, curve.validation]).any())
            if measured:
                panels.append(Panel(model, metric, label, measured))
    if not panels:
        raise ValueError(
            f"{FIGURE} needs a loss or an accuracy, but metrics.jsonl of {runs[0].name} has none; "
            f"was its training interrupted before the first epoch ended?"
        )
    return panels


def _curve(run: Run, name: str, group: str, metric: str) -> Curve:
    history = run.history
    epochs = history.get("epoch", np.zeros(0))
    nothing = np.full(epochs.shape, np.nan)
    train, validation = history.get(metric, nothing), history.get(f"validation_{metric}", nothing)
    return Curve(name, group, epochs, train, validation)


def size(table: list[Panel]) -> tuple[float, float]:
    return _style.WIDTH, sum(_heights(_parts(table)))


def _parts(table: list[Panel]) -> list[list[Panel]]:
    """The panels of the groups that share axes."""
    parts = []
    for groups in _style.in_parts(_groups(table)):
        panels = [replace(panel, curves=tuple(c for c in panel.curves if c.group in groups)) for panel in table]
        parts.append([panel for panel in panels if panel.curves])
    return parts


def _groups(table: list[Panel]) -> list[str]:
    return list(dict.fromkeys(curve.group for panel in table for curve in panel.curves))


def _heights(parts: list[list[Panel]]) -> list[float]:
    legends = [_style.legend_height(["validation", "training", *_groups(part)]) for part in parts]
    return [0.5 + 2.5 * -(-len(part) // 2) + legend for part, legend in zip(parts, legends)]


def draw(figure: Figure | SubFigure, table: list[Panel]) -> None:
    """Panels in two columns; validation solid, training dashed, one colour per group.

    More groups than have colours go into several such pictures, one below the other, on the same scales.
    """
    parts = _parts(table)
    scales: dict[tuple[str, str], list[Axes]] = {}
    for place, part in zip(_style.stacked(figure, _heights(parts)), parts):
        for panel, axes in zip(part, _draw_part(place, part)):
            scales.setdefault((panel.kind, panel.metric), []).append(axes)
    for axes_of_metric in scales.values() if len(parts) > 1 else ():
        _style.same_scale(axes_of_metric)
    _style.set_title(figure, _finding(table))


def _draw_part(figure: Figure | SubFigure, table: list[Panel]) -> list[Axes]:
    """The axes, one for each panel."""
    colour = dict(zip(_groups(table), _style.category_colours(len(_groups(table)))))
    axes = figure.subplots(-(-len(table) // 2), min(2, len(table)), squeeze=False)
    for place in axes.flat[len(table) :]:
        place.remove()
    several = len({panel.kind for panel in table}) > 1
    for place, panel in zip(axes.flat, table, strict=False):
        for curve in panel.curves:
            style = {"color": colour[curve.group], "lw": 1.8 if len(panel.curves) < 8 else 1.2}
            _line(place, curve.epochs, curve.train, ls="--" if panel.split else "-", **style)
            _line(place, curve.epochs, curve.validation, ls="-", **style)
        place.set_ylabel(panel.label)
        if several:
            place.set_title(panel.kind.upper())
        if panel.metric == "accuracy":
            place.yaxis.set_major_formatter(PercentFormatter(1.0))
        _style.epoch_axis(place)
    _legend(figure, table, colour)
    return list(axes.flat[: len(table)])


def _line(axes, epochs: np.ndarray, values: np.ndarray, **style) -> None:
    measured = np.isfinite(values)  # joined over epochs without an evaluation
    if measured.any():
        axes.plot(epochs[measured], values[measured], **style)


def _legend(figure: Figure | SubFigure, table: list[Panel], colour: dict) -> None:
    shade = next(iter(colour.values())) if len(colour) == 1 else _style.GREY
    handles = []
    if any(panel.split for panel in table):
        handles.append(Line2D([], [], color=shade, ls="-", lw=1.8, label="validation"))
        handles.append(Line2D([], [], color=shade, ls="--", lw=1.8, label="training"))
    if len({curve.name for panel in table for curve in panel.curves}) > 1:
        handles += [Line2D([], [], color=shade, lw=3, label=group) for group, shade in colour.items()]
    _style.legend_below(figure, handles)


def _finding(table: list[Panel]) -> str:
    findings = []
    for model in dict.fromkeys(panel.kind for panel in table):
        panels = {panel.metric: panel for panel in table if panel.kind == model}
        panel = panels.get("accuracy", panels.get("loss", next(iter(panels.values()))))
        findings.append(_panel_finding(panel))
    return ". ".join(findings)


def _panel_finding(panel: Panel) -> str:
    side = "validation" if panel.split else "train"
    ends: dict[str, list[float]] = {}
    for curve in panel.curves:
        values = getattr(curve, side)
        ends.setdefault(curve.group, []).extend(values[np.isfinite(values)][-1:])
    means = {group: float(np.mean(values)) for group, values in ends.items() if values}
    group = (min if panel.metric == "loss" else max)(means, key=means.__getitem__)
    number = f"{means[group]:.1%}" if panel.metric == "accuracy" else f"{means[group]:.3g}"
    what = panel.label.replace(" (MSE)", "").replace(" (nats)", "")
    what = ("Validation " if side == "validation" else "Training ") + what
    if len(panel.curves) == 1:
        return f"{what} {number} after {np.nanmax(panel.curves[0].epochs):.0f} epochs"
    return f"{what} at the end: best {number} ({group})"
