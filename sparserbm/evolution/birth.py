"""What weight a newborn connection has; all its other slots start at zero."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sparserbm.network.weights import WeightScale
from sparserbm.registry import register, resolve


@dataclass(frozen=True)
class Newborns:
    """What a birth rule may know of the connections that it gives weights to.

    Attributes
    ----------
    fan_in : (n_newborn,) int
        Connections of the post unit of each, after the rewire.
    n_pre : int
        Units on the input side.
    first : WeightScale or None
        The rule that drew the layer's first weights.
    gradient : (n_newborn,) float or None
        Of the last mini-batch at their places, for rules that look at it.
    """

    fan_in: np.ndarray
    n_pre: int
    first: WeightScale | None
    gradient: np.ndarray | None = None


class Birth(ABC):
    """Draws the weights of newborn connections."""

    needs_batches: ClassVar[bool] = False  # such a rule works in training only

    @abstractmethod
    def draw(self, generator: np.random.Generator, newborns: Newborns) -> np.ndarray:
        """A weight for each of the newborns."""


@register("birth", "same")
@dataclass(frozen=True)
class Fresh(Birth):
    """From a weight scale: that of the layer's first weights (as SET does), or `scale` where given."""

    scale: WeightScale | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", resolve("weights", self.scale))

    def draw(self, generator: np.random.Generator, newborns: Newborns) -> np.ndarray:
        scale = self.scale if self.scale is not None else newborns.first
        if not isinstance(scale, WeightScale):
            raise ValueError('this layer has no weight scale to draw newborns from; use birth="same(normal(0.05))"')
        return scale.draw(generator, newborns.fan_in, newborns.n_pre)


@register("birth", "zero")
@dataclass(frozen=True)
class ZeroBirth(Birth):
    """0: the network computes the same right after the rewire. Under `SignedMagnitude` a newborn that has not
    moved by the next event is the first to go."""

    def draw(self, generator: np.random.Generator, newborns: Newborns) -> np.ndarray:
        return np.zeros(len(newborns.fan_in))


@register("birth", "gradient_sign")
@dataclass(frozen=True)
class GradientSign(Fresh):
    """As `Fresh`, with the sign that makes the loss smaller: against that of the gradient at the place.

    Where the gradient is exactly 0, the drawn sign stays.
    """

    needs_batches: ClassVar[bool] = True

    def draw(self, generator: np.random.Generator, newborns: Newborns) -> np.ndarray:
        drawn = super().draw(generator, newborns)
        assert newborns.gradient is not None
        return np.where(newborns.gradient == 0, drawn, -np.sign(newborns.gradient) * np.abs(drawn))
