"""Types of neurons: their mean, how to draw them, their derivative and their log-partition.

A unit type is a frozen dataclass that holds the number of units; states and biases live in the model. The same
classes serve as visible and hidden units of an RBM and as layers of an MLP; a type that cannot play a part says so.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sparserbm.backends import Backend, Workspace
from sparserbm.registry import parse, register
from sparserbm.rng import DrawKey


@dataclass(frozen=True)
class Units(ABC):
    """`n` units of one type.

    Attributes
    ----------
    activation : str
        The mean as a function of the total input, by the name that the kernels know.
    slope : float
        Of ``"relu"`` below 0.
    fused : bool
        Whether that is all there is to know, so that products apply the activation and, from the activity alone, its
        derivative. Otherwise `activate` and `back` do, from the total input.
    stochastic : bool
        Whether the type has a distribution (can be part of an RBM).
    own : dict of str to float
        Slots that every unit has beside its bias, with their first value; they are trained like the bias.
    """

    n: int
    activation: ClassVar[str] = "linear"
    slope: ClassVar[float] = 0.0
    stochastic: ClassVar[bool] = False
    own: ClassVar[Mapping[str, float]] = {}

    @property
    def fused(self) -> bool:
        return True

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, (int, np.integer)) or self.n < 1:
            raise ValueError(f"{type(self).__name__}({self.n!r}): the number of units must be an integer of at least 1")
        object.__setattr__(self, "n", int(self.n))  # NumPy's integers have no JSON

    def activate(self, backend: Backend, slots: Any, total: Any, out: Any, arrays: Workspace) -> None:
        """Write the activity for total inputs `total` into `out`, both (n, n_samples).

        Parameters
        ----------
        slots : Slots
            Of these units, those of `own` included.
        arrays : Workspace
            For arrays that nobody needs afterwards.
        """
        out[...] = total
        backend.activate(self.activation, out, self.slope)

    def back(self, backend: Backend, slots: Any, seen: Any, delta: Any, arrays: Workspace) -> dict[str, Any]:
        """Turn the gradient for the activity into that for the total input, in place.

        Parameters
        ----------
        slots, arrays
            As in `activate`.
        seen : (n, n_samples)
            The activity; the total input where the type is not `fused`.
        delta : (n, n_samples)

        Returns
        -------
        dict of str to (n,)
            Gradients of the slots of `own`, means over the samples.
        """
        if self.activation != "linear":
            backend.gate(self.activation, seen, delta, self.slope)
        return {}

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


@register("unit", "leaky_relu")
@dataclass(frozen=True)
class LeakyReLU(Units):
    """``z`` above 0, ``slope * z`` below (Maas, Hannun and Ng 2013).

    Parameters
    ----------
    n : int
    slope : float
        Finite. Below 0 the total inputs are kept for the way back, since the activity has lost their sign: one more
        array and one more pass; such units cannot be the output layer.
    """

    slope: float = 0.01  # type: ignore[misc]
    activation: ClassVar[str] = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not np.isfinite(self.slope):
            raise ValueError(f"slope={self.slope} is not possible for {type(self).__name__}; use a finite number")
        object.__setattr__(self, "slope", float(self.slope))  # kernels are compiled for this type alone

    @property
    def fused(self) -> bool:
        return self.slope >= 0


@register("unit", "all_relu")
@dataclass(frozen=True)
class AllReLU(LeakyReLU):
    """A leaky ReLU of a network whose hidden layers have slopes of alternating sign (Curci, Mocanu and Pechenizkiy
    2021, "Truly sparse neural networks at scale"; slopes of 0.6 and 0.75 there).

    A layer has the slope that it is given, whatever its place: ``MLP(784, AllReLU(512, -0.6), AllReLU(128, 0.6),
    Softmax(10))``. `hidden_layers` alternates the signs, as recipes and estimators do.
    """

    slope: float = 0.6  # type: ignore[misc]


@register("unit", "srelu")
@dataclass(frozen=True)
class SReLU(Units):
    """An S-shaped ReLU: ``z`` between two thresholds, beyond each a straight line with a slope of its own.

    Every unit learns its four numbers: ``t_left`` (first 0), ``a_left`` (0), ``t_right`` (1) and ``a_right`` (1), so
    that it begins as a ReLU. For hidden layers of an MLP. The total inputs are kept for the way back, and both ways
    take several passes over the activities.

    Notes
    -----
    Source: Jin et al. (2016), equation 1. As in the Keras layer that the SET code uses, the right threshold is
    ``t_left + |t_right|``, so that the thresholds cannot cross. That layer draws the first ``a_left`` and ``t_right``;
    the paper begins as a leaky ReLU and, some epochs later, sets ``t_right`` to one of the largest inputs of the unit.
    """

    own: ClassVar[Mapping[str, float]] = {"t_left": 0.0, "a_left": 0.0, "t_right": 1.0, "a_right": 1.0}

    @property
    def fused(self) -> bool:
        return False

    def activate(self, backend: Backend, slots: Any, total: Any, out: Any, arrays: Workspace) -> None:
        beyond = arrays.array("beyond a threshold", *total.shape)
        out[...] = total
        for side in ("left", "right"):
            self._beyond(backend, slots, side, total, beyond)
            beyond *= (slots[f"a_{side}"] - 1)[:, None]
            out += beyond

    def back(self, backend: Backend, slots: Any, seen: Any, delta: Any, arrays: Workspace) -> dict[str, Any]:
        xp, mean = backend.xp, 1.0 / delta.shape[1]
        beyond, product = (arrays.array(name, *delta.shape) for name in ("beyond a threshold", "of a threshold"))
        gradients = {}
        for side in ("left", "right"):
            self._beyond(backend, slots, side, seen, beyond)
            xp.multiply(beyond, delta, out=product)
            gradients[f"a_{side}"] = backend.row_sums([(mean, product)], backend.empty((self.n,)))
            xp.abs(xp.sign(beyond, out=beyond), out=beyond)
            beyond *= delta
            beyond *= (slots[f"a_{side}"] - 1)[:, None]
            gradients[f"t_{side}"] = backend.row_sums([(-mean, beyond)], backend.empty((self.n,)))
            delta += beyond  # the sides do not overlap: the other one finds its part of delta as it was
        gradients["t_left"] += gradients["t_right"]  # the right threshold stands at t_left + |t_right|
        gradients["t_right"] *= xp.sign(slots["t_right"])
        return gradients

    def _beyond(self, backend: Backend, slots: Any, side: str, total: Any, out: Any) -> None:
        """How far `total` lies beyond the threshold of a side, 0 where it does not; negative on the left."""
        xp, threshold = backend.xp, slots["t_left"]
        if side == "right":
            threshold = threshold + xp.abs(slots["t_right"])
        xp.subtract(total, threshold[:, None], out=out)
        (xp.minimum if side == "left" else xp.maximum)(out, 0, out=out)


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


def units_from(text: str, n: int) -> Units:
    """`n` units of a type, named with or without further arguments: ``"gaussian(sigma=0.5)"``."""
    name, _, rest = text.strip().removesuffix(")").partition("(")
    return parse("unit", f"{name}({n}, {rest})" if rest else f"{name}({n})")


def hidden_layers(text: str, sizes: Sequence[int]) -> list[Units]:
    """Layers of one type, as `units_from` reads it.

    Those of `AllReLU` have slopes of alternating sign, ``-slope`` in the first, as in the code of Curci et al. (2021).
    """
    layers = [units_from(text, n) for n in sizes]
    for number, units in enumerate(layers):
        if isinstance(units, AllReLU) and number % 2 == 0:
            layers[number] = replace(units, slope=-units.slope)
    return layers
