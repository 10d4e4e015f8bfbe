"""What topologies do runs end in: distances between seeds and from near starts, degrees, and verdicts with p values.

    python benchmarks/topologies.py --out topologies --study study-mnist/mlp --study study-mnist/rbm [--jobs 2]

Four questions on MNIST, each with the study's networks. *seeds*: five runs of one setting (MLP, L2 1e-3, 155 epochs),
how far apart they start and end. *starts*: ten MLPs that differ in nothing but k % of their first connections, k = 0
to 9 (50 epochs). *degrees*: are the degrees heavy-tailed before and after training? *verdicts*: the runs in the
folders of --study, as benchmarks/regularization_study.py leaves them, with p values and turning points. Runs that are
finished in the folder of --out are not trained again. MNIST comes from the folder in SPARSERBM_DATA. Adds to
results/topologies.json, prints tables, draws docs/images/topologies_<question>.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from machine import RESULTS, machine, write
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy import sparse

import sparserbm as sr
from sparserbm.plotting.topology_distance import layers_of
from sparserbm.runs import Run, load_run
from sparserbm.studies import STUDY_MLP
from sparserbm.topology import combine, distances, learning_index, matrices, nnstd, power_law, turning_point, zone_test

IMAGES = RESULTS.parents[1] / "docs" / "images"
SEEDS, NEAR, NEAR_EPOCHS, EPOCHS = 5, 10, 50, 155
MOMENTS = (0, 80, EPOCHS)
TITLE_STARTS = "After 20 epochs NNSTD takes near starts for random nets; the neurons' names still tell"
QUESTIONS = ("seeds", "starts", "degrees", "verdicts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="topologies")
    parser.add_argument("--study", action="append", default=[], help="folder of a study; more than one is possible")
    parser.add_argument("--only", help="questions, with commas between them")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    path, out = RESULTS / "topologies.json", Path(options.out)
    found = json.loads(path.read_text(encoding="utf-8"))["questions"] if path.is_file() else {}
    for name in options.only.split(",") if options.only else QUESTIONS:
        answer, lines = {"seeds": seeds, "starts": starts, "degrees": degrees, "verdicts": verdicts}[name](out, options)
        found[name] = answer
        print(f"\n## {name}\n\n" + "\n".join(lines), flush=True)
        write("topologies", {"machine": machine(), "questions": found})


# -- seeds of one setting ----------------------------------------------------------------------------------------------


def seeds(out: Path, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    folders = [out / f"seed-{seed}" for seed in range(SEEDS)]
    Parallel(n_jobs=options.jobs)(delayed(train)(folder, seed) for seed, folder in enumerate(folders))
    runs = [load_run(folder) for folder in folders]
    answer: dict[str, Any] = {"epochs": list(MOMENTS), "moments": []}
    upper = np.triu_indices(SEEDS, 1)
    for epoch in MOMENTS:
        distance, null = distances([layers_of(run.snapshots[epoch]) for run in runs])
        layers = [
            [
                layer.distance
                for layer in nnstd(*(layers_of(run.snapshots[epoch]) for run in pair), null=0).layers.values()
            ]
            for pair in itertools.combinations(runs, 2)
        ]
        metrics = [run.metrics[epoch] for run in runs]
        answer["moments"].append(
            {
                "distance": distance[upper].tolist(),
                "null": null[upper].tolist(),
                "layers": np.mean(layers, axis=0).tolist(),
                "accuracy": [line.get("validation_accuracy") for line in metrics],
                "loss": [line.get("validation_loss") for line in metrics],
                "z": [line["learning_z"] for line in metrics],
            }
        )
    moved = [float(nnstd(*(layers_of(run.snapshots[epoch]) for epoch in (0, EPOCHS)), null=0)) for run in runs]
    answer["from_start_to_end"] = moved
    sr.plotting.plot("topology-distance", runs, IMAGES / "topologies_seeds.png", n_epochs=3)
    lines = ["| epoch | distance between seeds | random nets | test accuracy | z |", "|" + "---|" * 5]
    for epoch, one in zip(MOMENTS, answer["moments"]):
        right = "-" if one["accuracy"][0] is None else spread(one["accuracy"], ".2%")
        lines.append(
            f"| {epoch} | {spread(one['distance'], '.4f')} | {spread(one['null'], '.4f')} | {right} "
            f"| {spread(one['z'], '+.1f')} |"
        )
    return answer, [*lines, "", f"from start to end: {spread(moved, '.4f')}"]


def train(folder: Path, seed: int) -> None:
    recipe = dataclasses.replace(STUDY_MLP, data="mnist", seed=seed, threads=1, l2=1e-3, epochs=EPOCHS)
    if finished(folder, EPOCHS):
        return
    print(f"seed {seed}", file=sys.stderr, flush=True)
    # The middle epoch is one of those that keep whole patterns: every tenth.
    recipe.run(folder, overwrite=folder.exists(), name=f"seed {seed}")


def finished(folder: Path, epochs: int) -> bool:
    return (folder / "config.json").is_file() and len(load_run(folder).metrics) == epochs + 1


# -- starts that differ by so many per cent ----------------------------------------------------------------------------


def starts(out: Path, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    places = [(out / f"start-{share}", share, 0) for share in range(NEAR)] + [(out / "start-0-other-draws", 0, 1)]
    Parallel(n_jobs=options.jobs)(delayed(train_near)(*place) for place in places)
    runs = [load_run(folder) for folder, *_ in places]
    epochs = sorted(runs[0].snapshots)
    first = [layers_of(runs[0].snapshots[epoch]) for epoch in epochs]
    # From the net with share 0; neurons have a common origin, so that both ways to count are shown.
    matched, unmatched = (
        [
            [
                float(nnstd(first[place], layers_of(run.snapshots[epoch]), match=match, null=0))
                for place, epoch in enumerate(epochs)
            ]
            for run in runs[1:]
        ]
        for match in (True, False)
    )
    last = [layers_of(run.snapshots[epochs[-1]]) for run in runs[1:]]
    null = nnstd(first[-1], last[0]).null
    shuffled = [float(nnstd(first[-1], renamed(each, seed), match=False, null=0)) for seed, each in enumerate(last)]
    answer = {
        "epochs": epochs,
        "share": list(range(1, NEAR)),
        "distance": matched[:-1],
        "same_names": unmatched[:-1],
        "same_start_other_draws": {"distance": matched[-1], "same_names": unmatched[-1]},
        "null": {"distance": null, "same_names": float(np.mean(shuffled))},
        "accuracy": [run.metrics[-1]["validation_accuracy"] for run in runs[:NEAR]],
    }
    draw_starts(answer)
    shown = [place for place, epoch in enumerate(epochs) if epoch in (0, 1, 2, 5, 10, 20, NEAR_EPOCHS)]
    lines = [f"| share changed | {' | '.join(f'epoch {epochs[place]}' for place in shown)} |"]
    lines.append("|" + "---|" * (len(shown) + 1))
    names = [*(f"{share} %" for share in answer["share"]), "none, other draws"]
    for name, row in zip(names, matched):
        lines.append(f"| {name} | {' | '.join(f'{row[place]:.3f}' for place in shown)} |")
    random = f"random nets: {null:.3f}, names shuffled {answer['null']['same_names']:.3f}"
    return answer, [*lines, "", f"{random}; accuracy {spread(answer['accuracy'], '.2%')}"]


def renamed(net: list[Any], seed: int) -> list[sparse.csr_matrix]:
    """The same net with the names of its hidden neurons shuffled."""
    generator, names, found = np.random.default_rng(seed), None, []
    layers = matrices.layers_of(net)
    for number, layer in enumerate(layers):
        inputs = np.arange(layer.shape[1]) if names is None else names
        names = generator.permutation(layer.shape[0]) if number + 1 < len(layers) else np.arange(layer.shape[0])
        found.append(layer[names][:, inputs].tocsr())
    return found


def train_near(folder: Path, share: int, seed: int) -> None:
    """The same first weights, but for `share` % of the places; by the seed also the same mini-batches and draws."""
    if finished(folder, NEAR_EPOCHS):
        return
    print(f"start {share} %, draws of seed {seed}", file=sys.stderr, flush=True)
    recipe = dataclasses.replace(STUDY_MLP, data="mnist", seed=0, threads=1, l2=1e-3, epochs=NEAR_EPOCHS)
    data = recipe.load_data()
    model = recipe.build(data)
    wirings = tuple(sr.FromScipy(moved(layer.to_scipy(), share / 100)) for layer in model.connections)
    near = sr.MLP(*model.units, wiring=wirings, seed=seed, backend=model.backend)
    for slots, others in zip(near.biases, model.biases):
        slots["bias"] = others["bias"].copy()
    sr.train(
        near,
        data,
        sr.Backprop(),
        epochs=NEAR_EPOCHS,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        regularization=recipe.penalties(),
        evolution="set(zeta=0.3, allow_return=False, birth=same(he_dense))",
        out=folder,
        overwrite=folder.exists(),
        name=f"{share} % changed" + (f", draws of seed {seed}" if seed else ""),
        snapshot_every=1,
    )


def moved(matrix: sparse.csr_matrix, share: float) -> sparse.csr_matrix:
    """Some connections, with their weights, at places that were empty; the larger share moves those of the smaller."""
    places = np.ravel_multi_index(matrix.nonzero(), matrix.shape)
    n, weights = round(share * len(places)), np.asarray(matrix[matrix.nonzero()]).ravel()
    if not n or len(places) == matrix.shape[0] * matrix.shape[1]:
        return matrix
    generator = np.random.default_rng(1)
    gone = generator.permutation(len(places))
    empty = np.setdiff1d(np.arange(matrix.shape[0] * matrix.shape[1]), places)
    places[gone[:n]] = generator.permutation(empty)[:n]
    return sparse.csr_matrix((weights, np.unravel_index(places, matrix.shape)), shape=matrix.shape)


def draw_starts(answer: dict[str, Any]) -> None:
    shades = np.linspace(0.15, 0.85, len(answer["distance"]))
    control = answer["same_start_other_draws"]
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6.5, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for panel, key, title in ((left, "distance", "neurons matched (NNSTD)"), (right, "same_names", "names kept")):
            for share, row, shade in zip(answer["share"], answer[key], shades):
                colour = (0.1, 0.25 + 0.5 * shade, 0.65 - 0.3 * shade)
                label = f"{share} % changed" if share in (1, NEAR - 1) else None
                panel.plot(answer["epochs"], row, color=colour, lw=1.2, label=label)
            panel.plot(
                answer["epochs"], control[key], color="#d55e00", lw=1.5, ls=":", label="none changed, other draws"
            )
            panel.axhline(answer["null"][key], color="0.5", lw=0.8, ls="--", label="by chance")
            panel.set(xlabel="epoch", title=title, ylim=(0, 1.03), xscale="symlog", xlim=(0, NEAR_EPOCHS))
            panel.set_xticks((0, 1, 2, 5, 10, 20, 50), map(str, (0, 1, 2, 5, 10, 20, 50)))
        figure.legend(
            *left.get_legend_handles_labels(),
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=8,
            columnspacing=1,
        )
        left.set_ylabel("distance from the unchanged net")
        figure.suptitle(TITLE_STARTS, fontsize=10)
        figure.savefig(IMAGES / "topologies_starts.png", dpi=150)


# -- degrees -----------------------------------------------------------------------------------------------------------


def degrees(out: Path, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    answer: dict[str, Any] = {}
    lines = ["| net | side | epoch | largest degree | variance / mean | exponent | from | tail | p | verdicts |"]
    lines.append("|" + "---|" * 10)
    for cell, runs in cells_of(options.study).items():
        for side in ("pre", "post"):
            for epoch in (0, max(runs[0].snapshots)):
                shown = [getattr(run.snapshots[epoch].layers[0], f"degree_{side}") for run in runs]
                other = {"pre": "post", "post": "pre"}[side]
                others = len(getattr(runs[0].snapshots[epoch].layers[0], f"degree_{other}"))
                fits = [power_law(each, n_other=others, bootstrap=500) for each in shown]
                row = {
                    "largest": [int(each.max()) for each in shown],
                    "dispersion": [float(each.var() / each.mean()) for each in shown],
                    "alpha": [fit.alpha for fit in fits],
                    "d_min": [fit.d_min for fit in fits],
                    "n_tail": [fit.n_tail for fit in fits],
                    "p": [fit.p for fit in fits],
                    "verdict": [fit.verdict for fit in fits],
                }
                name = {"pre": "inputs", "post": "hidden"}[side]
                answer[f"{cell}, {name}, epoch {epoch}"] = row
                lines.append(
                    f"| {cell} | {name} | {epoch} | {max(row['largest'])} | {spread(row['dispersion'], '.2f')} "
                    f"| {spread(row['alpha'], '.1f')} | {spread(row['d_min'], '.0f')} | {spread(row['n_tail'], '.0f')} "
                    f"| {', '.join('-' if p is None else f'{p:.2f}' for p in row['p'])} "
                    f"| {', '.join(dict.fromkeys(row['verdict']))} |"
                )
    return answer, lines


def cells_of(folders: list[str]) -> dict[str, list[Run]]:
    """The runs of studies by cell, all seeds."""
    found: dict[str, list[Run]] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob("*/config.json")):
            run = load_run(path.parent)
            place = run.config["study"]
            name = f"{place['model'].upper()}, L2 {place['l2']:g}, {run.config['training']['epochs']} epochs"
            if len(run.metrics) == run.config["training"]["epochs"] + 1:
                found.setdefault(name, []).append(run)
    if not found:
        raise SystemExit("give the folder of a study: --study study-mnist/mlp")
    return found


# -- verdicts ----------------------------------------------------------------------------------------------------------


def verdicts(out: Path, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    answer: dict[str, Any] = {}
    lines = ["| net | seeds | z of each | together | p | p, degrees kept | turns at epoch |", "|" + "---|" * 7]
    for cell, runs in cells_of(options.study).items():
        indices, strict, turns = [], [], []
        for run in runs:
            layer, mask = run.snapshots[max(run.snapshots)].layers[0], run.zone_mask
            places = len(layer.degree_pre) * len(layer.degree_post)
            indices.append(learning_index(layer.degree_pre, mask, places))
            strict.append(zone_test(layer.degree_pre, mask, places, null="degrees"))
            turns.append(turning_point(run.history["epoch"], run.history["learning_z"]))
        both = combine([index.z for index in indices])
        answer[cell] = {
            "z": [index.z for index in indices],
            "p": [index.p for index in indices],
            "combined": dataclasses.asdict(both),
            "z_degrees": [test.z for test in strict],
            "p_degrees": [test.p for test in strict],
            "turns": [dataclasses.asdict(turn) for turn in turns],
        }
        crossed = [
            f"{turn.epoch:.0f} {turn.direction} (for good from {turn.lasting_from})" for turn in turns if turn.epoch > 0
        ]
        lines.append(
            f"| {cell} | {both.n} | {', '.join(f'{index.z:+.1f}' for index in indices)} "
            f"| {both.z:+.1f}, {both.verdict} "
            f"| {both.p:.1g} | {', '.join(f'{test.p:.4f}' for test in strict)} | {', '.join(crossed) or '-'} |"
        )
    return answer, lines


def spread(values: list[float], form: str) -> str:
    text = format(float(np.mean(values)), form)
    return text if len(values) == 1 else f"{text} ± {format(float(np.std(values, ddof=1)), form.replace('+', ''))}"


if __name__ == "__main__":
    main()
