"""Types of neurons: their mean, how to draw them, their derivative and their log-partition.

A unit type is a frozen dataclass that holds the number of units; states and biases live in the model. The same
classes serve as visible and hidden units of an RBM and as layers of an MLP; a type that cannot play a part says so.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from sparserbm.backends import Backend, Workspace
from sparserbm.registry import parse, register, resolve
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
    observable : bool
        Of a stochastic type: whether its states can be data, those of visible units.
    real : bool
        Of a stochastic type: whether states are real numbers of both signs.
    own : dict of str to float or (n,)
        Slots that every unit has beside its bias, with their first value; they are trained like the bias.

    Notes
    -----
    A stochastic type has an energy for its states, in which `z` stands for the bias and what the connections bring,
    and a connection sees a multiple of the state, the statistic: ``p(s | z)`` is proportional to
    ``exp(-energy(s) + statistic(s) * (z - bias))``.
    """

    n: int
    activation: ClassVar[str] = "linear"
    slope: ClassVar[float] = 0.0
    stochastic: ClassVar[bool] = False
    observable: ClassVar[bool] = True
    real: ClassVar[bool] = False
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

    # -- of a stochastic type; arrays are (n, n_samples), `slots` those of these units --------------------------------

    def conditional(self, backend: Backend, slots: Any, z: Any, key: DrawKey | None = None, sample: Any = None) -> Any:
        """Turn total inputs `z` into means, in place; with `sample`, draw states into it, which needs `key`."""
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")

    def log_partition(self, backend: Backend, slots: Any, z: Any, out: Any) -> Any:
        """``log sum_s exp(-energy(s) + statistic(s) * (z - bias))`` over the states s of each unit, into `out`.

        An integral where states are real. Only the sum over the units has a meaning where they depend on each other.
        """
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")

    def energy(self, backend: Backend, slots: Any, state: Any) -> Any:
        """Energy of the states without their connections, summed over units; (n_samples,)."""
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")

    def statistic(self, backend: Backend, slots: Any, state: Any) -> Any:
        """What a connection sees of the states: the quantity that multiplies weight and other unit in the energy."""
        return state

    def slopes(self, backend: Backend, slots: Any, state: Any, field: Any) -> dict[str, Any]:
        """Derivatives of the energy by the slots of `own`, where the connections bring `field`."""
        return {}

    def bound(self, backend: Backend, slots: Any) -> None:
        """Bring slots of `own` that training took beyond their range back to its end, in place."""

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError if rows of `X`, (n_samples, n), cannot be states of visible units of this type."""

    def slots_for(self, mean: np.ndarray, variance: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Slots with which units without connections have this mean and, if `own` needs it, this variance."""
        raise NotImplementedError(f"{type(self).__name__} units have no distribution")


@register("unit", "bernoulli")
@dataclass(frozen=True)
class Bernoulli(Units):
    """States 0 and 1; the mean is ``sigmoid(z)``. Data may be probabilities of [0, 1]."""

    activation: ClassVar[str] = "sigmoid"
    stochastic: ClassVar[bool] = True

    def conditional(self, backend: Backend, slots: Any, z: Any, key: DrawKey | None = None, sample: Any = None) -> Any:
        backend.activate("sigmoid", z)
        if sample is not None and key is not None:
            backend.bernoulli(key, z, sample)
        return z

    def log_partition(self, backend: Backend, slots: Any, z: Any, out: Any) -> Any:
        return backend.softplus(z, out)

    def energy(self, backend: Backend, slots: Any, state: Any) -> Any:
        return -(slots["bias"] @ state)

    def check_data(self, X: np.ndarray) -> None:
        smallest, largest = float(X.min()), float(X.max())
        if smallest < 0 or largest > 1:
            raise ValueError(
                f"Bernoulli units need values in [0, 1], but X has values from {smallest:.6g} to {largest:.6g}; scale "
                f'the data (scale="unit" when loading, scale=True in SparseRBM, MinMaxScaler) or use Gaussian units'
            )

    def slots_for(self, mean: np.ndarray, variance: np.ndarray | None = None) -> dict[str, np.ndarray]:
        clipped = np.clip(mean, 1e-3, 1 - 1e-3)
        return {"bias": np.log(clipped) - np.log1p(-clipped)}


