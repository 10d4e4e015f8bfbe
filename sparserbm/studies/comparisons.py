"""Tests between the cells of a study: do their means differ by more than their seeds do?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparserbm.studies.grid import cell_of
from sparserbm.topology import holm

COMPARED = (
    *("validation_accuracy", "core_validation_accuracy", "validation_loss"),
    *("learning_index", "learning_z"),
)
COLUMNS = (
    *("metric", "a", "b", "differs", "runs_a", "runs_b", "mean_a", "mean_b", "difference", "effect"),
    *("test", "pairs", "p", "p_holm", "p_paired", "p_welch"),
)
LEVEL = 0.05


def compare(rows: Sequence[dict[str, Any]], keys: Sequence[str], metric: str) -> list[dict[str, Any]]:
    """One row for each pair of cells; see `Study.compare`.

    Parameters
    ----------
    rows : list of dict
        One per run, as in `Study.rows`.
    keys : sequence of str
        The keys of the grid but the seed.
    metric : str
        A number that the runs have; cells where no finished run has it are left out.
    """
    cells: dict[str, dict[int, float]] = {}
    places: dict[str, dict[str, Any]] = {}
    for row in rows:
        value = row.get(metric)
        if row["status"] == "finished" and value is not None and math.isfinite(value):
            name = cell_of(row["run"])
            cells.setdefault(name, {})[row["seed"]] = float(value)
            places[name] = {key: row[key] for key in keys}
    found = []
    for a, b in itertools.combinations(cells, 2):
        differs = [key for key in keys if places[a][key] != places[b][key]]
        first = next(name for name in cells if places[name]["model"] == places[b]["model"])
        if "model" in differs and (len(differs) > 1 or metric in LOSSES):
            continue
        if len(differs) == 1 or a == first:
            row = {"metric": metric, "a": a, "b": b, "differs": ", ".join(differs)}
            found.append(row | _tested(cells[a], cells[b]))
    for row, p in zip(found, holm([row["p"] for row in found])):
        row["p_holm"] = p
    return [{column: row[column] for column in COLUMNS} for row in found]


LOSSES = ("loss", "validation_loss", "core_validation_loss")  # of an RBM and of an MLP they are different quantities


def _tested(a: dict[int, float], b: dict[int, float]) -> dict[str, Any]:
    """What the values of two cells, by seed, say about the difference of their means."""
    values_a, values_b = np.array(list(a.values())), np.array(list(b.values()))
    both = [seed for seed in a if seed in b]
    paired = paired_p(np.array([b[seed] - a[seed] for seed in both]))
    welch = welch_p(values_a, values_b)
    test, p = ("paired t", paired) if len(both) > 1 else ("Welch t", welch)
    return {
        "runs_a": len(a),
        "runs_b": len(b),
        "mean_a": float(values_a.mean()),
        "mean_b": float(values_b.mean()),
        "difference": float(values_b.mean() - values_a.mean()),
        "effect": effect(values_a, values_b),
        "test": "none" if math.isnan(p) else test,
        "pairs": len(both),
        "p": p,
        "p_paired": paired,
        "p_welch": welch,
    }


def paired_p(differences: np.ndarray) -> float:
    """Two-sided p of Student's t-test that the mean of the differences, (n_pairs,), is 0.

    1 where all are 0; NaN for less than two, and where all are the same other number: they say nothing about spread.
    """
    from scipy import stats

    n = len(differences)
    if n < 2:
        return math.nan
    if not differences.any():
        return 1.0
    if _constant(differences):
        return math.nan
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(n))
    return float(2 * stats.t.sf(abs(t), n - 1))


def welch_p(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p of Welch's t-test that two samples, (n_a,) and (n_b,), have one mean; variances may differ.

    1 where all values are the same number; NaN for less than two values in one of them, and where neither varies.
    """
    from scipy import stats

    if min(len(a), len(b)) < 2:
        return math.nan
    if _constant(a) and _constant(b):
        return 1.0 if a[0] == b[0] else math.nan
    spread = {"std1": a.std(ddof=1), "std2": b.std(ddof=1)}
    found = stats.ttest_ind_from_stats(a.mean(), nobs1=len(a), mean2=b.mean(), nobs2=len(b), equal_var=False, **spread)
    return float(found.pvalue)


def _constant(values: np.ndarray) -> bool:
    """Whether the values differ by rounding at most."""
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def effect(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of the means, b - a, in standard deviations within the cells (pooled; Cohen's d); NaN without one."""
    if _constant(a) and _constant(b):
        return math.nan
    squares = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    return float((b.mean() - a.mean()) / math.sqrt(squares / (len(a) + len(b) - 2)))


def significant(rows: Sequence[dict[str, Any]], level: float = LEVEL) -> list[dict[str, Any]]:
    """The comparisons with a corrected p below `level`, surest first."""
    return sorted((row for row in rows if row["p_holm"] < level), key=lambda row: row["p_holm"])
