"""One SET event: its share of an epoch, and its time up to ten million connections, beside dense masks in PyTorch.

    python benchmarks/evolution_event.py

An event on an RBM that was not trained, so that the weights are as drawn; zeta 0.3. "With indices" adds one product of
a single sample in both directions, which makes whatever index the backend builds anew after an event. PyTorch finds the
weakest weights by `kthvalue` and draws absent places either by `topk` of a random number for every place or by drawing
again what is taken. Writes results/evolution_event.json and prints the table. Needs torch.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import Timing, markdown, met, parser, publish, repeated, say, set_threads, take_turns, training

import sparserbm as sr
from sparserbm.backends import get_backend

ZETA = 0.3
SMALL = (784, 500, 14_124)  # the RBM of the epoch, epsilon 11
CASES = (SMALL, (2236, 2236, 100_000), (7071, 7071, 1_000_000), (22_361, 22_361, 10_000_000))
QUICK = ((784, 500, 14_124), (300, 300, 2_000))
DENSE_UP_TO = 100_000_000  # places
SHARE_TARGET = 0.03  # of an epoch
SECONDS_TARGET = {10_000_000: 2.0}


def main() -> None:
    options = parser(__doc__, rounds=7).parse_args()
    set_threads(options.threads)
    if options.quick:
        options.rounds = 2
    rows = []
    for case in QUICK if options.quick else CASES:
        say("{:,} x {:,}, {:,} connections".format(*case))
        rows.append(measure(options, *case))
    content = {
        "what": f"one SET event, zeta={ZETA}; share: of an epoch of 60,000 samples, CD-1, batch 100, without evolution",
        "rows": rows,
    }
    publish("evolution_event", options, content, table(rows))


def measure(options: argparse.Namespace, n_visible: int, n_hidden: int, n_connections: int) -> dict[str, Any]:
    """Ours, PyTorch where the dense matrix fits, and the epoch for the RBM of MNIST's size."""
    from peers import MaskedEvolution

    model = rbm(options, n_visible, n_hidden, n_connections)
    seconds = 0.02 if options.quick else 0.5
    contestants = {
        "ours": repeated(event(model), seconds),
        "ours, with indices": repeated(event(model, products=True), seconds),
    }
    if n_visible * n_hidden <= DENSE_UP_TO:
        matrix = model.matrix.to_scipy()
        for draw in ("topk", "again"):
            contestants[f"PyTorch, {draw}"] = repeated(MaskedEvolution(matrix, ZETA, draw).event, seconds)
    if (n_visible, n_hidden, n_connections) == SMALL:
        n_samples = 600 if options.quick else 60_000
        X = np.random.default_rng(0).random((n_samples, n_visible), dtype=np.float32)
        trained = rbm(options, n_visible, n_hidden, n_connections)
        optimizer = sr.SGD(0.01, momentum=0.5)
        contestants["an epoch"] = training(trained, X, sr.CD(k=1), batch_size=100, optimizer=optimizer)
    return row((n_visible, n_hidden, n_connections), take_turns(contestants, options.rounds))


def rbm(options: argparse.Namespace, n_visible: int, n_hidden: int, n_connections: int) -> sr.RBM:
    """An RBM with exactly `n_connections`."""
    wiring = sr.ErdosRenyi(density=n_connections / (n_visible * n_hidden))
    backend = get_backend("numpy", "float32", options.threads)
    return sr.RBM(sr.Bernoulli(n_visible), sr.Bernoulli(n_hidden), wiring=wiring, backend=backend)


def event(model: sr.RBM, products: bool = False) -> Callable[[], None]:
    """One event after another on the same model, each with draws of its own."""
    evolution, steps, backend, layer = sr.SET(zeta=ZETA), itertools.count(1), model.backend, model.matrix
    v, h = backend.zeros((layer.n_pre, 1)), backend.zeros((layer.n_post, 1))

    def run() -> None:
        report = evolution.evolve(model, None, next(steps))
        if report.dropped == 0 or report.dropped != report.grown:
            raise RuntimeError(f"the event dropped {report.dropped} and grew {report.grown} connections")
        if products:
            backend.spmm(layer, layer.weight, v, h)
            backend.spmm_t(layer, layer.weight, h, v)

    return run


def row(case: tuple[int, int, int], timings: dict[str, Timing]) -> dict[str, Any]:
    n_visible, n_hidden, n_connections = case
    event_seconds = timings["ours"].median
    found: dict[str, Any] = {
        "layer": f"{n_visible} x {n_hidden}",
        "connections": n_connections,
        "milliseconds": {name: timing.record(1e3) for name, timing in timings.items()},
        "nanoseconds_a_connection": float(f"{event_seconds / n_connections * 1e9:.4g}"),
        "over_ours": {
            name: round(timing.median / event_seconds, 2)
            for name, timing in timings.items()
            if name.startswith("PyTorch")
        },
        "seconds_target": SECONDS_TARGET.get(n_connections),
        "met": met(event_seconds, SECONDS_TARGET.get(n_connections), below=True),
    }
    if "an epoch" in timings:
        share = event_seconds / timings["an epoch"].median
        found |= {
            "share_of_epoch": float(f"{share:.4g}"),
            "share_with_indices": float(f"{timings['ours, with indices'].median / timings['an epoch'].median:.4g}"),
            "share_target": SHARE_TARGET,
            "met": met(share, SHARE_TARGET, below=True),
        }
    return found


def table(rows: list[dict[str, Any]]) -> list[str]:
    head = [
        "layer",
        "connections",
        "an event (ms)",
        "with indices",
        "ns a connection",
        "share of an epoch",
        "target",
        "met",
    ]
    head += ["PyTorch, topk (ms)", "PyTorch, drawn again (ms)", "times ours"]
    lines = []
    for found in rows:
        milliseconds = {name: f"{given['median']:.4g}" for name, given in found["milliseconds"].items()}
        share, target = "-", "-"
        if "share_of_epoch" in found:
            share, target = f"{found['share_of_epoch']:.2%}", f"under {SHARE_TARGET:.0%} of an epoch"
        elif found["seconds_target"]:
            target = f"under {found['seconds_target']:g} s"
        times = " / ".join(f"{value:.1f}" for value in found["over_ours"].values()) or "-"
        lines.append(
            [found["layer"], f"{found['connections']:,}", milliseconds["ours"], milliseconds["ours, with indices"]]
            + [f"{found['nanoseconds_a_connection']:.1f}", share, target, found["met"]]
            + [milliseconds.get(f"PyTorch, {draw}", "-") for draw in ("topk", "again")]
            + [times]
        )
    return markdown(head, lines)


if __name__ == "__main__":
    main()
