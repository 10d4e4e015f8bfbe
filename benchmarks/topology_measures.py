"""What docs/topology.md shows: every measure on one network, and how often the verdict on degrees is right.

    python benchmarks/topology_measures.py

*network*: an RBM on the embedded digits, 100 epochs; its degrees, squares, paths, turnover, ages and lifetimes.
*calibration*: degrees drawn from laws that are known, and what `power_law` says of them. Writes
results/topology_measures.json.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import machine, write

import sparserbm as sr
from sparserbm import topology
from sparserbm.runs import Run
from sparserbm.topology import degree_laws

EPOCHS, MOMENTS, AGES = 100, (0, 1, 10, 50, 99, 100), (15, 30, 150, 750)
SAMPLES, BOOTSTRAP = 100, 200
N_INPUTS, N_HIDDEN, N_CONNECTIONS = 784, 500, 14_124


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="few epochs and samples, to see that all works")
    quick = options.parse_args().quick
    found = {
        "machine": machine(),
        "network": network(12 if quick else EPOCHS),
        "calibration": calibration(4 if quick else SAMPLES),
    }
    for part in ("network", "calibration"):
        print(f"\n## {part}\n")
        for name, value in found[part].items():
            print(f"{name}: {value}")
    if not quick:
        print(f"\n{write('topology_measures', found)}")


# -- one network -------------------------------------------------------------------------------------------------------


def network(epochs: int) -> dict[str, Any]:
    run = train(epochs, snapshot_every=1)
    first = run.snapshots[0].layers[0]
    _, layer = run.last_pattern()
    n_pre = len(layer.degree_pre)
    wiring, born = (layer.pre, layer.indptr, n_pre), (first.pre, first.indptr, n_pre)
    fit = topology.power_law(layer.degree_post, n_other=n_pre)
    before = topology.power_law(first.degree_post, n_other=n_pre)
    history = topology.WiringHistory.of_run(run)
    turn, tried = topology.turnover(history), topology.explored(history)
    pyramid = topology.age_pyramid(history, mask=run.zone_mask, bins=[0, 16, 151, 751, 1501])
    sparse_history = topology.WiringHistory.of_run(train(epochs, snapshot_every=10))
    path = topology.path_length(wiring)
    return {
        "power_law": [str(fit), *map(str, fit.comparisons)],
        "p_random": {"before": before.p_random, "after": fit.p_random},
        "squares": topology.squares(wiring),
        "square_clustering": topology.square_clustering(wiring),
        "giant_component": topology.giant_component(wiring),
        "path_length": [path.mean, path.standard_error, path.n_sources, path.n_units],
        "against_null": str(topology.against_null(topology.square_clustering, wiring)),
        "against_null_first": str(topology.against_null(topology.square_clustering, born)),
        "p_of_199": topology.against_null(topology.square_clustering, wiring, n_wirings=199).p,
        "share_stayed": at(MOMENTS, turn.share_stayed),
        "returned": at(MOMENTS, turn.returned),
        "unseen_with_every_tenth_snapshot": topology.turnover(sparse_history).unseen.tolist(),
        "explored": at(MOMENTS, tried.share),
        "explored_at_most": at(MOMENTS, tried.at_most),
        "explored_with_every_tenth_snapshot": float(topology.explored(sparse_history).share[-1]),
        "ages": {name: getattr(pyramid, name).tolist() for name in ("counts", "inside", "outside")},
        "zone_inputs": int(run.zone_mask.sum()),
        "survival": lifetimes(history),
        "survival_with_every_tenth_snapshot": lifetimes(sparse_history),
    }


def train(epochs: int, snapshot_every: int) -> Run:
    return sr.train(
        sr.RBM(sr.Bernoulli(N_INPUTS), sr.Bernoulli(N_HIDDEN), wiring=sr.ErdosRenyi(epsilon=11), seed=0),
        sr.load_dataset("digits"),
        sr.CD(k=1),
        epochs=epochs,
        batch_size=100,
        optimizer=sr.SGD(0.05, momentum=0.9),
        evolution=sr.SET(zeta=0.3),
        snapshot_every=snapshot_every,
    )


def at(moments: tuple[int, ...], values: np.ndarray) -> dict[str, float]:
    return {str(each): values[each].item() for each in moments if each < len(values)}


def lifetimes(history: topology.WiringHistory) -> dict[str, list[float]]:
    """Survival with its band, newborns only."""
    curve = topology.survival_curve(history, born_from=1)
    places = {age: int(np.searchsorted(curve.ages, age)) for age in AGES}
    return {
        str(age): [float(part[place]) for part in (curve.survival, curve.lower, curve.upper)]
        for age, place in places.items()
        if place < len(curve.ages)
    }


# -- laws that are known -----------------------------------------------------------------------------------------------


def calibration(samples: int) -> dict[str, Any]:
    laws: dict[str, tuple[Callable[[int], np.ndarray], int | None]] = {
        "zeta, alpha 2.5, 500 units": (lambda seed: tailed(500, 2.5, 1, 1.0, seed), None),
        "30 % zeta, alpha 2.7 from 6 on, 784 units": (lambda seed: tailed(784, 2.7, 6, 0.3, seed), None),
        "lognormal, sigma 0.5, 800 units": (lognormal, None),
        "random wiring, 784 units": (lambda seed: random_wiring(N_INPUTS, N_HIDDEN, seed), N_HIDDEN),
        "random wiring, 500 units": (lambda seed: random_wiring(N_HIDDEN, N_INPUTS, seed), N_INPUTS),
    }
    found = {}
    for name, (draw, n_other) in laws.items():
        fits = [
            topology.power_law(draw(seed), n_other=n_other, bootstrap=BOOTSTRAP, seed=seed) for seed in range(samples)
        ]
        found[name] = {
            "samples": samples,
            "verdicts": dict(Counter(fit.verdict for fit in fits)),
            "mean_alpha": float(np.mean([fit.alpha for fit in fits])),
            "p_below_0.1": sum(fit.p is not None and fit.p < 0.1 for fit in fits),
        }
    return found


def tailed(n: int, alpha: float, d_min: int, share: float, seed: int) -> np.ndarray:
    """Degrees of which a share follows a power law from d_min on; the others are anything below."""
    random = np.random.default_rng(seed)
    n_tail = random.binomial(n, share)
    tail = degree_laws.sampler(degree_laws.Law(alpha, d_min, 0.0))(random.random(n_tail))
    return np.concatenate([tail, random.integers(0, d_min, n - n_tail)])


def lognormal(seed: int) -> np.ndarray:
    return np.round(np.random.default_rng(seed).lognormal(3.0, 0.5, 800)).astype(int)


def random_wiring(n: int, n_other: int, seed: int) -> np.ndarray:
    """Degrees of an Erdos-Renyi layer with exactly so many connections."""
    places = np.random.default_rng(seed).choice(n * n_other, N_CONNECTIONS, replace=False)
    return np.bincount(places // n_other, minlength=n)


if __name__ == "__main__":
    main()
