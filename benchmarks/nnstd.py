"""How long the distance of two topologies takes (NNSTD), by both ways of matching neurons.

    python benchmarks/nnstd.py  # on one thread

Two random layers of each size, without the null. Writes results/nnstd.json.
"""

from __future__ import annotations

import time

import numpy as np
from scipy import sparse
from timing import markdown, parser, publish, say

from sparserbm.topology import distance

# Units on both sides, connections: sparse ones, and two whose neurons nearly all have an input in common.
SIZES = ((784, 3_700), (2000, 30_000), (4000, 80_000), (784, 22_000), (1500, 112_500))
QUICK = ((60, 300),)


def pairs(first: sparse.csr_matrix, second: sparse.csr_matrix) -> float:
    """Share of the pairs of neurons, one of each net, that have an input in common."""
    return (first @ second.T).nnz / (first.shape[0] * second.shape[0])


def main() -> None:
    options = parser(__doc__, rounds=3).parse_args()
    options.threads = 1  # SciPy's assignments know no threads
    cases = []
    for n, count in QUICK if options.quick else SIZES:
        nets = [sparse.random(n, n, count / n**2, format="csr", random_state=seed) for seed in range(2)]
        seconds: dict[str, list[float]] = {"sparse": [], "dense": []}
        for number in range(options.rounds):
            for way, limit in (("sparse", 0), ("dense", n + 1)):
                distance.DENSE_ASSIGNMENT, distance.SPARSE_PAIRS = limit, 1.0
                began = time.perf_counter()
                found = distance.nnstd(*nets, null=0)
                seconds[way].append(time.perf_counter() - began)
            say(f"{n} x {n}, round {number + 1}: distance {found:.4f}")
        cases.append(
            {"n": n, "connections": count, "pairs": pairs(*nets), "distance": float(found), "seconds": seconds}
        )
    rows = [
        [
            f"{case['n']} x {case['n']}",
            f"{case['connections']:,}",
            f"{case['pairs']:.0%}",
            *(f"{np.median(case['seconds'][way]):.3g}" for way in seconds),
        ]
        for case in cases
    ]
    publish(
        "nnstd",
        options,
        {"cases": cases},
        markdown(["layer", "connections", "pairs that share an input", "sparse, s", "dense, s"], rows),
    )


if __name__ == "__main__":
    main()