@register("unit", "gaussian")
@dataclass(frozen=True)
class Gaussian(Units):
    """Real states with the standard deviation `sigma`; the mean is ``z`` (Cho, Ilin and Raiko 2011, eq. 1-3).

    The energy is ``(s - bias)**2 / (2 * sigma**2)``, and a connection sees ``s / sigma**2``, so that the mean given
    the other side is ``bias + W h``.

    Parameters
    ----------
    n : int
    sigma : float
        Above 0.
    learned : bool
        Give every unit a standard deviation of its own, ``exp(log_variance / 2)``, that is trained: the slot
        ``"log_variance"`` (section 3.2 there). It begins at `sigma`, or at that of the data where the biases of `CD`
        begin at the data. Use smaller learning rates than for a fixed sigma.
    smallest : float
        Above 0: learned standard deviations stay at least this large, in the units of the data. Those of features that
        never change, or that hidden units predict exactly, would fall without end, and ``s / sigma**2`` explode.
    """

    sigma: float = 1.0
    learned: bool = False
    smallest: float = 0.1
    stochastic: ClassVar[bool] = True
    real: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"sigma={self.sigma} is not possible for Gaussian units; use a number above 0")
        if self.learned and not 0 < self.smallest <= self.sigma:
            raise ValueError(
                f"smallest={self.smallest} is not possible for Gaussian units; use a number above 0, at most sigma, "
                f"here {self.sigma}"
            )

    @property
    def own(self) -> Mapping[str, float]:  # type: ignore[override]
        return {"log_variance": 2 * float(np.log(self.sigma))} if self.learned else {}

    @property
    def _lowest(self) -> float:
        return 2 * float(np.log(self.smallest))

    def _log_variance(self, backend: Backend, slots: Any) -> Any:
        """(n, 1), or a number."""
        if not self.learned:
            return 2 * float(np.log(self.sigma))
        return backend.xp.maximum(slots["log_variance"], backend.dtype.type(self._lowest))[:, None]

    def _variance(self, backend: Backend, slots: Any) -> Any:
        return backend.xp.exp(self._log_variance(backend, slots)) if self.learned else float(self.sigma**2)

    def bound(self, backend: Backend, slots: Any) -> None:
        if self.learned:
            values = slots["log_variance"]
            backend.xp.maximum(values, backend.dtype.type(self._lowest), out=values)

    def conditional(self, backend: Backend, slots: Any, z: Any, key: DrawKey | None = None, sample: Any = None) -> Any:
        if sample is not None and key is not None:
            backend.normal(key, sample)
            sample *= backend.xp.exp(0.5 * self._log_variance(backend, slots)) if self.learned else float(self.sigma)
            sample += z
        return z

    def log_partition(self, backend: Backend, slots: Any, z: Any, out: Any) -> Any:
        out[...] = (z**2 - slots["bias"][:, None] ** 2) / (2 * self._variance(backend, slots))
        out += 0.5 * (self._log_variance(backend, slots) + float(np.log(2 * np.pi)))
        return out

    def energy(self, backend: Backend, slots: Any, state: Any) -> Any:
        return ((state - slots["bias"][:, None]) ** 2 / (2 * self._variance(backend, slots))).sum(axis=0)

    def statistic(self, backend: Backend, slots: Any, state: Any) -> Any:
        return state if self.sigma == 1.0 and not self.learned else state / self._variance(backend, slots)

    def slopes(self, backend: Backend, slots: Any, state: Any, field: Any) -> dict[str, Any]:
        if not self.learned:
            return {}
        slope = state - slots["bias"][:, None]
        slope *= slope
        slope *= -0.5
        slope += state * field
        slope /= self._variance(backend, slots)
        return {"log_variance": slope}

    def slots_for(self, mean: np.ndarray, variance: np.ndarray | None = None) -> dict[str, np.ndarray]:
        found = {"bias": np.asarray(mean)}
        if self.learned and variance is not None:  # features that never change begin like others that hardly do
            found["log_variance"] = np.log(np.maximum(variance, max(0.1 * float(np.mean(variance)), self.smallest**2)))
        return found


class _OfRBM(Units):
    """A type whose mean is no function of one total input that the kernels know, and which only RBMs have."""

    stochastic: ClassVar[bool] = True

    @property
    def fused(self) -> bool:
        return False

    def activate(self, backend: Backend, slots: Any, total: Any, out: Any, arrays: Workspace) -> None:
        raise NotImplementedError(f"an MLP has no {type(self).__name__} units; use ReLU or Softmax")


