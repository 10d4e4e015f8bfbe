"""Backpropagation for MLPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import Gate, SignedPair, Workspace, on_host
from sparserbm.data.batches import Batch, blocks
from sparserbm.models.base import Model
from sparserbm.models.mlp import MLP
from sparserbm.network.coactivity import Coactivity
from sparserbm.registry import register, resolve
from sparserbm.rng import Draws
from sparserbm.training.algorithm import Algorithm, Signals, Trainer
from sparserbm.training.losses import Loss


@register("algorithm", "backprop")
@dataclass(frozen=True)
class Backprop(Algorithm):
    """Gradients of a loss by the chain rule.

    Parameters
    ----------
    loss : Loss or text
        ``"cross_entropy"`` or ``"mse"``.
    """

    loss: Any = "cross_entropy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", resolve("loss", self.loss))
        if not isinstance(self.loss, Loss):
            raise TypeError(f"loss={self.loss!r} is not possible; give a Loss or its text")

    def check(self, model: Model, y: np.ndarray | None) -> np.ndarray | None:
        if not isinstance(model, MLP):
            raise TypeError(f"Backprop trains an MLP, not a {type(model).__name__}; for an RBM use CD()")
        if y is None:
            raise ValueError("an MLP needs targets: pass y")
        return self.loss.check(model, np.asarray(on_host(y)))

    def multiply_adds(self, counts: Sequence[int]) -> int:
        return 3 * sum(counts) - counts[0]  # forward, gradient, and back to all layers but the input

    def activities(self, sizes: Sequence[int]) -> int:
        return sizes[0] + 2 * sum(sizes[1:])

    def start(self, model: MLP, X: np.ndarray, batch_size: int) -> Backpropagation:
        return Backpropagation(self, model)


class Backpropagation(Trainer):
    """`Backprop` at work on one model."""

    def __init__(self, settings: Backprop, model: MLP):
        self.settings = settings
        self._arrays = Workspace(model.backend)
        self._blocks = Workspace(model.backend)  # evaluation has other batch sizes

    def signals(self, model: MLP, batch: Batch, draws: Draws) -> Signals:
        backend, n = model.backend, batch.x.shape[1]
        activities = model.forward(batch.x, self._arrays)
        delta = self._arrays.array("delta out", model.output.n, n)
        sums = self.settings.loss.value_and_delta(backend, model, activities[-1], batch.y, delta)
        deltas = [delta]
        for number in range(len(model.connections) - 1, 0, -1):
            layer, units = model.connections[number], model.units[number]
            below = self._arrays.array(f"delta {number}", units.n, n)
            gate = Gate(units.activation, activities[number])
            backend.spmm_t(layer, layer.weight, deltas[0], below, gate=gate)
            deltas.insert(0, below)
        return Signals(
            [
                Coactivity((SignedPair(1.0, a, delta),), seen)
                for a, delta, seen in zip(activities, deltas, zip(activities, activities[1:]))
            ],
            [[(1.0, delta)] for delta in deltas],
            n,
            sums,
        )

    def evaluate(self, model: MLP, X: Any, y: np.ndarray | None) -> dict[str, float]:
        """Mean loss, and accuracy for classifiers."""
        assert y is not None
        totals: dict[str, float] = {}
        for part, x in blocks(model.backend, X, model.widest):
            target = model.backend.asarray(y[part])
            output = model.forward(x, self._blocks)[-1]
            delta = self._blocks.array("delta", *output.shape)
            target = model.backend.xp.ascontiguousarray(target.T) if target.ndim == 2 else target
            for name, value in self.settings.loss.value_and_delta(model.backend, model, output, target, delta).items():
                totals[name] = totals.get(name, 0.0) + float(value)
        return {name: total / len(X) for name, total in totals.items()}
