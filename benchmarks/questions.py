"""The open questions of the regularization study on MNIST, each answered by runs with several seeds.

    python benchmarks/questions.py --out questions [--only coding,l1] [--seeds 3] [--jobs 2]

Every cell changes one thing of the study's network (784-512-128-10, epsilon 11, SET after every epoch). Runs that are
finished in the folder of --out are not trained again. MNIST comes from the folder in SPARSERBM_DATA. Adds its answers
to results/questions.json, prints their tables and draws docs/images/question_<name>.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from machine import RESULTS, machine, write
from scipy import stats

from sparserbm.runs import load_run
from sparserbm.studies import STUDY_MLP
from sparserbm.training import DivergenceError

RESULT = RESULTS / "questions.json"
IMAGES = RESULTS.parents[1] / "docs" / "images"
STEPS = 469  # of an epoch of 60,000 samples in batches of 128
SET = "set(zeta=0.3, allow_return=False)"
EVOLVED = "evolution(zeta=0.3, allow_return=False, {})"

# question -> cell -> what differs from the study's network; the others are held against the first cell of a question.
CELLS: dict[str, dict[str, dict[str, Any]]] = {
    "coding": {
        "standardised, no decay": {"epochs": 155},
        "standardised, 1e-3": {"epochs": 155, "l2": 1e-3},
        "[0, 1], no decay": {"epochs": 155, "scale": "unit"},
        "[0, 1], 1e-3": {"epochs": 155, "scale": "unit", "l2": 1e-3},
    },
    "ramp": {
        "1e-3": {"epochs": 400, "l2": 1e-3},
        "0 to 2e-3": {"epochs": 400, "l2": f"linear(0, 2e-3, {400 * STEPS})"},
        "1e-3 to 1e-2": {"epochs": 400, "l2": f"linear(1e-3, 1e-2, {400 * STEPS})"},
    },
    "l1": {
        "L2 1e-3": {"epochs": 155, "l2": 1e-3},
        "L1 1e-5": {"epochs": 155, "l1": 1e-5},
        "L1 1e-4": {"epochs": 155, "l1": 1e-4},
        "L1 1e-5 + L2 1e-3": {"epochs": 155, "l1": 1e-5, "l2": 1e-3},
    },
    "parents": {
        "random": {"epochs": 155, "l2": 1e-3},
        "near strong ones": {"epochs": 155, "l2": 1e-3, "evolution": EVOLVED.format("grow=parental(shape=(28, 28))")},
        "near any": {"epochs": 155, "l2": 1e-3, "evolution": EVOLVED.format("grow=parental(shape=(28, 28), power=0)")},
        "crossover": {"epochs": 155, "l2": 1e-3, "evolution": EVOLVED.format("grow=parental")},
    },
    "shrinking": {
        "constant": {"epochs": 155, "l2": 1e-3},
        "zeta 0.3 to 0": {
            "epochs": 155,
            "l2": 1e-3,
            "evolution": f"set(zeta=linear(0.3, 0, {155 * STEPS}), allow_return=False)",
        },
        "density 4.6 % to 2.3 %": {
            "epochs": 155,
            "l2": 1e-3,
            "evolution": EVOLVED.format(f"density=cubic(0.0455, 0.0228, {100 * STEPS})"),
        },
    },
    "growth": {
        "random": {"epochs": 155, "l2": 1e-3},
        "gradient": {"epochs": 155, "l2": 1e-3, "evolution": EVOLVED.format("grow=gradient, birth=zero")},
        "cosine": {"epochs": 155, "l2": 1e-3, "evolution": EVOLVED.format("grow=cosine")},
        "magnitude": {"epochs": 155, "l2": 1e-3, "evolution": EVOLVED.format("drop=magnitude")},
    },
}
EPOCHS = (1, 5, 10, 30, 50, 100, 155, 200, 300, 400)
SHOWN = ("loss", "validation_loss", "validation_accuracy", "core_validation_accuracy", "learning_z", "learning_index")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="questions")
    parser.add_argument("--only", help="questions, with commas between them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--trained-at", help="commit of runs that were trained before, for the record")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(CELLS)
    wanted = [(question, cell, seed) for question in names for cell in CELLS[question] for seed in range(options.seeds)]
    folders = {folder_of(options.out, *one): one for one in wanted}  # cells of two questions may be one and the same
    Parallel(n_jobs=options.jobs)(delayed(train)(Path(folder), *one) for folder, one in folders.items())
    found = {question: answer(question, options.out, options.seeds) for question in names}
    earlier = json.loads(RESULT.read_text())["questions"] if RESULT.is_file() else {}
    trained_at = options.trained_at or machine()["commit"]
    answers = {question: {"trained_at": trained_at, "cells": cells} for question, cells in found.items()}
    path = write("questions", {"machine": machine(), "seeds": options.seeds, "questions": earlier | answers})
    print(f"written to {path}")
    for question, cells in found.items():
        print(f"\n## {question}\n\n" + table(cells))
        picture(question, options.out, options.seeds)


def recipe_of(question: str, cell: str, seed: int) -> Any:
    return dataclasses.replace(STUDY_MLP, data="mnist", seed=seed, threads=1, **CELLS[question][cell])


def folder_of(out: str, question: str, cell: str, seed: int) -> str:
    changes = {"evolution": SET, "scale": "standard"} | CELLS[question][cell]
    text = ",".join(f"{key}={value}" for key, value in sorted(changes.items()))
    return f"{out}/{''.join(c if c.isalnum() or c in '.-=,' else '_' for c in text)}-seed={seed}"


def train(folder: Path, question: str, cell: str, seed: int) -> None:
    recipe = recipe_of(question, cell, seed)
    if finished(folder, recipe.epochs):
        return
    print(f"{question}: {cell}, seed {seed}", file=sys.stderr, flush=True)
    try:
        recipe.run(folder, overwrite=folder.exists(), name=f"{cell}, seed {seed}")
    except DivergenceError as error:
        print(f"{question}: {cell}, seed {seed}: {error}", file=sys.stderr, flush=True)


def finished(folder: Path, epochs: int) -> bool:
    return (folder / "config.json").is_file() and len(load_run(folder).metrics) == epochs + 1


def answer(question: str, out: str, seeds: int) -> dict[str, Any]:
    """Figures of every cell, and what differs from the first one (paired by seed: the first wiring is the same)."""
    found: dict[str, Any] = {}
    for cell, changes in CELLS[question].items():
        runs = [load_run(folder_of(out, question, cell, seed)).metrics for seed in range(seeds)]
        runs = [metrics for metrics in runs if len(metrics) == changes["epochs"] + 1]
        last = {name: [metrics[-1][name] for metrics in runs] for name in SHOWN}
        by_epoch = {
            str(epoch): {name: [metrics[epoch][name] for metrics in runs] for name in ("learning_z", "validation_loss")}
            for epoch in EPOCHS
            if epoch <= changes["epochs"]
        }
        found[cell] = {
            "settings": changes,
            "runs": len(runs),
            "last": last,
            "by_epoch": by_epoch,
            "verdicts": [metrics[-1]["verdict"] for metrics in runs],
            "connections": [metrics[-1]["n_connections"] for metrics in runs],
        }
    first = next(iter(found.values()))
    for other in list(found.values())[1:]:
        pairs = {name: (first["last"][name], other["last"][name]) for name in SHOWN}
        other["against_first"] = {
            name: {"difference": float(np.mean(b) - np.mean(a)), "p": float(stats.ttest_rel(b, a).pvalue)}
            for name, (a, b) in pairs.items()
            if len(a) == len(b) > 1
        }
    return found


def table(cells: dict[str, Any]) -> str:
    head = ["cell", "train loss", "test loss", "test accuracy", "core accuracy", "z at 10", "z at 50", "z at the end"]
    head += ["verdicts"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for cell, found in cells.items():
        last, early = found["last"], found["by_epoch"]
        shown = [
            mean(last["loss"], "{:.4f}"),
            mean(last["validation_loss"], "{:.4f}"),
            mean(last["validation_accuracy"], "{:.2%}"),
            mean(last["core_validation_accuracy"], "{:.2%}"),
            mean(early["10"]["learning_z"], "{:+.1f}"),
            mean(early["50"]["learning_z"], "{:+.1f}"),
            mean(last["learning_z"], "{:+.1f}"),
            ", ".join(f"{found['verdicts'].count(v)} {v}" for v in dict.fromkeys(found["verdicts"])),
        ]
        lines.append(f"| {cell} | {' | '.join(shown)} |")
    return "\n".join(lines)


def picture(question: str, out: str, seeds: int) -> None:
    """Topology and test loss over the epochs, one colour a cell: mean, and the range of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for color, (cell, changes) in zip(("#0072b2", "#d55e00", "#009e73", "#cc79a7"), CELLS[question].items()):
        runs = [load_run(folder_of(out, question, cell, seed)).metrics for seed in range(seeds)]
        runs = [metrics for metrics in runs if len(metrics) == changes["epochs"] + 1]
        for axes, name in zip(panels, ("learning_z", "validation_loss")):
            curves = np.array([[line[name] for line in metrics[1:]] for metrics in runs])
            epochs = np.arange(1, curves.shape[1] + 1)
            axes.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.2, lw=0)
            axes.plot(epochs, curves.mean(axis=0), color=color, lw=1.5, label=cell)
    panels[0].axhspan(-3, 3, color="0.92", zorder=0)
    panels[0].set(xlabel="epoch", ylabel="z of the topology (grey: none)")
    panels[1].set(xlabel="epoch", ylabel="test loss", yscale="log")
    panels[1].set_yticks([0.07, 0.1, 0.2, 0.4], ["0.07", "0.1", "0.2", "0.4"])
    panels[1].set_yticks([], [], minor=True)
    panels[1].legend(frameon=False)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / f"question_{question}.png", dpi=120)


def mean(values: list[float], form: str) -> str:
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{form.format(np.mean(values))} ± {form.replace('+', '').format(spread)}"


if __name__ == "__main__":
    main()
