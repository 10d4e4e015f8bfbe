"""The figures of a study and its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sparserbm.runs import Run
from sparserbm.studies.grid import cell_of
from sparserbm.studies.outcome import Study

NEEDS: dict[str, Callable[[Run], bool]] = {
    "image": lambda run: run.config["data"]["image_shape"] is not None,
    "zone": lambda run: run.zone_mask is not None,
}
FIGURES: dict[str, set[str]] = {
    "study-summary": {"zone"},
    "zone-density": {"zone"},
    "concentric-trend": {"image"},
    "connection-map": {"image"},
    "learning-curves": set(),
}


MOST = 48  # cells; a picture of more would be too high to save, and a report takes seconds for each


def draw(found: Study) -> list[Path]:
    """Write the figures of a study and its ``report.html``; returns the paths.

    The summary shows all runs, the map one run (the first seed) of each cell; all but the summary the first 48 cells.
    """
    from sparserbm.plotting import plot, report

    cells = list(dict.fromkeys(cell_of(run.name) for run in found.runs))[:MOST]
    shown = [run for run in found.runs if cell_of(run.name) in cells]
    some = list({cell_of(run.name): run for run in reversed(shown)}.values())[::-1]
    paths = []
    lacking = {need for need, has in NEEDS.items() if not all(has(run) for run in some)}
    for name, needs in FIGURES.items():
        if needs & lacking:
            continue
        paths.append(found.folder / f"{name}.png")
        plot(name, {"study-summary": found.runs, "connection-map": some}.get(name, shown), paths[-1])
    paths.append(found.folder / "report.html")
    report(shown, paths[-1])
    return paths
