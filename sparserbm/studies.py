"""Studies: a grid of models, penalties and seeds -> run folders -> one table, figures and a report."""

from __future__ import annotations

import csv
import dataclasses
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.backends import n_gpus, resolve_name, use_gpu
from sparserbm.recipes import MODELS, Recipe, resume_recipe
from sparserbm.runs import Run, load_run, read_config
from sparserbm.training import DivergenceError

# The regularization study's network, on data coded as there; see docs/studies.md for what follows its code.
STUDY_MLP = Recipe(
    model="mlp",
    scale="standard",
    hidden=(512, 128),
    epsilon=11,
    weights=("he_dense", "he_dense", "uniform_dense"),
    biases=("he_dense", "he_dense", "uniform_dense"),
    optimizer="sgd(0.01, momentum=0.5)",
    evolution="set(zeta=0.3, allow_return=False)",
    penalise_biases=True,
    batch_size=128,
)
STUDY_RBM = Recipe(model="rbm", hidden=(500,), epsilon=11)

# Settings by data set: what differs from the two recipes above. Digits are few: evolution counts steps there.
STUDY_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "mlp": {
            "epochs": 120,
            "batch_size": 32,
            "hidden": (256, 64),
            "optimizer": "sgd(0.02, momentum=0.9)",
            "evolution": "set(zeta=0.3, when=every(steps=90), allow_return=False)",
        },
        "rbm": {
            "epochs": 120,
            "batch_size": 32,
            "hidden": (250,),
            "evolution": "set(zeta=0.3, when=every(steps=90))",
        },
    }
}
STUDY_EPOCHS = 155  # of the study


@dataclass(frozen=True)
class Study:
    """The outcome of a study.

    Attributes
    ----------
    rows : list of dict
        One per run: model, l2, seed, status, seconds and the metrics of the last epoch.
    runs : list of Run
        Those that finished.
    folder : Path
        Holds the run folders, ``table.csv``, ``summary.csv``, figures and ``report.html``.
    """

    rows: list[dict[str, Any]]
    runs: list[Run]
    folder: Path

    def summary(self) -> list[dict[str, Any]]:
        """Mean and standard deviation over seeds for each model and strength; verdicts are counted."""
        cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.rows:
            cells.setdefault((row["model"], str(row["l2"])), []).append(row)
        return [_summarise(rows) for rows in cells.values()]


