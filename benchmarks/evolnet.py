"""The EvolNets of the regularization study on MNIST, with and without decay: published figures beside ours.

    python benchmarks/evolnet.py --out evolnet [--seeds 2] [--jobs 2]

Two nets of 48 epochs whose layers evolve after a step with probability 0.025 and 0.25; a third that begins as the
second one ended, with a fresh optimizer, and has 450 epochs at 0.1. The decay is on biases too, as there. MNIST comes
from the folder in SPARSERBM_DATA. Runs that are finished in the folder of --out are not trained again. Writes
results/evolnet.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from machine import machine, write
from questions import mean

import sparserbm as sr
from sparserbm.runs import load_run

EVOLUTION = "set(zeta=0.3, when=chance({}), allow_return=False)"
SHORT, LONG = 48, 450
# Published, one run each: test accuracy and z of the topology, by chance of evolution and decay.
PUBLISHED = {
    (0.025, 0.0): {"accuracy": 0.9652, "z": 1.9},
    (0.025, 1e-3): {"accuracy": 0.9587, "z": 7.7},
    (0.25, 0.0): {"accuracy": 0.9610, "z": 0.2},
    (0.25, 1e-3): {"accuracy": 0.9583, "z": 5.5},
    (0.1, 0.0): {"accuracy": 0.9743, "z": -13.2},
    (0.1, 1e-3): {"accuracy": 0.9707, "z": 2.9},
}
SHOWN = ("loss", "validation_loss", "validation_accuracy", "core_validation_accuracy", "learning_z")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="evolnet")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--trained-at", help="commit of runs that were trained before, for the record")
    options = parser.parse_args()
    nets = [(decay, seed) for seed in range(options.seeds) for decay in (0.0, 1e-3)]
    Parallel(n_jobs=options.jobs)(delayed(train)(options.out, decay, seed) for decay, seed in nets)
    cells = [answer(options.out, *cell, options.seeds) for cell in PUBLISHED]
    trained_at = options.trained_at or machine()["commit"]
    path = write("evolnet", {"machine": machine(), "trained_at": trained_at, "seeds": options.seeds, "cells": cells})
    print(table(cells), f"\nwritten to {path}")


def train(out: str, decay: float, seed: int) -> None:
    """The three nets of one decay and seed."""
    data = None
    for chance, epochs in ((0.025, SHORT), (0.25, SHORT), (0.1, LONG)):
        folder = folder_of(out, chance, decay, seed)
        if (folder / "config.json").is_file() and len(load_run(folder).metrics) == epochs + 1:
            continue
        print(f"chance {chance}, decay {decay:g}, seed {seed}", file=sys.stderr, flush=True)
        changes = {"data": "mnist", "l2": decay, "seed": seed, "threads": 1, "epochs": epochs}
        recipe = sr.preset("evolnet", evolution=EVOLUTION.format(chance), **changes)
        data = data or recipe.load_data()
        # The third goes on where the second one stopped; all that is not the model starts afresh.
        model = sr.load_model(folder_of(out, 0.25, decay, seed)) if chance == 0.1 else recipe.build(data)
        sr.train(
            model,
            data,
            "backprop",
            epochs=epochs,
            batch_size=recipe.batch_size,
            optimizer=recipe.optimizer,
            regularization=recipe.penalties(),
            evolution=recipe.evolution,
            out=folder,
            overwrite=folder.exists(),
        )


def folder_of(out: str, chance: float, decay: float, seed: int) -> Path:
    return Path(out) / f"chance={chance},l2={decay:g},seed={seed}"


def answer(out: str, chance: float, decay: float, seeds: int) -> dict[str, Any]:
    runs = [load_run(folder_of(out, chance, decay, seed)).metrics for seed in range(seeds)]
    return {
        "chance": chance,
        "l2": decay,
        "epochs": len(runs[0]) - 1,
        "last": {name: [metrics[-1][name] for metrics in runs] for name in SHOWN},
        "z_by_epoch": {
            str(epoch): [metrics[epoch]["learning_z"] for metrics in runs]
            for epoch in (10, 24, 48, 100, 200, 300, 450)
            if epoch < len(runs[0])
        },
        "verdicts": [metrics[-1]["verdict"] for metrics in runs],
        "published": PUBLISHED[chance, decay],
    }


def table(cells: list[dict[str, Any]]) -> str:
    head = ["chance per step", "L2", "epochs", "train loss", "test accuracy", "core accuracy", "published", "z"]
    lines = [f"| {' | '.join([*head, 'published'])} |", "|" + "---|" * (len(head) + 1)]
    for cell in cells:
        last, published = cell["last"], cell["published"]
        shown = [
            f"{cell['chance']:g} | {cell['l2']:g} | {cell['epochs']}",
            mean(last["loss"], "{:.4f}"),
            mean(last["validation_accuracy"], "{:.2%}"),
            mean(last["core_validation_accuracy"], "{:.2%}"),
            f"{published['accuracy']:.2%}",
            mean(last["learning_z"], "{:+.1f}"),
            f"{published['z']:+.1f}",
        ]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
