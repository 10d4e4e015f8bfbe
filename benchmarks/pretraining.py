"""MNIST with 100, 1,000 and 60,000 labels: does it help a sparse MLP to start from a stack of sparse RBMs?

    python benchmarks/pretraining.py [--out pretraining] [--seeds 3]

The stack (784-1000-1000, density 5 %) always learns from all 60,000 training images without labels. Then, with so many
of the labels, six methods are tested on the 10,000 test samples: logistic regression on pixels and on the means of the
hidden units of either RBM, and a sparse MLP that starts from the stack, or from scratch with sigmoid or ReLU units.
The seed draws the labelled samples (the same number of each class, all of them at 60,000), wiring, weights and order.
All settings are chosen on held-out samples of the labelled ones, see `choose`. Stacks that are finished in the folder
of --out and cells that stand in results/pretraining.json with the same settings are not trained again. MNIST comes
from the folder in SPARSERBM_DATA. Prints the table and draws docs/images/pretraining.png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, machine, write
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split

import sparserbm as sr
from sparserbm.backends import get_backend
from sparserbm.training import DivergenceError

FIGURE = RESULTS.parents[1] / "docs" / "images" / "pretraining.png"
HIDDEN, DENSITY = 1000, 0.05
NEWBORN = "birth=same(normal(0.01))"
SPARSITY = "sparsity=sparsity(0.1, cost=0.1, weights=True)"
STACK: dict[str, Any] = {
    "weights": "normal(0.01)",
    "epochs": 20,
    "batch_size": 100,
    "optimizer": f"sgd(linear(0.2, 0.0001, {20 * 600}))",
    "per_layer": [
        {
            "algorithm": f"cd(persistent=True, data=sample, {SPARSITY})",
            "evolution": f"evolution(zeta=0.2, grow=parental(shape=(28, 28), share=0.9), {NEWBORN})",
        },
        {"algorithm": f"cd(persistent=True, {SPARSITY})", "evolution": f"evolution(zeta=0.2, {NEWBORN})"},
    ],
}


def stack_of(folder: Path, seed: int, X: np.ndarray) -> sr.Stack:
    """The stack of a seed: read, finished or trained, as far as the folder has it."""
    backend = get_backend("numpy", threads=1)
    if (folder / "config.json").is_file():
        return sr.resume_stack(folder, X, backend=backend).model
    units = [sr.Bernoulli(X.shape[1]), sr.Bernoulli(HIDDEN), sr.Bernoulli(HIDDEN)]
    settings = dict(STACK)
    wiring = sr.ErdosRenyi(density=DENSITY)
    stack = sr.Stack(*units, wiring=wiring, weights=settings.pop("weights"), seed=seed, backend=backend)
    return sr.train_stack(stack, X, image_shape=(28, 28), out=folder, **settings).model


REGRESSIONS = {"logistic regression, pixels": 0, "logistic regression, layer 1": 1, "logistic regression, layer 2": 2}
FROM_STACK, NETS = "MLP from the stack", {"sigmoid MLP from scratch": sr.Sigmoid, "ReLU MLP from scratch": sr.ReLU}
METHODS = (*REGRESSIONS, *NETS, FROM_STACK)
# Labels -> how settings are chosen. Of 60,000, choosing for one seed only, after few epochs, is what time allowed.
SIZES: dict[int, dict[str, Any]] = {
    100: {"folds": 5, "C": (0.001, 0.01, 0.1, 1, 10, 100), "batch": 10, "evolve": 10, "epochs": (25, 100)},
    1_000: {"held_out": 200, "C": (0.001, 0.01, 0.1, 1, 10, 100), "batch": 20, "evolve": 6, "epochs": (15, 60)},
    60_000: {"held_out": 10_000, "C": (0.1, 1, 10), "batch": 100, "evolve": 1, "epochs": (3,), "last": 10},
}
RATES, DECAYS, ZETA, MOMENTUM, ITERATIONS = (0.03, 0.1, 0.3), (0.0, 1e-4), 0.1, 0.9, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pretraining")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is part of the settings
    settings = {"hidden": HIDDEN, "density": DENSITY, "stack": STACK, "sizes": SIZES, "rates": RATES, "l2": DECAYS}
    settings |= {"zeta": ZETA, "momentum": MOMENTUM, "iterations": ITERATIONS}
    settings = json.loads(json.dumps(settings))
    found = json.loads((RESULTS / "pretraining.json").read_text()) if (RESULTS / "pretraining.json").is_file() else {}
    cells = found["cells"] if found.get("settings") == settings else {}
    stacks = found["stacks"] if cells else {}
    mnist = sr.load_dataset("mnist")
    for seed in range(options.seeds):
        wanted = [(n, method) for n, method in itertools.product(SIZES, METHODS) if key(method, n, seed) not in cells]
        if not wanted:
            continue
        stack = stack_of(Path(options.out) / f"seed{seed}", seed, mnist.X)
        levels = [(mnist.X, mnist.X_test)]  # pixels, then the means of each layer
        for layer in stack:
            levels.append((layer.transform(levels[-1][0]), layer.transform(levels[-1][1])))
        stacks[str(seed)] = {
            "connections": [layer.n_connections for layer in stack],
            "mean_activity": [float(H.mean()) for H, _ in levels[1:]],
        }
        for n, method in wanted:
            labelled = draw(mnist.y, n, seed)
            X, X_test = levels[REGRESSIONS.get(method, 0)]
            X, y = X[labelled], mnist.y[labelled]
            cell = cells.get(key(method, n, 0)) if n == len(mnist.y) else None
            tried = choose(method, stack, X, y, n, seed) if cell is None else cell["tried"]
            chosen = max(tried, key=lambda one: (one["accuracy"], -one["loss"]))["setting"]
            if "last" in SIZES[n] and "epochs" in chosen:
                chosen = chosen | {"epochs": SIZES[n]["last"]}
            P, connections = predict(method, stack, chosen, X, y, X_test, n, seed)
            assert P is not None, f"{chosen} diverged with all labelled samples"
            accuracy = float((P.argmax(axis=1) == mnist.y_test).mean())
            cells[key(method, n, seed)] = {"test_accuracy": accuracy, "chosen": chosen, "connections": connections}
            cells[key(method, n, seed)]["tried"] = tried
            print(f"{key(method, n, seed)}: {accuracy:.2%} {chosen}", flush=True)
            write("pretraining", {"machine": machine(), "settings": settings, "stacks": stacks, "cells": cells})
    print(table(cells, options.seeds))
    picture(cells, options.seeds)


def key(method: str, n: int, seed: int) -> str:
    return f"{method}; {n} labels; seed {seed}"


def draw(y: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` of the samples, as many of each of the ten classes; in order where it is all of them."""
    if n == len(y):
        return np.arange(n)
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.permutation(np.flatnonzero(y == digit))[: n // 10] for digit in range(10)])


def choose(method: str, stack: sr.Stack, X: np.ndarray, y: np.ndarray, n: int, seed: int) -> list[dict[str, Any]]:
    """Accuracy and loss of every setting on labelled samples that it was not trained with: all of them in turn
    (cross-validation), or one part held out. Both parts have the same share of each class."""
    plan = SIZES[n]
    if "folds" in plan:
        parts = list(StratifiedKFold(plan["folds"], shuffle=True, random_state=seed).split(X, y))
    else:
        parts = [train_test_split(np.arange(n), test_size=plan["held_out"], stratify=y, random_state=seed)]
    truth = np.concatenate([y[held] for _, held in parts])
    tried = []
    grid: list[dict[str, Any]] = [{"C": C} for C in plan["C"]]
    if method not in REGRESSIONS:
        choices = itertools.product(RATES, DECAYS, plan["epochs"])
        grid = [{"learning_rate": rate, "l2": l2, "epochs": epochs} for rate, l2, epochs in choices]
    for setting in grid:
        found = [predict(method, stack, setting, X[a], y[a], X[b], n, seed)[0] for a, b in parts]
        if any(one is None for one in found):  # a run diverged
            continue
        P = np.concatenate(found).astype(np.float64)
        P /= P.sum(axis=1, keepdims=True)  # float32 rounds
        accuracy = float((P.argmax(axis=1) == truth).mean())
        tried.append({"setting": setting, "accuracy": accuracy, "loss": float(log_loss(truth, P, labels=range(10)))})
    return tried


def predict(
    method: str,
    stack: sr.Stack,
    setting: dict[str, Any],
    X: np.ndarray,
    y: np.ndarray,
    X_held: np.ndarray,
    n: int,
    seed: int,
) -> tuple[np.ndarray | None, int | None]:
    """Probabilities of the classes of `X_held`, None where training diverges; and the number of connections."""
    if method in REGRESSIONS:
        return LogisticRegression(C=setting["C"], max_iter=ITERATIONS).fit(X, y).predict_proba(X_held), None
    if method == FROM_STACK:
        mlp = stack.to_mlp(sr.Softmax(10), seed=seed)
    else:
        units = NETS[method]
        wiring = [sr.ErdosRenyi(density=DENSITY), sr.ErdosRenyi(density=DENSITY), "dense"]
        layers = [units(HIDDEN), units(HIDDEN), sr.Softmax(10)]
        mlp = sr.MLP(X.shape[1], *layers, wiring=wiring, seed=seed, backend=stack.backend)
    plan = SIZES[n]
    steps = setting["epochs"] * math.ceil(len(X) / plan["batch"])
    try:
        sr.train(
            mlp,
            X,
            sr.Backprop(),
            y=y,
            epochs=setting["epochs"],
            batch_size=plan["batch"],
            optimizer=sr.SGD(sr.Linear(setting["learning_rate"], 0.0, steps=steps), momentum=MOMENTUM),
            regularization=sr.L2(setting["l2"]),
            evolution=sr.SET(zeta=ZETA, when=f"every(epochs={plan['evolve']})"),
        )
    except DivergenceError:
        return None, None
    return mlp.predict(X_held), mlp.n_connections


def accuracies(cells: dict[str, Any], method: str, n: int, seeds: int) -> np.ndarray:
    return np.array([cells[key(method, n, seed)]["test_accuracy"] for seed in range(seeds)])


def table(cells: dict[str, Any], seeds: int) -> str:
    lines = [f"| method | {' | '.join(f'{n:,} labels' for n in SIZES)} |", "|" + "---|" * (len(SIZES) + 1)]
    for method in METHODS:
        found = [accuracies(cells, method, n, seeds) for n in SIZES]
        lines.append(f"| {method} | {' | '.join(f'{a.mean():.2%} ± {a.std(ddof=1):.2%}' for a in found)} |")
    for method in METHODS[:-1]:
        line = f"from the stack minus {method}:"
        for n in SIZES:
            ours, other = accuracies(cells, FROM_STACK, n, seeds), accuracies(cells, method, n, seeds)
            p = stats.ttest_rel(ours, other).pvalue
            line += f" {n:,}: {100 * (ours - other).mean():+.2f} points (p {p:.2g});"
        lines.append(line)
    return "\n".join(lines)


def picture(cells: dict[str, Any], seeds: int) -> None:
    """Accuracy against labels, mean and standard deviation, spaced as the logarithm of the error."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    colors = ("#999999", "#56b4e9", "#0072b2", "#e69f00", "#d55e00", "#009e73")
    for number, (method, color, marker) in enumerate(zip(METHODS, colors, "ovsD^P")):
        found = np.array([accuracies(cells, method, n, seeds) for n in SIZES])
        places = np.arange(len(SIZES)) + 0.04 * (number - (len(METHODS) - 1) / 2)
        spread = found.std(axis=1, ddof=1)
        line = "--" if method in REGRESSIONS else "-"
        axes.errorbar(places, found.mean(axis=1), spread, color=color, marker=marker, ls=line, capsize=3, label=method)
    axes.set_yscale("function", functions=(lambda a: -np.log(1 - np.minimum(a, 0.9999)), lambda z: 1 - np.exp(-z)))
    ticks = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99)
    axes.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axes.set_yticks([], [], minor=True)
    axes.set_xticks(range(len(SIZES)), [f"{n:,}" for n in SIZES])
    axes.set(xlabel="labelled samples", ylabel="test accuracy (spaced by log error)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURE, dpi=120)


if __name__ == "__main__":
    main()
