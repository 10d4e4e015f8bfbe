"""The one training loop. A mini-batch goes through `_one_batch`, in the order of its lines, for every model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.data import Dataset, fingerprint
from sparserbm.data.batches import Batch, Batches
from sparserbm.evolution.engine import Evolution
from sparserbm.models.base import Model
from sparserbm.network.coactivity import Coactivity
from sparserbm.registry import parse, resolve
from sparserbm.regularization import Penalty, penalties
from sparserbm.runs import Run, RunWriter, load_run, read_config
from sparserbm.training.algorithm import Algorithm, Trainer
from sparserbm.training.callbacks import Callback, EarlyStopping, Progress, best_epoch
from sparserbm.training.checkpoint import load_checkpoint, load_model, save_checkpoint
from sparserbm.training.checks import (
    check_counts,
    check_data,
    check_follows,
    check_kinds,
    check_shape,
    check_stopping,
    validation_data,
)
from sparserbm.training.config import describe_run
from sparserbm.training.optimizers import SGD, Optimizer
from sparserbm.training.recorder import Recorder
from sparserbm.training.zone import active_zone


@dataclass
class _Training:
    """A run at work: everything that a step needs."""

    model: Model
    trainer: Trainer
    batches: Batches
    optimizer: Optimizer
    penalties: tuple[Penalty, ...]
    evolution: Evolution | None
    recorder: Recorder
    early_stopping: EarlyStopping | None
    callbacks: Sequence[Callback]
    shuffle: bool
    start: int  # step of the model when the optimizer began
    gradients: dict[str, Any] = field(default_factory=dict)
    coactivity: list[Coactivity] | None = None  # of the last batch, for grow rules
    best: Model | None = None  # kept here where there is no folder to keep it in


def train(
    model: Model,
    X: np.ndarray | Dataset,
    algorithm: Algorithm | str,
    *,
    y: np.ndarray | None = None,
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
    X : (n_samples, n_features) float or Dataset
        A data set brings its labels, test set (as validation data) and image shape.
    algorithm : Algorithm or text
        ``CD(k=1)`` for an RBM, ``Backprop()`` for an MLP.
    y : (n_samples,) int or (n_samples, n_outputs) float, optional
        Class numbers from 0, or targets.
    epochs, batch_size : int
        The last mini-batch of an epoch has what is left over.
    optimizer : Optimizer or text, default SGD(0.05)
    regularization : Penalty, text or a sequence of them, optional
    evolution : Evolution or text, optional
        E.g. ``SET(zeta=0.3)``; None keeps the first wiring.
    validation : array, (X, y) or Dataset, optional
        Measured at the end of every epoch, before the evolution event.
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
    if isinstance(X, Dataset):
        y, image_shape = X.y if y is None else y, image_shape or X.image_shape
        validation = X if validation is None and X.X_test is not None else validation
        data_name, X = X.name, X.X
    else:
        data_name = "array"
    check_counts(epochs=epochs, batch_size=batch_size, snapshot_every=snapshot_every)
    rules = {
        "algorithm": resolve("algorithm", algorithm),
        "optimizer": SGD() if optimizer is None else resolve("optimizer", optimizer),
        "regularization": penalties(regularization),
        "evolution": resolve("evolution", evolution),
        "early_stopping": resolve("early_stopping", early_stopping),
    }
    check_kinds(rules)
    check_follows(follows, model)
    X, y = check_data(model, rules["algorithm"], X, y)
    validation = validation_data(model, rules["algorithm"], validation)
    check_stopping(rules["early_stopping"], validation)
    check_shape(image_shape, X.shape[1])
    settings = {"epochs": epochs, "batch_size": batch_size, "shuffle": shuffle, "snapshot_every": snapshot_every}
    data = {
        "name": data_name,
        "n_samples": len(X),
        "n_features": X.shape[1],
        "image_shape": list(image_shape) if image_shape else None,
        "sha256": fingerprint(X, y),
    }
    config = describe_run(name, model, data, active_zone(zone, X, image_shape), rules, settings, strict=out is not None)
    writer = RunWriter(config | (notes or {}), out, overwrite)
    if follows is None:
        _forget_optimizer(model)
    trainer = rules["algorithm"].start(model, X, batch_size)
    if follows is not None:
        trainer.restore(follows.carry["trainer"])
    training = _Training(
        model,
        trainer,
        Batches(model.backend, X, y, batch_size),
        rules["optimizer"],
        rules["regularization"],
        rules["evolution"],
        Recorder(trainer, writer, (X, y), validation, rules["evolution"], snapshot_every),
        rules["early_stopping"],
        _with_progress(callbacks, progress, model.epoch + epochs),
        shuffle,
        model.step if follows is None else follows.carry["start"],
    )
    training.recorder.epoch(model)
    return _run(training, model.epoch + epochs)


def resume(
    folder: str | os.PathLike,
    X: np.ndarray | Dataset,
    *,
    y: np.ndarray | None = None,
    epochs: int,
    validation: Any = None,
    backend: Any = "auto",
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> Run:
    """Continue the run of a folder from its last checkpoint, until it has `epochs` epochs in all.

    On the CPU the result has the bytes of a run that was never stopped.

    Parameters
    ----------
    folder : path
    X, y, validation : as in `train`
        The same data as before; that is checked.
    epochs : int
        In all, those done included.
    backend : {"auto", "numpy", "reference"} or Backend
    callbacks, progress : as in `train`

    Raises
    ------
    ValueError
        If the folder holds no run, its checkpoint is damaged, or the data are others.
    """
    folder = Path(folder)
    config = read_config(folder)
    settings = config["training"]
    model, extra, state = load_checkpoint(folder / "checkpoint.npz", backend)
    if isinstance(X, Dataset):
        y = X.y if y is None else y
        validation = X if validation is None and X.X_test is not None else validation
        X = X.X
    algorithm = parse("algorithm", settings["algorithm"])
    X, y = check_data(model, algorithm, X, y)
    if fingerprint(X, y) != config["data"]["sha256"]:
        raise ValueError(
            f"these are not the data of run {folder} (other checksum); resume with {config['data']['name']}"
        )
    validation = validation_data(model, algorithm, validation)
    writer = RunWriter.reopen(folder, model.epoch)
    writer.run.config["training"]["epochs"] = max(epochs, model.epoch)
    writer.write_config()
    stopping = settings["early_stopping"]
    trainer = algorithm.start(model, X, settings["batch_size"])
    trainer.restore(state)
    evolution = None if settings["evolution"] is None else parse("evolution", settings["evolution"])
    recorder = Recorder(trainer, writer, (X, y), validation, evolution, settings["snapshot_every"])
    training = _Training(
        model,
        trainer,
        Batches(model.backend, X, y, settings["batch_size"]),
        parse("optimizer", settings["optimizer"]),
        penalties(settings["regularization"]),
        evolution,
        recorder,
        None if stopping is None else parse("early_stopping", stopping),
        _with_progress(callbacks, progress, epochs),
        settings["shuffle"],
        extra["start"],
    )
    return _run(training, epochs)


def _run(training: _Training, last_epoch: int) -> Run:
    """Train until `last_epoch`, then finish: the best model if training stops early, and what `last` asks for."""
    model, recorder = training.model, training.recorder
    stopped = False
    while model.epoch < last_epoch and not stopped:
        _evolve_after_epoch(training)
        _one_epoch(training)
        metrics = recorder.epoch(model, last=model.epoch == last_epoch)
        stopped = _end_of_epoch(training, metrics)
    if training.early_stopping is not None:
        _restore_best(training)
    if training.evolution is not None:
        training.evolution.finish(model, training.coactivity)
    run = recorder.writer.run if recorder.writer.folder is None else load_run(recorder.writer.folder)
    run.model, run.carry = model, {"start": training.start, "trainer": training.trainer.state()}
    return run


def _one_epoch(training: _Training) -> None:
    model = training.model
    batches = training.batches
    for number, batch in enumerate(batches.epoch(model.streams, model.step, training.shuffle), start=1):
        _one_batch(training, batch)
        model.step += 1
        # What is due after the last batch waits until the epoch has been measured.
        if training.evolution is not None and number < batches.per_epoch:
            try:
                report = training.evolution.after_step(model, training.coactivity, model.step)
            except FloatingPointError as error:
                raise training.recorder.diverged(model.epoch + 1, str(error)) from None
            training.recorder.evolved(report)
    model.epoch += 1


def _one_batch(training: _Training, batch: Batch) -> None:
    """The route of one mini-batch."""
    model, backend, optimizer = training.model, training.model.backend, training.optimizer
    signals = training.trainer.signals(model, batch, model.streams.draws("activities", batch.step))
    training.coactivity = signals.coactivity
    training.recorder.saw(signals)
    gradients = []
    for number, (layer, coactivity) in enumerate(zip(model.connections, signals.coactivity)):
        out = _gradient(training, f"connections {number}", len(layer))
        gradients.append((layer.slots, "weight", coactivity.at_connections(backend, layer, out), number, False))
    for number, (slots, terms) in enumerate(zip(model.biases, signals.biases)):
        out = _gradient(training, f"biases {number}", len(slots))
        means = [(sign / activity.shape[1], activity) for sign, activity in terms]
        gradients.append((slots, "bias", backend.row_sums(means, out), model.bias_layers[number], True))
    for slots, name, gradient, number, is_bias in gradients:
        acting = [penalty for penalty in training.penalties if penalty.biases or not is_bias]
        for penalty in acting:
            penalty.add_gradient(backend, slots[name], gradient, number, batch.step)
        optimizer.step(backend, slots, name, gradient, batch.step, training.start)
        for penalty in acting:
            penalty.shrink(backend, slots[name], number, batch.step, optimizer.rate(batch.step))


def _gradient(training: _Training, name: str, length: int) -> Any:
    """An array for a gradient, made once and again only after the number of connections has changed."""
    out = training.gradients.get(name)
    if out is None or len(out) != length:
        out = training.gradients[name] = training.model.backend.empty((length,))
    return out


def _evolve_after_epoch(training: _Training) -> None:
    """The event due since the end of the last epoch: after it was measured and saved, so never after the very last."""
    model, evolution = training.model, training.evolution
    if evolution is None or model.epoch == 0:
        return
    if evolution.when.after_epoch(model.epoch) or evolution.when.after_step(model.step):
        training.recorder.evolved(evolution.evolve(model, training.coactivity, model.step))


def _end_of_epoch(training: _Training, metrics: dict[str, Any]) -> bool:
    """Save the model, ask early stopping and callbacks; True ends training."""
    model, writer, stopping = training.model, training.recorder.writer, training.early_stopping
    metric = "validation_loss" if stopping is None else stopping.metric
    if stopping is not None and metric not in metrics:
        raise ValueError(f"early stopping watches {metric!r}, but an epoch has: {', '.join(sorted(metrics))}")
    is_best = metric in metrics and best_epoch(writer.run.metrics, metric) == model.epoch
    if writer.folder is not None:
        extra, state = {"start": training.start}, training.trainer.state()
        save_checkpoint(writer.folder / "checkpoint.npz", model, extra, state)
        if is_best:
            save_checkpoint(writer.folder / "best.npz", model, extra, state)
    elif is_best and stopping is not None:
        training.best = model.copy()
    stop = stopping is not None and stopping.is_due(writer.run.metrics)
    for callback in training.callbacks:
        stop = bool(callback(model, metrics)) or stop
    return stop


def _restore_best(training: _Training) -> None:
    folder = training.recorder.writer.folder
    best = training.best if folder is None else load_model(folder, training.model.backend, "best")
    if best is not None:
        training.model.adopt(best)


def _forget_optimizer(model: Model) -> None:
    """Slots of an earlier optimizer would be taken for those of the new one."""
    for layer in model.connections:
        layer.slots.keep_only({"weight", "born"})
    for slots in model.biases:
        slots.keep_only({"bias"})


def _with_progress(callbacks: Sequence[Callback], progress: bool, epochs: int) -> list[Callback]:
    return [*callbacks, Progress(epochs)] if progress else list(callbacks)
