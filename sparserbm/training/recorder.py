"""The recorder: the only place that reads numbers back from the device, once an epoch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sparserbm.backends import Backend
from sparserbm.data.batches import Batch
from sparserbm.data.sources import Samples, Source
from sparserbm.evolution.engine import EvolutionReport, silence_weakest
from sparserbm.models.base import Model
from sparserbm.runs import LayerSnapshot, RunWriter, Snapshot
from sparserbm.topology import learning_index
from sparserbm.training.algorithm import Signals, Trainer
from sparserbm.training.config import Rules
from sparserbm.training.errors import DivergenceError


class Recorder:
    """Turns what happens in an epoch into one line of metrics and a snapshot of the topology.

    Parameters
    ----------
    backend : Backend
        Of the model that is trained.
    trainer : Trainer
    writer : RunWriter
    train : (n_samples, n_features) or Source
        Training data on the host; looked at only to compare it with the validation data.
    validation : (X, y), (X, y, weight) or None
    rules : Rules
        Drop rule and zeta of the evolution also give the core whose validation figures are recorded beside those of
        the whole net.
    snapshot_every : int
        Whole patterns every so many epochs; degrees always.
    """

    def __init__(
        self,
        backend: Backend,
        trainer: Trainer,
        writer: RunWriter,
        train: Samples,
        validation: tuple[Any, ...] | None,
        rules: Rules,
        snapshot_every: int,
    ):
        self.trainer, self.writer, self.train, self.validation = trainer, writer, train, validation
        self._xp = backend.xp
        # A device keeps validation data that are one array; the host has them already.
        stays = validation is None or self._xp is np or isinstance(validation[0], Source)
        self._measured = validation and (validation[0] if stays else backend.asarray(validation[0]))
        self.rules, self.evolution, self.snapshot_every = rules, rules.evolution, snapshot_every
        self.zone = writer.run.zone_mask
        self._sums: dict[str, Any] = {}
        self._n_samples = 0
        self._events = EvolutionReport()
        self._began = time.perf_counter()

    def saw(self, signals: Signals) -> None:
        """Add up what a mini-batch says, on the device."""
        for name, value in signals.sums.items():
            if name not in self._sums:
                self._sums[name] = self._xp.zeros((), dtype=np.float64)
            self._sums[name] += value

    def counted(self, batch: Batch) -> None:
        """Count the samples of a mini-batch."""
        self._n_samples += batch.x.shape[1]

    def evolved(self, report: EvolutionReport) -> None:
        """Count what an evolution event did; it shows in the line of the epoch in which it happened."""
        self._events += report

    def epoch(self, model: Model, whole: bool = False) -> dict[str, Any]:
        """Measure and log one epoch (0: before training), and write its snapshot.

        Parameters
        ----------
        whole : bool
            Put whole patterns into the snapshot, also where `snapshot_every` does not.

        Raises
        ------
        DivergenceError
            If the loss or a weight is no longer finite; nothing is written then.
        """
        metrics: dict[str, Any] = {"epoch": model.epoch, "step": model.step}
        metrics |= {name: float(total) / self._n_samples for name, total in self._sums.items() if self._n_samples}
        self._check(model, metrics)
        if self.validation is not None:
            metrics |= self._validate(model)
        metrics |= self._topology(model) | self._decay(model)
        metrics["seconds"] = round(time.perf_counter() - self._began, 4)
        self.writer.log(metrics)
        self.snapshot(model, whole or model.epoch % self.snapshot_every == 0)
        self._n_samples, self._events = 0, EvolutionReport()
        for total in self._sums.values():  # the same arrays go on: recorded steps add to them
            total.fill(0)
        self._began = time.perf_counter()
        return self.writer.run.metrics[-1]

    def snapshot(self, model: Model, whole: bool) -> None:
        """Write the topology as it is: degrees, and whole patterns if asked for."""
        self.writer.snapshot(Snapshot(model.epoch, tuple(_layer(layer, whole) for layer in model.connections)))

    def _check(self, model: Model, metrics: dict[str, Any]) -> None:
        problem = None
        if not np.isfinite(metrics.get("loss", 0.0)):
            problem = f"the loss is {metrics['loss']}"
        try:
            model.check_finite()
        except FloatingPointError as error:
            problem = problem or str(error)
        if problem is None:
            return
        raise self.diverged(model.epoch, problem)

    def diverged(self, epoch: int, problem: str) -> DivergenceError:
        """The error that says that training left the finite numbers in `epoch`."""
        folder = self.writer.folder
        kept = f"; the model of epoch {epoch - 1} is kept: load_model({str(folder)!r})" if folder and epoch > 1 else ""
        return DivergenceError(
            f"training diverged in epoch {epoch}: {problem}; lower the learning rate and train again{kept}"
        )

    def _validate(self, model: Model) -> dict[str, float]:
        assert self.validation is not None
        X, y, *weight = self.validation
        measured = self.trainer.evaluate(model, self._measured, y, *weight)
        metrics = {f"validation_{name}": value for name, value in measured.items()}
        if not np.isfinite(metrics["validation_loss"]):
            raise self.diverged(model.epoch, f"the validation loss is {metrics['validation_loss']}")
        if self.evolution is not None and not self.evolution.drop.needs_batches:
            core = silence_weakest(model, self.evolution.zeta_at(model.step), self.evolution.drop)
            found = self.trainer.evaluate(core, self._measured, y, *weight)
            metrics |= {f"core_validation_{name}": value for name, value in found.items()}
        return metrics | self.trainer.compare(model, self.train, X)

    def _decay(self, model: Model) -> dict[str, float]:
        """What a weight of the first layer loses for want of a gradient: in a step, and from one event to the next.

        The first layer is the one whose topology is measured. Both are those of the last step of the epoch; penalties
        without a constant factor do not count.
        """
        lines, optimizer = self.writer.run.metrics, self.rules.optimizer
        per_epoch = model.step - lines[-1]["step"] if lines else 0
        if not per_epoch:
            return {}
        step = model.step - 1
        rates = optimizer.rate(step), optimizer.momentum_at(step)
        shares = [penalty.shrink_per_step(step, *rates, layer=0) for penalty in self.rules.regularization]
        known = [share for share in shares if share is not None]
        if not known:
            return {}
        steps = None if self.evolution is None else self.evolution.when.interval(per_epoch)
        found = {"shrink_per_step": sum(known)}
        return found if steps is None else found | {"shrink_per_interval": steps * sum(known)}

    def _topology(self, model: Model) -> dict[str, Any]:
        metrics: dict[str, Any] = {
            "density": model.density,
            "n_connections": model.n_connections,
            "dropped": self._events.dropped,
            "grown": self._events.grown,
        }
        if self._events.fell_back:
            metrics["fell_back"] = self._events.fell_back
        if self._events.dropped:
            metrics["mean_age_at_death"] = float(np.concatenate(self._events.ages).mean())
        if self.zone is not None:
            first = model.connections[0].pattern
            found = learning_index(first.fan_out(), self.zone, first.n_places)
            metrics |= {
                "centre_density": found.centre_density,
                "margin_density": found.margin_density,
                "zone_ratio": found.ratio,
                "learning_index": found.index,
                "learning_z": found.z,
                "verdict": found.verdict,
            }
        return metrics


def _layer(layer: Any, whole: bool) -> LayerSnapshot:
    pattern = layer.pattern
    degrees = pattern.fan_out().astype(np.int32), pattern.fan_in().astype(np.int32)
    if not whole:
        return LayerSnapshot(*degrees)
    slots = layer.slots.to_numpy()
    return LayerSnapshot(*degrees, pattern.indptr, pattern.pre, slots["weight"], slots["born"])
