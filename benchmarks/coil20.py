"""SET-RBM on COIL-20: test error against the published code, with evolution (SET) and without (FixProb).

    python benchmarks/coil20.py --data COIL20.mat

The settings are those of the published script: 1024 visible and 200 hidden units, epsilon 10, batches of 10, learning
rate 0.1, decay 2e-7, zeta 0.3, one mean-field reconstruction, sampled hidden states in both phases, biases from 0, the
first two thirds of a shuffle for training. Writes results/coil20.json and docs/images/coil20.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine, write

import sparserbm as sr

EPOCHS = (1, 10, 20, 50, 100, 200, 500, 1000)
# Mean squared error on test data after so many epochs, from the result files of the published code (one run each).
PUBLISHED = {
    "SET": (0.05666, 0.03198, 0.02740, 0.02293, 0.01949, 0.01698, 0.01484, 0.01359),
    "FixProb": (0.05666, 0.03298, 0.03004, 0.02799, 0.02710, 0.02662, 0.02663, 0.02663),
}
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "coil20.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="COIL20.mat, with X of shape (1440, 1024)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1000)
    options = parser.parse_args()
    X = sr.load_dataset(options.data, scale="unit").X.astype(np.float32)
    cells = {}
    for name in PUBLISHED:
        runs = [train(X, name, seed, options.epochs) for seed in range(options.seeds)]
        cells[name] = {"runs": runs, "published": dict(zip(map(str, EPOCHS), PUBLISHED[name]))}
        print(table(name, runs), flush=True)
    path = write("coil20", {"machine": machine(), "what": "test mean squared error by epoch", "cells": cells})
    picture(cells)
    print(f"written to {path}")


def train(X: np.ndarray, name: str, seed: int, epochs: int) -> dict[str, Any]:
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = np.split(X[order], [2 * len(X) // 3])
    rbm = sr.RBM(
        sr.Bernoulli(X.shape[1]), sr.Bernoulli(200), wiring=sr.ErdosRenyi(epsilon=10), weights="set_rbm", seed=seed
    )
    algorithm = sr.CD(positive="sample", negative="sample", chain="mean", visible_bias="zero")
    settings: dict[str, Any] = {"batch_size": 10, "optimizer": sr.SGD(0.1), "regularization": "set_decay(2e-7)"}
    evolution = sr.SET(0.3) if name == "SET" else None
    began = time.perf_counter()
    run = sr.train(rbm, train, algorithm, epochs=epochs, validation=test, evolution=evolution, **settings)
    errors = {line["epoch"]: line["validation_loss"] for line in run.metrics}
    return {
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
        "connections": rbm.n_connections,
        "errors": {str(epoch): errors[epoch] for epoch in EPOCHS if epoch in errors},
        "curve": [errors[epoch] for epoch in sorted(errors)],
    }


def table(name: str, runs: list[dict[str, Any]]) -> str:
    lines = [f"{name}: epoch, published, ours (mean, sd), ratio; {[run['seconds'] for run in runs]} s"]
    for epoch, published in zip(EPOCHS, PUBLISHED[name]):
        ours = [run["errors"][str(epoch)] for run in runs if str(epoch) in run["errors"]]
        if ours:
            spread = np.std(ours, ddof=1) if len(ours) > 1 else 0.0
            mean = np.mean(ours)
            lines.append(f"| {epoch} | {published:.5f} | {mean:.5f} ± {spread:.5f} | {mean / published:.3f} |")
    return "\n".join(lines)


def picture(cells: dict[str, Any]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for color, (name, found) in zip(("#0072b2", "#d55e00"), cells.items()):
        for number, run in enumerate(found["runs"]):
            axes.plot(run["curve"], color=color, lw=1, alpha=0.7, label=None if number else f"{name}, ours")
        axes.plot(EPOCHS, PUBLISHED[name], "o", color=color, mfc="white", label=f"{name}, published")
    axes.set(xscale="symlog", yscale="log", xlabel="epoch", ylabel="test reconstruction error (mean square)")
    axes.set_yticks([0.01, 0.02, 0.03, 0.05, 0.1], ["0.01", "0.02", "0.03", "0.05", "0.1"])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURE, dpi=130)


if __name__ == "__main__":
    main()
