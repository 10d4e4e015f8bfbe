"""One look for all figures: colours, sizes, titles, and the drawing that several figures share.

Lengths are inches, text is in points. A figure is 6.5 inches wide, so that its 10 point text is still legible
where a page shows the picture 600 pixels wide.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

WIDTH = 6.5
DPI = 150
SEQUENCE = "viridis"
DIVERGING = "RdBu_r"
GREY = "#777777"
ABSENT = "#d4d4d4"

# Okabe and Ito (2008), the colours that colour-blind readers tell apart, without yellow: too pale for lines.
CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

RC: dict[Any, Any] = {
    "text.parse_math": False,  # names of runs may have dollar signs
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "figure.facecolor": "white",
    "savefig.dpi": DPI,
    "svg.hashsalt": "sparserbm",  # the same figure gives the same SVG file
}


def colormap(name: str) -> Colormap:
    return matplotlib.colormaps[name]


def category_colours(n: int) -> list:
    """`n` colours for things without an order; beyond 7 a sequence is the best that is left."""
    if n <= len(CATEGORIES):
        return list(CATEGORIES[:n])
    return list(colormap(SEQUENCE)(np.linspace(0.0, 0.95, n)))


def sequence_colours(n: int) -> list:
    """`n` colours from dark to light for things in order, such as epochs; the palest end is left out."""
    return list(colormap(SEQUENCE)(np.linspace(0.0, 0.88, n)))


def in_parts(groups: Sequence[str]) -> list[list[str]]:
    """Groups in parts of at most 7, which a reader tells apart in one pair of axes; equal parts where that is easy."""
    fewest = max(1, -(-len(groups) // len(CATEGORIES)))
    n = next((n for n in range(fewest, 2 * fewest) if len(groups) % n == 0), fewest)
    return [list(part) for part in np.array_split(np.array(groups, dtype=object), n)]


def stacked(figure: Figure | SubFigure, heights: Sequence[float]) -> list[Figure | SubFigure]:
    """One place below the other, of these relative heights; the figure itself where there is only one."""
    if len(heights) == 1:
        return [figure]
    return figure.subfigures(len(heights), 1, squeeze=False, height_ratios=list(heights))[:, 0].tolist()


def same_scale(axes: Sequence[Axes]) -> None:
    """Give all axes the range of values that covers those of each."""
    limits = np.array([one.get_ylim() for one in axes])
    for one in axes:
        one.set_ylim(limits.min(), limits.max())


def set_title(figure: Figure | SubFigure, text: str) -> None:
    """The finding, left-aligned over the whole figure and wrapped to its width."""
    inches = figure.bbox.width / figure.dpi
    lines = textwrap.wrap(text, max(20, int(inches * 10.5)))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11, fontweight="bold")


def legend_shape(labels: Sequence[str]) -> tuple[int, int]:
    """Rows and columns of a legend below a figure: as many columns as fit side by side, at most 4."""
    columns = max(1, min(4, len(labels), 82 // (max(map(len, labels), default=0) + 7)))
    return -(-len(labels) // columns), columns


def legend_height(labels: Sequence[str]) -> float:
    return 0.08 + 0.2 * legend_shape(labels)[0]


def legend_below(figure: Figure | SubFigure, handles: Sequence[Artist]) -> None:
    """A legend under all axes; `legend_height` is the room that it takes."""
    if handles:
        columns = legend_shape([str(handle.get_label()) for handle in handles])[1]
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def epoch_axis(axes: Axes, label: bool = True) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="y")
    if label:
        axes.set_xlabel("epoch")


def plain_logarithms(axis: Axis, percent: bool = False) -> None:
    """Plain numbers, or per cent, on a logarithmic axis: Matplotlib writes powers as formulas, which are off here."""
    low, high = axis.get_view_interval()
    if high / low < 50:  # less than two decades have hardly a power of ten
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g} %" if percent else f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def show_image(axes: Axes, image: np.ndarray, low: float, high: float):
    """An image of the inputs without ticks, on the colour scale `low` to `high`."""
    shown = axes.imshow(image, cmap=SEQUENCE, vmin=low, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return shown


def colour_limits(values: np.ndarray) -> tuple[float, float, str]:
    """Colour scale that a few extreme units cannot stretch: percentiles 0.5 and 99.5, and colorbar's `extend`."""
    low, high = np.floor(np.percentile(values, 0.5)), np.ceil(np.percentile(values, 99.5))
    high = max(high, low + 1)
    below, above = values.min() < low, values.max() > high
    return (
        low,
        high,
        {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[int(below), int(above)],
    )


def outline(axes: Axes, zone: np.ndarray, colour: str = "white", width: float = 1.4, at=(0, 0)) -> None:
    """Draw the border of a zone, (rows, columns) bool, along its pixels; `at` is the top left pixel (x, y)."""
    padded = np.pad(zone, 1)
    rows, columns = np.nonzero(padded[1:, :] != padded[:-1, :])
    level = [((c - 1.5, r - 0.5), (c - 0.5, r - 0.5)) for r, c in zip(rows, columns)]
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    upright = [((c - 0.5, r - 1.5), (c - 0.5, r - 0.5)) for r, c in zip(rows, columns)]
    lines = np.array(level + upright).reshape(-1, 2, 2) + np.asarray(at)
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, capstyle="projecting"))
