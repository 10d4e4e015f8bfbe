"""What a denoising autoencoder does to its inputs before it has to bring them back (Vincent et al. 2008)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from sparserbm.backends import Backend
from sparserbm.registry import register
from sparserbm.rng import DrawKey


class Corruption(ABC):
    """A random change of the inputs of a training step, drawn anew for every sample of every step."""

    @abstractmethod
    def corrupt(self, backend: Backend, x: Any, key: DrawKey, out: Any) -> Any:
        """Write a corrupted copy of `x`, (n_features, n_samples), into `out`, and return that."""


@register("corruption", "masking")
@dataclass(frozen=True)
class Masking(Corruption):
    """Set a share of the inputs to 0 (Vincent et al. 2008, section 2.3).

    Unlike dropout, what is left is not scaled up: the missing values are what there is to learn.

    Parameters
    ----------
    share : float in [0, 1)
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, (int, float)) or not 0 <= self.share < 1:
            raise ValueError(f"masking a share of {self.share!r} is not possible; use a number in [0, 1)")

    def corrupt(self, backend: Backend, x: Any, key: DrawKey, out: Any) -> Any:
        out.fill(1 - self.share)
        backend.bernoulli(key, out, out)
        out *= x
        return out


@register("corruption", "gaussian")
@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Add normal noise to every input (Vincent et al. 2010, section 3.3).

    Parameters
    ----------
    sigma : float, at least 0
        Standard deviation, in the unit of the inputs.
    """

    sigma: float = 0.2

    def __post_init__(self) -> None:
        if (
            isinstance(self.sigma, bool)
            or not isinstance(self.sigma, (int, float))
            or not 0 <= self.sigma < float("inf")
        ):
            raise ValueError(f"noise of sigma={self.sigma!r} is not possible; use a number of at least 0")

    def corrupt(self, backend: Backend, x: Any, key: DrawKey, out: Any) -> Any:
        backend.normal(key, out)
        out *= float(self.sigma)
        out += x
        return out
