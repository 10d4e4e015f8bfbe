"""Whole epochs of the same networks on the CPU and on a GPU of one machine, with what evolution and evaluation take.

    python benchmarks/gpu_epoch.py

MNIST from the folder in SPARSERBM_DATA; where that is not set, random data of its shape (60,000 samples to train with,
10,000 to evaluate), and the result file says so. Every epoch holds an evolution event (SET, a share of 0.3), and
evaluation of the network and of its core on the validation data. Shares come from epochs of their own, in which the
device is waited for after every part. Writes results/gpu_epoch.json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import gpu
import numpy as np
from timing import Timing, markdown, say, set_threads

import sparserbm as sr
from sparserbm.backends import get_backend
from sparserbm.training import loop
from sparserbm.training.recorder import Recorder

SAMPLES = {"full": (60_000, 10_000), "quick": (60_000, 10_000), "tiny": (48, 16)}
FEATURES = {"full": 784, "quick": 784, "tiny": 20}
ZETA = 0.3
# Hidden layers (one: an RBM), epsilon, batch size
CASES = {
    "full": (((512, 128), 11, 128), ((4000, 1000, 4000), 20, 128), ((500,), 11, 100), ((4000,), 11, 100)),
    "quick": (((512, 128), 11, 128), ((4000,), 11, 100)),
    "tiny": (((12, 8), 3, 16), ((10,), 3, 16)),
}
PARTS = ("steps", "evolution", "evaluation")


def main() -> None:
    options = gpu.parser(__doc__, rounds=3).parse_args()
    gpu.begin(options)
    threads = os.cpu_count() or 1
    set_threads(threads)
    X, y, validation, source = data(options)
    content: dict[str, Any] = {
        "what": "seconds of an epoch as recorded in run.metrics, with the evolution event before it and the evaluation "
        "after it; parts: medians of other epochs, whose sum may differ",
        "data": source,
        "samples": len(X),
        "validation_samples": len(validation[0]),
        "threads": threads,
        "cases": [],
    }
    for hidden, epsilon, batch in CASES[options.size]:
        name = name_of(X.shape[1], hidden, batch)
        say(name)
        runs = {kind: Epochs(kind, threads, hidden, epsilon, batch, X, y, validation) for kind in ("numpy", "cupy")}
        check(runs)
        content["cases"].append({"case": name} | measured(runs, options))
        gpu.save("gpu_epoch", options, content)
    content["reached"] = [
        {"what": f"an epoch of {case['case']}: numpy over cupy", "reached": case["numpy_over_cupy"]}
        | {"target": None, "met": "-"}
        for case in content["cases"]
    ]
    gpu.publish("gpu_epoch", options, content, table(content))


def name_of(n_features: int, hidden: tuple[int, ...], batch: int) -> str:
    if len(hidden) == 1:
        return f"RBM {n_features} x {hidden[0]}, CD-1, batch {batch}"
    return f"MLP {'-'.join(map(str, (n_features, *hidden, 10)))}, batch {batch}"


def data(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray], str]:
    """Samples, classes, validation data, and where they come from."""
    if os.environ.get("SPARSERBM_DATA") and not options.tiny:
        found = sr.load_dataset("mnist")
        return found.X, found.y, (found.X_test, found.y_test), "MNIST"
    generator, features = np.random.default_rng(0), FEATURES[options.size]
    (X, y), (X_test, y_test) = (
        (generator.random((count, features), dtype=np.float32), generator.integers(0, 10, count))
        for count in SAMPLES[options.size]
    )
    return X, y, (X_test, y_test), "random, of the shape of MNIST"


class Epochs:
    """One model, trained for one more epoch at every call."""

    def __init__(
        self,
        kind: str,
        threads: int,
        hidden: tuple[int, ...],
        epsilon: float,
        batch: int,
        X: np.ndarray,
        y: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray],
    ):
        backend, wiring = get_backend(kind, "float32", threads), sr.ErdosRenyi(epsilon=epsilon)
        self.settings: dict[str, Any] = {"batch_size": batch, "optimizer": sr.SGD(0.01, momentum=0.5), "zone": None}
        self.settings |= {"evolution": sr.SET(zeta=ZETA)}
        if len(hidden) == 1:
            units = sr.Bernoulli(X.shape[1]), sr.Bernoulli(hidden[0])
            self.model, self.algorithm = sr.RBM(*units, wiring=wiring, backend=backend), sr.CD(k=1)
            self.settings["validation"] = validation[0]
        else:
            self.model = sr.MLP(X.shape[1], *map(sr.ReLU, hidden), sr.Softmax(10), wiring=wiring, backend=backend)
            self.algorithm = sr.Backprop()
            self.settings |= {"y": y, "validation": validation}
        self.X, self.run = X, None

    def __call__(self) -> dict[str, Any]:
        """The line of metrics of one more epoch; the first one has no event."""
        self.run = sr.train(self.model, self.X, self.algorithm, epochs=1, follows=self.run, **self.settings)
        return self.run.metrics[-1]


def check(runs: dict[str, Epochs]) -> None:
    """First epochs, on both: from the same weights and draws they must reach nearly the same loss."""
    losses = {kind: run()["validation_loss"] for kind, run in runs.items()}
    if not np.isclose(*losses.values(), rtol=0.05):
        raise gpu.Disagreement(f"after an epoch the validation losses are {losses}")


def measured(runs: dict[str, Epochs], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of an epoch on both in turn, then the seconds of its parts."""
    seconds: dict[str, list[float]] = {kind: [] for kind in runs}
    for _ in range(options.rounds):
        for kind, run in runs.items():
            line = run()
            if line["dropped"] == 0:
                raise gpu.Disagreement("the epoch held no evolution event, so its time would flatter us")
            seconds[kind].append(line["seconds"])
    timings = {kind: Timing(tuple(given)) for kind, given in seconds.items()}
    return {
        "connections": runs["cupy"].model.n_connections,
        "seconds": {kind: timing.record() for kind, timing in timings.items()},
        "numpy_over_cupy": round(timings["numpy"].median / timings["cupy"].median, 3),
        "parts": {kind: parts(run, options.rounds if options.size == "full" else 1) for kind, run in runs.items()},
    }


