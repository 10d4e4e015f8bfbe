"""Whole epochs of training: an MLP and two RBMs on MNIST, an RBM on COIL-20, ours with its evolution included.

    python benchmarks/epoch.py --coil COIL20.mat

MNIST comes from the folder in SPARSERBM_DATA, from the cache, or over the network; COIL-20 from the file given, by
default coil20/COIL20.mat in the folder in SPARSERBM_DATA. Peers train only: no evolution, no data loader. Writes
results/epoch.json and prints the table. Needs torch.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from timing import markdown, met, parser, publish, say, set_threads, take_turns, training

import sparserbm as sr
from sparserbm.backends import get_backend

SHARE = 100  # batches of an epoch that the dense RBM with 4000 hidden units is measured on


def main() -> None:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--coil", type=Path, help="COIL20.mat")
    arguments.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="only these")
    options = arguments.parse_args()
    if options.quick:
        options.rounds = 2
    cases = []
    for name in options.cases:
        say(name)
        cases.append({"case": name, **CASES[name](options)})
    content = {
        "what": "seconds of an epoch; ours: as recorded in run.metrics, evolution, order, batches and loss included; "
        "peers: training only, timed from outside, batches by index_select, SGD(fused=True)",
        "cases": cases,
    }
    publish("epoch", options, content, table(cases))


def measured(options: argparse.Namespace, contestants: dict[str, Callable[[], float]], **case: Any) -> dict[str, Any]:
    """Time the contestants; `case` may hold targets: seconds for "ours", for a peer how many times ours it takes."""
    set_threads(options.threads)
    targets = case.pop("targets", {})
    timings = take_turns(contestants, options.rounds)
    rows = [
        {
            "who": name,
            "seconds": timing.record(),
            "over_ours": round(timing.median / timings["ours"].median, 2),
            "target": targets.get(name),
        }
        for name, timing in timings.items()
    ]
    return {**case, "rows": rows}


# -- cases ---------------------------------------------------------------------------------------------------------


def mlp(options: argparse.Namespace) -> dict[str, Any]:
    """784-512-128-10, epsilon 11 and a dense output, batch 128: the network of the regularization study."""
    from peers import mlps, train_mlp

    X, y = mnist(options, "standard")
    model = sr.MLP(
        784,
        *(sr.ReLU(512), sr.ReLU(128), sr.Softmax(10)),
        wiring=sr.ErdosRenyi(epsilon=11),
        backend=get_backend("numpy", "float32", options.threads),
    )
    settings = {"batch_size": 128, "optimizer": sr.SGD(0.01, momentum=0.5), "evolution": sr.SET(zeta=0.3)}
    contestants = {"ours": training(model, X, sr.Backprop(), y=y, **settings)}
    for name, peer in mlps([layer.to_scipy() for layer in model.connections]).items():
        contestants[name] = train_mlp(peer, X, y, batch_size=128, learning_rate=0.01, momentum=0.5)
    targets = {"PyTorch dense": 5.0, "PyTorch CSR": 5.0}
    return measured(options, contestants, samples=len(X), connections=model.n_connections, targets=targets)


def rbm_500(options: argparse.Namespace) -> dict[str, Any]:
    """784 x 500, CD-1, batch 100, against PyTorch and scikit-learn."""
    X, _ = mnist(options)
    contestants, n_connections = rbm_contestants(options, X, 500)
    contestants["scikit-learn BernoulliRBM"] = sklearn_rbm(X, 500)
    targets = {"PyTorch dense": 7.0, "scikit-learn BernoulliRBM": 20.0}
    return measured(options, contestants, samples=len(X), connections=n_connections, targets=targets)


def rbm_4000(options: argparse.Namespace) -> dict[str, Any]:
    """784 x 4000, the same; PyTorch is measured on a share of the epoch."""
    X, _ = mnist(options)
    contestants, n_connections = rbm_contestants(options, X, 4000, n_batches=SHARE)
    found = measured(options, contestants, samples=len(X), connections=n_connections, targets={"PyTorch dense": 25.0})
    note = f"PyTorch trained the first {SHARE} batches of each epoch; its seconds are scaled to all of them"
    return {**found, "note": note}


def coil(options: argparse.Namespace) -> dict[str, Any]:
    """1024 x 200, epsilon 10, batch 10, two thirds of COIL-20: the reference run of the SET paper's code."""
    X, source = coil20(options)
    model = rbm(options, 1024, 200, epsilon=10)
    mean_field = sr.CD(positive="sample", negative="sample", chain="mean", visible_bias="zero")
    contestants = {
        "ours": training(
            model,
            X,
            mean_field,
            batch_size=10,
            optimizer=sr.SGD(0.1),
            regularization=sr.L2(2e-7),
            evolution=sr.SET(zeta=0.3),
        )
    }
    return measured(
        options, contestants, samples=len(X), connections=model.n_connections, source=source, targets={"ours": 0.035}
    )


