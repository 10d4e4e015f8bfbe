"""Features chosen by the connections of a sparse network: 50 pixels of MNIST, and four smaller data sets.

    python benchmarks/feature_selection.py [--coil COIL20.mat] [--seeds 3]

Selectors see the training samples; a forest of 50 extremely randomised trees learns from the features they chose and
is tested on the test samples. Univariate tests see the labels, the other selectors do not. MNIST comes from the folder
in SPARSERBM_DATA. Runs that stand in results/feature_selection.json are not repeated. Prints the tables and draws
docs/images/feature_selection.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import RESULTS, machine, write
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_selection import chi2, f_classif, mutual_info_classif
from sklearn.model_selection import train_test_split

import sparserbm as sr

RESULT = RESULTS / "feature_selection.json"
IMAGE = RESULTS.parents[1] / "docs" / "images" / "feature_selection.png"
CRITERIA = ("strength", "degree", "survival")
COMMON = {
    "noise": "gaussian(0.2)",
    "learning_rate_init": 0.01,
    "max_iter": 10,
    "wiring": "erdos_renyi(epsilon=13, clip=True)",
    "regularization": "set_decay(1e-5)",
    "scale": True,
}
NAMES = {
    "autoencoder strength": "autoencoder, strength (default)",
    "autoencoder degree": "autoencoder, degree",
    "autoencoder survival": "autoencoder, survival",
    "quickselection strength": "QuickSelection's settings, strength",
    "before strength": "an earlier default, strength",
    "rbm strength": "RBM, L2 0.05, strength",
    "rbm degree": "RBM, L2 0.05, degree",
    "rbm survival": "RBM, L2 0.05, survival",
    "bare strength": "RBM without decay, strength",
    "bare degree": "RBM without decay, degree",
    "bare survival": "RBM without decay, survival",
    "f_classif": "ANOVA F (labels)",
    "chi2": "chi2 (labels)",
    "mutual_info": "mutual information (labels)",
    "variance": "largest variance",
    "random": "random",
    "all": "all features",
}
SMALL = ("digits + noise", "redundant + noise", "two causes + noise", "coil20")


def networks(n_samples: int, seed: int) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Name -> estimator (None: the default of `TopologySelector`), and the criteria it is read with."""
    few = max(1, min(100, n_samples // 20))
    common = COMMON | {"batch_size": few}
    rbm = {"learning_rate": 0.05, "momentum": 0.9, "batch_size": few, "zeta": 0.2, "scale": True}
    rbm["wiring"] = "erdos_renyi(epsilon=13)"
    return {
        "autoencoder": (None, CRITERIA),
        # As their code, which measures when the weakest have gone and the newborn have not come.
        "quickselection": (
            sr.SparseAutoencoder(
                1000, dropout=0.2, evolution="set(zeta=0.2, last=drop)", nesterovs_momentum=False, **common
            ),
            ("strength",),
        ),
        "before": (sr.SparseAutoencoder(200, weights="normal(0.03)", zeta=0.2, **common), ("strength",)),
        "rbm": (sr.SparseRBM(200, l2=0.05, **rbm), CRITERIA),
        "bare": (sr.SparseRBM(200, **rbm), CRITERIA if seed == 0 else ()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coil", help="COIL20.mat, with X of shape (1440, 1024); without it these runs are left out")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    runs = json.loads(RESULT.read_text())["runs"] if RESULT.is_file() else {}
    for seed in range(options.seeds):
        for name, make in data_sets(options.coil).items():
            key = f"{name} {seed}"
            earlier = runs.get(key, {})
            runs[key] = earlier | one_run(*make(seed), seed, earlier, large=name == "mnist")
            if runs[key] != earlier:
                write("feature_selection", {"machine": machine(), "runs": runs})
                print(key, {one: round(run["accuracy"], 4) for one, run in runs[key].items()}, flush=True)
    print(mnist_table(runs, options.seeds), "\n\n" + small_table(runs, options.seeds))
    picture(runs, options.seeds)


def data_sets(coil: str | None) -> dict[str, Callable[[int], tuple[Any, ...]]]:
    """Name -> function of the seed: training and test samples, how many features, how many of the first are no noise.

    Choices and training of the networks were settled on other samples: a part of MNIST's training set, and the small
    sets with another split.
    """
    made = {"mnist": mnist, "digits + noise": digits, "redundant + noise": redundant, "two causes + noise": causes}
    return made | ({"coil20": lambda seed: split(*of_file(coil), seed, 50, None)} if coil else {})


def mnist(seed: int) -> tuple[Any, ...]:
    data = sr.load_dataset("mnist")
    return data.X.astype(np.float32), data.X_test.astype(np.float32), data.y, data.y_test, 50, None


def digits(seed: int) -> tuple[Any, ...]:
    X, y = load_digits(return_X_y=True)
    noise = np.random.default_rng(100 + seed).normal(0, 4, (len(X), 100))
    return split(np.hstack([X, noise]), y, seed, 30, 64)


def redundant(seed: int) -> tuple[Any, ...]:
    """As Madelon: 5 informative features, 15 that are combinations of them, 480 of noise."""
    made = make_classification(
        2600, 500, n_informative=5, n_redundant=15, n_clusters_per_class=16, class_sep=2.0, shuffle=False,
        random_state=100 + seed,
    )  # fmt: skip
    return split(*made, seed, 20, 20)


def causes(seed: int) -> tuple[Any, ...]:
    """Ten features that two numbers make, then 90 of noise; the class is the sign of the first number."""
    random = np.random.default_rng(100 + seed)
    hidden = random.normal(size=(400, 2))
    made = hidden @ random.normal(size=(2, 10)) + 0.1 * random.normal(size=(400, 10))
    return split(np.hstack([made, random.normal(size=(400, 90))]), (hidden[:, 0] > 0).astype(int), seed, 10, 10)


def of_file(path: str) -> tuple[np.ndarray, np.ndarray]:
    data = sr.load_dataset(path)
    return data.X, data.y


def split(X: np.ndarray, y: np.ndarray, seed: int, count: int, true: int | None) -> tuple[Any, ...]:
    halves = train_test_split(X.astype(np.float32), y, test_size=0.25, random_state=100 + seed, stratify=y)
    return *halves, count, true


def one_run(
    X: np.ndarray, X_test: np.ndarray, y: np.ndarray, y_test: np.ndarray, count: int, true: int | None, seed: int,
    earlier: dict[str, Any], large: bool,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Selector that was not run earlier -> accuracy, the features it chose, and how many of them are no noise."""
    found = scores(X, y, seed, earlier, large)
    chosen = {name: np.argsort(-score, kind="stable")[:count] for name, score in found.items()}
    if "all" not in earlier:
        chosen["all"] = np.arange(X.shape[1])
    found = {}
    for name, features in chosen.items():
        forest = ExtraTreesClassifier(50, random_state=seed, n_jobs=1).fit(X[:, features], y)
        found[name] = {"accuracy": float(forest.score(X_test[:, features], y_test))}
        found[name] |= {} if name == "all" else {"features": np.sort(features).tolist()}
        found[name] |= {} if true is None else {"true": int(np.sum(features < true))}
    return found


def scores(
    X: np.ndarray, y: np.ndarray, seed: int, earlier: dict[str, Any], large: bool
) -> dict[str, np.ndarray]:  # fmt: skip
    """Selector -> score of every feature; RBMs and tests that see labels for the large data set only."""
    found = {}
    for name, (network, criteria) in networks(len(X), seed).items():
        if all(f"{name} {criterion}" in earlier for criterion in criteria) or (name in ("rbm", "bare") and not large):
            continue
        selector = sr.TopologySelector(network, random_state=seed).fit(X)
        for criterion in criteria:
            read = sr.TopologySelector(selector.estimator_, criterion=criterion, prefit=True)
            found[f"{name} {criterion}"] = read.fit(X).scores_
    if large and "chi2" not in earlier:
        varied = np.flatnonzero(X.std(axis=0) > 0)
        found["f_classif"] = np.bincount(varied, f_classif(X[:, varied], y)[0], X.shape[1])
        found["chi2"] = np.nan_to_num(chi2(X, y)[0])
        few = np.random.default_rng(seed).permutation(len(X))[:5000]  # it takes minutes with all of them
        found["mutual_info"] = mutual_info_classif(X[few], y[few], random_state=seed)
    if "random" not in earlier:
        found["variance"] = X.var(axis=0)
        found["random"] = np.random.default_rng(seed).random(X.shape[1])
    return found


def mnist_table(runs: dict[str, Any], seeds: int) -> str:
    lines = ["| 50 pixels of MNIST | test accuracy | chosen pixels with a chosen neighbour |", "|---|---|---|"]
    for method, name in NAMES.items():
        found = [runs[f"mnist {seed}"][method] for seed in range(seeds) if method in runs[f"mnist {seed}"]]
        beside = [touching(run["features"]) for run in found if "features" in run]
        last = f"{np.mean(beside):.0f} of 50" if beside else ""
        lines.append(f"| {name} | {spread([run['accuracy'] for run in found])} | {last} |")
    return "\n".join(lines)


def touching(features: list[int]) -> int:
    """How many of these pixels have another one above, below, left or right of them."""
    inside = np.zeros(784, dtype=bool)
    inside[features] = True
    image = np.pad(inside.reshape(28, 28), 1)
    near = image[:-2, 1:-1] | image[2:, 1:-1] | image[1:-1, :-2] | image[1:-1, 2:]
    return int(np.sum(near & image[1:-1, 1:-1]))


def small_table(runs: dict[str, Any], seeds: int) -> str:
    shown = [name for name in SMALL if f"{name} 0" in runs]
    lines = [f"| test accuracy (true features) | {' | '.join(shown)} |", "|" + "---|" * (len(shown) + 1)]
    for method, name in NAMES.items():
        if method not in runs[f"{shown[0]} 0"]:
            continue
        cells = []
        for data in shown:
            found = [runs[f"{data} {seed}"][method] for seed in range(seeds)]
            true = [run["true"] for run in found if "true" in run and method != "all"]
            count = len(found[0].get("features", ()))
            hits = f" ({np.mean(true):.1f} of {count})" if true else ""
            cells.append(spread([run["accuracy"] for run in found]) + hits)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    deviation = f"± {np.std(values, ddof=1):.2%}" if len(values) > 1 else "(one run)"
    return f"{np.mean(values):.2%} {deviation}".replace("%", " %")


def picture(runs: dict[str, Any], seeds: int) -> None:
    """Pixels chosen with seed 0, over the mean of the images; in the titles the accuracy of all seeds."""
    from matplotlib.figure import Figure

    grey = sr.load_dataset("mnist").X.mean(axis=0).reshape(28, 28)
    shown = [
        "autoencoder strength", "autoencoder degree", "autoencoder survival", "quickselection strength",
        "rbm strength", "rbm survival", "bare strength", "before strength",
        "f_classif", "chi2", "mutual_info", "variance",
    ]  # fmt: skip
    figure = Figure(figsize=(8.4, 7.6), layout="constrained")
    for axes, method in zip(figure.subplots(3, 4).flat, shown):
        found = [runs[f"mnist {seed}"] for seed in range(seeds)]
        accuracy = np.mean([run[method]["accuracy"] for run in found if method in run])
        rows, columns = np.divmod(runs["mnist 0"][method]["features"], 28)
        axes.imshow(grey, cmap="Greys", vmin=0, vmax=1.2)
        axes.scatter(columns, rows, s=13, marker="s", color="#d55e00", lw=0)
        name = NAMES[method].replace(" (default)", "").replace("QuickSelection's settings", "QuickSelection")
        name = name.replace(", ", ",\n").replace(" (labels)", "\n(labels)").replace("largest ", "largest\n")
        axes.set_title(f"{name}\n{accuracy:.1%}", fontsize=11)
        axes.set(xticks=[], yticks=[], xlim=(-0.5, 27.5), ylim=(27.5, -0.5))
    figure.savefig(IMAGE, dpi=110)


if __name__ == "__main__":
    main()
