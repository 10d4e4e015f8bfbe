"""Losses of the MLP; each stands beside its gradient with respect to the total input of the output layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import Backend
from sparserbm.data.scaling import check_features
from sparserbm.models.mlp import MLP
from sparserbm.network.units import Bernoulli, Sigmoid, Softmax
from sparserbm.registry import register

SMALLEST = 1e-30  # keeps log(p) finite in float32; its logarithm is -69


class Loss(ABC):
    """A loss per sample, averaged over the batch."""

    @abstractmethod
    def check(self, model: MLP, y: np.ndarray) -> np.ndarray:
        """The targets as `value_and_delta` wants them, or an error if model and targets do not fit."""

    @abstractmethod
    def value_and_delta(
        self, backend: Backend, model: MLP, output: Any, y: Any, delta: Any, weight: Any = None
    ) -> dict[str, Any]:
        """Sums over the batch, and the gradient of each sample's loss for the total input, written into `delta`.

        Parameters
        ----------
        output : (n_outputs, n_samples)
            Activity of the output layer.
        y : (n_samples,) int or (n_outputs, n_samples) float
        delta : (n_outputs, n_samples)
        weight : (n_samples,), optional
            How much each sample counts, in the sums and in `delta`.
        """


@register("loss", "cross_entropy")
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """``-log p(class)`` for Softmax outputs and class numbers; ``-t log a - (1 - t) log(1 - a)``, summed over
    outputs, for Sigmoid outputs. Both have the gradient ``a - t``."""

    def check(self, model: MLP, y: np.ndarray) -> np.ndarray:
        n = model.output.n
        if isinstance(model.output, Softmax):
            if y.ndim != 1 or y.dtype.kind not in "iu":
                raise ValueError(
                    f"Softmax outputs need class numbers, (n_samples,) integers; y has {y.dtype} {y.shape}"
                )
            if y.size and (y.min() < 0 or y.max() >= n):
                raise ValueError(
                    f"y has classes from {y.min()} to {y.max()}, but the model has {n} outputs: 0 to {n - 1}"
                )
            return y.astype(np.int64)
        if isinstance(model.output, (Sigmoid, Bernoulli)):
            y = _columns(y, n)
            if y.min() < 0 or y.max() > 1:
                raise ValueError(f"Sigmoid outputs need targets in [0, 1]; y goes from {y.min():g} to {y.max():g}")
            return y
        raise ValueError(
            f"cross-entropy needs Softmax or Sigmoid outputs, not {type(model.output).__name__}; use loss='mse'"
        )

    def value_and_delta(
        self, backend: Backend, model: MLP, output: Any, y: Any, delta: Any, weight: Any = None
    ) -> dict[str, Any]:
        if isinstance(model.output, Softmax):
            loss, correct = backend.class_error(output, y, delta, SMALLEST)
            if weight is None:
                return {"loss": loss, "accuracy": correct}
            delta *= weight
            logs = backend.xp.log(backend.xp.maximum(output[y, backend.xp.arange(len(y))], SMALLEST))
            return {"loss": -_sum(logs, weight), "accuracy": _sum(output.argmax(axis=0) == y, weight)}
        xp = backend.xp
        delta[...] = output
        delta -= y
        logs = y * xp.log(xp.maximum(output, SMALLEST)) + (1 - y) * xp.log(xp.maximum(1 - output, SMALLEST))
        correct = ((output > 0.5) == (y > 0.5)).all(axis=0)
        if weight is not None:
            delta *= weight
        return {"loss": -_sum(logs, weight), "accuracy": _sum(correct, weight)}


@register("loss", "mse")
@dataclass(frozen=True)
class SquaredError(Loss):
    """Mean squared error over samples and outputs; gradient ``2 / n_outputs * (a - t) * f'(z)``."""

    def check(self, model: MLP, y: np.ndarray) -> np.ndarray:
        if isinstance(model.output, Softmax):
            raise ValueError("mean squared error needs elementwise outputs (linear, sigmoid, tanh, ReLU), not Softmax")
        return _columns(y, model.output.n)

    def value_and_delta(
        self, backend: Backend, model: MLP, output: Any, y: Any, delta: Any, weight: Any = None
    ) -> dict[str, Any]:
        return _squares(backend, model, output, y, delta, 1.0 / model.output.n, weight)


@register("loss", "sse")
@dataclass(frozen=True)
class SumOfSquares(Loss):
    """Half the sum of the squared errors of all outputs, averaged over samples; gradient ``(a - t) * f'(z)``.

    The loss of autoencoders: a learning rate means the same for 64 outputs and for 784.
    """

    def check(self, model: MLP, y: np.ndarray) -> np.ndarray:
        return SquaredError().check(model, y)

    def value_and_delta(
        self, backend: Backend, model: MLP, output: Any, y: Any, delta: Any, weight: Any = None
    ) -> dict[str, Any]:
        return _squares(backend, model, output, y, delta, 0.5, weight)


def _squares(
    backend: Backend, model: MLP, output: Any, y: Any, delta: Any, factor: float, weight: Any
) -> dict[str, Any]:
    """``factor`` times the squared errors, and their gradient in `delta`."""
    backend.xp.subtract(output, y, out=delta)
    if weight is None:
        loss = factor * backend.squared_error(output, y)
    else:
        loss = factor * _sum(delta * delta, weight)
        delta *= weight
    if factor != 0.5:
        delta *= 2.0 * factor
    if model.output.activation != "linear":
        backend.gate(model.output.activation, output, delta, model.output.slope)
    return {"loss": loss}


def _sum(values: Any, weight: Any) -> Any:
    """Sum over the samples, (..., n_samples), of values times weights."""
    return (values if weight is None else values * weight).sum(dtype=float)


def _columns(y: np.ndarray, n_outputs: int) -> np.ndarray:
    y = y.reshape(-1, 1) if y.ndim == 1 else y
    if y.ndim != 2 or y.shape[1] != n_outputs:
        raise ValueError(f"y has shape {y.shape}, but the model has {n_outputs} outputs: use (n_samples, {n_outputs})")
    return check_features(y, "y").astype(np.float64)
