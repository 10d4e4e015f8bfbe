"""The tables of the report as HTML: results of every run, and the settings behind them. All text is escaped."""

from __future__ import annotations

import html
import json
import math
from typing import Any

from sparserbm.plotting._p_values import p_number
from sparserbm.plotting._runs import epochs_of, key_text, kind, last_value, names, study_of
from sparserbm.plotting._zone_series import index_at, signed
from sparserbm.runs import Run
from sparserbm.topology import LearningIndex

LONGEST = 8  # lists of more entries are given by their length
NOTHING = "\N{EN DASH}"

Cell = tuple[str, float | None]  # what is written, and the number by which it is sorted and saved


def results_table(runs: list[Run]) -> str:
    """One line a run: what it is, its last losses and accuracies, and where its connections are.

    The page sorts the lines by any column; the name of a run is a button that shows the run.
    """
    keys = dict.fromkeys(key for run in runs for key in study_of(run) if key not in ("model", "seed"))
    keys = keys or {"regularization": None}
    heads = ["run", "model", *map(key_text, keys), "seed", "epochs", "centre", "margin", "index", "z", "p", "verdict"]
    heads += ["training loss", "validation loss", "training accuracy", "validation accuracy"]
    head = "".join(f'<th scope="col"><button type="button">{html.escape(text)}</button></th>' for text in heads)
    lines = []
    for place, (name, run) in enumerate(zip(names(runs), runs)):
        show = f'<button type="button" data-run="{place}">{html.escape(name)}</button>'
        cells = "".join(map(_result_cell, _result(run, list(keys))))
        lines.append(f'<tr><th scope="row">{show}</th>{cells}</tr>')
    return _scrolling(
        f'<table id="results"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>', "Runs"
    )


def _result(run: Run, keys: list[str]) -> list[Cell]:
    settings = run.config.get("recipe", {}) | run.config.get("training", {}) | study_of(run)
    given = [(_plain(value), _number_or_none(value)) for value in map(settings.get, keys)]
    seed, epochs = run.config.get("seed"), run.metrics[-1]["epoch"] if run.metrics else None
    row = [
        (kind(run).upper(), None),
        *given,
        (_plain(seed), _number_or_none(seed)),
        (_plain(epochs), epochs),
        *_zone_cells(last_index(run)),
    ]
    losses = [(last_value(run, key), ".4g") for key in ("loss", "validation_loss")]
    shares = [(last_value(run, key), ".1%") for key in ("accuracy", "validation_accuracy")]
    return row + [(number(value, form), value) for value, form in losses + shares]


def _number_or_none(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _result_cell(cell: Cell) -> str:
    text, value = cell
    data = ""
    if value is not None and math.isfinite(value):  # with all digits: the page saves the table with these numbers
        data = f' data-value="{value if isinstance(value, int) else float(value)!r}"'
    mark = f' class="{text}"' if text in ("positive", "negative") else ""
    return f"<td{data}{mark}>{html.escape(text)}</td>"


def last_index(run: Run) -> LearningIndex | None:
    """The learning index at the last snapshot; None for a run without zone or without snapshots."""
    if run.zone_mask is None or not len(run.snapshots):
        return None
    return index_at(run, epochs_of(run)[-1], "report")


def _zone_cells(index: LearningIndex | None) -> list[Cell]:
    if index is None:
        return [(NOTHING, None)] * 6
    return [
        (number(index.centre_density, ".2f"), index.centre_density),
        (number(index.margin_density, ".2f"), index.margin_density),
        (number(index.index, "+.3f"), index.index),
        (signed(index.z), index.z),
        (p_number(index.p), index.p),
        (index.verdict, None),
    ]


def number(value: float, form: str) -> str:
    """A number in the format `form`; a dash where it was not measured."""
    return NOTHING if math.isnan(value) else format(value, form).replace("-", "\N{MINUS SIGN}")


def settings_tables(runs: list[Run]) -> str:
    """What differs between the runs, and what all share."""
    flat = [flat_settings(run.config) for run in runs]
    keys = list(dict.fromkeys(key for entries in flat for key in entries))
    shared = [key for key in keys if len({entries.get(key) for entries in flat}) == 1]
    differing = [key for key in keys if key not in shared and key != "name"]
    parts = []
    if differing:
        rows = [[entries.get(key, NOTHING) for key in differing] for entries in flat]
        parts.append("<h3>What differs</h3>" + _table(["run", *differing], names(runs), rows))
    title = "What all runs share" if differing else "All settings"
    parts.append(f"<details><summary>{title} ({len(shared)})</summary>{_pairs(shared, flat[0])}</details>")
    return "".join(parts)


def flat_settings(config: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as {"training.epochs": "50"}."""
    if not isinstance(config, dict):
        return {prefix: _plain(config)}
    entries: dict[str, str] = {}
    for key, value in config.items():
        entries |= flat_settings(value, f"{prefix}.{key}" if prefix else str(key))
    return entries


def _plain(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, (list, tuple)) and len(value) > LONGEST:
        return f"{len(value)} values"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _table(heads: list[str], first: list[str], rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
    lines = []
    for name, row in zip(first, rows):
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in row)
        lines.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    return _scrolling(
        f'<table class="differs"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>', "What differs"
    )


def _scrolling(table: str, label: str) -> str:
    """A place in which a wide table scrolls sideways, also by the keyboard."""
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{table}</div>'


def _pairs(keys: list[str], entries: dict[str, str]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(entries.get(key, NOTHING))}</td></tr>'
        for key in keys
    )
    return f'<table class="settings"><tbody>{lines}</tbody></table>'
