"""The regularization study on MNIST: its published cells beside ours, and the same question asked of an RBM.

    python benchmarks/regularization_study.py --out study-mnist
    python benchmarks/regularization_study.py --out study-1000 --models mlp --epochs 1000 --seeds 1

MNIST comes from the folder in SPARSERBM_DATA, from the cache, or over the network. Runs that are finished in the
folder of --out are not trained again. Writes results/regularization_study.json and prints the tables of the README;
with another number of epochs results/regularization_study_<epochs>.json.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine, write

from sparserbm.plotting import plot
from sparserbm.studies import study
from sparserbm.topology import turning_point

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "regularization_study.png"

# Published, one run each, by epochs and decay: train loss and accuracy, test loss and accuracy, z of the topology.
NAMES = ("loss", "accuracy", "test_loss", "test_accuracy", "z")
PUBLISHED = {
    (155, 0.0): (0.0428, 0.9869, 0.0884, 0.9721, 0.6),
    (155, 1e-3): (0.0795, 0.9780, 0.0885, 0.9730, 11.5),
    (1000, 0.0): (0.0025, None, 0.1262, 0.9774, -5.5),
    (1000, 1e-3): (0.0480, None, 0.0720, 0.9777, 5.6),
    (1000, 1e-2): (0.1583, None, 0.1512, 0.9622, 11.6),
}
# Ours under the same names: the study tested the net without its weakest connections.
OURS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "test_loss": "core_validation_loss",
    "test_accuracy": "core_validation_accuracy",
    "test_loss_whole_net": "validation_loss",
    "test_accuracy_whole_net": "validation_accuracy",
    "centre": "centre_density",
    "margin": "margin_density",
    "index": "learning_index",
    "z": "learning_z",
    "seconds": "seconds",
    "pseudo_likelihood": "pseudo_likelihood",
    "free_energy_gap": "free_energy_gap",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="study-mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=155)
    parser.add_argument("--models", default="mlp,rbm")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--trained-at", help="commit of runs that were trained before, for the record")
    options = parser.parse_args()
    common = {"seeds": options.seeds, "epochs": options.epochs, "n_jobs": options.jobs, "progress": say}
    decays = {"mlp": (0.0, 1e-3, 1e-2), "rbm": (0.0, 1e-3)}
    done = [
        study("mnist", models=(model,), l2=decays[model], out=f"{options.out}/{model}", **common)
        for model in options.models.split(",")
    ]
    cells = [cell(found, strength, options.epochs) for found in done for strength in strengths(found)]
    usual = options.epochs == parser.get_default("epochs")
    path = write(
        "regularization_study" if usual else f"regularization_study_{options.epochs}",
        {
            "what": "MNIST, epochs and seeds as given; ours is the mean over seeds, spread their standard deviation",
            "epochs": options.epochs,
            "machine": machine(),
            "trained_at": options.trained_at or machine()["commit"],
            "jobs_at_a_time": options.jobs or "one per core, one thread each",
            "cells": cells,
        },
    )
    print("\n".join(lines(cells)))
    runs = [run for found in done for run in found.runs]
    picture(runs, FIGURE if usual else FIGURE.with_stem(f"{FIGURE.stem}_{options.epochs}"))
    say(f"written to {path}")


def picture(runs: list[Any], path: Path) -> None:
    """Both zones over the epochs, all seeds."""
    path.parent.mkdir(exist_ok=True)
    plot("zone-density", runs, path)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def strengths(found: Any) -> list[float]:
    return list(dict.fromkeys(row["l2"] for row in found.rows))


def cell(found: Any, strength: float, epochs: int) -> dict[str, Any]:
    """One cell of the grid: every seed, mean, spread, verdicts, and the published figures where there are any."""
    rows = [row for row in found.rows if row["l2"] == strength]
    values = {name: [row[key] for row in rows] for name, key in OURS.items() if all(key in row for row in rows)}
    runs = {run.name: run for run in found.runs}
    histories = [runs[row["run"]].history for row in rows]
    middle, mlp = {}, rows[0]["model"] == "mlp"
    for epoch in (1, 5, 10, 30, 50, 100, 155, 300, 500, 718):
        found_z = [line["learning_z"] for row in rows for line in runs[row["run"]].metrics if line["epoch"] == epoch]
        if found_z:
            middle[str(epoch)] = float(np.mean(found_z))
    return {
        "model": rows[0]["model"],
        "l2": strength,
        "seeds": [row["seed"] for row in rows],
        "status": [row["status"] for row in rows],
        "mean": {name: float(np.mean(given)) for name, given in values.items()},
        "spread": {name: float(np.std(given, ddof=1)) if len(given) > 1 else 0.0 for name, given in values.items()},
        "runs": values,
        "verdicts": [row.get("verdict") for row in rows],
        "z_by_epoch": middle,
        "turns": [asdict(turning_point(history["epoch"], history["learning_z"])) for history in histories],
        "published": dict(zip(NAMES, published)) if (published := PUBLISHED.get((epochs, strength))) and mlp else None,
    }


def lines(cells: list[dict[str, Any]]) -> list[str]:
    """The table of the README."""
    head = ("net", "L2", "train loss / acc.", "test loss / acc.", "active zone", "margin", "z", "verdict", "published")
    out = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for found in cells:
        mean, spread, published = found["mean"], found["spread"], found["published"]

        def show(name: str, form: str, mean: dict = mean, spread: dict = spread) -> str:
            return f"{form.format(mean[name])} ± {form.replace('+', '').format(spread[name])}" if name in mean else "-"

        verdicts = found["verdicts"]
        counted = ", ".join(
            f"{verdicts.count(name)} {name}" for name in ("positive", "negative", "none") if name in verdicts
        )
        test = "test_loss" if "test_loss" in mean else "test_loss_whole_net"
        beside = "-"
        if published:
            beside = "{loss:.4f}, {test_loss:.4f} / {test_accuracy:.2%}, z {z:+.1f}".format(**published)
        out.append(
            f"| {found['model'].upper()} | {found['l2']:g} | {show('loss', '{:.4f}')} / {show('accuracy', '{:.2%}')} "
            f"| {show(test, '{:.4f}')} / {show('test_accuracy', '{:.2%}')} | {show('centre', '{:.2f}')} "
            f"| {show('margin', '{:.2f}')} | {show('z', '{:+.1f}')} | {counted} | {beside} |"
        )
    return out


if __name__ == "__main__":
    main()
