"""How a run begins: data, model and settings are checked, then the loop has everything that it needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.backends import get_backend
from sparserbm.data import Dataset, fingerprint
from sparserbm.data.batches import Batches
from sparserbm.data.sources import as_samples
from sparserbm.data.weights import check_weights, weighted
from sparserbm.evolution.engine import Evolution
from sparserbm.models.base import Model
from sparserbm.models.stack import Stack
from sparserbm.regularization import Penalty
from sparserbm.runs import Run, RunWriter, read_config
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.callbacks import Callback, EarlyStopping, Progress
from sparserbm.training.checkpoint import load_checkpoint
from sparserbm.training.checks import (
    check_callbacks,
    check_counts,
    check_data,
    check_follows,
    check_shape,
    check_stopping,
    check_strengths,
    validation_data,
    warn_if_dense,
)
from sparserbm.training.config import Rules, describe_run
from sparserbm.training.estimate import Estimate, estimate, memory_explained
from sparserbm.training.loop import Training, run
from sparserbm.training.optimizers import Optimizer
from sparserbm.training.recorder import Recorder
from sparserbm.training.zone import active_zone


def train(
    model: Model,
    X: Any,
    algorithm: Algorithm | str,
    *,
    y: np.ndarray | None = None,
    sample_weight: Any = None,
    epochs: int = 10,
    batch_size: int = 100,
    optimizer: Optimizer | str | None = None,
    regularization: Penalty | str | Sequence[Penalty | str] | None = None,
    evolution: Evolution | str | None = None,
    validation: Any = None,
    early_stopping: EarlyStopping | str | None = None,
    callbacks: Sequence[Callback] = (),
    shuffle: bool = True,
    image_shape: tuple[int, int] | None = None,
    zone: Any = "auto",
    name: str | None = None,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    snapshot_every: int = 10,
    progress: bool = False,
    notes: dict[str, Any] | None = None,
    follows: Run | None = None,
) -> Run:
    """Train a model, and keep a record of how its topology changes.

    Parameters
    ----------
    model : RBM or MLP
        Trained in place; a model that was trained before goes on from there, with a fresh optimizer unless `follows`
        is given.
    X : (n_samples, n_features) float, sparse matrix, memory map, BatchSource or Dataset
        An array goes to the device as a whole. Of a sparse matrix of SciPy, an array of ``numpy.memmap`` (or of
        ``numpy.load`` with `mmap_mode`) and a `BatchSource` only one mini-batch at a time is a dense array. A data set
        brings its labels, test set (as validation data) and image shape.
    algorithm : Algorithm or text
        ``CD(k=1)`` for an RBM, ``Backprop()`` for an MLP.
    y : (n_samples,) int or (n_samples, n_outputs) float, optional
        Class numbers from 0, or targets.
    sample_weight : (n_samples,) float of at least 0, optional
        How much each sample counts, relative to the others: what is minimised is the weighted mean loss, and an integer
        weight stands for as many copies of the sample. Samples of weight 0 are left out.
    epochs, batch_size : int
        The last mini-batch of an epoch has what is left over.
    optimizer : Optimizer or text, default SGD(0.05)
    regularization : Penalty, text or a sequence of them, optional
    evolution : Evolution or text, optional
        E.g. ``SET(zeta=0.3)``; None keeps the first wiring.
    validation : array, (X, y), (X, y, sample_weight) or Dataset, optional
        Measured at the end of every epoch, before the evolution event; X as for training.
    early_stopping : EarlyStopping or text, optional
        Needs `validation` for its usual metric; the model becomes that of the best epoch.
    callbacks : sequence of callables
        Each is called with (model, metrics) at the end of an epoch; a true result ends training.
    shuffle : bool
        A seeded order for every epoch, or that of the data.
    image_shape : (rows, columns), optional
        Where the features are pixels.
    zone : Zone, text, (n_features,) bool, "auto" or None
        The active zone that the learning index compares with the rest of the inputs.
    name : str, optional
        Of the run in tables and pictures.
    out : path, optional
        Run folder to write; without it the run is kept in memory.
    overwrite : bool
        Allow `out` to hold an earlier run, which is then lost.
    snapshot_every : int
        Whole patterns every so many epochs (first and last always); degrees are kept for every epoch.
    progress : bool
        Show progress on standard error.
    notes : dict, optional
        JSON-ready entries to add to the run's config.
    follows : Run, optional
        The run that trained this model last, in this process: its optimizer state and persistent chains go on, with
        any data.

    Returns
    -------
    Run
        ``run.history`` holds the metrics as columns, ``run.model`` the model.

    Raises
    ------
    ValueError, TypeError
        If data, model and settings do not fit.
    FileExistsError
        If `out` exists and `overwrite` is not set.
    DivergenceError
        If training leaves the finite numbers.
    """
    if isinstance(model, Stack):
        raise TypeError("train trains one model; train_stack(stack, X, ...) trains the layers of a stack")
    data_name = X.name if isinstance(X, Dataset) else "array"
    image_shape = X.image_shape if isinstance(X, Dataset) and image_shape is None else image_shape
    X, y, validation = _unpack(X, y, validation)
    settings = check_counts(epochs=epochs, batch_size=batch_size, snapshot_every=snapshot_every) | {"shuffle": shuffle}
    rules = Rules.of(algorithm, optimizer, regularization, evolution, early_stopping)
    check_strengths(rules.regularization, model)
    check_callbacks(callbacks)
    check_follows(follows, model)
    labels = y  # those that the algorithm does not use may still say what the active zone is
    X, y = check_data(model, rules.algorithm, X, y)
    kept = check_weights(sample_weight, len(X))
    if labels is not None and kept is not None and len(labels) == len(X):
        labels = np.asarray(labels)[kept > 0]
    X, y, weight = weighted(X, y, sample_weight)
    validation = validation_data(model, rules.algorithm, validation)
    check_stopping(rules.early_stopping, validation)
    warn_if_dense(model)
    data = {
        "name": data_name,
        "n_samples": len(X),
        "n_features": X.shape[1],
        "image_shape": check_shape(image_shape, X.shape[1]),
        "sha256": _checksum(X, y, weight),
        "validation_sha256": None if validation is None else fingerprint(*validation),
    }
    found = active_zone(zone, X, image_shape, labels)
    config = describe_run(name, model, data, found, rules, settings, strict=out is not None)
    writer = RunWriter(config | (notes or {}), out, overwrite)
    start = model.step
    if follows is not None and follows.carry["optimizer"] is type(rules.optimizer):
        start = follows.carry["start"]
    else:
        _forget_optimizer(model)
    last = model.epoch + settings["epochs"]
    state = {} if follows is None else follows.carry["trainer"]
    data_sets = X, y, weight, validation
    watching: list[Callback] = [*callbacks, *([Progress(last)] if progress else [])]
    with memory_explained(lambda: _needs(config, rules, X, validation), model.backend, writer.folder):
        return _run(model, data_sets, rules, settings, writer, (start, last), state, watching)


def resume(
    folder: str | os.PathLike,
    X: Any,
    *,
    y: np.ndarray | None = None,
    sample_weight: Any = None,
    epochs: int,
    validation: Any = None,
    backend: Any = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> Run:
    """Continue the run of a folder from its last checkpoint, until it has `epochs` epochs in all.

    On the CPU the result has the bytes of a run that was never stopped.

    Parameters
    ----------
    folder : path
    X, y, sample_weight, validation : as in `train`
        The same data as before; that is checked. A memory map or source may stand for an array with the same values.
    epochs : int
        In all, those done included.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend, optional
        By default the one that the run began with.
    callbacks, progress : as in `train`

    Raises
    ------
    ValueError
        If the folder holds no run, its checkpoint is damaged, or the data are others.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config["model"]["kind"] == "stack":
        raise ValueError(f"{folder} holds a stack; go on with resume_stack({str(folder)!r}, X)")
    settings = config["training"]
    epochs = check_counts(epochs=epochs)["epochs"]
    check_callbacks(callbacks)
    if not (folder / "checkpoint.npz").is_file():
        raise ValueError(f"run {folder} ended before its first epoch was saved; train it again with overwrite=True")
    rules = Rules.of(**{kind: settings[kind] for kind in Rules.kinds()})
    X, y, validation = _unpack(X, y, validation)
    backend = get_backend(config["model"]["backend"] if backend is None else backend, config["model"]["dtype"])
    with memory_explained(lambda: _needs(config, rules, X, validation), backend, folder):
        model, extra, state = load_checkpoint(folder / "checkpoint.npz", backend)
        X, y, weight = weighted(*check_data(model, rules.algorithm, X, y), sample_weight)
        validation = validation_data(model, rules.algorithm, validation)
        validation_sha256 = None if validation is None else fingerprint(*validation)
        _check_same_data(config, folder, _checksum(X, y, weight), validation_sha256)
        writer = RunWriter.reopen(folder, model.epoch)
        writer.run.config["training"]["epochs"] = max(epochs, model.epoch)
        writer.write_config()
        watching: list[Callback] = [*callbacks, *([Progress(epochs)] if progress else [])]
        data, span = (X, y, weight, validation), (extra["start"], epochs)
        return _run(model, data, rules, settings, writer, span, state, watching)


