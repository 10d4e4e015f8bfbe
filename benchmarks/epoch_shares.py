"""Where the seconds of an epoch go: every kernel, and the Python between them.

    python benchmarks/epoch_shares.py

The calls of the backend are timed one by one during an epoch of 60,000 random samples (the content does not matter).
The rest is Python, with what the timing itself takes. Writes results/epoch_shares.json.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import markdown, parser, publish, say

import sparserbm as sr
from sparserbm.backends import get_backend

KERNELS = ("gather", "spmm", "spmm_t", "sddmm", "row_sums", "sgd", "softmax", "class_error", "squared_error")


def main() -> None:
    options = parser(__doc__, rounds=5).parse_args()
    samples = 1_000 if options.quick else 60_000
    generator = np.random.default_rng(0)
    X, y = generator.random((samples, 784), dtype=np.float32), generator.integers(0, 10, samples)
    found = {}
    for name, (build, algorithm, batch_size) in CASES.items():
        say(name)
        backend, spent = get_backend("numpy", "float32", options.threads), defaultdict(float)
        for kernel in KERNELS:
            setattr(backend, kernel, timed(getattr(backend, kernel), kernel, spent))
        model, rounds = build(backend), []
        labels = y if model.kind == "mlp" else None
        for number in range(options.rounds + 1):
            spent.clear()
            run = sr.train(
                *(model, X, algorithm),
                y=labels,
                epochs=1,
                batch_size=batch_size,
                optimizer=sr.SGD(0.01, momentum=0.5),
                zone=None,
            )
            seconds = run.metrics[-1]["seconds"]
            if number > 0:
                rounds.append({**spent, "python": seconds - sum(spent.values()), "epoch": seconds})
        found[name] = {key: round(statistics.median(r.get(key, 0.0) for r in rounds), 4) for key in rounds[0]}
    keys = [*KERNELS, "python"]
    rows = [
        [name, f"{case['epoch']:.2f}", *(f"{case.get(key, 0) / case['epoch']:.0%}" for key in keys)]
        for name, case in found.items()
    ]
    publish("epoch_shares", options, {"unit": "seconds", "cases": found}, markdown(["epoch", "s", *keys], rows))


def timed(call: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def measure(*arguments: Any, **more: Any) -> Any:
        begin = time.perf_counter()
        result = call(*arguments, **more)
        spent[name] += time.perf_counter() - begin
        return result

    return measure


def rbm(hidden: int) -> Callable[[Any], Any]:
    return lambda backend: sr.RBM(
        sr.Bernoulli(784), sr.Bernoulli(hidden), wiring=sr.ErdosRenyi(epsilon=11), backend=backend
    )


def mlp(backend: Any) -> Any:
    return sr.MLP(784, sr.ReLU(512), sr.ReLU(128), sr.Softmax(10), wiring=sr.ErdosRenyi(epsilon=11), backend=backend)


CASES: dict[str, tuple[Callable[[Any], Any], Any, int]] = {
    "MLP 784-512-128-10, batch 128": (mlp, sr.Backprop(), 128),
    "RBM 784 x 500, batch 100": (rbm(500), sr.CD(k=1), 100),
    "RBM 784 x 4000, batch 100": (rbm(4000), sr.CD(k=1), 100),
}


if __name__ == "__main__":
    main()
