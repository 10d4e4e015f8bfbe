"""The tables of the report as HTML: results of every run, and the settings behind them. All text is escaped."""

from __future__ import annotations

import html
import json
import math
from typing import Any

from sparserbm.plotting._runs import epochs_of, key_text, kind, last_value, study_of
from sparserbm.plotting._zone_series import index_at, signed
from sparserbm.runs import Run
from sparserbm.topology import LearningIndex

LONGEST = 8  # lists of more entries are given by their length


def results_table(runs: list[Run]) -> str:
    """One line a run: what it is, its last losses and accuracies, and where its connections are."""
    keys = dict.fromkeys(key for run in runs for key in study_of(run) if key not in ("model", "seed")) or {"l2": None}
    heads = ["run", "model", *map(key_text, keys), "seed", "centre", "margin", "index", "z", "verdict"]
    heads += ["training loss", "validation loss", "training accuracy", "validation accuracy"]
    return table(heads, [_result(run, list(keys)) for run in runs], verdict_column=heads.index("verdict"))


def _result(run: Run, keys: list[str]) -> list[str]:
    settings = run.config.get("recipe", {}) | study_of(run)
    losses = [number(last_value(run, key), ".4g") for key in ("loss", "validation_loss")]
    shares = [number(last_value(run, key), ".1%") for key in ("accuracy", "validation_accuracy")]
    row = [
        run.name,
        kind(run).upper(),
        *(_plain(settings.get(key)) for key in keys),
        _plain(run.config.get("seed")),
    ]
    return row + _zone_cells(last_index(run)) + losses + shares


def last_index(run: Run) -> LearningIndex | None:
    """The learning index at the last snapshot; None for a run without zone or without snapshots."""
    if run.zone_mask is None or not len(run.snapshots):
        return None
    return index_at(run, epochs_of(run)[-1], "report")


def _zone_cells(index: LearningIndex | None) -> list[str]:
    if index is None:
        return ["–"] * 5
    densities = [number(index.centre_density, ".2f"), number(index.margin_density, ".2f")]
    return [*densities, number(index.index, "+.3f"), signed(index.z), index.verdict]


def number(value: float, form: str) -> str:
    """A number in the format `form`; a dash where it was not measured."""
    return "–" if math.isnan(value) else format(value, form).replace("-", "\N{MINUS SIGN}")


def settings_tables(runs: list[Run]) -> str:
    """What all runs share, and what differs between them."""
    flat = {number: _flatten(run.config) for number, run in enumerate(runs)}
    keys = list(dict.fromkeys(key for entries in flat.values() for key in entries))
    shared = [key for key in keys if len({entries.get(key) for entries in flat.values()}) == 1]
    differing = [key for key in keys if key not in shared and key != "name"]
    parts = [_pairs([(key, str(flat[0][key])) for key in shared])]
    if differing:
        rows = [[run.name] + [flat[place].get(key, "–") for key in differing] for place, run in enumerate(runs)]
        parts.append("<h3>What differs</h3>" + table(["run", *differing], rows))
    return "".join(parts)


def _flatten(config: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as {"training.epochs": "50"}."""
    if not isinstance(config, dict):
        return {prefix: _plain(config)}
    entries: dict[str, str] = {}
    for key, value in config.items():
        entries |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return entries


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)) and len(value) > LONGEST:
        return f"{len(value)} values"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def table(heads: list[str], rows: list[list[str]], verdict_column: int = -1) -> str:
    """An HTML table that scrolls sideways on a narrow page; the verdict column is coloured by its word."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    lines = []
    for row in rows:
        marks = [f' class="{html.escape(text)}"' if place == verdict_column else "" for place, text in enumerate(row)]
        lines.append("".join(f"<td{mark}>{html.escape(text)}</td>" for mark, text in zip(marks, row)))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _pairs(pairs: list[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in pairs)
    return f'<table class="settings"><tbody>{lines}</tbody></table>'
