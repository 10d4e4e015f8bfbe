"""The sparse products in GFLOP/s: ours on one thread and on several, SciPy's and PyTorch's CSR beside them.

    python benchmarks/kernels.py

A product of K connections and a batch of B has 2 K B FLOPs, one of two signed pairs 4 K B. Peers get the variant that
is fastest: SciPy a CSR matrix for either direction, PyTorch `torch.sparse.mm` with and without "sum", and no more
threads than it can use. Writes results/kernels.json and prints the table. Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import Timing, markdown, met, on_threads, parser, publish, repeated, say, take_turns

from sparserbm.backends import SignedPair, get_backend
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import distinct_ranks

# n_pre, n_post, connections, batches
CASES = (
    (784, 500, 14_124, (10, 100, 128, 512)),
    (1024, 200, 12_240, (10,)),
    (3072, 4000, 141_440, (128, 512)),
    (20_000, 20_000, 800_000, (128,)),
)
QUICK = ((100, 50, 500, (10, 64)),)
# GFLOP/s of one core, by units on the pre side and batch
TARGETS = {
    (784, 10): 10.0,
    (784, 128): 25.0,
    (784, 512): 25.0,
    (1024, 10): 10.0,
    (3072, 128): 18.0,
    (3072, 512): 18.0,
    (20_000, 128): 9.0,
}
THREADS_TARGET = 1.8  # from batches of 100 on
KERNELS = {"spmm": 2, "spmm_t": 2, "sddmm": 2, "sddmm, two pairs": 4}  # FLOPs a connection and sample


@dataclass(frozen=True)
class Case:
    """Arrays of one layer and one batch; x and y are activities of both sides, x2 and y2 those of a second pair."""

    n_pre: int
    n_post: int
    pattern: Pattern
    weight: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x2: np.ndarray
    y2: np.ndarray

    @classmethod
    def random(cls, n_pre: int, n_post: int, n_connections: int, batch: int) -> Case:
        generator = np.random.default_rng(0)
        pattern = Pattern.from_keys(n_pre, n_post, distinct_ranks(generator, n_pre * n_post, n_connections))
        weight = generator.standard_normal(n_connections, dtype=np.float32)
        x, y, x2, y2 = (generator.random((n, batch), dtype=np.float32) for n in (n_pre, n_post, n_pre, n_post))
        return cls(n_pre, n_post, pattern, weight, x, y, x2, y2)


def main() -> None:
    arguments = parser(__doc__, rounds=7)
    arguments.add_argument("--seconds", type=float, default=0.15, help="of each contestant in each round")
    options = arguments.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.01
    counts = sorted({1, options.threads})
    rows = []
    for n_pre, n_post, n_connections, batches in QUICK if options.quick else CASES:
        for batch in batches:
            say(f"{n_pre} x {n_post}, {n_connections:,} connections, batch {batch}")
            case = Case.random(n_pre, n_post, n_connections, batch)
            calls = ours(case, counts) | scipys(case) | torches(case, counts)
            check(calls)
            timings = take_turns(
                {key: on_threads(key[2], repeated(call, options.seconds)) for key, call in calls.items()},
                options.rounds,
            )
            rows += [row(case, kernel, timings, counts) for kernel in KERNELS]
    content = {"unit": "GFLOP/s", "targets": {"threads": THREADS_TARGET}, "rows": rows}
    publish("kernels", options, content, table(rows, counts))


# Contestants are keyed by (who, kernel, threads).
Key = tuple[str, str, int]


def ours(case: Case, counts: list[int]) -> dict[Key, Callable[[], Any]]:
    """Our four kernels for every number of threads; they write into arrays that exist."""
    found: dict[Key, Callable[[], Any]] = {}
    for threads in counts:
        backend = get_backend("numpy", "float32", threads)
        layer = Connections(backend, case.pattern, case.weight)
        out, out_t = np.empty_like(case.y), np.empty_like(case.x)
        one = [SignedPair(1.0, case.x, case.y)]
        two = [*one, SignedPair(-1.0, case.x2, case.y2)]
        gradient = np.empty(len(case.weight), np.float32)
        found |= {
            ("ours", "spmm", threads): lambda b=backend, c=layer, o=out: b.spmm(c, c.weight, case.x, o),
            ("ours", "spmm_t", threads): lambda b=backend, c=layer, o=out_t: b.spmm_t(c, c.weight, case.y, o),
            ("ours", "sddmm", threads): lambda b=backend, c=layer, p=one, o=gradient: b.sddmm(c, p, o),
            ("ours", "sddmm, two pairs", threads): lambda b=backend, c=layer, p=two, o=gradient: b.sddmm(c, p, o),
        }
    return found


def matrices(case: Case) -> tuple[Any, Any]:
    """SciPy's CSR matrices of both directions."""
    backend = get_backend("numpy", "float32", 1)
    matrix = Connections(backend, case.pattern, case.weight).to_scipy()
    return matrix, matrix.T.tocsr()


