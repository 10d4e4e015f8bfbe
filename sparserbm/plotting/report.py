"""One HTML page about a set of runs, in one file: it needs no network and no other file."""

from __future__ import annotations

import base64
import html
import importlib.resources
import json
import os
import string
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sparserbm.plotting import learning_curves, receptive_fields, study_summary, zone_density
from sparserbm.plotting._frames import frames
from sparserbm.plotting._render import png_bytes, render
from sparserbm.plotting._runs import as_runs, grouped
from sparserbm.plotting._tables import last_index, results_table, settings_tables
from sparserbm.plotting._zone_series import signed, tally
from sparserbm.runs import Run, write_atomically

TITLE = "Where did the connections gather?"
FRAMES_PER_RUN = 40
FRAMES_IN_ALL = 180  # one epoch takes about 60 kB of the page, which stays below 15 MB


def report(runs: Any, path: str | os.PathLike) -> Path:
    """Write a page that answers where the connections of these runs gathered.

    The verdict of every group of runs (same study entry, other seeds), a slider over the epochs of one run per
    group, the table of runs, the figures that the runs have data for, settings and versions.

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
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path.name}: folder {path.parent} does not exist; create it first")
    members = as_runs(runs)
    groups = grouped(members)
    firsts = {label: found[0] for label, found in groups.items()}
    template = importlib.resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    page = string.Template(template).substitute(
        title=html.escape(TITLE),
        verdicts=_verdicts(groups),
        frames=_slider(firsts),
        sections=_sections(members, firsts),
        footer=html.escape(_footer(members)),
    )
    write_atomically(path, page.encode("utf-8"))
    return path


def _verdicts(groups: dict[str, list[Run]]) -> str:
    lines = []
    for label, runs in groups.items():
        found = [index for index in map(last_index, runs) if index is not None]
        words = {index.verdict for index in found}
        mark = words.pop() if len(words) == 1 else "mixed"
        text = f"<strong>{html.escape(label)}</strong>: {html.escape(_verdict(found))}"
        lines.append(f'<li class="{mark}">{text}</li>')
    rules = {
        str(run.config["zone"].get("rule", "")) for runs in groups.values() for run in runs if run.config.get("zone")
    }
    zone = f" ({', '.join(sorted(rules))})" if any(rules) else ""
    note = (
        f"z counts how many standard deviations the connections in the active zone{zone} lie above those of a "
        f"random wiring with as many connections: positive above 3, negative below \N{MINUS SIGN}3, else none."
    )
    return f'<ul class="verdicts">{"".join(lines)}</ul><p class="soft">{html.escape(note)}</p>'


def _verdict(found: list) -> str:
    """One sentence about a group."""
    if not found:
        return "no active zone was stated, so there is no verdict."
    n, z = len(found), f"z = {signed(float(np.mean([index.z for index in found])))}"
    mean = f"mean {z}" if n > 1 else z
    every = "" if n == 1 else f" in all {n} runs"
    sentences = {
        "positive": f"in the active zone{every}",
        "negative": f"outside the active zone{every}",
        "none": f"nowhere in particular{every}",
    }
    words = {index.verdict for index in found}
    if len(words) > 1:
        return f"the runs differ: {tally(found)} ({mean})."
    word = words.pop()
    return f"{sentences[word]} (verdict {word}, {mean})."


def _slider(firsts: dict[str, Run]) -> str:
    """Controls, pictures and data of the slider; a note instead where the runs are no images."""
    limit = max(2, min(FRAMES_PER_RUN, FRAMES_IN_ALL // len(firsts)))
    entries, problems = [], []
    for label, run in firsts.items():
        try:
            found = frames(run, limit)
        except ValueError as error:
            problems.append(_missing(str(error)))
            continue
        pictures = {"maps": _texts(found.maps), "trends": _texts(found.trends)}
        entries.append({"label": label, "name": run.name, "epochs": found.epochs, **pictures})
    if not entries:
        return _section("Epoch by epoch", "".join(problems))
    options = "".join(
        f'<option value="{place}">{html.escape(_entry_label(entry))}</option>' for place, entry in enumerate(entries)
    )
    data = json.dumps(entries).replace("<", "\\u003c")  # a "</script>" in a name must not end the block
    return _section(
        "Epoch by epoch",
        f'<div class="controls"><select id="run" aria-label="run">{options}</select>'
        f'<button id="play" type="button">Play</button>'
        f'<input id="epoch" type="range" min="0" value="0" max="0" aria-label="epoch">'
        f'<output id="epoch-label"></output></div>'
        f'<div class="pictures"><figure><img id="map" alt="Connections per input as an image"></figure>'
        f'<figure><img id="trend" alt="Mean connections per input in centred squares"></figure></div>'
        f'<script type="application/json" id="frames">{data}</script>{"".join(problems)}',
    )


def _entry_label(entry: dict) -> str:
    return entry["label"] if entry["label"] == entry["name"] else f"{entry['label']} ({entry['name']})"


def _sections(runs: list[Run], firsts: dict[str, Run]) -> str:
    with_zone = [run for run in runs if run.zone_mask is not None]
    parts = []
    if study_summary.in_study(with_zone):
        parts.append(_section("The cells of the study", _picture(study_summary, with_zone)))
    parts.append(_section("Runs", results_table(runs) + _TABLE_NOTE))
    parts.append(_section("Active zone and margin", _picture(zone_density, with_zone or runs)))
    parts.append(_section("Learning", _picture(learning_curves, runs)))
    parts.append(_section("Receptive fields", _per_group(receptive_fields, firsts)))
    parts.append(_section("Settings and versions", settings_tables(runs)))
    return "\n".join(parts)


_TABLE_NOTE = (
    '<p class="soft">Loss: of an RBM the mean squared reconstruction error. Centre and margin: connections per input '
    "inside and outside the active zone; index = log(centre / margin). All at the last epoch measured.</p>"
)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>"


def _picture(module: ModuleType, runs: list[Run]) -> str:
    return f'<div class="pictures single">{_figure(module, runs)}</div>'


def _per_group(module: ModuleType, firsts: dict[str, Run]) -> str:
    figures = [_figure(module, [run], caption=label) for label, run in firsts.items()]
    return f'<div class="pictures">{"".join(figures)}</div>'


def _figure(module: ModuleType, runs: list[Run], caption: str = "") -> str:
    """A figure as inline PNG; where the runs lack what it shows, the sentence that says so."""
    try:
        picture = png_bytes(render(module, module.load(runs)))
    except ValueError as error:
        return _missing(str(error))
    above = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    source = f"data:image/png;base64,{_texts([picture])[0]}"
    return f'<figure>{above}<img src="{source}" alt="{html.escape(module.FIGURE)}"></figure>'


def _missing(reason: str) -> str:
    return f'<p class="soft">Not drawn: {html.escape(reason)}</p>'


def _texts(pictures: list[bytes]) -> list[str]:
    return [base64.b64encode(picture).decode("ascii") for picture in pictures]


def _footer(runs: list[Run]) -> str:
    versions = sorted({str(run.config.get("versions", {}).get("sparserbm", "unknown")) for run in runs})
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return f"{count} of sparserbm {', '.join(versions)}. One file, no network needed."
