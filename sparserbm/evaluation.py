"""What a finished run is worth: the figures of its model on data that it has not seen."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.backends import get_backend
from sparserbm.data import Dataset, binarise, fingerprint, load_dataset
from sparserbm.models.annealing import PUBLISHED
from sparserbm.models.base import Model
from sparserbm.models.likelihood import (
    LogLikelihood,
    free_energy_gap,
    mean_log_likelihood,
    partition_function,
    pseudo_likelihood,
)
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Bernoulli
from sparserbm.recipes import Recipe, class_numbers
from sparserbm.registry import parse, to_text
from sparserbm.runs import read_config
from sparserbm.training import CD, load_model

MOST_FLIPS = 10**10  # connections x samples: above, the pseudo-likelihood is the stochastic one


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on some data.

    Attributes
    ----------
    run, model : str
        The folder; units and connections in words.
    which : {"checkpoint", "best"}
    epoch : int
    data : str
        Name of the data set.
    part : {"test set", "all samples"}
    n_samples : int
    sha256 : str
        `fingerprint` of the samples.
    binarised : int or None
        Seed of the states that were drawn for them.
    log_likelihood : LogLikelihood or None
        Of an RBM.
    figures : dict of str to float
        ``reconstruction_error``, ``pseudo_likelihood`` and ``free_energy_gap`` (where there are training data) of an
        RBM; ``loss`` and ``accuracy`` of an MLP.
    exact_pseudo_likelihood : bool
    """

    run: str
    model: str
    which: str
    epoch: int
    data: str
    part: str
    n_samples: int
    sha256: str
    binarised: int | None
    log_likelihood: LogLikelihood | None
    figures: dict[str, float]
    exact_pseudo_likelihood: bool = True

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return found | {"log_likelihood": self.log_likelihood and self.log_likelihood.as_dict()}

    def __str__(self) -> str:
        drawn = "" if self.binarised is None else f", states drawn with seed {self.binarised}"
        lines = [
            f"{self.run} ({self.which}, epoch {self.epoch}): {self.model}",
            f"{self.data}, {self.part}: {self.n_samples:,} samples{drawn}",
        ]
        if self.log_likelihood is not None:
            lines += _likelihood_lines(self.log_likelihood)
        what = {
            "pseudo_likelihood": "nats a sample, " + ("exact" if self.exact_pseudo_likelihood else "stochastic"),
            "free_energy_gap": "nats, these samples minus training samples",
            "reconstruction_error": "mean squared, after one reconstruction",
        }
        lines += [_line(name.replace("_", " "), value, what.get(name, "")) for name, value in self.figures.items()]
        return "\n".join(lines)


def _line(name: str, value: float, text: str) -> str:
    return f"  {name:22s}{value:12.4f}   {text}".rstrip()


def _likelihood_lines(found: LogLikelihood) -> list[str]:
    log_z, n = found.partition, found.n_samples
    if log_z.method == "exact":
        lines = [_line("log Z", log_z.log_z, "exact")]
    else:
        effort = f"AIS, {log_z.chains} chains, {log_z.temperatures:,} temperatures"
        lines = [
            _line("log Z, from below", log_z.log_z, f"+- {log_z.standard_error:.4f}, {effort}, ESS {log_z.ess:.1f}")
        ]
        if log_z.upper is not None:
            text = f"+- {log_z.upper_error:.4f}, ESS {log_z.upper_ess:.1f}, began at {log_z.samples}"
            lines.append(_line("log Z, from above", log_z.upper, text))
    lines.append(
        _line("log-likelihood", found.mean, f"nats a sample, +- {found.standard_error:.4f} over {n:,} samples")
    )
    if found.lower is not None and log_z.method != "exact":
        lines.append(
            f"  {'  between':22s}{found.lower:12.4f}   and {found.upper:.4f}, as far as those are bounds of log Z"
        )
    return lines


