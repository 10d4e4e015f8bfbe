"""The one training loop. A mini-batch goes through `_one_batch`, in the order of its lines, for every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparserbm.data.batches import Batch, Batches
from sparserbm.models.base import Model
from sparserbm.network.coactivity import Coactivity
from sparserbm.runs import Run, load_run
from sparserbm.training.algorithm import Trainer
from sparserbm.training.callbacks import Callback, Progress, best_epoch
from sparserbm.training.checkpoint import load_model, save_checkpoint
from sparserbm.training.config import Rules
from sparserbm.training.recorder import Recorder


@dataclass
class Training:
    """A run at work: everything that a step needs.

    Attributes
    ----------
    start : int
        Step of the model when the optimizer began.
    coactivity : list of Coactivity or None
        Of the last batch, for grow rules.
    best : Model or None
        The model of the best epoch, where there is no folder to keep it in.
    """

    model: Model
    trainer: Trainer
    batches: Batches
    rules: Rules
    recorder: Recorder
    callbacks: Sequence[Callback]
    shuffle: bool
    start: int
    gradients: dict[str, Any] = field(default_factory=dict)
    coactivity: list[Coactivity] | None = None
    best: Model | None = None


def run(training: Training, last_epoch: int) -> Run:
    """Train until `last_epoch`, then finish: the best model if training stops early, and what `last` asks for."""
    model, recorder, rules = training.model, training.recorder, training.rules
    stopping, metrics = rules.early_stopping, recorder.writer.run.metrics
    stopped = stopping is not None and len(metrics) > 1 and stopping.is_due(metrics)  # a resumed run
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # the recorder says it better
            while model.epoch < last_epoch and not stopped:
                _evolve_after_epoch(training)
                _one_epoch(training)
                stopped = _end_of_epoch(training, recorder.epoch(model))
    finally:
        for callback in training.callbacks:
            if isinstance(callback, Progress):
                callback.close()
    recorder.snapshot(model, whole=True)
    if stopping is not None:
        _restore_best(training)
    if rules.evolution is not None:
        rules.evolution.finish(model, training.coactivity)
    found = recorder.writer.run if recorder.writer.folder is None else load_run(recorder.writer.folder)
    found.model = model
    found.carry = {"start": training.start, "step": model.step, "trainer": training.trainer.state()}
    found.carry["optimizer"] = type(rules.optimizer)
    return found


def _one_epoch(training: Training) -> None:
    model = training.model
    batches = training.batches
    for number, batch in enumerate(batches.epoch(model.streams, model.step, training.shuffle), start=1):
        _one_batch(training, batch)
        model.step += 1
        # What is due after the last batch waits until the epoch has been measured.
        if training.rules.evolution is not None and number < batches.per_epoch:
            try:
                report = training.rules.evolution.after_step(model, training.coactivity, model.step)
            except FloatingPointError as error:
                raise training.recorder.diverged(model.epoch + 1, str(error)) from None
            training.recorder.evolved(report)
    model.epoch += 1


def _one_batch(training: Training, batch: Batch) -> None:
    """The route of one mini-batch."""
    model, backend, optimizer = training.model, training.model.backend, training.rules.optimizer
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
        acting = [penalty for penalty in training.rules.regularization if penalty.biases or not is_bias]
        for penalty in acting:
            penalty.add_gradient(backend, slots[name], gradient, number, batch.step)
        optimizer.step(backend, slots, name, gradient, batch.step, training.start)
        for penalty in acting:
            penalty.shrink(backend, slots[name], number, batch.step, optimizer.rate(batch.step))


def _gradient(training: Training, name: str, length: int) -> Any:
    """An array for a gradient, made once and again only after the number of connections has changed."""
    out = training.gradients.get(name)
    if out is None or len(out) != length:
        out = training.gradients[name] = training.model.backend.empty((length,))
    return out


def _evolve_after_epoch(training: Training) -> None:
    """The event due since the end of the last epoch: after it was measured and saved, so never after the very last."""
    model, evolution = training.model, training.rules.evolution
    if evolution is None or model.epoch == 0:
        return
    if evolution.when.after_epoch(model.epoch) or evolution.when.after_step(model.step):
        training.recorder.evolved(evolution.evolve(model, training.coactivity, model.step))


def _end_of_epoch(training: Training, metrics: dict[str, Any]) -> bool:
    """Save the model, ask early stopping and callbacks; True ends training."""
    model, writer, stopping = training.model, training.recorder.writer, training.rules.early_stopping
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


def _restore_best(training: Training) -> None:
    folder = training.recorder.writer.folder
    best = training.best if folder is None else load_model(folder, training.model.backend, "best")
    if best is not None:
        training.model.adopt(best)