@register("unit", "truncated_gaussian")
@dataclass(frozen=True)
class TruncatedGaussian(_OfRBM):
    """Real states that are not negative, for hidden units: rectified linear units with an exact distribution.

    The energy is ``h**2 / 2 - bias * h`` for ``h >= 0``. So h is normal around z with variance 1, given that it is
    not negative; its mean is ``z + normal_density(z) / normal_probability(z)``, a smooth rectifier: nearly z above 0,
    nearly ``-1 / z`` far below.

    Notes
    -----
    Source: Su, Liao, Chen and Carin (2016), "Nonlinear statistical learning with truncated Gaussian graphical models";
    the distribution of Socci, Lee and Seung (1998). The noisy rectified linear units of Nair and Hinton (2010),
    ``max(0, z + normal(0, sigmoid(z)))``, approximate infinitely many binary units with shifted biases: their draws
    belong to no energy exactly, so that free energy and likelihood would not fit what is drawn. These behave alike and
    have both.

    With Bernoulli or Potts visible units an RBM always has a finite partition function. With Gaussian ones it has while
    ``||W h||**2 < sigma**2 * ||h||**2`` for all h that are not negative, e.g. while the largest singular value of W is
    below sigma. Nobody checks that: weights that grow beyond make training diverge. Use a weight penalty or `MaxNorm`.
    """

    observable: ClassVar[bool] = False

    def conditional(self, backend: Backend, slots: Any, z: Any, key: DrawKey | None = None, sample: Any = None) -> Any:
        if sample is not None and key is not None:
            backend.truncated_normal(key, z, sample)
        return backend.truncated_mean(z, z)

    def log_partition(self, backend: Backend, slots: Any, z: Any, out: Any) -> Any:
        return backend.truncated_log_partition(z, out)

    def energy(self, backend: Backend, slots: Any, state: Any) -> Any:
        return (state * state).sum(axis=0) / 2 - slots["bias"] @ state


@register("unit", "potts")
@dataclass(frozen=True)
class Potts(_OfRBM):
    """Groups of units of which exactly one is 1, all others 0: variables with `states` values, one-hot.

    Means are the softmax of z over each group (Salakhutdinov, Mnih and Hinton 2007; Larochelle and Bengio 2008 for
    classes). Units of a group are neighbours. Data are one-hot or probabilities that sum to 1 in every group. The
    biases of a group are free up to a common number.

    Parameters
    ----------
    n : int
        Units, a multiple of `states`.
    states : int, optional
        Units of a group, at least 2; all units are one group by default.
    """

    states: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        states = self.n if self.states is None else self.states
        if isinstance(states, bool) or not isinstance(states, (int, np.integer)) or states < 2 or self.n % states:
            raise ValueError(
                f"Potts({self.n}, states={states!r}) is not possible: the number of units must be a multiple of the "
                f"states of a group, at least 2"
            )
        object.__setattr__(self, "states", int(states))

    @property
    def groups(self) -> int:
        assert self.states is not None
        return self.n // self.states

    def conditional(self, backend: Backend, slots: Any, z: Any, key: DrawKey | None = None, sample: Any = None) -> Any:
        backend.softmax(z, self.groups)
        if sample is not None and key is not None:
            backend.categorical(key, z, sample, self.groups)
        return z

    def log_partition(self, backend: Backend, slots: Any, z: Any, out: Any) -> Any:
        """That of a group stands at its first unit, the others have 0."""
        xp = backend.xp
        z, parts = (array.reshape(self.groups, self.states, -1) for array in (z, out))
        largest = z.max(axis=1)
        total = largest + xp.log(xp.exp(z - largest[:, None]).sum(axis=1))
        parts[:, 0] = total
        parts[:, 1:] = 0
        return out

    def energy(self, backend: Backend, slots: Any, state: Any) -> Any:
        return -(slots["bias"] @ state)

    def check_data(self, X: np.ndarray) -> None:
        smallest = float(X.min())
        sums = X.reshape(len(X), self.groups, -1).sum(axis=2)
        wrong = np.argwhere(np.abs(sums - 1) > 1e-3)
        if smallest < 0 or len(wrong):
            problem = f"a value of {smallest:.6g}"
            if len(wrong):
                row, group = wrong[0]
                problem = f"{sums[row, group]:.6g} as the sum of group {group} in row {row}"
            raise ValueError(
                f"Potts units need groups of {self.states} values that are one-hot (or probabilities with the sum 1), "
                f"but X has {problem}; encode the data (OneHotEncoder)"
            )

    def slots_for(self, mean: np.ndarray, variance: np.ndarray | None = None) -> dict[str, np.ndarray]:
        return {"bias": np.log(np.maximum(mean, 1e-3))}


