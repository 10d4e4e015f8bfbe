"""One HTML page about a set of runs, in one file: it needs no network and no other file.

Verdicts and tables are written here; the scripts draw the rest in the browser from the numbers in the page.
"""

from __future__ import annotations

import html
import importlib.resources
import json
import os
import string
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.plotting import _style
from sparserbm.plotting._curves import learning_panels, most_points, topology_panels, topology_series
from sparserbm.plotting._frames import colour_table, fields, frame_bytes, frames
from sparserbm.plotting._runs import as_runs, group_labels, grouped, kind, names, study_of
from sparserbm.plotting._tables import flat_settings, results_table, settings_tables
from sparserbm.plotting._verdicts import lead, verdict_list
from sparserbm.plotting._zone_series import MOST
from sparserbm.runs import Run, write_atomically
from sparserbm.topology.zones import VERDICT_Z

TITLE = "Where did the connections gather?"
FRAME_BYTES = 6_000_000  # of all epochs of all runs; as text a third more, so that the page stays below 15 MB
MOST_SHOWN = 60  # runs with maps and receptive fields; the others have their curves and their line in the table
FIELDS = 25  # hidden units a run
SCRIPTS = ("report_charts.js", "report_maps.js", "report.js")  # in this order one script


def report(runs: Any, path: str | os.PathLike) -> Path:
    """Write a page that answers where the connections of these runs gathered.

    The verdict of every group of runs (same study entry, other seeds) with z and p; for every run its heat map of the
    connections per input and its concentric trend with a slider over the epochs, beside the curves of all runs; the
    table of runs; settings and versions; the numbers to save.

    Parameters
    ----------
    runs : Run, run folder, or several of them
    path : path
        The file to write; ends in .html.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If there is no run, or `path` is no name for a page.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"cannot write a report as {path.name}; use a name that ends in .html")
    if path.is_dir():
        raise ValueError(f"cannot write a report as {path.name}: that is a folder; use another name")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path.name}: folder {path.parent} does not exist; create it first")
    members = as_runs(runs)
    groups = grouped(members)
    page = string.Template(_part("report.html")).substitute(
        title=html.escape(TITLE),
        lead=html.escape(lead(groups)),
        verdicts=verdict_list(groups),
        results=results_table(members),
        count=_count(members),
        settings=settings_tables(members),
        footer=html.escape(_footer(members)),
        # a "</script>" in a name must not end the block
        data=json.dumps(page_data(members, groups), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        style=_part("report.css"),
        script="\n".join(map(_part, SCRIPTS)),
    )
    write_atomically(path, page.encode("utf-8"))
    return path


def _part(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def page_data(runs: list[Run], groups: dict[str, list[Run]]) -> dict[str, Any]:
    """All numbers that the page draws, JSON-ready."""
    entries = [_entry(run, name, label) for run, name, label in zip(runs, names(runs), group_labels(runs))]
    _add_frames(runs, entries, groups)
    panels = _add_curves(runs, entries)
    for entry in entries:
        entry["epochs"] = _stops(entry)
    return {
        "title": TITLE,
        "threshold": VERDICT_Z,
        "groups": list(groups),
        "colours": {"sequence": colour_table(_style.SEQUENCE), "diverging": colour_table(_style.DIVERGING)},
        "panels": panels,
        "runs": entries,
    }


def _entry(run: Run, name: str, group: str) -> dict[str, Any]:
    """One run without its maps and curves; `missing` says why something of it is not drawn."""
    entry: dict[str, Any] = {"name": name, "group": group, "kind": kind(run), "study": study_of(run), "missing": []}
    entry |= {"settings": flat_settings(run.config), "series": {}, "frames": None, "fields": None}
    if run.zone_mask is None:
        entry["missing"].append(f"run {run.name} states no active zone, so it has neither z nor verdict")
    return entry


def _add_frames(runs: list[Run], entries: list[dict[str, Any]], groups: dict[str, list[Run]]) -> None:
    """Maps and receptive fields of the first run of every group, then of the others, as many as the page may hold."""
    firsts = {id(members[0]) for members in groups.values()}
    order = sorted(range(len(runs)), key=lambda place: id(runs[place]) not in firsts)
    shown = order[:MOST_SHOWN]
    for place in order[MOST_SHOWN:]:
        entries[place]["missing"].append(f"the page has the maps of {MOST_SHOWN} runs only; write one with fewer runs")
    n_bytes = sum(_size(runs[place]) for place in shown)
    limit = MOST if n_bytes == 0 else int(np.clip(FRAME_BYTES // n_bytes, 2, MOST))
    for place in shown:
        if len(runs[place].snapshots):  # else _add_curves says so
            _add_pictures(runs[place], entries[place], limit)


def _add_pictures(run: Run, entry: dict[str, Any], limit: int) -> None:
    try:
        entry["frames"] = frames(run, limit)
        if entry["frames"]["noisy"] is None:
            rows, columns = entry["frames"]["shape"]
            entry["missing"].append(
                f"the concentric trend needs a square image of even side, "
                f"but that of run {run.name} is {rows} x {columns}"
            )
        entry["fields"] = fields(run, FIELDS)
    except ValueError as error:
        entry["missing"].append(str(error))


def _add_curves(runs: list[Run], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give every run its series, at the stops of its slider too; returns the panels that show them."""
    limit = most_points(len(runs))
    stops = [set(entry["frames"]["epochs"]) if entry["frames"] else set() for entry in entries]
    for run, entry, own in zip(runs, entries, stops):
        try:
            entry["series"] = topology_series(run, limit, own)
        except ValueError as error:
            entry["missing"].append(str(error))
    panels = topology_panels([entry["series"] for entry in entries])
    try:
        found, series = learning_panels(runs, limit, stops)
    except ValueError as error:
        for entry in entries:
            entry["missing"].append(str(error))
        return panels
    for entry, more in zip(entries, series):
        entry["series"] |= more
    return panels + found


def _size(run: Run) -> int:
    return frame_bytes(run) if len(run.snapshots) else 0


def _stops(entry: dict[str, Any]) -> list[int]:
    """The epochs at which the slider stops."""
    if entry["frames"]:
        return entry["frames"]["epochs"]
    return max((series["epochs"] for series in entry["series"].values()), key=len, default=[])


def _count(runs: list[Run]) -> str:
    return "1 run" if len(runs) == 1 else f"{len(runs)} runs"


def _footer(runs: list[Run]) -> str:
    versions = sorted({str(run.config.get("versions", {}).get("sparserbm", "unknown")) for run in runs})
    return f"{_count(runs)} of sparserbm {', '.join(versions)}. One file, no network needed."
