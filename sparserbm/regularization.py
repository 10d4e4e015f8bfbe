"""Penalties on the weights, for both trainers alike.

A penalty adds a term to the gradient of the mean loss (coupled), shrinks the weights apart from it (decoupled,
proximal), or bounds them once a layer is updated. It acts on existing connections only, and on biases only where
`biases=True`. Every strength is a number, a schedule, or one of these for each matrix of connections.

With a learning rate lr and momentum mu, a weight without gradient shrinks per step by the factor 1 - s
(`Penalty.shrink_per_step`):

========================  =====================
penalty                   s
========================  =====================
coupled L2, SGD           lr * l2 / (1 - mu)
coupled L2, Adam          no constant factor
decoupled L2              lr * l2
L2 in an elastic net      lr * l2 / (1 + lr * l2)
SET's decay d             d
L1, max norm              no factor
========================  =====================

Codes differ in what they call weight decay by powers of ten; s is what can be compared, and s times the steps from one
evolution event to the next is what competes with dropping.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sparserbm.backends import Backend
from sparserbm.network.connections import Connections
from sparserbm.registry import register, resolve
from sparserbm.schedules import Constant, Schedule, resolve_schedule


class Penalty(ABC):
    """One term of the regularization; what it does not define does nothing."""

    biases: bool = False

    def add_gradient(self, backend: Backend, value: Any, gradient: Any, layer: int, step: int) -> None:
        """Add the gradient of the penalty to that of the loss, in place (before the optimizer)."""

    def shrink(self, backend: Backend, value: Any, layer: int, step: int, learning_rate: float) -> None:
        """Change the values themselves, in place (after the optimizer)."""

    def bound(self, backend: Backend, connections: Connections, layer: int, step: int) -> None:
        """Bound the weights of a whole layer, in place (after its last update in a step)."""

    def add_gate_gradients(self, backend: Backend, gates: list[Any], gradients: list[Any], step: int) -> None:
        """As `add_gradient`, for the gates of all units of the model, layer by layer."""

    def shrink_per_step(self, step: int, learning_rate: float, momentum: float | None, layer: int) -> float | None:
        """The share s that a weight without gradient loses in one step; None where it is no constant factor.

        Parameters
        ----------
        step : int
        learning_rate : float
            At this step.
        momentum : float or None
            That of `SGD` at this step; None for an optimizer that divides gradients by their size.
        layer : int
        """
        return None

    @abstractmethod
    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        """The penalty on these values, in units of the loss."""


def _strengths(given: Any, what: str, high: float = math.inf) -> Any:
    """A strength, or one for each layer, checked; constants stay plain numbers, so that texts read well."""
    if isinstance(given, (list, tuple)):
        return tuple(_strengths(item, what, high) for item in given)
    schedule = resolve_schedule(given, what, 0.0, high)
    return schedule.value if isinstance(schedule, Constant) else schedule


def _at(strength: Any, layer: int, step: int) -> float:
    if isinstance(strength, tuple):
        if layer >= len(strength):
            raise ValueError(
                f"{len(strength)} strengths for a model with at least {layer + 1} layers; give one for each"
            )
        strength = strength[layer]
    return strength(step) if isinstance(strength, Schedule) else strength


@register("penalty", "l2")
@dataclass(frozen=True)
class L2(Penalty):
    """``l2 / 2 * sum(w**2)``, its gradient ``l2 * w`` added to that of the mean loss: PyTorch's ``weight_decay``.

    Parameters
    ----------
    strength : float, Schedule, text, or a sequence with one of these for each layer
    biases : bool
        Act on biases too.
    coupled : bool
        False shrinks the weights by ``1 - learning_rate * l2`` after the step instead, apart from gradient and
        momentum (Loshchilov and Hutter 2019, equation 8).
    """

    strength: Any
    biases: bool = False
    coupled: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", _strengths(self.strength, "l2"))

    def add_gradient(self, backend: Backend, value: Any, gradient: Any, layer: int, step: int) -> None:
        strength = _at(self.strength, layer, step)
        if self.coupled and strength:
            backend.add_scaled(gradient, strength, value)

    def shrink(self, backend: Backend, value: Any, layer: int, step: int, learning_rate: float) -> None:
        strength = _at(self.strength, layer, step)
        if not self.coupled and strength:
            value *= backend.dtype.type(1.0 - learning_rate * strength)

    def shrink_per_step(self, step: int, learning_rate: float, momentum: float | None, layer: int) -> float | None:
        """In the long run, for coupled L2 with momentum, and to first order in the strength."""
        shrink = learning_rate * _at(self.strength, layer, step)
        if not self.coupled:
            return shrink
        return None if momentum is None else shrink / (1.0 - momentum)

    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        strength = _at(self.strength, layer, step)
        return 0.5 * strength * float((value.astype(float) ** 2).sum())


@register("penalty", "l1")
@dataclass(frozen=True)
class L1(Penalty):
    """``l1 * sum(|w|)``, as a proximal step: ``w <- sign(w) * max(|w| - learning_rate * l1, 0)``.

    A subgradient would never reach 0; this step does, and such connections are the first to be dropped.

    Parameters
    ----------
    strength : float, Schedule, text, or a sequence with one of these for each layer
    biases : bool
        Act on biases too.
    """

    strength: Any
    biases: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", _strengths(self.strength, "l1"))

    def shrink(self, backend: Backend, value: Any, layer: int, step: int, learning_rate: float) -> None:
        strength = _at(self.strength, layer, step)
        if strength:
            soft_threshold(backend, value, learning_rate * strength)

    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        strength = _at(self.strength, layer, step)
        return strength * float(abs(value.astype(float)).sum())


@register("penalty", "elastic_net")
@dataclass(frozen=True)
class ElasticNet(Penalty):
    """``l1 * sum(|w|) + l2 / 2 * sum(w**2)``, as one proximal step.

    Soft threshold, then division by ``1 + learning_rate * l2``.

    Parameters
    ----------
    l1, l2 : float, Schedule, text, or a sequence with one of these for each layer
    biases : bool
        Act on biases too.

    Notes
    -----
    Source: Parikh and Boyd (2014), section 6.5.3.
    """

    l1: Any
    l2: Any
    biases: bool = False

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            object.__setattr__(self, name, _strengths(getattr(self, name), name))

    def shrink(self, backend: Backend, value: Any, layer: int, step: int, learning_rate: float) -> None:
        l1 = _at(self.l1, layer, step)
        l2 = _at(self.l2, layer, step)
        if l1:
            soft_threshold(backend, value, learning_rate * l1)
        if l2:
            value /= backend.dtype.type(1.0 + learning_rate * l2)

    def shrink_per_step(self, step: int, learning_rate: float, momentum: float | None, layer: int) -> float | None:
        """That of the division; the threshold takes the same from every weight."""
        strength = learning_rate * _at(self.l2, layer, step)
        return strength / (1.0 + strength)

    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        return L1(self.l1).penalty(backend, value, layer, step) + L2(self.l2).penalty(backend, value, layer, step)


@register("penalty", "set_decay")
@dataclass(frozen=True)
class SetDecay(Penalty):
    """``w <- w - decay * w + (what the optimizer adds)``: the weight decay of the published SET code.

    It stands outside learning rate and momentum, so that it stays when the learning rate falls, and it is no term of
    the loss. SET's MLP has 2e-4, its RBM 2e-7, biases included.

    Parameters
    ----------
    decay : float, Schedule, text, or a sequence with one of these for each layer; in [0, 1)
        Share of every weight that is lost in a step.
    biases : bool
        Act on biases too.

    Notes
    -----
    Source: the code of Mocanu et al. (2018).
    """

    decay: Any
    biases: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "decay", _strengths(self.decay, "decay", high=1.0))

    def add_gradient(self, backend: Backend, value: Any, gradient: Any, layer: int, step: int) -> None:
        decay = _at(self.decay, layer, step)
        if decay:  # before the optimizer: a share of the weight as the step found it
            value *= backend.dtype.type(1.0 - decay)

    def shrink_per_step(self, step: int, learning_rate: float, momentum: float | None, layer: int) -> float | None:
        return _at(self.decay, layer, step)

    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        return 0.0  # no term of the loss


@register("penalty", "max_norm")
@dataclass(frozen=True)
class MaxNorm(Penalty):
    """Scale the weights of a unit back to the norm `norm` where their Euclidean norm is above it, after every step.

    Parameters
    ----------
    norm : float, Schedule, text, or a sequence with one of these for each layer; above 0
    side : {"post", "pre"}
        Whose weights: those that come into a post unit, or those that leave a pre unit (the visible units of an RBM).

    Notes
    -----
    Source: Srebro and Shraibman (2005); as a scaling after the step, Srivastava et al. (2014), section 5.1. Velocity
    and moments stay as they are. Newborn connections may bring a unit above the norm until the next step.
    """

    norm: Any
    side: str = "post"

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", _strengths(self.norm, "norm"))
        if self.side not in ("post", "pre"):
            raise ValueError(f"side={self.side!r} is not possible for MaxNorm; use post or pre")
        for norm in self.norm if isinstance(self.norm, tuple) else (self.norm,):
            if (norm.extremes()[0] if isinstance(norm, Schedule) else norm) == 0:
                raise ValueError("norm=0 would make every weight 0; use a number above 0")

    def bound(self, backend: Backend, connections: Connections, layer: int, step: int) -> None:
        rows = connections.by_post if self.side == "post" else connections.by_pre
        backend.limit_norms(rows, connections.weight, _at(self.norm, layer, step))

    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        return 0.0  # no term of the loss


@register("penalty", "polarization")
@dataclass(frozen=True)
class Polarization(Penalty):
    """``strength * sum(t * |g| - |g - mean(g)|)`` over the gates g of all units of the model together, which drives
    some gates to 0 and the others to 1 (Zhuang et al. 2020, equation 3).

    For models with ``gates=True``. Gates are in [0, 1]; the plain subgradient is added to that of the loss, the mean's
    own part included.

    Parameters
    ----------
    strength : float, Schedule or text
        The paper has 3e-5 to 5e-5. Ramp it up: alone it closes every gate, so that the loss must have found out which
        ones it wants open.
    t : float
        A larger one closes more gates; at 2 or more the least penalty is that of closed gates alone.

    Notes
    -----
    Where the activation has no scale of its own (ReLU), a gate can fall while the weights of its unit grow: take it
    together with `MaxNorm` or `L2`.
    """

    strength: Any
    t: float = 1.5

    def __post_init__(self) -> None:
        schedule = resolve_schedule(self.strength, "strength")
        object.__setattr__(self, "strength", schedule.value if isinstance(schedule, Constant) else schedule)
        if not math.isfinite(self.t):
            raise ValueError(f"t={self.t} is not possible for Polarization; use a finite number")

    def add_gate_gradients(self, backend: Backend, gates: list[Any], gradients: list[Any], step: int) -> None:
        xp, strength = backend.xp, _at(self.strength, 0, step)
        if not strength or not gates:
            return
        every = xp.concatenate(gates)
        mean = every.mean()
        balance = xp.sign(every - mean).mean()
        for gate, gradient in zip(gates, gradients):
            gradient += strength * (self.t * xp.sign(gate) - xp.sign(gate - mean) + balance)

    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        """On the gates of all layers, (n_gates,)."""
        gates = value.astype(float)
        return _at(self.strength, 0, step) * float((self.t * abs(gates) - abs(gates - gates.mean())).sum())


def soft_threshold(backend: Backend, value: Any, threshold: float) -> None:
    """``sign(w) * max(|w| - threshold, 0)``, in place."""
    xp = backend.xp
    value[...] = xp.sign(value) * xp.maximum(xp.abs(value) - backend.dtype.type(threshold), 0)


def penalties(given: Penalty | str | Iterable[Penalty | str] | None) -> tuple[Penalty, ...]:
    """The regularization of a run as a tuple of penalties; None is none at all."""
    if given is None:
        return ()
    items = list(given) if isinstance(given, (list, tuple)) else [given]
    resolved = tuple(resolve("penalty", item) for item in items)
    for penalty in resolved:
        if not isinstance(penalty, Penalty):
            raise TypeError(f'{penalty!r} is no penalty; give e.g. L2(1e-3) or "l2(1e-3)"')
    return resolved