def evaluate(
    run: str | os.PathLike,
    data: Any = None,
    *,
    folder: str | os.PathLike | None = None,
    scale: str | None = None,
    best: bool = False,
    binarised: int | None = None,
    chains: int = 100,
    temperatures: Any = PUBLISHED,
    reverse: bool = True,
    sweeps: int = 1000,
    seed: int = 0,
    backend: Any = "auto",
    threads: int | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Evaluation:
    """Figures of the model of a run folder: on the test set of its own data, or on other data.

    Parameters
    ----------
    run : path
        The folder of an RBM or MLP.
    data : name, path or Dataset, optional
        As for `load_dataset`; those of the run's recipe by default. The test set is what counts: that of the data, or
        the share that the recipe held out; of other data without a test set, all samples.
    folder, scale : optional
        Where to look for named data, and their scaling; those of the recipe by default.
    best : bool
        The model with the best validation figures in place of the last one.
    binarised : int, optional
        Draw states for the samples with this seed (`binarise`), and for training samples with the one after it.
    chains, temperatures, reverse, sweeps, seed, progress
        Of `partition_function`, where log Z is not exact. It knows the training data, or the samples where there are
        none.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    threads : int, optional

    Raises
    ------
    ValueError
        If the folder holds no such run, or data and model do not fit.
    """
    config = read_config(Path(run))
    if config["model"]["kind"] == "stack":
        raise ValueError(f"{run} holds a stack, which has a bound and no figures of this kind: use variational_bound")
    recipe = _recipe_of(config)
    which = "best" if best else "checkpoint"
    if best and not (Path(run) / "best.npz").is_file():
        raise ValueError(
            f"run {run} has no best model: only training with validation data keeps one; evaluate the last one"
        )
    found = get_backend(backend, None if not isinstance(backend, str) else config["model"]["dtype"], threads)
    model = load_model(run, found, which)
    own = data is None
    dataset = data if isinstance(data, Dataset) else _load(recipe, data, folder, scale, run)
    if dataset.n_features != model.n_features:
        raise ValueError(
            f"{dataset.name} has {dataset.n_features} features, but the model of {run} has {model.n_features} inputs"
        )
    train, X, y = dataset.X, dataset.X_test, dataset.y_test
    part = "test set"
    if X is None:
        train, X, y, part = None, dataset.X, dataset.y, "all samples"
    if binarised is not None:
        _check_binarise(model)
        X, train = binarise(X, binarised), None if train is None else binarise(train, binarised + 1)
    if isinstance(model, RBM):
        X = model.check_data(X)
        log_z = partition_function(
            model,
            X if train is None else train,
            chains=chains,
            temperatures=temperatures,
            reverse=reverse,
            sweeps=sweeps,
            seed=seed,
            progress=progress,
        )
        likelihood, figures, exact = mean_log_likelihood(model, X, log_z), *_figures(model, train, X)
    else:
        if not own and recipe is not None and y is not None:
            y = _as_in_training(recipe, y, dataset)
        algorithm = parse("algorithm", config["training"]["algorithm"])
        y = algorithm.check(model, y)
        likelihood, exact = None, True
        figures = algorithm.start(model, X, 1).evaluate(model, model.check_data(X), y)
    units = " x ".join(to_text(each) for each in model.units)
    return Evaluation(
        str(run),
        f"{units}, {model.n_connections:,} connections",
        which,
        model.epoch,
        dataset.name,
        part,
        len(X),
        fingerprint(X),
        binarised,
        likelihood,
        figures,
        exact,
    )


def load_data_of(
    run: str | os.PathLike, data: Any = None, *, folder: str | os.PathLike | None = None, scale: str | None = None
) -> Dataset:
    """The data set of a run folder's recipe, or other data scaled as those were.

    Parameters
    ----------
    run, data, folder, scale
        As in `evaluate`.
    """
    return _load(_recipe_of(read_config(Path(run))), data, folder, scale, run)


def _recipe_of(config: dict[str, Any]) -> Recipe | None:
    return Recipe(**config["recipe"]) if "recipe" in config else None


def _load(recipe: Recipe | None, data: Any, folder: Any, scale: str | None, run: Any) -> Dataset:
    if data is None:
        if recipe is None:
            raise ValueError(f"run {run} was not made from a recipe, which would name its data; give them with data=")
        changed = {"folder": folder, "scale": scale}
        return dataclasses.replace(recipe, **{k: v for k, v in changed.items() if v is not None}).load_data()
    return load_dataset(data, scale=scale or (recipe.scale if recipe else "unit"), folder=folder)


def _check_binarise(model: Model) -> None:
    if not isinstance(model.units[0], Bernoulli):
        raise ValueError(
            f"states are drawn for Bernoulli units, and this model has {to_text(model.units[0])} as its input"
        )


def _figures(model: RBM, train: Any, X: Any) -> tuple[dict[str, float], bool]:
    figures, exact = {}, len(model.matrix) * len(X) <= MOST_FLIPS
    if isinstance(model.visible, Bernoulli):
        figures["pseudo_likelihood"] = float(pseudo_likelihood(model, X, seed=model.seed, exact=exact).mean())
    if train is not None:
        figures["free_energy_gap"] = free_energy_gap(model, train, X)
    # Biases at 0: an untrained model must not get those of the data.
    figures["reconstruction_error"] = CD(visible_bias="zero").start(model, X, 1).evaluate(model, X, None)["loss"]
    return figures, exact


def _as_in_training(recipe: Recipe, y: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Labels of other data as class numbers of the data that the run was trained on."""
    raw = load_dataset(recipe.data, scale=recipe.scale, folder=recipe.folder, hold_out=recipe.validation)
    if raw.y is None:
        return y
    return class_numbers(np.unique(raw.y), y, dataset.name)