def study(
    data: str = "digits",
    *,
    models: Sequence[str] = MODELS,
    l2: Sequence[Any] = (0.0, 1e-3),
    seeds: int = 3,
    epochs: int | None = None,
    out: str | os.PathLike,
    folder: str | None = None,
    backend: str = "auto",
    settings: dict[str, dict[str, Any]] | None = None,
    n_jobs: int | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Study:
    """Train each model for each strength of L2 and each seed; what is finished is not trained again.

    Parameters
    ----------
    data : str
        Name or path for `load_dataset`.
    models : sequence of {"rbm", "mlp"}
    l2 : sequence of float or schedule text
    seeds : int
        Seeds 0 to ``seeds - 1``.
    epochs : int, optional
        155 by default, as in the regularization study; 120 on digits.
    out : path
        Folder of the study; each run gets a folder in it.
    folder : str, optional
        Where `load_dataset` looks first.
    backend : {"auto", "numpy", "cupy", "reference"}
    settings : dict, optional
        Further settings of the recipes, by model: ``{"mlp": {"hidden": (300,)}}``.
    n_jobs : int, optional
        Runs at a time; by default one on each core, with one thread, or one on each GPU. Several workers to a GPU take
        turns on it.
    overwrite : bool
        Train finished runs again.
    progress : callable, optional
        Gets a line of text whenever a run has ended.

    Returns
    -------
    Study
        Also written as tables, figures and ``report.html`` into `out`.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    out = Path(out)
    if seeds < 1:
        raise ValueError(f"seeds={seeds} is not possible; use at least 1")
    if n_jobs is not None and n_jobs < 1:
        raise ValueError(f"n_jobs={n_jobs} is not possible; use at least 1 run at a time")
    if not models or not l2:
        raise ValueError("a study needs at least one model and one strength of L2")
    if (out / "config.json").exists():
        raise ValueError(f"{out} is the folder of a run; give another folder for the study")
    shared = {"data": data, "folder": folder, "backend": backend, "threads": 1}
    cells = list(_cells(data, models, l2, seeds, epochs, shared, settings or {}))
    names = [name for name, _, _ in cells]
    if len(set(names)) < len(names):
        raise ValueError(f"models {tuple(models)} or strengths {tuple(l2)} repeat themselves; give each once")
    kinds = {resolve_name(recipe.backend) for _, _, recipe in cells}
    n_devices = n_gpus() if any(kind == "cupy" for kind, _ in kinds) else 0
    if n_devices and ("cupy", None) not in kinds:  # one device, by its number
        n_devices = 1
    out.mkdir(parents=True, exist_ok=True)
    say = progress or (lambda line: None)
    say(f"{len(cells)} runs into {out}")
    rows: list[dict[str, Any]] = []
    with parallel_config(backend="loky", n_jobs=n_jobs or n_devices or cpu_count(), inner_max_num_threads=1):
        jobs = (delayed(_one_run)(recipe, cell, out / name, name, overwrite, n_devices) for name, cell, recipe in cells)
        for row in Parallel(return_as="generator_unordered")(jobs):
            rows.append(row)
            say(f"[{len(rows)}/{len(cells)}] {row['run']}: {_headline(row)}")
    order = {name: place for place, (name, _, _) in enumerate(cells)}
    rows.sort(key=lambda row: order[row["run"]])
    runs = [load_run(out / row["run"]) for row in rows if row["status"] == "finished"]
    found = Study(rows, runs, out)
    _write_table(out / "table.csv", rows)
    _write_table(out / "summary.csv", found.summary())
    if runs:
        say(f"drawing figures and {out / 'report.html'}")
        draw(found)
    return found


def draw(found: Study) -> list[Path]:
    """Write the figures of a study and its ``report.html``; returns the paths.

    The summary shows all runs; the other figures one run (the first seed) of each model and strength.
    """
    from sparserbm.plotting import plot, report

    first = {(run.config["study"]["model"], str(run.config["study"]["l2"])): run for run in reversed(found.runs)}
    some = list(first.values())[::-1]
    paths = []
    lacking = {need for need, has in NEEDS.items() if not all(has(run) for run in some)}
    for name, needs in FIGURES.items():
        if needs & lacking:
            continue
        paths.append(found.folder / f"{name}.png")
        plot(name, found.runs if name == "study-summary" else some, paths[-1])
    paths.append(found.folder / "report.html")
    report(found.runs, paths[-1])
    return paths


NEEDS: dict[str, Callable[[Run], bool]] = {
    "image": lambda run: run.config["data"]["image_shape"] is not None,
    "zone": lambda run: run.zone_mask is not None,
}
FIGURES: dict[str, set[str]] = {
    "study-summary": {"zone"},
    "zone-density": {"zone"},
    "concentric-trend": {"image"},
    "connection-map": {"image"},
    "learning-curves": set(),
}


def _cells(
    data: str,
    models: Sequence[str],
    l2: Sequence[Any],
    seeds: int,
    epochs: int | None,
    shared: dict[str, Any],
    settings: dict[str, dict[str, Any]],
) -> Iterator[tuple[str, dict[str, Any], Recipe]]:
    """Name, place in the grid and recipe of every run."""
    for model in models:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}; known: {', '.join(MODELS)}")
        base = STUDY_MLP if model == "mlp" else STUDY_RBM
        changes = shared | {"epochs": STUDY_EPOCHS} | STUDY_SETTINGS.get(data, {}).get(model, {})
        changes |= settings.get(model, {}) | ({} if epochs is None else {"epochs": epochs})
        for strength in l2:
            for seed in range(seeds):
                recipe = dataclasses.replace(base, **{**changes, "l2": strength, "seed": seed})
                # schedules have characters that folder names should not have
                text = "".join(c if c.isalnum() or c in ".-" else "_" for c in str(strength))
                name = f"{model}-l2={text}-seed={seed}"
                yield name, {"model": model, "l2": strength, "seed": seed}, recipe.from_anywhere()


def _one_run(
    recipe: Recipe, cell: dict[str, Any], folder: Path, name: str, overwrite: bool, n_devices: int
) -> dict[str, Any]:
    """Train one run, go on with it, or find it finished; a run that diverges does not end the study."""
    status = "finished"
    if n_devices and recipe.backend.partition(":")[2] == "":
        use_gpu(_worker() % n_devices)
    try:
        done = -1 if overwrite or not (folder / "config.json").is_file() else _epochs_done(folder, recipe)
        if 0 < done < recipe.epochs:
            resume_recipe(folder, recipe.epochs)
        elif done <= 0:
            recipe.run(folder, overwrite=overwrite or done == 0, name=name, notes={"study": cell})
    except DivergenceError as error:
        status = str(error)
    return cell | {"run": name, "status": status} | _last_metrics(folder)


def _worker() -> int:
    """The number of this worker process; workers with neighbouring numbers are at work at a time."""
    digits = re.search(r"\d+$", multiprocessing.current_process().name)
    return int(digits[0]) if digits else 0


def _epochs_done(folder: Path, recipe: Recipe) -> int:
    """Epochs that a run with this recipe has behind it (0: no checkpoint yet).

    Raises
    ------
    ValueError
        If the folder holds a run with other settings.
    """
    stored = dict(read_config(folder).get("recipe", {}))
    wanted = dataclasses.asdict(recipe)
    same = {key: _plain(value) for key, value in wanted.items() if key not in _FREE}
    if {key: _plain(value) for key, value in stored.items() if key not in _FREE} != same:
        raise ValueError(f"{folder} holds a run with other settings; give another folder, or overwrite (--overwrite)")
    if not (folder / "checkpoint.npz").is_file():
        return 0
    done = max((line["epoch"] for line in load_run(folder).metrics), default=0)
    if done > recipe.epochs:
        raise ValueError(
            f"{folder} holds a run of {done} epochs, and {recipe.epochs} are asked for; give another folder, at least "
            f"{done} epochs, or overwrite (--overwrite)"
        )
    return done


_FREE = ("epochs", "threads", "folder", "backend")  # may differ when a study goes on


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _last_metrics(folder: Path) -> dict[str, Any]:
    metrics = load_run(folder).metrics if (folder / "config.json").is_file() else []
    if not metrics:
        return {}
    total = sum(line.get("seconds", 0.0) for line in metrics)
    return {key: value for key, value in metrics[-1].items() if key != "seconds"} | {"seconds": round(total, 2)}


def _headline(row: dict[str, Any]) -> str:
    if row["status"] != "finished":
        return str(row["status"])
    parts = [f"{row['seconds']:.0f} s", f"validation loss {row.get('validation_loss', float('nan')):.4f}"]
    if "validation_accuracy" in row:
        parts.append(f"accuracy {row['validation_accuracy']:.4f}")
    if "verdict" in row:
        found = "no preference" if row["verdict"] == "none" else f"{row['verdict']} learning"
        parts.append(f"{found} (z {row['learning_z']:+.1f})")
    return ", ".join(parts)


SUMMARISED = (
    *("loss", "accuracy", "validation_loss", "validation_accuracy"),
    *("core_validation_loss", "core_validation_accuracy", "free_energy_gap", "pseudo_likelihood"),
    *("centre_density", "margin_density", "learning_index", "learning_z", "seconds"),
)


def _summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"model": rows[0]["model"], "l2": rows[0]["l2"], "seeds": len(rows)}
    found["finished"] = sum(row["status"] == "finished" for row in rows)
    for key in SUMMARISED:
        values = [row[key] for row in rows if key in row and row["status"] == "finished"]
        if values:
            found[key] = float(np.mean(values))
            found[f"{key}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    for verdict in ("positive", "negative", "none"):
        found[verdict] = sum(row.get("verdict") == verdict for row in rows if row["status"] == "finished")
    return found


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
