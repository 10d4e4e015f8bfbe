"""The one training loop. A mini-batch goes through `_one_batch`, in the order of its lines, for every model."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import Workspace
from sparserbm.data.batches import Batch, Batches
from sparserbm.evolution.engine import EvolutionReport
from sparserbm.models.base import Model
from sparserbm.network.coactivity import Coactivity, Evidence
from sparserbm.network.slots import Slots
from sparserbm.runs import Run, load_run
from sparserbm.training.algorithm import Trainer
from sparserbm.training.callbacks import Callback, best_epoch
from sparserbm.training.checkpoint import load_model, save_checkpoint
from sparserbm.training.config import Rules
from sparserbm.training.recorder import Recorder
from sparserbm.training.repeat import Repeated


@dataclass
class Training:
    """A run at work: everything that a step needs.

    Attributes
    ----------
    start : int
        Step of the model when the optimizer began.
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
    best: Model | None = None

    def __post_init__(self) -> None:
        self._arrays = Workspace(self.model.backend)

    def gradient(self, length: int) -> Any:
        """Room for a gradient, (length,); the same memory at every call."""
        return self._arrays.array("gradient", 1, length)[0]

    def evidence(self, count: int) -> Iterator[Sequence[Coactivity]]:
        """What the last `count` mini-batches say of the model as it is now, the newest first (see `Evidence`)."""
        model, trainer = self.model, copy.copy(self.trainer)  # the same arrays at work
        # Persistent chains of its own: those of the training go on as if nobody had asked.
        trainer.restore({name: array.copy() for name, array in self.trainer.state().items()})
        for batch in self.batches.latest(model.streams, model.step, count, self.shuffle):
            yield trainer.signals(model, batch, model.streams.draws("evidence", batch.step)).coactivity


def run(training: Training, last_epoch: int) -> Run:
    """Train until `last_epoch`, then finish: the best model if training stops early, and what `last` asks for."""
    model, recorder, rules = training.model, training.recorder, training.rules
    stopping, metrics = rules.early_stopping, recorder.writer.run.metrics
    stopped = stopping is not None and len(metrics) > 1 and stopping.is_due(metrics)  # a resumed run
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # the recorder says it better
            while model.epoch < last_epoch and not stopped:
                _tell(training.callbacks, "begin_epoch", model)
                _evolve_after_epoch(training)
                _one_epoch(training)
                stopped = _end_of_epoch(training, recorder.epoch(model))
    finally:
        _tell(training.callbacks, "close")
    recorder.snapshot(model, whole=True)
    if stopping is not None:
        _restore_best(training)
    if rules.evolution is not None:
        rules.evolution.finish(model, training.evidence)
    found = recorder.writer.run if recorder.writer.folder is None else load_run(recorder.writer.folder)
    found.model = model
    found.carry = {"start": training.start, "step": model.step, "trainer": training.trainer.state()}
    found.carry["optimizer"] = type(rules.optimizer)
    return found


def _tell(callbacks: Sequence[Callback], what: str, *given: Any) -> None:
    """Call the method `what` of the callbacks that have it."""
    for callback in callbacks:
        method = getattr(callback, what, None)
        if method is not None:
            method(*given)


def _one_epoch(training: Training) -> None:
    model, batches = training.model, training.batches
    repeated = Repeated(model.backend, training.rules)
    for number, batch in enumerate(batches.epoch(model.streams, model.step, training.shuffle), start=1):
        repeated.do(batch, functools.partial(_one_batch, training, batch))
        training.recorder.counted(batch)
        model.step += 1
        # What is due after the last batch waits until the epoch has been measured.
        evolution = training.rules.evolution
        if evolution is not None and number < batches.per_epoch and _evolve(training, evolution.after_step):
            repeated.forget()
    model.epoch += 1


def _one_batch(training: Training, batch: Batch) -> None:
    """The route of one mini-batch; what it does on the device may be replayed (`Repeated`) without coming by here."""
    model, backend = training.model, training.model.backend
    signals = training.trainer.signals(model, batch, model.streams.draws("activities", batch.step))
    training.recorder.saw(signals)
    for number, (layer, coactivity) in enumerate(zip(model.connections, signals.coactivity)):
        for part in layer.parts:
            gradient = training.gradient(part.connections.stop - part.connections.start)
            coactivity.at_connections(backend, part, gradient)
            _update(training, layer.slots, "weight", part.connections, gradient, number, batch.step)
        for penalty in training.rules.regularization:
            penalty.bound(backend, layer, number, batch.step)
    for number, (slots, terms) in enumerate(zip(model.biases, signals.biases)):
        means = [(sign / activity.shape[1], activity) for sign, activity in terms]
        gradient = backend.row_sums(means, training.gradient(len(slots)))
        _update(training, slots, "bias", slice(None), gradient, model.bias_layers[number], batch.step)
    _update_others(training, signals.others, batch.step)


def _update_others(training: Training, gradients: list[tuple[int, str, Any]], step: int) -> None:
    """Slots that units have beside the bias; gates stay in [0, 1]."""
    model, backend = training.model, training.model.backend
    gates = [(model.biases[number]["gate"], gradient) for number, name, gradient in gradients if name == "gate"]
    for penalty in training.rules.regularization:
        penalty.add_gate_gradients(backend, [gate for gate, _ in gates], [gradient for _, gradient in gates], step)
    for number, name, gradient in gradients:
        _update(training, model.biases[number], name, slice(None), gradient, model.bias_layers[number], step)
    for gate, _ in gates:
        backend.xp.clip(gate, 0, 1, out=gate)


def _update(training: Training, slots: Slots, name: str, part: slice, gradient: Any, layer: int, step: int) -> None:
    """Penalties and optimizer, for `part` of the slot `name`."""
    backend, rules = training.model.backend, training.rules
    acting = [penalty for penalty in rules.regularization if name == "weight" or (penalty.biases and name == "bias")]
    value = slots[name][part]
    for penalty in acting:
        penalty.add_gradient(backend, value, gradient, layer, step)
    rules.optimizer.step(backend, slots, name, part, gradient, step, training.start)
    for penalty in acting:
        penalty.shrink(backend, value, layer, step, rules.optimizer.rate(step))


def _evolve(training: Training, event: Callable[[Model, Evidence, int], EvolutionReport]) -> bool:
    """Do `event`, and count what it did; False where nothing was due."""
    model, recorder = training.model, training.recorder
    try:
        report = event(model, training.evidence, model.step)
    except FloatingPointError as error:
        raise recorder.diverged(model.epoch + 1, str(error)) from None
    recorder.evolved(report)
    return report.happened


def _evolve_after_epoch(training: Training) -> None:
    """The event due since the end of the last epoch: after it was measured and saved, so never after the very last."""
    model, evolution = training.model, training.rules.evolution
    if evolution is None or model.epoch == 0:
        return
    if evolution.when.after_epoch(model.epoch) or evolution.when.after_step(model.step):
        _evolve(training, evolution.evolve)


def _end_of_epoch(training: Training, metrics: dict[str, Any]) -> bool:
    """Save the model, ask early stopping and callbacks; True ends training."""
    model, writer, stopping = training.model, training.recorder.writer, training.rules.early_stopping
    metric = "validation_loss" if stopping is None else stopping.metric
    if stopping is not None and metric not in metrics:
        raise ValueError(f"early stopping watches {metric!r}, but an epoch has: {', '.join(sorted(metrics))}")
    keep = stopping.epoch_to_keep if stopping is not None else functools.partial(best_epoch, metric=metric)
    is_best = metric in metrics and keep(writer.run.metrics) == model.epoch
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
