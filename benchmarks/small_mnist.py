"""MNIST with few samples: an MLP that evolves (SET) against the same wiring kept (FixProb) and a dense one.

    python benchmarks/small_mnist.py [--samples 2000] [--seeds 5] [--data fashion-mnist]

The settings of the preset set_mlp (784-1000-1000-1000-10, epsilon 13, dropout 0.2, 400 epochs); the seed draws the
samples for training too, the same for all three, and all are tested on the 10,000 test samples. The data come from
the folder in SPARSERBM_DATA. Seeds that stand in results/small_<data>.json with the same settings are not trained
again.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from machine import RESULTS, machine, write
from scipy import stats

import sparserbm as sr

NETS: dict[str, dict[str, Any]] = {
    "SET": {},
    "FixProb": {"evolution": None},
    # The deviation of He et al. for full layers: the 0.1 of the sparse net would be too wide with 1,000 inputs.
    "dense": {"evolution": None, "epsilon": None, "wiring": "dense", "weights": "he_dense"},
}
MEASURED = (10, 50, 100, 200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", choices=("mnist", "fashion-mnist"))
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    name = f"small_{options.data.replace('-', '_')}"
    settings = {"samples": options.samples, "epochs": options.epochs}
    earlier = json.loads((RESULTS / f"{name}.json").read_text()) if (RESULTS / f"{name}.json").is_file() else {}
    runs = earlier.get("runs", {}) if earlier.get("settings") == settings else {}
    wanted = [(net, seed) for net, seed in itertools.product(NETS, range(options.seeds)) if f"{net} {seed}" not in runs]
    found = Parallel(n_jobs=options.jobs, return_as="generator")(
        delayed(train)(options.data, net, seed, options.samples, options.epochs) for net, seed in wanted
    )
    for (net, seed), run in zip(wanted, found):
        print(f"{net}, seed {seed}: test accuracy {list(run['test_accuracy'].values())[-1]:.2%}", flush=True)
        runs[f"{net} {seed}"] = run
        write(name, {"machine": machine(), "settings": settings, "runs": runs})  # a stopped benchmark goes on from here
    print(table(runs, options.seeds))


def train(data: str, net: str, seed: int, samples: int, epochs: int) -> dict[str, Any]:
    """What one run came to. A test takes longer than an epoch on so few samples, so that it is made seldom."""
    recipe = sr.preset("set_mlp", data=data, seed=seed, epochs=epochs, threads=1, **NETS[net])
    whole = recipe.load_data()
    chosen = np.random.default_rng(seed).permutation(len(whole.X))[:samples]
    few = dataclasses.replace(whole, X=whole.X[chosen], y=whole.y[chosen], X_test=None, y_test=None)
    model = recipe.build(few)
    curve: dict[str, float] = {}

    def test(model: sr.MLP, metrics: dict[str, Any]) -> None:
        if metrics["epoch"] in (*MEASURED, epochs):
            right = model.predict(whole.X_test).argmax(axis=1) == whole.y_test
            curve[str(metrics["epoch"])] = float(right.mean())

    run = sr.train(
        model,
        few,
        recipe.algorithm,
        epochs=epochs,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        regularization=recipe.penalties(),
        evolution=recipe.evolution,
        callbacks=[test],
    )
    return {
        "connections": model.n_connections,
        "training_loss": run.metrics[-1]["loss"],
        "test_accuracy": curve,
        "z": run.metrics[-1].get("learning_z"),
    }


def table(runs: dict[str, Any], seeds: int) -> str:
    shown = list(runs["SET 0"]["test_accuracy"])
    lines = [f"| net | connections | {' | '.join(f'epoch {epoch}' for epoch in shown)} | p against SET |"]
    lines.append("|" + "---|" * (len(shown) + 3))
    for net in NETS:
        curves = np.array(
            [[runs[f"{one} {s}"]["test_accuracy"][e] for e in shown] for one in ("SET", net) for s in range(seeds)]
        )
        ours, other = curves[:seeds], curves[seeds:]
        columns = " | ".join(f"{a:.2%} ± {b:.2%}" for a, b in zip(other.mean(axis=0), other.std(axis=0, ddof=1)))
        p = "" if net == "SET" else f"{stats.ttest_rel(ours[:, -1], other[:, -1]).pvalue:.2g}"
        lines.append(f"| {net} | {runs[f'{net} 0']['connections']:,} | {columns} | {p} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
