"""Backpropagation for MLPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import Gate, SignedPair, Workspace, on_host
from sparserbm.data.batches import Batch, blocks
from sparserbm.data.sources import Samples
from sparserbm.models.base import Model
from sparserbm.models.mlp import MLP, Layer
from sparserbm.network.coactivity import Coactivity
from sparserbm.registry import register, resolve, to_text
from sparserbm.rng import Draws
from sparserbm.training.algorithm import Algorithm, Signals, Trainer
from sparserbm.training.corruption import Corruption
from sparserbm.training.losses import Loss, SquaredError, SumOfSquares


@register("algorithm", "backprop")
@dataclass(frozen=True)
class Backprop(Algorithm):
    """Gradients of a loss by the chain rule.

    Parameters
    ----------
    loss : Loss or text
        ``"cross_entropy"`` or ``"mse"``.
    dropout : float or sequence of float, in [0, 1)
        Share of the hidden units that are silent in a step, for all hidden layers or for each. The others count
        ``1 / (1 - dropout)`` times as much, so that nothing changes outside of training.
    input_dropout : float in [0, 1)
        The same for the inputs.
    corruption : Corruption or text, optional
        ``"masking(0.2)"`` or ``"gaussian(0.2)"``: what training does to the inputs. Unlike dropout it is not balanced;
        evaluation knows neither.
    reconstruct : bool
        The targets are the inputs, as they were before any corruption: an autoencoder. Labels are not looked at.
        Needs ``loss="mse"`` or ``"sse"``.

    Notes
    -----
    Dropout: Srivastava et al. (2014), in the inverted form. Every sample of a mini-batch has draws of its own.
    """

    loss: Any = "cross_entropy"
    dropout: Any = 0.0
    input_dropout: float = 0.0
    corruption: Any = None
    reconstruct: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", resolve("loss", self.loss))
        if not isinstance(self.loss, Loss):
            raise TypeError(f"loss={self.loss!r} is not possible; give a Loss or its text")
        if isinstance(self.dropout, list):
            object.__setattr__(self, "dropout", tuple(self.dropout))
        several = isinstance(self.dropout, tuple)
        for rate in (self.input_dropout, *(self.dropout if several else (self.dropout,))):
            if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
                raise ValueError(f"a dropout of {rate!r} is not possible; use a number in [0, 1)")
        object.__setattr__(self, "corruption", resolve("corruption", self.corruption))
        if self.corruption is not None and not isinstance(self.corruption, Corruption):
            raise TypeError(f"corruption={self.corruption!r} is not possible; give a Corruption or its text")
        if self.reconstruct and not isinstance(self.loss, (SquaredError, SumOfSquares)):
            raise ValueError(f"reconstruct=True needs loss='mse' or 'sse', not {to_text(self.loss)!r}")

    def rates(self, n_layers: int) -> list[float]:
        """Dropout of every layer but the output, for `n_layers` layers with the input and the output."""
        hidden = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * (n_layers - 2)
        if len(hidden) != n_layers - 2:
            raise ValueError(f"dropout={self.dropout} has {len(hidden)} rates for {n_layers - 2} hidden layers")
        return [self.input_dropout, *hidden]

    def check(self, model: Model, y: np.ndarray | None) -> np.ndarray | None:
        if not isinstance(model, MLP):
            raise TypeError(f"Backprop trains an MLP, not a {type(model).__name__}; for an RBM use CD()")
        self.rates(len(model.units))
        if self.reconstruct:
            if model.output.n != model.n_features:
                raise ValueError(
                    f"reconstruct=True needs as many outputs as inputs, but the model has {model.output.n} and "
                    f"{model.n_features}"
                )
            self.loss.check(model, np.zeros((1, model.output.n)))
            return None
        if y is None:
            raise ValueError("an MLP needs targets: pass y")
        return self.loss.check(model, np.asarray(on_host(y)))

    def multiply_adds(self, counts: Sequence[int]) -> int:
        return 3 * sum(counts) - counts[0]  # forward, gradient, and back to all layers but the input

    def activities(self, sizes: Sequence[int]) -> int:
        masked = sum(n for n, rate in zip(sizes, self.rates(len(sizes))) if rate)  # a mask, and what it lets through
        corrupted = 0 if self.corruption is None else sizes[0]
        return sizes[0] + 2 * sum(sizes[1:]) + 2 * masked + corrupted

    def start(self, model: MLP, X: Samples, batch_size: int, weight: np.ndarray | None = None) -> Backpropagation:
        return Backpropagation(self, model)


class Backpropagation(Trainer):
    """`Backprop` at work on one model."""

    def __init__(self, settings: Backprop, model: MLP):
        self.settings = settings
        self._rates = settings.rates(len(model.units))
        self._arrays = Workspace(model.backend)
        self._blocks = Workspace(model.backend)  # evaluation has other batch sizes

    def signals(self, model: MLP, batch: Batch, draws: Draws) -> Signals:
        backend, n = model.backend, batch.x.shape[1]
        masks, x = self._masks(model, n, draws), batch.x
        if self.settings.corruption is not None:
            x = self.settings.corruption.corrupt(backend, x, draws.next(), self._arrays.array("corrupted", *x.shape))
        target = batch.x if self.settings.reconstruct else batch.y
        layers = model.layers(x, self._arrays, masks)
        activities = [layer.passed for layer in layers]
        delta = self._arrays.array("delta out", model.output.n, n)
        sums = self._loss(model, activities[-1], target, delta, batch.weight)
        deltas, others = [delta], []
        for place in range(len(model.connections) - 1, 0, -1):
            below = self._arrays.array(f"delta {place}", model.units[place].n, n)
            others += self._back(model, place, layers[place], masks.get(place), deltas[0], below)
            deltas.insert(0, below)
        return Signals(
            [
                Coactivity((SignedPair(1.0, a, delta),), seen)
                for a, delta, seen in zip(activities, deltas, zip(activities, activities[1:]))
            ],
            [[(1.0, delta)] for delta in deltas],
            n,
            sums,
            others,
        )

    def _masks(self, model: MLP, n: int, draws: Draws) -> dict[int, Any]:
        """What dropout leaves of every layer, by its place: 0 or ``1 / (1 - rate)``."""
        masks = {}
        for place, rate in enumerate(self._rates):
            if rate:
                mask = masks[place] = self._arrays.array(f"mask {place}", model.units[place].n, n)
                mask.fill(1 - rate)
                model.backend.bernoulli(draws.next(), mask, mask)
                mask *= 1 / (1 - rate)
        return masks

    def _back(
        self, model: MLP, place: int, layer: Layer, mask: Any, delta: Any, below: Any
    ) -> list[tuple[int, str, Any]]:
        """Carry `delta` back to the total inputs of layer `place`, into `below`; returns gradients of further slots."""
        backend, units, slots = model.backend, model.units[place], model.biases[place - 1]
        connections, gates = model.connections[place], slots.get("gate")
        plain = gates is None and not units.own
        slope = Gate(units.activation, layer.seen, units.slope) if plain else None
        backend.spmm_t(connections, connections.weight, delta, below, gate=slope)
        if mask is not None:
            below *= mask
        if plain:
            return []
        gradients = {}
        if gates is not None:
            product = backend.xp.multiply(below, layer.activity, out=self._arrays.array("gated", *below.shape))
            gradients["gate"] = backend.row_sums([(1 / below.shape[1], product)], backend.empty((units.n,)))
            below *= gates[:, None]
        gradients |= units.back(backend, slots, layer.seen, below, self._arrays)
        return [(place - 1, name, gradient) for name, gradient in gradients.items()]

    def _loss(self, model: MLP, output: Any, y: Any, delta: Any, weight: Any) -> dict[str, Any]:
        more = () if weight is None else (weight,)
        return self.settings.loss.value_and_delta(model.backend, model, output, y, delta, *more)

    def evaluate(self, model: MLP, X: Any, y: np.ndarray | None, weight: np.ndarray | None = None) -> dict[str, float]:
        """Mean loss, and accuracy for classifiers."""
        totals: dict[str, float] = {}
        for part, x in blocks(model.backend, X, model.widest):
            output = model.forward(x, self._blocks)[-1]
            delta = self._blocks.array("delta", *output.shape)
            target = x if y is None else self._on_device(model, y[part])
            weights = None if weight is None else model.backend.asarray(weight[part], np.float64)
            for name, value in self._loss(model, output, target, delta, weights).items():
                totals[name] = totals.get(name, 0.0) + float(value)
        return {name: total / len(X) for name, total in totals.items()}

    def _on_device(self, model: MLP, y: np.ndarray) -> Any:
        target = model.backend.asarray(y)
        return model.backend.xp.ascontiguousarray(target.T) if target.ndim == 2 else target