@register("unit", "mixed")
@dataclass(frozen=True)
class Mixed(_OfRBM):
    """Units of several types side by side, e.g. pixels and a group of classes: ``Mixed((Bernoulli(784), Potts(10)))``.

    Parameters
    ----------
    parts : tuple of Units or texts
        From the first unit on; data have the columns of the parts in this order.
    """

    n: int = field(init=False)
    parts: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        given = (self.parts,) if isinstance(self.parts, (str, Units)) else self.parts
        parts = tuple(resolve("unit", part) for part in given)
        for part in parts:
            if not (isinstance(part, Units) and part.stochastic) or isinstance(part, Mixed):
                raise ValueError(f"{part!r} is not possible as a part of Mixed; use Bernoulli, Gaussian or Potts units")
        if not parts:
            raise ValueError("Mixed units need at least one part, e.g. Mixed((Bernoulli(784), Potts(10)))")
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "n", sum(part.n for part in parts))

    @property
    def observable(self) -> bool:  # type: ignore[override]
        return all(part.observable for part in self.parts)

    @property
    def real(self) -> bool:  # type: ignore[override]
        return any(part.real for part in self.parts)

    @property
    def own(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Of all parts; units of a part without a slot keep its value 0."""
        names = {name for part in self.parts for name in part.own}
        return {
            name: np.concatenate([np.full(part.n, part.own.get(name, 0.0)) for part in self.parts])
            for name in sorted(names)
        }

    def _each(self, slots: Any, *arrays: Any) -> Iterator[tuple[Any, ...]]:
        """Every part with its slots and its rows of the arrays."""
        start = 0
        for part in self.parts:
            rows = slice(start, start + part.n)
            own = {name: slots[name][rows] for name in ("bias", *part.own)}
            yield part, own, *(array[rows] for array in arrays)
            start = rows.stop

    def conditional(self, backend: Backend, slots: Any, z: Any, key: DrawKey | None = None, sample: Any = None) -> Any:
        arrays = (z,) if sample is None else (z, sample)
        for number, (part, own, mean, *drawn) in enumerate(self._each(slots, *arrays)):
            # A draw of its own for each part: elements of two parts may have the same number.
            part.conditional(backend, own, mean, key and key._replace(draw=key.draw + (number << 24)), *drawn)
        return z

    def log_partition(self, backend: Backend, slots: Any, z: Any, out: Any) -> Any:
        for part, own, inputs, target in self._each(slots, z, out):
            part.log_partition(backend, own, inputs, target)
        return out

    def energy(self, backend: Backend, slots: Any, state: Any) -> Any:
        return sum(part.energy(backend, own, states) for part, own, states in self._each(slots, state))

    def statistic(self, backend: Backend, slots: Any, state: Any) -> Any:
        seen = [(part.statistic(backend, own, states), states) for part, own, states in self._each(slots, state)]
        if all(statistic is states for statistic, states in seen):
            return state
        out, start = state.copy(), 0
        for statistic, states in seen:
            if statistic is not states:
                out[start : start + len(states)] = statistic
            start += len(states)
        return out

    def slopes(self, backend: Backend, slots: Any, state: Any, field: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        start = 0
        for part, own, states, fields in self._each(slots, state, field):
            for name, slope in part.slopes(backend, own, states, fields).items():
                found.setdefault(name, backend.zeros(state.shape))[start : start + part.n] = slope
            start += part.n
        return found

    def bound(self, backend: Backend, slots: Any) -> None:
        for part, own in self._each(slots):
            part.bound(backend, own)

    def check_data(self, X: np.ndarray) -> None:
        start = 0
        for part in self.parts:
            part.check_data(X[:, start : start + part.n])
            start += part.n

    def slots_for(self, mean: np.ndarray, variance: np.ndarray | None = None) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        start = 0
        for part in self.parts:
            rows = slice(start, start + part.n)
            for name, values in part.slots_for(mean[rows], None if variance is None else variance[rows]).items():
                found.setdefault(name, np.zeros(self.n))[rows] = values
            start = rows.stop
        return found


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
    """`n` units of a type, named with or without further arguments: ``"gaussian(sigma=0.5)"``.

    The text of `Mixed` says itself how many units its parts have, which must be `n` together.
    """
    if text.strip().startswith("mixed"):
        units = parse("unit", text)
        if units.n != n:
            raise ValueError(f"{text} has {units.n} units, and {n} are needed; give each part its number of units")
        return units
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
