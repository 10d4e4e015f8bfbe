"""How long one run of the regularization study takes when it has the machine to itself, all cores.

    python benchmarks/study_run.py

MNIST comes from the folder in SPARSERBM_DATA, from the cache, or over the network. A short run first takes compilation
out of the figure. Writes results/study_run.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time

from machine import machine, write

from sparserbm.studies import STUDY_EPOCHS, STUDY_MLP, STUDY_RBM


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=STUDY_EPOCHS)
    options = parser.parse_args()
    found = {}
    for base in (STUDY_MLP, STUDY_RBM):
        recipe = dataclasses.replace(base, data="mnist", l2=1e-3, epochs=1)
        recipe.run()
        begin = time.perf_counter()
        run = dataclasses.replace(recipe, epochs=options.epochs).run()
        seconds = time.perf_counter() - begin
        epochs = [line["seconds"] for line in run.metrics[1:]]
        found[base.model] = {
            "epochs": options.epochs,
            "seconds": round(seconds, 1),
            "median_seconds_an_epoch": round(statistics.median(epochs), 4),
            "includes": "loading from memory, evaluation on the test set, evolution, snapshots in memory",
        }
        print(base.model, found[base.model])
    print(f"written to {write('study_run', {'machine': machine(), 'runs': found})}")


if __name__ == "__main__":
    main()