def parts(run: Epochs, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds and shares of the steps, the event and the evaluation; the rest is checks, degrees and losses."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        with timed_parts() as spent:
            whole = run()["seconds"]
        for part in PARTS:
            found[part].append(spent[part])
        found["epoch"].append(whole)
    middle = {part: statistics.median(given) for part, given in found.items()}
    middle["rest"] = max(0.0, middle["epoch"] - sum(middle[part] for part in PARTS))
    shares = {part: round(middle[part] / middle["epoch"], 4) for part in (*PARTS, "rest")}
    return {"seconds": {part: round(value, 5) for part, value in middle.items()}, "shares": shares}


@contextlib.contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Seconds that the parts of an epoch take meanwhile, the device waited for."""
    places = (loop, "_one_epoch"), (loop, "_evolve_after_epoch"), (Recorder, "_validate")
    before = [getattr(owner, name) for owner, name in places]
    spent: dict[str, float] = {}
    for (owner, name), part, call in zip(places, PARTS, before):
        setattr(owner, name, timed(call, part, spent))
    try:
        yield spent
    finally:
        for (owner, name), call in zip(places, before):
            setattr(owner, name, call)


def timed(call: Callable[..., Any], part: str, spent: dict[str, float]) -> Callable[..., Any]:
    def measure(*arguments: Any) -> Any:
        gpu.cupy.cuda.Device().synchronize()
        begin = time.perf_counter()
        result = call(*arguments)
        gpu.cupy.cuda.Device().synchronize()
        spent[part] = time.perf_counter() - begin  # the last call: a run also evaluates before its first epoch
        return result

    return measure


def table(content: dict[str, Any]) -> list[str]:
    head = ["an epoch", "backend", "seconds (median)", "quartiles", *PARTS, "rest", "numpy / cupy"]
    rows = []
    for case in content["cases"]:
        for kind, seconds in case["seconds"].items():
            low, high = seconds["quartiles"]
            shares = case["parts"][kind]["shares"]
            rows.append(
                [case["case"], kind, f"{seconds['median']:.3f}", f"{low:.3f} to {high:.3f}"]
                + [f"{shares[part]:.0%}" for part in (*PARTS, "rest")]
                + [f"{case['numpy_over_cupy']:.2f}"]
            )
    return [f"Data: {content['data']}; numpy on {content['threads']} threads.", "", *markdown(head, rows)]


if __name__ == "__main__":
    main()