CASES = {
    "MLP 784-512-128-10, batch 128, MNIST": mlp,
    "RBM 784 x 500, CD-1, batch 100, MNIST": rbm_500,
    "RBM 784 x 4000, CD-1, batch 100, MNIST": rbm_4000,
    "RBM 1024 x 200, CD-1, batch 10, COIL-20": coil,
}


# -- data and models -----------------------------------------------------------------------------------------------


def mnist(options: argparse.Namespace, scale: str = "unit") -> tuple[np.ndarray, np.ndarray]:
    """The 60,000 training samples and their classes; random ones of their shape with --quick."""
    if options.quick:
        generator = np.random.default_rng(0)
        return generator.random((600, 784), dtype=np.float32), generator.integers(0, 10, 600)
    found = sr.load_dataset("mnist", scale=scale)
    return found.X, found.y


def coil20(options: argparse.Namespace) -> tuple[np.ndarray, str]:
    """960 of the 1,440 images, and where they come from."""
    path = options.coil or Path(os.environ.get("SPARSERBM_DATA", ""), "coil20", "COIL20.mat")
    generator = np.random.default_rng(0)
    if options.quick:
        return generator.random((60, 1024), dtype=np.float32), "random"
    if not path.is_file():
        raise SystemExit(f"COIL-20 is not at {path}: give its file with --coil, or leave the case out with --cases")
    X = sr.load_dataset(path).X
    return X[generator.permutation(len(X))[: 2 * len(X) // 3]], "COIL20.mat, two thirds at random"


def rbm(options: argparse.Namespace, n_visible: int, n_hidden: int, epsilon: float) -> sr.RBM:
    backend = get_backend("numpy", "float32", options.threads)
    units = sr.Bernoulli(n_visible), sr.Bernoulli(n_hidden)
    return sr.RBM(*units, wiring=sr.ErdosRenyi(epsilon=epsilon), backend=backend)


def rbm_contestants(
    options: argparse.Namespace, X: np.ndarray, n_hidden: int, n_batches: int | None = None
) -> tuple[dict[str, Callable[[], float]], int]:
    """Ours and PyTorch's dense RBM, and how many connections ours has."""
    from peers import DenseRBM, train_rbm

    model = rbm(options, 784, n_hidden, epsilon=11)
    optimizer = sr.SGD(0.05, momentum=0.5)
    settings = {"batch_size": 100, "optimizer": optimizer, "evolution": sr.SET(zeta=0.3)}
    dense = DenseRBM(n_hidden, X, batch_size=100, learning_rate=0.05, momentum=0.5)
    contestants = {"ours": training(model, X, sr.CD(k=1), **settings), "PyTorch dense": train_rbm(dense, n_batches)}
    return contestants, model.n_connections


def sklearn_rbm(X: np.ndarray, n_hidden: int) -> Callable[[], float]:
    """A whole `fit` of one epoch; its persistent CD-1 does the work of ours, without momentum."""
    from sklearn.neural_network import BernoulliRBM

    def measure() -> float:
        model = BernoulliRBM(n_components=n_hidden, batch_size=100, n_iter=1, learning_rate=0.05, random_state=0)
        begin = time.perf_counter()
        model.fit(X)
        return time.perf_counter() - begin

    return measure


def table(cases: list[dict[str, Any]]) -> list[str]:
    head = ("an epoch", "who", "seconds (median)", "quartiles", "times ours", "target", "met")
    lines = []
    for case in cases:
        for row in case["rows"]:
            target, seconds = row["target"], row["seconds"]
            low, high = (f"{value:.3f}" for value in seconds["quartiles"])
            is_ours = row["who"] == "ours"
            verdict = met(seconds["median"] if is_ours else row["over_ours"], target, below=is_ours)
            shown = "-" if target is None else f"{target:g} {'s' if is_ours else 'x'}"
            times = f"{row['over_ours']:.1f}"
            middle = f"{seconds['median']:.3f}"
            lines.append((case["case"], row["who"], middle, f"{low} to {high}", times, shown, verdict))
    return markdown(head, lines)


if __name__ == "__main__":
    main()
