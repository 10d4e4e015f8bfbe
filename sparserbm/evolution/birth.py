"""What weight a newborn connection has; all its other slots start at zero."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sparserbm.network.weights import WeightScale
from sparserbm.registry import register, resolve


class Birth(ABC):
    """Draws the weights of newborn connections."""

    @abstractmethod
    def draw(
        self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int, first: WeightScale | None
    ) -> np.ndarray:
        """Weights of newborns.

        Parameters
        ----------
        generator : numpy.random.Generator
        fan_in : (n_newborn,) int
            Connections of the post unit of each, after the rewire.
        n_pre : int
            Units on the input side.
        first : WeightScale or None
            The rule that drew the layer's first weights.
        """


@register("birth", "same")
@dataclass(frozen=True)
class Fresh(Birth):
    """From a weight scale: that of the layer's first weights (as SET does), or `scale` where given."""

    scale: WeightScale | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", resolve("weights", self.scale))

    def draw(
        self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int, first: WeightScale | None
    ) -> np.ndarray:
        scale = self.scale if self.scale is not None else first
        if not isinstance(scale, WeightScale):
            raise ValueError('this layer has no weight scale to draw newborns from; use birth="same(normal(0.05))"')
        return scale.draw(generator, fan_in, n_pre)


@register("birth", "zero")
@dataclass(frozen=True)
class ZeroBirth(Birth):
    """0: the network computes the same right after the rewire. Under `SignedMagnitude` a newborn that has not
    moved by the next event is the first to go."""

    def draw(
        self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int, first: WeightScale | None
    ) -> np.ndarray:
        return np.zeros(len(fan_in))
