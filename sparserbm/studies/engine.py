"""A study: plan the runs, check them all, train what is not trained yet, then write tables, figures and a report."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparserbm.backends import n_gpus, resolve_name, use_gpu
from sparserbm.recipes import Recipe, forget_data, resume_recipe
from sparserbm.runs import load_run, read_config
from sparserbm.studies.figures import MOST, draw
from sparserbm.studies.grid import PlannedRun, cell_of, check_runs, full_grid, planned_runs
from sparserbm.studies.outcome import Study
from sparserbm.training import DivergenceError


def study(
    data: str = "digits",
    *,
    models: Sequence[str] | None = None,
    grid: Mapping[str, Any] | None = None,
    l2: Sequence[Any] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    out: str | os.PathLike,
    folder: str | None = None,
    backend: str = "auto",
    settings: dict[str, dict[str, Any]] | None = None,
    n_jobs: int | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Study:
    """Train each model for each combination of settings and each seed, and test whether the combinations differ.

    What is finished is not trained again; what was interrupted goes on.

    Parameters
    ----------
    data : str
        Name or path for `load_dataset`.
    models : sequence of {"rbm", "mlp"}
        Both by default. Short for the key "model" of the grid.
    grid : mapping of str to sequence, optional
        Values of settings: ``{"zeta": [0.1, 0.3], "l2": [0, "linear(0, 1e-3, 5000)"]}`` has four combinations. A key
        is any setting of a `Recipe`, or a parameter of `Evolution` (``"zeta"``; ``"evolution.zeta"`` says the same, and
        tells ``"evolution.density"`` from the setting density), which is written into the recipe's evolution rule.
        Values are numbers, texts or rules; one that is a tuple stands in a list: ``{"hidden": [(256, 64)]}``.
    l2 : sequence of float or schedule text, optional
        Short for the key "l2"; 0 and 1e-3 in a study that varies nothing else.
    seeds : int
        Seeds 0 to ``seeds - 1``, 3 by default; for others give the key "seed".
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

    Raises
    ------
    ValueError
        Before the first run, if a key or a value is not possible, or a folder holds a run with other settings.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    out = Path(out)
    if n_jobs is not None and n_jobs < 1:
        raise ValueError(f"n_jobs={n_jobs} is not possible; use at least 1 run at a time")
    if (out / "config.json").exists():
        raise ValueError(f"{out} is the folder of a run; give another folder for the study")
    values = full_grid(grid, models, l2, seeds)
    shared = {"data": data, "folder": folder, "backend": backend, "threads": 1}
    runs = planned_runs(values, shared, settings or {}, epochs)
    kinds = {resolve_name(run.recipe.backend) for run in runs}
    n_devices = n_gpus() if any(kind == "cupy" for kind, _ in kinds) else 0
    if n_devices and ("cupy", None) not in kinds:  # one device, by its number
        n_devices = 1
    check_runs(runs)
    for run in () if overwrite else runs:
        _epochs_done(out / run.name, run.recipe)
    out.mkdir(parents=True, exist_ok=True)
    say = progress or (lambda line: None)
    say(f"{len(runs)} runs into {out}")
    rows: list[dict[str, Any]] = []
    n_jobs = n_jobs or n_devices or cpu_count()
    if n_jobs > 1:  # the workers load their own
        forget_data()
    with parallel_config(backend="loky", n_jobs=n_jobs, inner_max_num_threads=1):
        jobs = (delayed(_one_run)(run, out / run.name, overwrite, n_devices) for run in runs)
        for row in Parallel(return_as="generator_unordered")(jobs):
            rows.append(row)
            say(f"[{len(rows)}/{len(runs)}] {row['run']}: {_headline(row)}")
    order = {run.name: place for place, run in enumerate(runs)}
    rows.sort(key=lambda row: order[row["run"]])
    finished = [load_run(out / row["run"]) for row in rows if row["status"] == "finished"]
    found = Study(rows, finished, out, tuple(key for key in values if key != "seed"))
    found.write_tables()
    if finished:
        n_cells = len({cell_of(run.name) for run in finished})
        which = f" of the first {MOST} of {n_cells} cells" if n_cells > MOST else ""
        say(f"drawing figures and {out / 'report.html'}{which}")
        draw(found)
    return found


def _one_run(run: PlannedRun, folder: Path, overwrite: bool, n_devices: int) -> dict[str, Any]:
    """Train one run, go on with it, or find it finished; a run that diverges does not end the study."""
    status, recipe = "finished", run.recipe
    if n_devices and recipe.backend.partition(":")[2] == "":
        use_gpu(_worker() % n_devices)
    try:
        done = -1 if overwrite or not (folder / "config.json").is_file() else _epochs_done(folder, recipe)
        if 0 < done < recipe.epochs:
            resume_recipe(folder, recipe.epochs)
        elif done <= 0:
            recipe.run(folder, overwrite=overwrite or done == 0, name=run.name, notes={"study": run.place})
    except DivergenceError as error:
        status = str(error)
    metrics = {f"measured_{key}" if key in run.place else key: v for key, v in _last_metrics(folder).items()}
    return run.place | {"run": run.name, "status": status} | metrics


def _worker() -> int:
    """The number of this worker process; workers with neighbouring numbers are at work at a time."""
    digits = re.search(r"\d+$", multiprocessing.current_process().name)
    return int(digits[0]) if digits else 0


def _epochs_done(folder: Path, recipe: Recipe) -> int:
    """Epochs that a run with this recipe has behind it (0: none, or no checkpoint yet).

    Raises
    ------
    ValueError
        If the folder holds a run with other settings, or one of more epochs.
    """
    if not (folder / "config.json").is_file():
        return 0
    stored = read_config(folder).get("recipe", {})
    wanted = json.loads(json.dumps(dataclasses.asdict(recipe)))  # as the stored one was written and read
    defaults = dataclasses.asdict(Recipe())  # a run of an earlier version lacks the settings that are new
    if any(wanted.get(key) != stored.get(key, defaults.get(key)) for key in {*wanted, *stored} - {*FREE}):
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


FREE = ("epochs", "threads", "folder", "backend")  # may differ when a study goes on


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
