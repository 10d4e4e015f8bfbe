"""Memory of training: peak resident growth for each connection, against what `estimate` predicts.

    python benchmarks/memory.py                 # 50 million connections, about 3 minutes, 2 GiB
    python benchmarks/memory.py --wide          # the network of SET-MLP's own largest run, about 63 million, one epoch

Each case runs in a process of its own that first trains a tiny network, so that compiled kernels are in the baseline.
The resident size is read every 5 ms. With SGD and momentum, evolution every epoch, and a run folder, so that snapshots
of the topology are on disk and not in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import markdown, parser, publish, say

import sparserbm as sr
from sparserbm.training.estimate import estimate
from sparserbm.training.optimizers import SGD

PAGE = 4096
EPOCHS, BATCH, SAMPLES = 3, 10, 100
MOMENTUM = SGD(0.05, momentum=0.9)


def main() -> None:
    arguments = parser(__doc__, rounds=1)
    arguments.add_argument("--wide", action="store_true", help="the network of 600,000 units a layer instead")
    arguments.add_argument("--connections", type=int, default=50_000_000)
    arguments.add_argument("--case", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.case:
        print(json.dumps(CASES[options.case](options.connections)))
        return
    if options.quick:
        options.connections = 200_000
    found = {name: in_its_own_process(name, options) for name in (("wide",) if options.wide else ("rbm",))}
    rows = [
        [
            name,
            f"{case['connections']:,}",
            f"{case['peak_bytes'] / 2**30:.2f} GiB",
            f"{case['peak_bytes'] / case['connections']:.1f}",
            f"{case['training_bytes'] / case['connections']:.1f}",
            f"{case['predicted_bytes'] / case['peak_bytes']:.2f}",
            f"{case['seconds_an_epoch']:.1f}",
        ]
        for name, case in found.items()
    ]
    head = ["case", "connections", "peak", "bytes each, peak", "between events", "predicted / peak", "s an epoch"]
    publish("memory_wide" if options.wide else "memory", options, {"cases": found}, markdown(head, rows))


def in_its_own_process(name: str, options: Any) -> dict[str, Any]:
    say(f"{name}: training in a process of its own")
    words = [sys.executable, __file__, "--case", name, "--connections", str(options.connections)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def rbm(n_connections: int) -> dict[str, Any]:
    """A square RBM with a density of 8 %."""
    n = round((n_connections / 0.08) ** 0.5)
    X = np.random.default_rng(0).random((SAMPLES, n), dtype=np.float32)
    units = (sr.Bernoulli(n), sr.Bernoulli(n))
    wiring = sr.ErdosRenyi(density=n_connections / n**2)
    algorithm = sr.CD(k=1)
    shape = {"batch_size": BATCH, "epochs": EPOCHS}
    predicted = estimate([layer.n for layer in units], [wiring], algorithm, MOMENTUM, n_samples=SAMPLES, **shape)
    return measured(predicted, lambda **more: sr.train(sr.RBM(*units, wiring=wiring), X, algorithm, **shape, **more))


def wide(_: int) -> dict[str, Any]:
    """3,312 - 3 x 600,000 - 5 with epsilon 20, for 203 samples, as in the README of SET-MLP; on random data."""
    generator = np.random.default_rng(0)
    X, y = generator.standard_normal((203, 3312), dtype=np.float32), generator.integers(0, 5, 203)
    units = (sr.Identity(3312), *(sr.ReLU(600_000) for _ in range(3)), sr.Softmax(5))
    sparse = sr.ErdosRenyi(epsilon=20)
    wiring = [sparse, sparse, sparse, sr.Dense()]
    algorithm = sr.Backprop()
    shape = {"batch_size": BATCH, "epochs": 2}
    predicted = estimate([layer.n for layer in units], wiring, algorithm, MOMENTUM, n_samples=203, **shape)
    return measured(
        predicted, lambda **more: sr.train(sr.MLP(*units, wiring=wiring), X, algorithm, y=y, **shape, **more)
    )


CASES = {"rbm": rbm, "wide": wide}


def measured(predicted: Any, run: Any) -> dict[str, Any]:
    warm_up()
    watch = Resident()
    epochs: list[dict[str, float]] = []

    def after_epoch(model: Any, metrics: dict[str, Any]) -> None:
        epochs.append({"seconds": metrics["seconds"], "resident": watch.now(), "dropped": metrics["dropped"]})

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run(
            optimizer=MOMENTUM,
            evolution=sr.SET(zeta=0.3),
            out=Path(folder) / "run",
            snapshot_every=1000,
            callbacks=[after_epoch],
        )
    return {
        "connections": sum(predicted.connections),
        "peak_bytes": watch.stop(),
        "training_bytes": min(epoch["resident"] for epoch in epochs),
        "predicted_bytes": predicted.bytes,
        "seconds_an_epoch": epochs[-1]["seconds"],  # with the event that is due after the one before
        "seconds_in_all": round(time.perf_counter() - begin, 1),
        "epochs": epochs,
    }


def warm_up() -> None:
    """Compile the kernels and load what is loaded at first use."""
    X = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    for model, algorithm, y in (
        (sr.RBM(sr.Bernoulli(50), sr.Bernoulli(40), wiring=sr.ErdosRenyi(epsilon=5)), sr.CD(k=1), None),
        (sr.MLP(50, sr.ReLU(40), sr.Softmax(2), wiring=sr.ErdosRenyi(epsilon=5)), sr.Backprop(), np.arange(40) % 2),
    ):
        with tempfile.TemporaryDirectory() as folder:
            settings = {"epochs": 2, "batch_size": 10, "optimizer": MOMENTUM, "evolution": sr.SET(zeta=0.3)}
            sr.train(model, X, algorithm, y=y, out=Path(folder) / "run", **settings)


class Resident:
    """Growth of this process's resident memory since this was made, and its peak."""

    def __init__(self) -> None:
        self._begin, self._peak, self._stopped = self._resident(), 0, False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def _resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE

    def now(self) -> int:
        return self._resident() - self._begin

    def _watch(self) -> None:
        while not self._stopped:
            self._peak = max(self._peak, self.now())
            time.sleep(0.005)

    def stop(self) -> int:
        self._stopped = True
        self._thread.join()
        return self._peak


if __name__ == "__main__":
    main()
