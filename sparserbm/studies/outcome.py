"""What a study found: rows of runs, means of cells, tests between cells, and the tables of all three."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.runs import Run
from sparserbm.studies.comparisons import COLUMNS, COMPARED, compare
from sparserbm.studies.grid import cell_of

SUMMARISED = (
    *("loss", "accuracy", "validation_loss", "validation_accuracy"),
    *("core_validation_loss", "core_validation_accuracy", "free_energy_gap", "pseudo_likelihood"),
    *("centre_density", "margin_density", "learning_index", "learning_z", "seconds"),
)


@dataclass(frozen=True)
class Study:
    """The outcome of a study.

    Attributes
    ----------
    rows : list of dict
        One per run: its value of every key, seed, run, status, seconds and the metrics of the last epoch; a metric
        that is called like a key is ``measured_<name>``.
    runs : list of Run
        Those that finished.
    folder : Path
        Holds the run folders, ``table.csv``, ``summary.csv``, ``comparisons.csv``, figures and ``report.html``.
    keys : tuple of str
        The keys of the grid but the seed; model is the first.
    """

    rows: list[dict[str, Any]]
    runs: list[Run]
    folder: Path
    keys: tuple[str, ...]

    def summary(self) -> list[dict[str, Any]]:
        """Mean and standard deviation over seeds for each cell; verdicts are counted."""
        cells: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            cells.setdefault(cell_of(row["run"]), []).append(row)
        return [self._summarise(rows) for rows in cells.values()]

    def _summarise(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {key: rows[0][key] for key in self.keys} | {"seeds": len(rows)}
        finished = [row for row in rows if row["status"] == "finished"]
        found["finished"] = len(finished)
        for metric in SUMMARISED:
            values = [row[metric] for row in finished if metric in row]
            if values:
                found[metric] = float(np.mean(values))
                found[f"{metric}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        for verdict in ("positive", "negative", "none"):
            found[verdict] = sum(row.get("verdict") == verdict for row in finished)
        return found

    def compare(self, metric: str = "validation_accuracy") -> list[dict[str, Any]]:
        """Test whether the cells differ in a metric of the last epoch.

        Parameters
        ----------
        metric : str
            Any number in `rows`.

        Returns
        -------
        list of dict
            One row for each pair of cells a, b that differ in one key, and for each cell against the first one of its
            model: ``difference`` of the means (b - a), ``effect`` (the same in pooled standard deviations), ``p``,
            ``p_holm`` and what they come from. Losses of different models are not compared.

        Raises
        ------
        ValueError
            If no run has the metric.

        Notes
        -----
        Runs of one seed start from the same wiring and weights, where the key that differs leaves them alone, and see
        the samples in the same order. So ``p`` is that of a two-sided t-test on the differences seed by seed, where
        both cells have two seeds in common, else that of Welch's test (``test`` says which; both are given).
        ``p_holm`` is corrected for the number of rows of this table (Holm 1979). A cell with one run has no spread,
        and no test is possible: p is NaN.
        """
        numbers = [key for row in self.rows for key, value in row.items() if isinstance(value, (int, float))]
        numbers = [key for key in dict.fromkeys(numbers) if key not in (*self.keys, "seed")]
        if metric not in numbers:
            raise ValueError(f"no run has the metric {metric!r}; there are: {', '.join(numbers) or 'none'}")
        return compare(self.rows, self.keys, metric)

    def comparisons(self) -> list[dict[str, Any]]:
        """The tables of `compare` for accuracy, loss, learning index and z, one below the other."""
        return [row for metric in COMPARED for row in compare(self.rows, self.keys, metric)]

    def write_tables(self) -> None:
        """Write ``table.csv``, ``summary.csv`` and ``comparisons.csv``."""
        _write_table(self.folder / "table.csv", self.rows)
        _write_table(self.folder / "summary.csv", self.summary())
        _write_table(self.folder / "comparisons.csv", self.comparisons(), COLUMNS)


def _write_table(path: Path, rows: list[dict[str, Any]], columns: Sequence[str] = ()) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns or list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
