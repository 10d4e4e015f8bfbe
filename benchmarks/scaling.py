"""How the products scale from 100,000 to 100 million connections, against what the machine can do.

    python benchmarks/scaling.py              # measures, writes results/scaling.json, draws docs/images/scaling.png
    python benchmarks/scaling.py --plot-only  # draws again

Square layers with a density of 2 % throughout, batch 128: 100 million connections are 70,711 x 70,711 units, whose two
activities take 72 MB and whose weights, indices and gradient 1.2 GB. The most memory that the process had, about 4 GiB
while that pattern is drawn, is written down.
"""

from __future__ import annotations

import gc
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import roofline
from machine import RESULTS
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from timing import interleave, markdown, parser, publish, say

from sparserbm.backends import Backend, SignedPair, get_backend
from sparserbm.network.connections import Connections, Pattern

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "scaling.png"
DENSITY, BATCH = 0.02, 128
COUNTS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
QUICK = (1_000, 3_000, 10_000)
KERNELS = ("spmm", "sddmm")
COLOURS = {"spmm": "#0072B2", "sddmm": "#D55E00"}  # Okabe and Ito (2008)


def main() -> None:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--seconds", type=float, default=0.3, help="of each contestant in each round")
    arguments.add_argument("--largest", type=int, default=COUNTS[-1], help="leave out layers with more connections")
    arguments.add_argument("--plot-only", action="store_true", help="draw results/scaling.json again")
    options = arguments.parse_args()
    if options.plot_only:
        draw(json.loads((RESULTS / "scaling.json").read_text(encoding="utf-8")), FIGURE)
        say(f"drawn: {FIGURE}")
        return
    if options.quick:
        options.rounds, options.seconds = 2, 0.01
    threads = sorted({1, options.threads})
    ceilings = roofline.measure(threads, options.rounds, 0.02 if options.quick else 1.0)
    backends = {n: get_backend("numpy", "float32", n) for n in threads}
    rows = []
    for n_connections in QUICK if options.quick else COUNTS:
        if n_connections <= options.largest:
            say(f"{n_connections:,} connections")
            rows.append(measure(backends, n_connections, options.rounds, options.seconds))
            gc.collect()
    content = {
        "unit": "nanoseconds a connection and sample",
        "batch": BATCH,
        "density": DENSITY,
        "peak_memory_gib": peak_memory(),
        "roofline": ceilings,
        "rows": rows,
    }
    publish("scaling", options, content, table(rows, threads))
    if not options.quick:
        draw(content, FIGURE)
        say(f"drawn: {FIGURE}")


def measure(backends: dict[int, Backend], n_connections: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Both products of one layer for every number of threads."""
    n = round(math.sqrt(n_connections / DENSITY))
    generator = np.random.default_rng(0)
    pattern = random_pattern(n, generator)
    n_connections = len(pattern)
    weight = generator.standard_normal(n_connections, dtype=np.float32)
    x, y = (generator.random((n, BATCH), dtype=np.float32) for _ in range(2))
    out, gradient = np.empty_like(y), np.empty_like(weight)
    contestants: dict[tuple[str, int], Callable[[], Any]] = {}
    for threads, backend in backends.items():
        layer = Connections(backend, pattern, weight)
        pairs = [SignedPair(1.0, x, y)]
        contestants["spmm", threads] = lambda b=backend, c=layer: b.spmm(c, c.weight, x, out)
        contestants["sddmm", threads] = lambda b=backend, c=layer, p=pairs: b.sddmm(c, p, gradient)
    timings = interleave(contestants, rounds, seconds)
    found = {
        f"{kernel}, {threads}": timing.record(1e9 / n_connections / BATCH)
        for (kernel, threads), timing in timings.items()
    }
    return {"connections": n_connections, "layer": f"{n} x {n}", "nanoseconds": found}


def random_pattern(n: int, generator: np.random.Generator) -> Pattern:
    """Every place of n x n is connected with probability `DENSITY`; the gaps between such places are geometric.

    The number of connections is then random (by 0.01 % at 100 million); to draw an exact number takes 7 GiB there.
    """
    gaps = generator.geometric(DENSITY, int(DENSITY * n * n + 6 * math.sqrt(DENSITY) * n))
    keys = np.cumsum(gaps, out=gaps) - 1
    return Pattern.from_keys(n, n, keys[: np.searchsorted(keys, n * n)])


def peak_memory() -> float | None:
    """The most memory that this process has had, in GiB, where the system tells."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 2)


def limits(ceilings: dict[str, Any]) -> dict[str, float]:
    """Nanoseconds a connection and sample of one thread, if it waited for one thing alone: 2 FLOPs, or 4 bytes."""
    return {kind: (2 if kind == "fma" else 4) / rates["1"]["best"] for kind, rates in ceilings.items()}


def table(rows: list[dict[str, Any]], threads: list[int]) -> list[str]:
    keys = [f"{kernel}, {n}" for kernel in KERNELS for n in threads]
    head = ["connections", "layer", *(f"{key} thread{'' if key.endswith(' 1') else 's'}" for key in keys)]
    lines = []
    for row in rows:
        middle = [row["nanoseconds"][key]["median"] for key in keys]
        cells = [f"{value:.4f} ({2 / value:.1f})" for value in middle]
        lines.append([f"{row['connections']:,}", row["layer"], *cells])
    return ["Nanoseconds a connection and sample (GFLOP/s), batch 128, median.", "", *markdown(head, lines)]


def draw(content: dict[str, Any], path: Path) -> None:
    """Time a connection and sample over the number of connections, with the machine's limits as lines."""
    with rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.subplots()
        draw_products(axes, content["rows"])
        draw_limits(axes, content["roofline"])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0])
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        highest = max(given["quartiles"][1] for row in content["rows"] for given in row["nanoseconds"].values())
        lowest = min(limits(content["roofline"]).values())
        axes.set_ylim(lowest / 1.4, 1.4 * highest)
        axes.set_xlabel(f"connections (square layers, density {content['density']:.0%}, batch {content['batch']})")
        axes.set_ylabel("nanoseconds a connection and sample")
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=150)


def draw_products(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Medians with their quartiles; several threads are dashed."""
    connections = [row["connections"] for row in rows]
    for key in rows[0]["nanoseconds"]:
        kernel, threads = key.split(", ")
        one = threads == "1"
        found = [row["nanoseconds"][key] for row in rows]
        middle = np.array([given["median"] for given in found])
        low, high = np.array([given["quartiles"] for given in found]).T
        axes.errorbar(
            connections,
            middle,
            [middle - low, high - middle],
            color=COLOURS[kernel],
            linestyle="-" if one else "--",
            marker="o",
            markersize=5,
            markerfacecolor=COLOURS[kernel] if one else "white",
            label=f"{'product' if kernel == 'spmm' else 'sampled product'}, {threads} thread{'' if one else 's'}",
        )


def draw_limits(axes: Axes, ceilings: dict[str, Any]) -> None:
    """One line for each limit of one thread, named in the margin, where no curve can cross the words."""
    names = {"memory": "activity from memory", "l2": "activity from L2", "fma": "multiply-adds"}
    for kind, value in limits(ceilings).items():
        rate = f"{ceilings[kind]['1']['best']:.0f} {roofline.UNITS[kind]}"
        axes.axhline(value, color="#777777", linewidth=1, linestyle=":")
        axes.annotate(
            f"{names[kind]}\n(1 thread, {rate})",
            (1, value),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color="#444444",
            fontsize=9,
        )


if __name__ == "__main__":
    main()
