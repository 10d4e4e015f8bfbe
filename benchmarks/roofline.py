"""What this machine can do at most, on one thread and on several: float32 arithmetic, reads from L2 and from memory.

    python benchmarks/roofline.py

The kernels are compiled like those of the library and run in plain threads, each on an array of its own. Writes
results/roofline.json and prints the table; `measure` gives the same figures to other scripts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from timing import Timing, markdown, parser, publish, take_turns

L2_BYTES = 256 * 2**10  # half of a common L2 of 512 KiB
MEMORY_BYTES = 512 * 2**20  # far beyond any L3
UNITS = {"fma": "GFLOP/s", "l2": "GB/s", "memory": "GB/s"}
CHAIN = 12  # multiply-adds after one another in `multiply_add`
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


@numba.njit(fastmath={"contract"}, **OPTIONS)
def multiply_add(x, repeats):
    """Four chains of fused multiply-adds for every column of x, (4, n): the compiler makes vectors of columns.

    More chains spill out of the registers, fewer leave the units waiting for the last result.
    """
    a, b = np.float32(0.999), np.float32(0.001)
    x0, x1, x2, x3 = x[0], x[1], x[2], x[3]
    for _ in range(repeats):
        for k in range(x0.size):
            v0, v1, v2, v3 = x0[k], x1[k], x2[k], x3[k]
            for _ in range(CHAIN):
                v0, v1, v2, v3 = v0 * a + b, v1 * a + b, v2 * a + b, v3 * a + b
            x0[k], x1[k], x2[k], x3[k] = v0, v1, v2, v3


@numba.njit(fastmath={"reassoc", "contract", "nsz"}, **OPTIONS)
def read(x, repeats):
    """Sum x again and again; one element changes in between, or the compiler would sum once and multiply."""
    total = np.float32(0.0)
    for number in range(repeats):
        part = np.float32(0.0)
        for k in range(x.size):
            part += x[k]
        x[number % x.size] = part * np.float32(1e-9)
        total += part
    return total


def work(kind: str, scale: float = 1.0) -> tuple[Callable[..., Any], np.ndarray, int, float]:
    """Kernel, array and repeats for about `scale` times 0.1 s, and how many FLOPs or bytes that is."""
    if kind == "fma":
        x = np.ones((4, 128), np.float32)
        repeats = max(1, int(scale * 800_000))
        return multiply_add, x, repeats, 2.0 * CHAIN * x.size * repeats
    size, total = (L2_BYTES, 10e9) if kind == "l2" else (int(MEMORY_BYTES * min(1.0, scale)), 2e9)
    x = np.ones(size // 4, np.float32)
    repeats = max(1, int(scale * total / size))
    return read, x, repeats, float(x.nbytes) * repeats


def contestant(kind: str, threads: int, scale: float) -> Callable[[], float]:
    """Seconds for one FLOP or byte when `threads` threads work at the same time."""
    jobs = [work(kind, scale) for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def run() -> float:
        begin = time.perf_counter()
        for job in [pool.submit(kernel, x, repeats) for kernel, x, repeats, _ in jobs]:
            job.result()
        return (time.perf_counter() - begin) / sum(amount for *_, amount in jobs)

    return run


def measure(counts: list[int], rounds: int = 7, scale: float = 1.0) -> dict[str, dict[str, Any]]:
    """GFLOP/s and GB/s for every number of threads, as ``found["l2"]["1"]["best"]``; best and median of the rounds."""
    contestants = {(kind, threads): contestant(kind, threads, scale) for kind in UNITS for threads in counts}
    timings: dict[tuple[str, int], Timing] = take_turns(contestants, rounds)
    found: dict[str, dict[str, Any]] = {kind: {} for kind in UNITS}
    for (kind, threads), timing in timings.items():
        rates = {"best": 1e-9 / min(timing.seconds), "median": 1e-9 / timing.median}
        found[kind][str(threads)] = {name: round(rate, 1) for name, rate in rates.items()}
    return found


def main() -> None:
    options = parser(__doc__, rounds=9).parse_args()
    rounds, scale = (2, 0.02) if options.quick else (options.rounds, 1.0)
    counts = sorted({1, options.threads})
    found = measure(counts, rounds, scale)
    content = {"units": UNITS, "l2_bytes": L2_BYTES, "memory_bytes": MEMORY_BYTES, "rates": found}
    names = {
        "fma": "multiply-adds, GFLOP/s",
        "l2": f"reads of {L2_BYTES // 2**10} KiB (L2), GB/s",
        "memory": f"reads of {MEMORY_BYTES // 2**20} MiB (memory), GB/s",
    }
    head = ["best (median)", *(f"{n} thread{'s' if n > 1 else ''}" for n in counts)]
    cells = {
        kind: [f"{rates[str(n)]['best']} ({rates[str(n)]['median']})" for n in counts] for kind, rates in found.items()
    }
    publish("roofline", options, content, markdown(head, [[names[kind], *cells[kind]] for kind in UNITS]))


if __name__ == "__main__":
    main()
