"""Pictures of runs. One figure per file; a figure is known by its file name, with hyphens.

A figure file defines ``load(runs, **options)``, which makes a table of arrays, and ``draw(figure, table,
**options)``, which draws the table on a Matplotlib `Figure` or `SubFigure`, so that figures compose; if it wants
a size of its own, ``size(table)`` in inches; if it can move, ``stills(table)``, tables that are drawn one after the
other. Nothing here needs a live model.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from sparserbm.plotting._render import checked_path, render, save, save_animation
from sparserbm.plotting._runs import as_runs
from sparserbm.plotting._sheet import contact_sheet
from sparserbm.plotting.report import report

STILLS = 60  # epochs of an animation, unless told otherwise

__all__ = ["contact_sheet", "figures", "plot", "report"]


def figures() -> list[str]:
    """Names of the figures that `plot` draws, sorted."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_") and name != "report")


def plot(name: str, runs: Any, path: str | os.PathLike | None = None, **options: Any) -> Figure:
    """Draw one figure of one or several runs.

    Parameters
    ----------
    name : str
        One of `figures()`, e.g. "zone-density".
    runs : Run, run folder, or several of them
    path : path, optional
        Where to save it; the suffix says how: .png, .svg or .pdf, and .gif for a figure that moves (connection-map),
        which is returned as its last picture.
    **options
        What `load` or `draw` of that figure takes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the figure, the suffix or an option is not known, or the runs lack what the figure shows.
    """
    module = _figure_module(name)
    target = None if path is None else checked_path(Path(path))
    if target is not None and target.suffix.lower() == ".gif":
        if not hasattr(module, "stills"):
            raise ValueError(f"figure {name} does not move; save it as .png, .svg or .pdf")
        options = {"n_epochs": STILLS} | options
    loading, drawing = _split(name, module, options)
    table = module.load(as_runs(runs), **loading)
    if target is not None and target.suffix.lower() == ".gif":
        return save_animation([render(module, still, **drawing) for still in module.stills(table)], target)
    figure = render(module, table, **drawing)
    if target is not None:
        save(figure, target)
    return figure


def _figure_module(name: str) -> ModuleType:
    known = figures()
    if name.replace("_", "-") not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"unknown figure {name!r}{hint}; known: {', '.join(known)}")
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def _split(name: str, module: ModuleType, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    loading = list(inspect.signature(module.load).parameters)[1:]
    drawing = list(inspect.signature(module.draw).parameters)[2:]
    for option in options:
        if option not in loading + drawing:
            takes = ", ".join(loading + drawing) or "none"
            raise ValueError(f"figure {name} has no option {option!r}; it has: {takes}")
    return (
        {key: value for key, value in options.items() if key in loading},
        {key: value for key, value in options.items() if key in drawing},
    )
