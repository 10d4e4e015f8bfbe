"""Weight scales: the distribution that the first weights (and, if wanted, those of newborns) come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sparserbm.registry import register


class WeightScale(ABC):
    """Draws weights for connections, given how many inputs their post units have."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int) -> np.ndarray:
        """One weight for each connection.

        Parameters
        ----------
        generator : numpy.random.Generator
        fan_in : (n,) int
            Connections of the post unit of each connection.
        n_pre : int
            Units on the input side, connected or not.

        Returns
        -------
        (n,) float64
        """


@register("weights", "normal")
@dataclass(frozen=True)
class Normal(WeightScale):
    """N(0, sigma**2)."""

    sigma: float

    def draw(self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int) -> np.ndarray:
        return generator.normal(0.0, self.sigma, len(fan_in))


@register("weights", "zero")
@dataclass(frozen=True)
class Zero(WeightScale):
    """All 0: for biases, and for newborns that must not change what the network computes."""

    def draw(self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int) -> np.ndarray:
        return np.zeros(len(fan_in))


@register("weights", "he_sparse")
@dataclass(frozen=True)
class HeSparse(WeightScale):
    """N(0, 2 / fan_in) with the real number of inputs of each unit (He et al. 2015, equation 10)."""

    def draw(self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int) -> np.ndarray:
        return generator.normal(0.0, 1.0, len(fan_in)) * np.sqrt(2.0 / np.maximum(fan_in, 1))


@register("weights", "he_dense")
@dataclass(frozen=True)
class HeDense(WeightScale):
    """N(0, 2 / n_pre), as if the layer were dense.

    The regularization study drew its weights so; at 5 % density activations start about five times too small.
    """

    def draw(self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int) -> np.ndarray:
        return generator.normal(0.0, np.sqrt(2.0 / n_pre), len(fan_in))


@register("weights", "uniform_dense")
@dataclass(frozen=True)
class UniformDense(WeightScale):
    """U(-1 / sqrt(n_pre), 1 / sqrt(n_pre)), the default of PyTorch's linear layer for weights and biases."""

    def draw(self, generator: np.random.Generator, fan_in: np.ndarray, n_pre: int) -> np.ndarray:
        limit = 1.0 / np.sqrt(n_pre)
        return generator.uniform(-limit, limit, len(fan_in))


@register("weights", "set")
def set_mlp_weights() -> Normal:
    """N(0, 0.1**2), as the SET-MLP code."""
    return Normal(0.1)


@register("weights", "set_rbm")
def set_rbm_weights() -> Normal:
    """N(0, 0.05**2), as the SET-RBM code."""
    return Normal(0.05)


@register("weights", "hinton")
def hinton_weights() -> Normal:
    """N(0, 0.01**2), the advice of Hinton (2012), section 8, for dense RBMs."""
    return Normal(0.01)
