"""What a trainer is: it turns a mini-batch into coactivity. Contrastive divergence and backpropagation are the two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sparserbm.data.batches import Batch
from sparserbm.data.sources import Samples
from sparserbm.models.base import Model
from sparserbm.network.coactivity import Coactivity
from sparserbm.rng import Draws


@dataclass(frozen=True)
class Signals:
    """What one mini-batch says, on the device; valid until the next one.

    Attributes
    ----------
    coactivity : list of Coactivity
        One for every matrix of connections: the gradient of the mean loss.
    biases : list of lists of (float, (n_units, n_samples))
        For every one of the model's biases the signed activities whose means are its gradient.
    n_samples : int
    others : list of (int, str, (n_units,))
        Gradients of further slots of the units: number among the model's biases, name, mean gradient.
    sums : dict of str to scalar
        Quantities summed over the batch, e.g. ``"loss"``; read back once an epoch.
    """

    coactivity: list[Coactivity]
    biases: list[list[tuple[float, Any]]]
    n_samples: int
    sums: dict[str, Any] = field(default_factory=dict)
    others: list[tuple[int, str, Any]] = field(default_factory=list)


class Trainer(ABC):
    """An algorithm at work on one model, with the arrays that it uses again and again."""

    @abstractmethod
    def signals(self, model: Any, batch: Batch, draws: Draws) -> Signals:
        """Coactivity, bias terms and loss of a mini-batch."""

    @abstractmethod
    def evaluate(self, model: Any, X: Any, y: np.ndarray | None, weight: np.ndarray | None = None) -> dict[str, float]:
        """Means over given data, `X` on host or device or a `Source`, without training, e.g. ``{"loss": ...}``.

        With `weight`, (n_samples,) of mean 1, those of the weighted samples.
        """

    def compare(self, model: Any, X: Any, validation: Any) -> dict[str, float]:
        """Quantities that need training and validation data at once."""
        return {}

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that a later step depends on, for the checkpoint."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave."""


class Algorithm(ABC):
    """Settings of a trainer: a rule with a text."""

    takes_missing: ClassVar[bool] = False  # whether NaN in X may stand for values that are missing

    @abstractmethod
    def check(self, model: Model, y: np.ndarray | None) -> np.ndarray | None:
        """Check that model and targets fit; returns the targets as the trainer wants them."""

    @abstractmethod
    def multiply_adds(self, counts: Sequence[int]) -> int:
        """Multiply-adds for one sample of a mini-batch, given the connections of every matrix."""

    @abstractmethod
    def activities(self, sizes: Sequence[int]) -> int:
        """Activities held for one sample of a mini-batch, given the units of every layer (the input included)."""

    @abstractmethod
    def start(self, model: Any, X: Samples, batch_size: int, weight: np.ndarray | None = None) -> Trainer:
        """A trainer for `model`; an untrained model may be prepared with the data, and their weights of mean 1."""
