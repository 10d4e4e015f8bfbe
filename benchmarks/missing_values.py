"""Missing values: an RBM trained on data with gaps fills them in, against scikit-learn's imputation.

    python benchmarks/missing_values.py [--seeds 5] [--mnist-seeds 3]

Digits (8 x 8): 30 % of the pixels are missing completely at random, in training and in test samples. MNIST, 10,000
training samples: a square of 10 x 10 pixels is missing from each, and the lower half from each of 1,000 test samples.
MNIST comes from the folder in SPARSERBM_DATA. Seeds that stand in results/missing_values.json are not repeated. Prints
the tables and draws docs/images/missing_digits.png and missing_mnist.png.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import RESULTS, machine, write
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import sparserbm as sr

RESULT = RESULTS / "missing_values.json"
IMAGES = RESULTS.parents[1] / "docs" / "images"
LEVELS = 5
NAMES = {
    "complete": "nothing is missing",
    "mean": "mean of the pixel",
    "knn": "KNNImputer",
    "iterative": "IterativeImputer",
    "binary": "RBM, grey values as probabilities",
    "chains": "RBM, mean of 10 chains",
    "levels": f"RBM, {LEVELS} grey levels a pixel",
}
Fill = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--mnist-seeds", type=int, default=3)
    options = parser.parse_args()
    runs = json.loads(RESULT.read_text())["runs"] if RESULT.is_file() else {}
    for name, one_run, seeds in (("digits", digits, options.seeds), ("mnist", mnist, options.mnist_seeds)):
        for seed in range(seeds):
            if f"{name} {seed}" not in runs:
                runs[f"{name} {seed}"] = one_run(seed)
                write("missing_values", {"machine": machine(), "runs": runs})
                print(name, seed, {method: run.get("rmse") for method, run in runs[f"{name} {seed}"].items()})
    print(table(runs, "digits", options.seeds) + "\n\n" + table(runs, "mnist", options.mnist_seeds))


# -- digits -------------------------------------------------------------------------------------------------------


def digits(seed: int) -> dict[str, dict[str, float]]:
    X, y = load_digits(return_X_y=True)
    # Settings were chosen on a part of the training samples of split 0.
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=100 + seed, stratify=y)
    random = np.random.default_rng(seed)
    gaps, gaps_test = (np.where(random.random(part.shape) < 0.3, np.nan, part) for part in (X, X_test))
    found, pictures = {"complete": accuracies(X, y, X_test, y_test, seed)}, []
    for name, fill in methods(gaps, seed).items():
        filled, filled_test = fill(gaps), fill(gaps_test)
        found[name] = {"rmse": rmse(filled_test, X_test, gaps_test)}
        found[name] |= accuracies(filled, y, filled_test, y_test, seed)
        pictures.append(filled_test)
    if seed == 0:
        picture("missing_digits", (8, 8), X_test, gaps_test, dict(zip(found, [X_test, *pictures])))
    return found


def methods(gaps: np.ndarray, seed: int) -> dict[str, Fill]:
    """Name -> what fills in samples, trained on these ones."""
    rows = {"keep_empty_features": True}
    known = [SimpleImputer(**rows), KNNImputer(weights="distance", **rows), IterativeImputer(random_state=seed, **rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it ends after its 10 rounds
        found: dict[str, Fill] = {n: m.fit(gaps).transform for n, m in zip(("mean", "knn", "iterative"), known)}
    binary = sr.SparseRBM(
        200,
        learning_rate=f"linear(0.1, 0, {100 * -(-len(gaps) // 50)})",
        momentum=0.9,
        batch_size=50,
        n_iter=100,
        algorithm="cd(k=10, missing=10)",
        evolution="evolution(zeta=0.2, grow=parental(shape=(8, 8), share=0.9))",
        random_state=seed,
    ).fit(gaps)
    levels = sr.SparseRBM(
        256,
        visible=f"potts(states={LEVELS})",
        learning_rate=f"linear(0.1, 0, {60 * -(-len(gaps) // 20)})",
        momentum=0.9,
        batch_size=20,
        n_iter=60,
        algorithm="cd(k=10, missing=5)",
        epsilon=20,
        zeta=0.2,
        random_state=seed,
    ).fit(levels_of(gaps))
    found["binary"] = binary.fill_missing
    found["levels"] = lambda X: values_of(levels.fill_missing(levels_of(X)))
    return found


def levels_of(X: np.ndarray) -> np.ndarray:
    """Grey values as shares of the two levels beside them: (n, pixels) -> (n, pixels * LEVELS); NaN stays NaN."""
    distance = np.abs(X[:, :, None] * (LEVELS - 1) - np.arange(LEVELS))
    return np.maximum(1 - distance, 0).reshape(len(X), -1)


def values_of(shares: np.ndarray) -> np.ndarray:
    return shares.reshape(len(shares), -1, LEVELS) @ np.linspace(0, 1, LEVELS)


def accuracies(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray, seed: int) -> dict[str, float]:
    linear = LogisticRegression(max_iter=2000).fit(X, y)
    forest = ExtraTreesClassifier(100, random_state=seed, n_jobs=1).fit(X, y)
    return {"logistic": float(linear.score(X_test, y_test)), "forest": float(forest.score(X_test, y_test))}


# -- MNIST --------------------------------------------------------------------------------------------------------


def mnist(seed: int) -> dict[str, dict[str, float]]:
    data, random = sr.load_dataset("mnist"), np.random.default_rng(seed)
    X = data.X[random.permutation(len(data.X))[:10_000]].astype(np.float32)
    X_test = data.X_test[random.permutation(len(data.X_test))[:1000]].astype(np.float32)
    gaps, gaps_test = X.copy().reshape(-1, 28, 28), X_test.copy()
    for image, (row, column) in zip(gaps, random.integers(0, 19, (len(gaps), 2))):
        image[row : row + 10, column : column + 10] = np.nan
    gaps, gaps_test[:, 392:] = gaps.reshape(X.shape), np.nan
    rbm = sr.SparseRBM(
        400,
        learning_rate=f"linear(0.1, 0, {40 * 100})",
        momentum=0.9,
        batch_size=100,
        n_iter=40,
        algorithm="cd(k=5, missing=5)",
        evolution="evolution(zeta=0.2, grow=parental(shape=(28, 28), share=0.9))",
        random_state=seed,
    ).fit(gaps)
    filled = {
        "mean": SimpleImputer(keep_empty_features=True).fit(gaps).transform(gaps_test),
        "knn": KNNImputer(weights="distance", keep_empty_features=True).fit(gaps).transform(gaps_test),
        "binary": rbm.fill_missing(gaps_test),
    }
    # A chain mostly stays with one of the digits that go with the upper half: the mean of several knows more of them.
    filled["chains"] = np.mean([rbm.fill_missing(gaps_test, random_state=chain) for chain in range(10)], axis=0)
    if seed == 0:
        picture("missing_mnist", (28, 28), X_test, gaps_test, {"complete": X_test} | filled)
    return {name: {"rmse": rmse(X_filled, X_test, gaps_test)} for name, X_filled in filled.items()}


# -- tables and pictures ------------------------------------------------------------------------------------------


def rmse(filled: np.ndarray, X: np.ndarray, gaps: np.ndarray) -> float:
    """Of the values that were missing."""
    missing = np.isnan(gaps)
    return float(np.sqrt(np.mean((filled[missing] - X[missing]) ** 2, dtype=np.float64)))


def table(runs: dict[str, Any], data: str, seeds: int) -> str:
    columns = {"rmse": "RMSE of missing pixels", "logistic": "LogisticRegression", "forest": "ExtraTreesClassifier"}
    shown = {key: name for key, name in columns.items() if key in runs[f"{data} 0"]["mean"]}
    lines = [f"| {data}, filled in by | {' | '.join(shown.values())} |", "|" + "---|" * (len(shown) + 1)]
    for method, name in NAMES.items():
        if method in runs[f"{data} 0"]:
            found = [runs[f"{data} {seed}"][method] for seed in range(seeds)]
            cells = [spread([run[key] for run in found if key in run], key) for key in shown]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], key: str) -> str:
    if not values:
        return ""
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    if key == "rmse":
        return f"{mean:.4f} ± {deviation:.4f}"
    return f"{mean:.2%} ± {deviation:.2%}".replace("%", " %")


def picture(
    name: str, shape: tuple[int, int], X: np.ndarray, gaps: np.ndarray, filled: dict[str, np.ndarray]
) -> None:  # fmt: skip
    """The first ten test samples: whole, with gaps (blue), and filled in, a row each."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    blue = ListedColormap(["#56b4e9"])
    rows = {"original": X, "with gaps": gaps}
    rows |= {NAMES[one].replace(", ", ",\n"): images for one, images in filled.items() if one != "complete"}
    figure = Figure(figsize=(8.4, 0.78 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 10)
    for line, (label, images) in zip(axes, rows.items()):
        for one, image in zip(line, images):
            picture = image.reshape(shape)
            one.imshow(picture, cmap="Greys", vmin=0, vmax=1)
            one.imshow(np.ma.masked_where(~np.isnan(picture), np.zeros(shape)), cmap=blue)
            one.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=11)
    figure.savefig(IMAGES / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main()
