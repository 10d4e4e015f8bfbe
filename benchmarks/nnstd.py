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

SIZES = ((784, 3_700), (2000, 30_000), (4000, 80_000))  # units on both sides, connections
QUICK = ((60, 300),)


def main() -> None:
    options = parser(__doc__, rounds=3).parse_args()
    options.threads = 1  # SciPy's assignments know no threads
    cases = []
    for n, count in QUICK if options.quick else SIZES:
        nets = [sparse.random(n, n, count / n**2, format="csr", random_state=seed) for seed in range(2)]
        seconds: dict[str, list[float]] = {"sparse": [], "dense": []}
        for number in range(options.rounds):
            for way, limit in (("sparse", 0), ("dense", n + 1)):
                distance.DENSE_ASSIGNMENT = limit
                began = time.perf_counter()
                found = distance.nnstd(*nets, null=0)
                seconds[way].append(time.perf_counter() - began)
            say(f"{n} x {n}, round {number + 1}: distance {found:.4f}")
        cases.append({"n": n, "connections": count, "distance": float(found), "seconds": seconds})
    rows = [
        [
            f"{case['n']} x {case['n']}",
            f"{case['connections']:,}",
            *(f"{np.median(case['seconds'][way]):.3g}" for way in seconds),
        ]
        for case in cases
    ]
    publish("nnstd", options, {"cases": cases}, markdown(["layer", "connections", "sparse, s", "dense, s"], rows))


if __name__ == "__main__":
    main()
