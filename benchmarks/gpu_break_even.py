"""From which density on a dense layer is faster on a GPU: the three products of a step against PyTorch's dense ones.

    python benchmarks/gpu_break_even.py              # measures, writes results/gpu_break_even.json, draws the figure
    python benchmarks/gpu_break_even.py --plot-only  # draws again

Forward, backward and gradient of one square layer, ours and dense both recorded as CUDA graphs, for several sizes,
batches and densities; the dense products in true float32, and once more with TF32. The break-even density is
interpolated where the ratio crosses 1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu
import numpy as np
from break_even import break_even
from gpu import Contestant, torch
from machine import RESULTS
from matplotlib import rc_context
from matplotlib.figure import Figure
from timing import markdown, say

from sparserbm.backends import SignedPair, get_backend
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import distinct_ranks

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "gpu_break_even.png"
UNITS = {"full": (512, 1000, 2000, 4000, 8000), "quick": (512, 2000, 4000), "tiny": (16, 24)}
BATCHES = {"full": (128, 512), "quick": (128, 512), "tiny": (8,)}
DENSITIES = {
    "full": (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4),
    "quick": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    "tiny": (0.1, 0.4),
}
DENSE = ("float32", "TF32")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")  # Okabe and Ito (2008)


def main() -> None:
    arguments = gpu.parser(__doc__, rounds=5)
    arguments.add_argument("--plot-only", action="store_true", help="draw the result file again")
    options = arguments.parse_args()
    if options.plot_only:
        path = (options.out or RESULTS) / "gpu_break_even.json"
        draw(json.loads(path.read_text(encoding="utf-8")), figure_of(options))
        return
    gpu.begin(options)
    content: dict[str, Any] = {
        "unit": "milliseconds",
        "what": "forward, backward and gradient of one layer, recorded; speed_up: dense over ours",
        "densities": list(DENSITIES[options.size]),
        "left_out": {},
        "cases": [],
    }
    for units in UNITS[options.size]:
        layers = {density: layer(units, density) for density in DENSITIES[options.size]}
        for batch in BATCHES[options.size]:
            say(f"{units} x {units}, batch {batch}")
            content["cases"].append(measured(units, batch, layers, options, content["left_out"]))
            gpu.save("gpu_break_even", options, content)
    content["reached"] = [
        {
            "what": f"break-even density, {case['units']} units, batch {case['batch']}, dense in {dense}",
            "reached": crossing(case, dense, content["densities"]),
            "target": None,
            "met": "-",
        }
        for case in content["cases"]
        for dense in case["break_even"]
    ]
    gpu.publish("gpu_break_even", options, content, table(content))
    if not options.tiny or options.out:
        draw(content, figure_of(options))


def figure_of(options: argparse.Namespace) -> Path:
    """Beside the result file, if that does not go where it usually does."""
    return FIGURE if options.out is None else options.out / FIGURE.name


def layer(units: int, density: float) -> Connections:
    generator = np.random.default_rng(0)
    keys = distinct_ranks(generator, units * units, round(density * units * units))
    pattern = Pattern.from_keys(units, units, keys)
    weight = generator.standard_normal(len(keys), dtype=np.float32)
    return Connections(get_backend("cupy", "float32"), pattern, weight)


def measured(
    units: int, batch: int, layers: dict[float, Connections], options: argparse.Namespace, left_out: dict[str, str]
) -> dict[str, Any]:
    """One size and batch: ours at every density, dense in both ways."""
    gpu.free_memory()
    generator = np.random.default_rng(1)
    x, y = (generator.random((units, batch), dtype=np.float32) for _ in range(2))
    steps = {density: Sparse(one, x, y) for density, one in layers.items()}
    calls: dict[Any, Contestant] = {density: gpu.recorded(step, options) for density, step in steps.items()}
    where = gpu.peer_device(options)
    if where is not None:
        dense = gpu.attempt(f"dense, {units} units", left_out, Dense, layers[min(layers)], x, y, where)
        calls |= {} if dense is None else dense_calls(dense, steps[min(layers)], options, left_out)
    timings = gpu.interleave(calls, options)
    ratios = {
        name: [timings[name].median / timings[density].median for density in layers]
        for name in DENSE
        if name in timings
    }
    return {
        "units": units,
        "batch": batch,
        "connections": [len(one) for one in layers.values()],
        "speed_up": {name: [float(f"{ratio:.4g}") for ratio in given] for name, given in ratios.items()},
        "break_even": {name: break_even(tuple(layers), given) for name, given in ratios.items()},
        "dense": {name: timings[name].record(1e3) for name in ratios},
        "sparse": [timings[density].record(1e3) for density in layers],
    }


class Sparse:
    """The three products of a layer."""

    def __init__(self, connections: Connections, x: np.ndarray, y: np.ndarray):
        self.connections, self.backend = connections, connections.backend
        self.x, self.y = self.backend.asarray(x), self.backend.asarray(y)
        self.out, self.back = self.backend.empty(y.shape), self.backend.empty(x.shape)
        self.gradient = self.backend.empty((len(connections),))
        self.pairs = [SignedPair(1.0, self.x, self.y)]

    def __call__(self) -> None:
        backend, layer = self.backend, self.connections
        backend.spmm(layer, layer.weight, self.x, self.out)
        backend.spmm_t(layer, layer.weight, self.y, self.back)
        backend.sddmm(layer, self.pairs, self.gradient)

    def results(self) -> list[np.ndarray]:
        self()
        return [self.backend.to_numpy(array) for array in (self.out, self.back, self.gradient)]


class Dense:
    """The three products of a dense layer with the weights of a sparse one."""

    def __init__(self, connections: Connections, x: np.ndarray, y: np.ndarray, where: str):
        self.pattern = connections.pattern
        self.weight = torch.from_numpy(connections.to_dense()).to(where)
        self.x, self.y = torch.from_numpy(x).to(where), torch.from_numpy(y).to(where)
        self.out, self.back = torch.empty_like(self.y), torch.empty_like(self.x)
        self.gradient = torch.empty_like(self.weight)

    def __call__(self) -> None:
        torch.mm(self.weight, self.x, out=self.out)
        torch.mm(self.weight.t(), self.y, out=self.back)
        torch.mm(self.y, self.x.t(), out=self.gradient)

    def results(self) -> list[np.ndarray]:
        self()
        out, back, gradient = (array.cpu().numpy() for array in (self.out, self.back, self.gradient))
        return [out, back, gradient[self.pattern.post, self.pattern.pre]]


def dense_calls(
    dense: Dense, sparse: Sparse, options: argparse.Namespace, left_out: dict[str, str]
) -> dict[str, Contestant]:
    """Dense in true float32 and with TF32, after both gave what ours gives."""
    wanted = sparse.results()
    ways: dict[str, tuple[Callable[[], Any], float]] = {"float32": (dense, 1e-3), "TF32": (gpu.with_tf32(dense), 2e-2)}
    found = {}
    for name, (call, accuracy) in ways.items():
        results = dense.results() if name == "float32" else gpu.with_tf32(dense.results)()
        for one, other in zip(results, wanted):
            if not np.allclose(one, other, rtol=accuracy, atol=accuracy * np.abs(other).max()):
                raise gpu.Disagreement(f"dense products in {name} differ from ours")
        made = gpu.attempt(f"dense in {name}, recorded", left_out, gpu.recorded_by_torch, call, options)
        found |= {} if made is None else {name: made}
    return found


def crossing(case: dict[str, Any], dense: str, densities: list[float]) -> str:
    """The break-even density in words, also where ours was faster or slower at every density."""
    if case["break_even"][dense] is not None:
        return f"{case['break_even'][dense]:.1%}"
    faster = case["speed_up"][dense][-1] >= 1
    return f"over {densities[-1]:.1%}" if faster else f"under {densities[0]:.1%}"


def table(content: dict[str, Any]) -> list[str]:
    rows = [
        [f"{case['units']} x {case['units']}", case["batch"], name]
        + [f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}" for ratio in case["speed_up"][name]]
        + [crossing(case, name, content["densities"])]
        for case in content["cases"]
        for name in case["speed_up"]
    ]
    head = ["layer", "batch", "dense in", *(f"{density:.1%}" for density in content["densities"]), "break-even"]
    return markdown(head, rows) if rows else ["no dense peer: nothing to compare with"]


def draw(content: dict[str, Any], path: Path) -> None:
    """Speed-up over dense against density: a panel for each batch and each kind of dense products."""
    cases = [case for case in content["cases"] if case["speed_up"]]
    if not cases:
        say("no dense peer: nothing to draw")
        return
    batches, kinds = sorted({case["batch"] for case in cases}), list(cases[0]["speed_up"])
    units = sorted({case["units"] for case in cases})
    colours = dict(zip(units, COLOURS))
    ratios = [ratio for case in cases for given in case["speed_up"].values() for ratio in given]
    low, high = min(0.8, 0.8 * min(ratios)), max(1.25, 1.25 * max(ratios))
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5, 3.2 * len(kinds)), layout="constrained")
        panels = figure.subplots(len(kinds), len(batches), sharex=True, sharey=True, squeeze=False)
        for kind, line in zip(kinds, panels):
            for batch, panel in zip(batches, line):
                panel.axhspan(low, 1, color="0.94", zorder=0)
                panel.axhline(1, color="0.4", linewidth=0.8)
                for case in (case for case in cases if case["batch"] == batch and kind in case["speed_up"]):
                    curve = content["densities"], case["speed_up"][kind]
                    colour, label = colours[case["units"]], f"{case['units']} units"
                    panel.plot(*curve, marker="o", markersize=3, color=colour, label=label)
                panel.set(xscale="log", yscale="log", title=f"batch {batch}, dense in {kind}")
                panel.set_ylim(low, high)
            line[0].set_ylabel("times faster than dense")
        for panel in panels[-1]:
            panel.set_xlabel("density of the layer")
            panel.set_xticks([0.002, 0.01, 0.05, 0.2], ["0.2 %", "1 %", "5 %", "20 %"])
            shown = [tick for tick in (0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if low <= tick <= high]
            panel.set_yticks(shown, [f"{tick:g}" for tick in shown])
            panel.minorticks_off()
        panels[0][-1].legend(frameon=False, fontsize=8)
        panels[-1][0].text(0.03, 0.03, "dense is faster", transform=panels[-1][0].transAxes, color="0.4")
        figure.savefig(path, dpi=150)
    say(f"drawn: {path}")


if __name__ == "__main__":
    main()