def _run(
    model: Model,
    data: tuple[Any, np.ndarray | None, np.ndarray | None, Any],
    rules: Rules,
    settings: dict[str, Any],
    writer: RunWriter,
    span: tuple[int, int],
    state: dict[str, np.ndarray],
    callbacks: Sequence[Callback],
) -> Run:
    """Train with an optimizer that began at step ``span[0]`` until epoch ``span[1]``.

    Everything that a run holds on the device is made here or later.
    """
    start, last = span
    X, y, weight, validation = data
    trainer = rules.algorithm.start(model, X, settings["batch_size"], weight)
    trainer.restore(state)
    recorder = Recorder(model.backend, trainer, writer, X, validation, rules, settings["snapshot_every"])
    batches = Batches(model.backend, X, y, settings["batch_size"], model.step, weight)
    training = Training(model, trainer, batches, rules, recorder, callbacks, settings["shuffle"], start)
    if not writer.run.metrics:
        recorder.epoch(model, whole=True)
    return run(training, last)


def _needs(config: dict[str, Any], rules: Rules, X: Any, validation: Any) -> Estimate:
    """What the run of this config takes; validation data that are not brought into form yet do not count."""
    model, settings, X = config["model"], config["training"], as_samples(X)
    held = as_samples(validation[0]) if isinstance(validation, tuple) else None
    return estimate(
        model["layer_sizes"],
        model["n_connections"],
        rules.algorithm,
        rules.optimizer,
        batch_size=settings["batch_size"],
        n_samples=len(X),
        epochs=settings["epochs"],
        n_validation=0 if held is None else len(held),
        data_bytes=X.nbytes + (0 if held is None else held.nbytes),
        itemsize=np.dtype(model["dtype"]).itemsize,
    )


def _unpack(X: Any, y: Any, validation: Any) -> tuple[Any, Any, Any]:
    """A data set gives what was not given apart from it."""
    if not isinstance(X, Dataset):
        return X, y, validation
    return X.X, X.y if y is None else y, X if validation is None and X.X_test is not None else validation


def _checksum(X: Any, y: Any, weight: Any) -> str:
    return fingerprint(X, y) if weight is None else fingerprint(X, y, weight)


def _check_same_data(config: dict[str, Any], folder: Path, sha256: str, validation_sha256: str | None) -> None:
    for key, found, what in (("sha256", sha256, "data"), ("validation_sha256", validation_sha256, "validation data")):
        if config["data"].get(key, found) != found:
            raise ValueError(
                f"these are not the {what} of run {folder} (other checksum); resume it with those that it began "
                f"with: {config['data']['name']}"
            )


def _forget_optimizer(model: Model) -> None:
    """Slots of an earlier optimizer would be taken for those of the new one."""
    for layer in model.connections:
        layer.slots.keep_only({"weight", "born"})
    for slots in model.biases:
        slots.keep_only(model.unit_slots)
