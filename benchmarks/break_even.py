"""From which density on a dense layer is faster: the three products of a training step against a BLAS.

    python benchmarks/break_even.py              # measures, writes results/break_even.json, draws the figure
    python benchmarks/break_even.py --plot-only  # draws again

Forward, backward and gradient of one layer, ours against NumPy's BLAS (the dense products, without activation on either
side), for several sizes, batches and densities. The break-even density is interpolated where the ratio crosses 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS
from matplotlib import rc_context
from matplotlib.figure import Figure
from timing import markdown, on_threads, parser, publish, repeated, say, take_turns

from sparserbm.backends import SignedPair, get_backend
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import distinct_ranks

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "break_even.png"
SIZES = ((784, 500), (1024, 1024), (4000, 1000), (4000, 4000))
BATCHES = (10, 100, 512)
DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # at 1 ours are dense products too
QUICK = (((64, 50),), (10, 33), (0.1, 0.4))


def main() -> None:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--seconds", type=float, default=0.1, help="of each contestant in each round")
    arguments.add_argument("--plot-only", action="store_true", help="draw results/break_even.json again")
    options = arguments.parse_args()
    if options.plot_only:
        draw(json.loads((RESULTS / "break_even.json").read_text(encoding="utf-8"))["cases"])
        return
    sizes, batches, densities = QUICK if options.quick else (SIZES, BATCHES, DENSITIES)
    cases = []
    for n_pre, n_post in sizes:
        for batch in batches:
            say(f"{n_pre} x {n_post}, batch {batch}")
            calls = {"dense": dense(n_pre, n_post, batch)}
            calls |= {density: sparse(n_pre, n_post, batch, density, options.threads) for density in densities}
            timings = take_turns(
                {key: on_threads(options.threads, repeated(call, options.seconds)) for key, call in calls.items()},
                options.rounds,
            )
            ratios = [timings["dense"].median / timings[density].median for density in densities]
            cases.append(
                {
                    "n_pre": n_pre,
                    "n_post": n_post,
                    "batch": batch,
                    "densities": list(densities),
                    "speed_up": [round(ratio, 3) for ratio in ratios],
                    "break_even": break_even(densities, ratios),
                    "dense": timings["dense"].record(1e6),
                    "sparse": [timings[density].record(1e6) for density in densities],
                }
            )
    publish("break_even", options, {"unit": "microseconds", "cases": cases}, table(cases, densities))
    if not options.quick:
        draw(cases)


def sparse(n_pre: int, n_post: int, batch: int, density: float, threads: int) -> Callable[[], Any]:
    backend, generator = get_backend("numpy", "float32", threads), np.random.default_rng(0)
    keys = distinct_ranks(generator, n_pre * n_post, round(density * n_pre * n_post))
    pattern = Pattern.from_keys(n_pre, n_post, keys)
    layer = Connections(backend, pattern, generator.standard_normal(len(keys), dtype=np.float32))
    x, y = (generator.random((n, batch), dtype=np.float32) for n in (n_pre, n_post))
    out, back, gradient = np.empty_like(y), np.empty_like(x), np.empty(len(keys), np.float32)
    pairs = [SignedPair(1.0, x, y)]

    def step() -> None:
        backend.spmm(layer, layer.weight, x, out)
        backend.spmm_t(layer, layer.weight, y, back)
        backend.sddmm(layer, pairs, gradient)

    return step


def dense(n_pre: int, n_post: int, batch: int) -> Callable[[], Any]:
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((n_post, n_pre), dtype=np.float32)
    x, y = (generator.random((n, batch), dtype=np.float32) for n in (n_pre, n_post))
    out, back, gradient = np.empty_like(y), np.empty_like(x), np.empty_like(weight)

    def step() -> None:
        np.matmul(weight, x, out=out)
        np.matmul(weight.T, y, out=back)
        np.matmul(y, x.T, out=gradient)

    return step


def break_even(densities: tuple[float, ...], ratios: list[float]) -> float | None:
    """Density at which the speed-up falls to 1, between two measured ones on logarithmic scales."""
    for k in range(1, len(ratios)):
        if ratios[k] < 1 <= ratios[k - 1]:
            share = np.log(ratios[k - 1]) / np.log(ratios[k - 1] / ratios[k])
            return round(float(densities[k - 1] * (densities[k] / densities[k - 1]) ** share), 3)
    return None


def table(cases: list[dict[str, Any]], densities: tuple[float, ...]) -> list[str]:
    rows = [
        [
            f"{case['n_pre']} x {case['n_post']}",
            case["batch"],
            *(f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}" for ratio in case["speed_up"]),
            "-" if case["break_even"] is None else f"{case['break_even']:.0%}",
        ]
        for case in cases
    ]
    return markdown(["layer", "batch", *(f"{density:.0%}" for density in densities), "break-even"], rows)


def draw(cases: list[dict[str, Any]]) -> None:
    """Speed-up over dense against density, one panel a batch."""
    batches = sorted({case["batch"] for case in cases})
    sizes = list(dict.fromkeys((case["n_pre"], case["n_post"]) for case in cases))
    colours = dict(zip(sizes, ("#0072B2", "#D55E00", "#009E73", "#CC79A7")))  # Okabe and Ito (2008)
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        panels = figure.subplots(1, len(batches), sharey=True, squeeze=False)[0]
        for panel, batch in zip(panels, batches):
            panel.axhspan(0.05, 1, color="0.94", zorder=0)
            panel.axhline(1, color="0.4", linewidth=0.8)
            for case in (case for case in cases if case["batch"] == batch):
                size = case["n_pre"], case["n_post"]
                sparse_ones = [density < 1 for density in case["densities"]]
                panel.plot(
                    np.compress(sparse_ones, case["densities"]),
                    np.compress(sparse_ones, case["speed_up"]),
                    marker="o",
                    markersize=3,
                    color=colours[size],
                    label=f"{size[0]} x {size[1]}",
                )
                if not all(sparse_ones):  # other products, so no line leads there
                    panel.plot(1, case["speed_up"][-1], marker="s", markersize=4, color=colours[size])
            panel.set(xscale="log", yscale="log", title=f"batch {batch}", xlabel="density of the layer")
            panel.set_xticks([0.01, 0.1, 1.0], ["1 %", "10 %", "100 %"])
            panel.set_yticks([0.1, 0.3, 1, 3, 10, 30], ["0.1", "0.3", "1", "3", "10", "30"])
            panel.minorticks_off()
        panels[0].set_ylabel("times faster than dense")
        panels[-1].text(0.97, 0.03, "dense is faster", transform=panels[-1].transAxes, ha="right", color="0.4")
        panels[0].legend(frameon=False, fontsize=8)
        figure.savefig(FIGURE, dpi=150)
    say(f"drawn: {FIGURE}")


if __name__ == "__main__":
    main()
