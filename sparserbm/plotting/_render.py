"""From a table to a Matplotlib figure, to a file or to the bytes of a PNG picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sparserbm.plotting import _style

SUFFIXES = (".png", ".svg", ".pdf", ".gif")
GIF_DPI = 100
PAUSE, REST = 120, 1500  # milliseconds: of one picture of an animation, of the last one


def render(module: ModuleType, table: Any, **drawing: Any) -> Figure:
    """Draw a table as the figure of `module`, in the size that the module asks for, or 6.5 x 4 inches."""
    size = module.size(table) if hasattr(module, "size") else (_style.WIDTH, 4.0)
    with matplotlib.rc_context(_style.RC):
        figure = Figure(figsize=size, layout="constrained")
        module.draw(figure, table, **drawing)
    return figure


def checked_path(path: Path) -> Path:
    """The path, if a figure can be saved there; asked before any work is done."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot save a figure as {path.name}; use a name that ends in one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"cannot save {path.name}: folder {path.parent} does not exist; create it first")
    return path


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the suffix; equal figures give equal files (no date inside)."""
    date = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with matplotlib.rc_context(_style.RC):
        figure.savefig(path, metadata=date[path.suffix.lower()])


def save_animation(figures: Sequence[Figure], path: Path) -> Figure:
    """Write the figures, one after the other and again and again, as GIF; the last one is returned."""
    from PIL import Image  # comes with Matplotlib

    pictures = [
        Image.open(io.BytesIO(png_bytes(figure, GIF_DPI))).convert("P", palette=Image.Palette.ADAPTIVE)
        for figure in figures
    ]
    pauses = [PAUSE] * (len(pictures) - 1) + [REST]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=pauses, loop=0, disposal=1)
    return figures[-1]


def png_bytes(figure: Figure, dpi: int = _style.DPI) -> bytes:
    """The figure as PNG with `dpi` pixels per inch."""
    stream = io.BytesIO()
    with matplotlib.rc_context(_style.RC):
        figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()