def scipys(case: Case) -> dict[Key, Callable[[], Any]]:
    """SciPy's product; it has one thread, and no sampled product."""
    matrix, transposed = matrices(case)
    return {("SciPy", "spmm", 1): lambda: matrix @ case.x, ("SciPy", "spmm_t", 1): lambda: transposed @ case.y}


def torches(case: Case, counts: list[int]) -> dict[Key, Callable[[], Any]]:
    """PyTorch's products, with and without "sum", and its sampled product, which adds to that of another pair."""
    from peers import csr_tensor, torch

    matrix, transposed = (csr_tensor(each) for each in matrices(case))
    x, y, x2, y2 = (torch.from_numpy(array) for array in (case.x, case.y, case.x2, case.y2))

    def one_pair() -> Any:
        return torch.sparse.sampled_addmm(matrix, y, x.t(), beta=0)

    found: dict[Key, Callable[[], Any]] = {}
    for threads in counts:
        found |= {
            ("PyTorch mm", "spmm", threads): lambda: torch.sparse.mm(matrix, x),
            ("PyTorch sum", "spmm", threads): lambda: torch.sparse.mm(matrix, x, "sum"),
            ("PyTorch mm", "spmm_t", threads): lambda: torch.sparse.mm(transposed, y),
            ("PyTorch sum", "spmm_t", threads): lambda: torch.sparse.mm(transposed, y, "sum"),
            ("PyTorch mm", "sddmm", threads): lambda: one_pair().values(),
            ("PyTorch mm", "sddmm, two pairs", threads): lambda: torch.sparse.sampled_addmm(
                one_pair(), y2, x2.t(), alpha=-1.0
            ).values(),
        }
    return found


def check(calls: dict[Key, Callable[[], Any]]) -> None:
    """All who compute the same thing must agree, before anyone is timed."""
    first: dict[str, np.ndarray] = {}
    for (who, kernel, threads), call in calls.items():
        found = np.asarray(call()).copy()
        expected = first.setdefault(kernel, found)
        if not np.allclose(found, expected, rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"{who} on {threads} threads gives another {kernel}: nothing was measured")


def row(case: Case, kernel: str, timings: dict[Key, Timing], counts: list[int]) -> dict[str, Any]:
    """GFLOP/s of everybody for one kernel, with ratios and targets."""
    batch = case.x.shape[1]
    flops = KERNELS[kernel] * len(case.weight) * batch
    seconds = {(who, threads): timing.median for (who, k, threads), timing in timings.items() if k == kernel}
    rates = {f"{who}, {threads}": round(flops / found / 1e9, 2) for (who, threads), found in seconds.items()}
    most = counts[-1]
    peers = {key: found for key, found in seconds.items() if key[0] != "ours"}
    allowed = {
        n: [found for (_, threads), found in peers.items() if threads <= n] for n in counts
    }  # fewer may be faster
    target = TARGETS.get((case.n_pre, batch))
    speed_up = round(seconds["ours", 1] / seconds["ours", most], 2)
    threads_target = THREADS_TARGET if batch >= 100 and most == 2 else None
    return {
        "layer": f"{case.n_pre} x {case.n_post}",
        "connections": len(case.weight),
        "batch": batch,
        "kernel": kernel,
        "gflops": rates,
        "microseconds": {f"{who}, {n}": timing.record(1e6) for (who, k, n), timing in timings.items() if k == kernel},
        "target": target,
        "met": met(rates["ours, 1"], target),
        "threads_speed_up": speed_up,
        "threads_met": met(speed_up, threads_target),
        "best_peer_over_ours": {str(n): round(min(found) / seconds["ours", n], 2) for n, found in allowed.items()},
    }


def table(rows: list[dict[str, Any]], counts: list[int]) -> list[str]:
    most = counts[-1]
    head = ["layer", "batch", "kernel", "ours, 1 thread", "target", "met", f"ours, {most} threads", "speed-up", "met"]
    head += ["SciPy"] + [f"PyTorch, {n}" for n in counts] + [f"best peer / ours, {n}" for n in counts]
    lines = []
    for found in rows:
        rates = found["gflops"]

        def best(threads: int, rates: dict = rates) -> str:
            given = [
                rates[f"PyTorch {how}, {threads}"] for how in ("mm", "sum") if f"PyTorch {how}, {threads}" in rates
            ]
            return f"{max(given):.1f}" if given else "-"

        lines.append(
            [found["layer"], found["batch"], found["kernel"], f"{rates['ours, 1']:.1f}"]
            + [f"{found['target']:g}" if found["target"] else "-", found["met"], f"{rates[f'ours, {most}']:.1f}"]
            + [f"{found['threads_speed_up']:.2f}", found["threads_met"]]
            + [f"{rates['SciPy, 1']:.1f}" if "SciPy, 1" in rates else "-", *(best(n) for n in counts)]
            + [f"{found['best_peer_over_ours'][str(n)]:.2f}" for n in counts]
        )
    return [
        "GFLOP/s, float32, median of the rounds; PyTorch: the faster of its two products.",
        "",
        *markdown(head, lines),
    ]


if __name__ == "__main__":
    main()
