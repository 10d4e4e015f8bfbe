"""How probable sparse RBMs find MNIST: dense, fixed and evolving connections, by CD-1, CD-10 and PCD.

    python benchmarks/rbm_likelihood.py --out likelihoods [--only "SET, PCD;long"] [--seeds 3] [--jobs 2]

Grey values are probabilities and drawn afresh at every sight; the 10,000 test samples are drawn once. log Z is
estimated by annealed importance sampling with 10,000 temperatures and 100 chains, from below and from above (chains
from the model after 1,000 Gibbs sweeps from data). Runs that are finished in the folder of --out are not trained again.
MNIST comes from the folder in SPARSERBM_DATA. Adds to results/rbm_likelihood.json and draws
docs/images/rbm_likelihood.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from machine import RESULTS, machine, write
from matplotlib import rc_context
from matplotlib.figure import Figure

import sparserbm as sr

FIGURE = RESULTS.parents[1] / "docs" / "images" / "rbm_likelihood.png"
EPOCHS = 30  # of the grid
STEPS = 600  # of an epoch
RATE = 0.1  # of the grid; falls linearly to a 500th
NEAR = "grow=parental(shape=(28, 28), share=0.9)"
EVOLVING = (
    "evolution(zeta=linear(0.2, 0, {last}), {grow}birth=same(normal(0.01)), when=window(every(epochs=1), stop={stop}))"
)
NETS: dict[str, dict[str, Any]] = {
    "dense": {"wiring": "dense", "evolution": None},
    "FixProb": {"epsilon": 11, "evolution": None},
    "SET": {"epsilon": 11, "grow": ""},
    "SET near": {"epsilon": 11, "grow": NEAR + ", "},
}
SAMPLERS = {
    "CD-1": "cd(negative=sample, data=sample)",
    "CD-10": "cd(k=10, negative=sample, data=sample)",
    "PCD": "cd(persistent=True, data=sample)",
}
PCD = SAMPLERS["PCD"]
# name -> what differs; the first twelve train for as many epochs, the last ones as long as it pays.
CELLS: dict[str, dict[str, Any]] = {
    f"{net}, {sampler}": {"algorithm": algorithm, "epochs": EPOCHS, **changes}
    for net, changes in NETS.items()
    for sampler, algorithm in SAMPLERS.items()
}
CELLS |= {
    "500 hidden, long": {"algorithm": PCD, "epochs": 150, "rate": 0.2, **NETS["SET near"]},
    "1000 hidden, long": {
        **{"algorithm": PCD, "epochs": 100, "rate": 0.2, "hidden": (1000,), "density": 0.095, "grow": NEAR + ", "}
    },
}
MEASURED = (10, 20, 30, 50, 75, 100, 125, 150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="likelihoods")
    parser.add_argument("--only", help="cells whose names contain one of these texts, with ; between them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--time", action="store_true", help="only time epochs, one net after the other")
    parser.add_argument("--plot-only", action="store_true", help="draw what results/rbm_likelihood.json holds")
    options = parser.parse_args()
    path = RESULTS / "rbm_likelihood.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    runs, seconds = earlier.get("runs", {}), earlier.get("seconds_an_epoch", {})
    if options.time:
        seconds = {name: timed(name) for name in CELLS}
    elif not options.plot_only:
        words = options.only.split(";") if options.only else [""]
        names = [name for name in CELLS if any(word in name for word in words)]
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        wanted = [(name, seed) for name in names for seed in seeds]
        found = Parallel(n_jobs=options.jobs, return_as="generator")(
            delayed(measured)(Path(options.out), name, seed) for name, seed in wanted
        )
        for (name, seed), run in zip(wanted, found):
            print(f"{name}, seed {seed}: test {run['test']:.2f} nats", file=sys.stderr, flush=True)
            runs[f"{name}, seed {seed}"] = run
    if not options.plot_only:
        figures = {"cells": CELLS, "seconds_an_epoch": seconds, "runs": runs}
        write("rbm_likelihood", {"machine": machine(), **figures})
    print(table(runs, seconds))
    draw(runs)


def recipe_of(name: str, seed: int) -> sr.Recipe:
    changes = dict(CELLS[name])
    epochs, grow = changes["epochs"], changes.pop("grow", None)
    if grow is not None:  # the last tenth is for weights alone
        changes["evolution"] = EVOLVING.format(last=epochs * STEPS, grow=grow, stop=round(0.9 * epochs))
    rate = changes.pop("rate", RATE)
    falling = f"sgd(linear({rate}, {rate / 500}, {epochs * STEPS}))"
    settings = {"model": "rbm", "data": "mnist", "weights": "normal(0.01)", "optimizer": falling, "threads": 1}
    return sr.Recipe(**settings | {"snapshot_every": epochs, "seed": seed} | changes)


def measured(out: Path, name: str, seed: int) -> dict[str, Any]:
    """Train one net, or take what was measured before."""
    folder = out / f"{''.join(c if c.isalnum() else '-' for c in name)}-{seed}"
    result = folder / "likelihood.json"
    if result.is_file():
        return json.loads(result.read_text(encoding="utf-8"))
    recipe, curve = recipe_of(name, seed), {}
    data = recipe.load_data()
    test = sr.binarise(data.X_test, seed=12345)
    few = sr.binarise(data.X[:10_000], seed=54321)

    def watch(model: sr.RBM, metrics: dict[str, Any]) -> None:
        if metrics["epoch"] in MEASURED:
            with warnings.catch_warnings():  # quick estimates, for a curve
                warnings.simplefilter("ignore", sr.LikelihoodWarning)
                partition = sr.partition_function(model, data.X, temperatures=2000, seed=seed)
            curve[metrics["epoch"]] = sr.mean_log_likelihood(model, test, partition).mean

    run = recipe.run(folder, overwrite=folder.exists(), callbacks=[watch], name=f"{name}, seed {seed}")
    model = run.model
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", sr.LikelihoodWarning)
        partition = sr.partition_function(model, data.X, temperatures=10_000, reverse=True, seed=seed)
    likelihood = sr.mean_log_likelihood(model, test, partition)
    last = run.metrics[-1]
    found = {
        "test": likelihood.mean,
        "standard_error": likelihood.standard_error,
        "lower": likelihood.lower,
        "upper": likelihood.upper,
        "train": sr.mean_log_likelihood(model, few, partition).mean,
        "log_z": partition.as_dict(),
        "warnings": [str(each.message) for each in caught],
        "curve": curve,
        "connections": model.n_connections,
        "hidden": model.hidden.n,
        "epochs": recipe.epochs,
        "z": last.get("learning_z"),
        "verdict": last.get("verdict"),
        "commit": machine()["commit"],
    }
    result.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def timed(name: str) -> float:
    """Median seconds of an epoch of training on one thread, evaluation included; the first one compiles."""
    run = dataclasses.replace(recipe_of(name, 0), epochs=4).run()
    return float(np.median([line["seconds"] for line in run.metrics[2:]]))


def by_cell(runs: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found = {name: [run for key, run in runs.items() if key.rsplit(", seed", 1)[0] == name] for name in CELLS}
    return {name: each for name, each in found.items() if each}


def table(runs: dict[str, Any], seconds: dict[str, float]) -> str:
    lines = ["| net | hidden | connections | epochs | seeds | test, nats | training | sandwich | s an epoch | z |"]
    lines.append("|" + "---|" * 10)
    for name, each in by_cell(runs).items():
        first, width = each[0], max(abs(run["log_z"]["width"]) for run in each)
        z, took = np.mean([run["z"] for run in each]), f"{seconds[name]:.1f}" if name in seconds else "-"
        lines.append(
            f"| {name} | {first['hidden']} | {first['connections']:,} | {first['epochs']} | {len(each)} "
            f"| {spread([run['test'] for run in each])} | {spread([run['train'] for run in each])} | {width:.2f} "
            f"| {took} | {z:+.0f} |"
        )
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")


def draw(runs: dict[str, Any]) -> None:
    """Test log-likelihood of the grid by sampler, and curves of the long runs."""
    cells = by_cell(runs)
    colours = dict(zip(NETS, ("0.35", "#E69F00", "#0072B2", "#009E73")))  # Okabe and Ito (2008)
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for shift, (net, colour) in enumerate(colours.items()):
            for place, sampler in enumerate(SAMPLERS):
                each = [run["test"] for run in cells.get(f"{net}, {sampler}", [])]
                if each:
                    x = place + 0.12 * (shift - 1.5)
                    left.plot([x] * len(each), each, "o", color=colour, markersize=4, label=net if not place else None)
            curves = cells.get(f"{net}, PCD", [])
            if curves:
                epochs = [int(epoch) for epoch in curves[0]["curve"]]
                mean = np.mean([list(run["curve"].values()) for run in curves], axis=0)
                right.plot(epochs, mean, marker="o", markersize=3, color=colour)
        for name, style in (("500 hidden, long", "--"), ("1000 hidden, long", ":")):
            for run in cells.get(name, [])[:1]:
                epochs = [int(epoch) for epoch in run["curve"]]
                values = list(run["curve"].values())
                right.plot(epochs, values, style, marker="s", markersize=3, color=colours["SET near"])
                text = f"{run['hidden']} hidden,\n{run['connections']:,} connections"
                below = {"xytext": (0, -8), "ha": "right", "va": "top"}
                beside = {"xytext": (7, 5), "ha": "left", "va": "center"}
                where = below if style == "--" else beside
                right.annotate(text, (epochs[-1], values[-1]), textcoords="offset points", fontsize=8, **where)
        for panel in (left, right):
            panel.axhline(-86.4, color="0.6", linewidth=0.8, zorder=0)
        left.text(-0.3, -86, "dense, CD-25 (Salakhutdinov and Murray 2008)", fontsize=7, color="0.4", va="bottom")
        left.set_xticks(range(len(SAMPLERS)), list(SAMPLERS))
        left.set(ylabel="test log-likelihood, nats a sample", title=f"500 hidden units, {EPOCHS} epochs")
        right.set(xlabel="epoch", title="persistent chains")
        left.set_ylim(top=-76)
        left.legend(frameon=False, fontsize=8)
        figure.savefig(FIGURE, dpi=150)


if __name__ == "__main__":
    main()
