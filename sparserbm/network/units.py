"""Types of neurons: their mean, how to draw them, their derivative and their log-partition.

A unit type is a frozen dataclass that holds the number of units; states and biases live in the model. The same
classes serve as visible and hidden units of an RBM and as layers of an MLP; a type that cannot play a part says so.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparserbm.backends import Backend
from sparserbm.registry import register
from sparserbm.rng import DrawKey


@dataclass(frozen=True)
class Units(ABC):
    """`n` units of one type.

    Attributes
    ----------
    activation : str
        The mean as a function of the total input, by the name that the kernels know.
    stochastic : bool
        Whether the type has a distribution (can be part of an RBM).
    """

    n: int
    activation: ClassVar[str] = "linear"
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, (int, np.integer)) or self.n < 1:
            raise ValueError(f"{type(self).__name__}({self.n!r}): the number of units must be an integer of at least 1")
        object.__setattr__(self, "n", int(self.n))  # NumPy's integers have no JSON

    def draw(self, backend: Backend, mean: Any, key: DrawKey, out: Any) -> Any:
        """Draw states around `mean`, (n, n_samples), into `out`."""
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")

    def log_partition(self, backend: Backend, z: Any, out: Any) -> Any:
        """``log sum_s exp(s * z)`` over the states s of each unit, up to a constant; (n, n_samples) into `out`."""
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")

    def energy(self, backend: Backend, state: Any, bias: Any) -> Any:
        """Energy of the states without their connections, summed over units; (n_samples,)."""
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")

    def statistic(self, state: Any) -> Any:
        """What a connection sees of the states: the quantity that multiplies weight and other unit in the energy."""
        return state

    def check_data(self, smallest: float, largest: float) -> None:
        """Raise ValueError if data with these extremes cannot be states of visible units of this type."""

    def bias_for(self, mean: np.ndarray) -> np.ndarray:
        """Biases for which units without connections have this mean; (n,)."""
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")


@register("unit", "bernoulli")
@dataclass(frozen=True)
class Bernoulli(Units):
    """States 0 and 1; the mean is ``sigmoid(z)``. Data may be probabilities of [0, 1]."""

    activation: ClassVar[str] = "sigmoid"
    stochastic: ClassVar[bool] = True

    def draw(self, backend: Backend, mean: Any, key: DrawKey, out: Any) -> Any:
        return backend.bernoulli(key, mean, out)

    def log_partition(self, backend: Backend, z: Any, out: Any) -> Any:
        return backend.softplus(z, out)

    def energy(self, backend: Backend, state: Any, bias: Any) -> Any:
        return -(bias @ state)

    def check_data(self, smallest: float, largest: float) -> None:
        if smallest < 0 or largest > 1:
            raise ValueError(
                f"Bernoulli units need values in [0, 1], but X has values from {smallest:.6g} to {largest:.6g}; scale "
                f'the data (scale="unit" when loading, scale=True in SparseRBM, MinMaxScaler) or use Gaussian units'
            )

    def bias_for(self, mean: np.ndarray) -> np.ndarray:
        clipped = np.clip(mean, 1e-3, 1 - 1e-3)
        return np.log(clipped) - np.log1p(-clipped)


@register("unit", "gaussian")
@dataclass(frozen=True)
class Gaussian(Units):
    """Real states with the fixed standard deviation `sigma`; the mean is ``z`` (Cho, Ilin and Raiko 2011, eq. 1-3).

    A connection sees ``state / sigma**2``, so that the mean given the other side is ``bias + W h``.
    """

    sigma: float = 1.0
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"sigma={self.sigma} is not possible for Gaussian units; use a number above 0")

    def draw(self, backend: Backend, mean: Any, key: DrawKey, out: Any) -> Any:
        noise = backend.normal(key, backend.empty(mean.shape))
        out[...] = mean + backend.dtype.type(self.sigma) * noise
        return out

    def log_partition(self, backend: Backend, z: Any, out: Any) -> Any:
        out[...] = z**2 / float(2 * self.sigma**2)
        return out

    def energy(self, backend: Backend, state: Any, bias: Any) -> Any:
        return ((state - bias[:, None]) ** 2).sum(axis=0) / (2 * self.sigma**2)

    def statistic(self, state: Any) -> Any:
        return state if self.sigma == 1.0 else state / float(self.sigma**2)

    def bias_for(self, mean: np.ndarray) -> np.ndarray:
        return np.asarray(mean)


@register("unit", "relu")
@dataclass(frozen=True)
class ReLU(Units):
    """``max(z, 0)``."""

    activation: ClassVar[str] = "relu"


@register("unit", "sigmoid")
@dataclass(frozen=True)
class Sigmoid(Units):
    """``1 / (1 + exp(-z))``, without draws; for draws take `Bernoulli`."""

    activation: ClassVar[str] = "sigmoid"


@register("unit", "tanh")
@dataclass(frozen=True)
class Tanh(Units):
    """``tanh(z)``."""

    activation: ClassVar[str] = "tanh"


@register("unit", "linear")
@dataclass(frozen=True)
class Identity(Units):
    """``z`` itself: the output layer of a regression. (The name `Linear` belongs to the schedule.)"""


@register("unit", "softmax")
@dataclass(frozen=True)
class Softmax(Units):
    """One of n states: ``exp(z_j) / sum_k exp(z_k)``; the output layer of a classifier."""

    activation: ClassVar[str] = "linear"
