"""How long a user waits before anything runs: import, first training with an empty compilation cache, later ones.

    python benchmarks/start_up.py

Every figure is the wall-clock time of a whole Python process, seen from outside: one epoch on scikit-learn's digits,
their loading included. Each round begins with an empty cache folder for numba. Writes results/start_up.json and prints
the table.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from timing import Timing, markdown, met, parser, publish, say

DIGITS = """
import sparserbm as sr
digits = sr.load_dataset("digits")
"""
RBM = """
rbm = sr.RBM(sr.Bernoulli(784), sr.Bernoulli(500), wiring=sr.ErdosRenyi(epsilon=11), seed=0)
sr.train(rbm, digits, sr.CD(k=1), epochs=1, optimizer=sr.SGD(0.05, momentum=0.5), evolution=sr.SET(zeta=0.3))
"""
MLP = """
mlp = sr.MLP(784, sr.ReLU(512), sr.ReLU(128), sr.Softmax(10), wiring=sr.ErdosRenyi(epsilon=11), seed=0)
sr.train(mlp, digits, sr.Backprop(), epochs=1, optimizer=sr.SGD(0.05, momentum=0.5), evolution=sr.SET(zeta=0.3))
"""
IMPORTS = "sr.RBM, sr.MLP, sr.train, sr.SGD, sr.CD, sr.Backprop, sr.SET\nimport numba"
PLAIN = {
    "bare Python": "pass",
    "import numpy": "import numpy",
    "import sparserbm": "import sparserbm",
    "digits and all modules that a training imports": DIGITS + IMPORTS,
}
TRAININGS = {"RBM": DIGITS + RBM, "MLP": DIGITS + MLP, "RBM and MLP": DIGITS + RBM + MLP}
TARGETS = {"RBM and MLP, empty cache": 20.0, "RBM, later": 1.0, "MLP, later": 1.0}  # seconds


def main() -> None:
    options = parser(__doc__, rounds=5).parse_args()
    trainings = {"RBM": TRAININGS["RBM"]} if options.quick else TRAININGS
    rounds = 1 if options.quick else options.rounds
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:  # not counted: bytecode is written, files come into memory
        process(PLAIN["digits and all modules that a training imports"], options.threads, folder)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name, code in PLAIN.items():
            with tempfile.TemporaryDirectory() as folder:
                found.setdefault(name, []).append(process(code, options.threads, folder))
        for name, code in trainings.items():
            with tempfile.TemporaryDirectory() as folder:
                for when in ("empty cache", "later"):
                    found.setdefault(f"{name}, {when}", []).append(process(code, options.threads, folder))
    rows = []
    for name, seconds in found.items():
        timing, target = Timing(tuple(seconds)), TARGETS.get(name)
        rows.append(
            {
                "process": name,
                "seconds": timing.record(),
                "target": target,
                "met": met(timing.median, target, below=True),
            }
        )
    publish("start_up", options, {"what": "wall-clock seconds of a whole process", "rows": rows}, table(rows))


def process(code: str, threads: int, cache: str) -> float:
    """Seconds of a fresh interpreter that runs `code`, with numba's cache in the folder `cache`."""
    environment = os.environ | {"NUMBA_CACHE_DIR": cache, "NUMBA_NUM_THREADS": str(threads)}
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        raise RuntimeError(f"the process failed, nothing was measured:\n{done.stderr}")
    return seconds


def table(rows: list[dict[str, Any]]) -> list[str]:
    head = ("process", "seconds (median)", "quartiles", "target", "met")
    lines = []
    for row in rows:
        seconds = row["seconds"]
        low, high = seconds["quartiles"]
        target = "-" if row["target"] is None else f"{row['target']:g} s"
        lines.append((row["process"], f"{seconds['median']:.2f}", f"{low:.2f} to {high:.2f}", target, row["met"]))
    return markdown(head, lines)


if __name__ == "__main__":
    main()
