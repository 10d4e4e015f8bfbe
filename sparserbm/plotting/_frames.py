"""Frames of the report's slider: connection map and concentric trend of one run, epoch by epoch."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.text import Text

from sparserbm.plotting import _style
from sparserbm.plotting._zone_series import index_at, signed
from sparserbm.plotting.concentric_trend import noisy_sides, trend_at
from sparserbm.plotting.connection_map import MapRow
from sparserbm.plotting.connection_map import load as load_maps
from sparserbm.runs import Run

FIGURE = "report"
SIZE = (4.6, 4.1)  # inches; the two pictures stand side by side on a wide page, one above the other on a narrow one
DPI = 100


@dataclass(frozen=True)
class Frames:
    """PNG pictures of one run, one per epoch; `trends` is empty where the image is no square of even side."""

    epochs: list[int]
    maps: list[bytes]
    trends: list[bytes]


def frames(run: Run, limit: int) -> Frames:
    """At most `limit` evenly spaced epochs of a run, first and last kept.

    Raises
    ------
    ValueError
        If the run states no image shape or has no snapshot.
    """
    row = load_maps([run], n_epochs=limit)[0]
    rows, columns = row.images.shape[1:]
    trends = _trend_frames(run, row) if rows == columns and rows % 2 == 0 else []
    return Frames(row.epochs.tolist(), _map_frames(run, row), trends)


def _map_frames(run: Run, row: MapRow) -> list[bytes]:
    low, high, extend = _style.colour_limits(row.images)
    with matplotlib.rc_context(_style.RC):
        figure, axes, title = _empty()
        shown = _style.show_image(axes, row.images[0], low, high)
        if row.zone is not None:
            _style.outline(axes, row.zone)
        figure.colorbar(shown, ax=axes, label="connections per input", extend=extend, pad=0.02, aspect=25)

        def show(number: int) -> None:
            shown.set_data(row.images[number])
            epoch = row.epochs[number]
            z = "" if row.zone is None else f", z = {signed(index_at(run, epoch, FIGURE).z)}"
            title.set_text(f"Epoch {epoch}{z}")

        return _film(figure, show, len(row.epochs), [shown, *axes.collections, title])


def _trend_frames(run: Run, row: MapRow) -> list[bytes]:
    curves = np.array([trend_at(run, epoch) for epoch in row.epochs])
    start = noisy_sides(curves.shape[1])
    sides, curves = 2 * np.arange(start + 1, curves.shape[1] + 1), curves[:, start:]
    pad = 0.08 * max(np.ptp(curves), 0.1)
    with matplotlib.rc_context(_style.RC):
        figure, axes, title = _empty()
        axes.axhline(curves[0, -1], color=_style.GREY, ls="--", lw=1.2, label="all inputs")
        axes.plot(sides, curves[0], color="#9a9a9a", lw=1.4, label=f"epoch {row.epochs[0]}")
        (line,) = axes.plot(sides, curves[0], color=_style.CATEGORIES[0], lw=2.2, marker=".", label="this epoch")
        axes.set_ylim(curves.min() - pad, curves.max() + pad)
        axes.set_xticks(sides[1::2] if sides.size > 5 else sides)
        axes.set_xlabel("side of the centred square (pixels)")
        axes.set_ylabel("mean connections per input")
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=3)

        def show(number: int) -> None:
            line.set_ydata(curves[number])
            title.set_text(f"Epoch {row.epochs[number]}")

        return _film(figure, show, len(row.epochs), [line, title])


def _empty() -> tuple[Figure, Axes, Text]:
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    return figure, axes, axes.set_title("Epoch", loc="left", fontweight="bold")


def _film(figure: Figure, show: Callable[[int], None], n: int, moving: list[Artist]) -> list[bytes]:
    """PNG pictures of `n` moments: all but the moving artists is drawn once, which is several times faster."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")  # the layout of the first drawing holds for all: nothing jumps
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    pictures = []
    for number in range(n):
        canvas.restore_region(still)
        show(number)
        for artist in moving:
            figure.draw_artist(artist)
        stream = io.BytesIO()
        imsave(stream, np.asarray(canvas.buffer_rgba()), format="png")
        pictures.append(stream.getvalue())
    return pictures
