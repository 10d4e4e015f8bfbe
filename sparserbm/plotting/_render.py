"""From a table to a Matplotlib figure, to a file or to the bytes of a PNG picture."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sparserbm.plotting import _style

SUFFIXES = (".png", ".svg", ".pdf")


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


def png_bytes(figure: Figure, dpi: int = _style.DPI) -> bytes:
    """The figure as PNG with `dpi` pixels per inch."""
    stream = io.BytesIO()
    with matplotlib.rc_context(_style.RC):
        figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()
