"""Penalties on the weights, for both trainers alike.

A penalty adds a term to the gradient of the mean loss (coupled), or shrinks the weights after the optimizer's step
(decoupled, proximal). It acts on existing connections only, and on biases only where `biases=True`. Every strength
is a number, a schedule, or one of these for each matrix of connections.

With a learning rate lr and momentum mu, a weight without gradient shrinks per step by the factor 1 - s, where
s = lr * l2 / (1 - mu) for coupled L2 and s = lr * l2 for decoupled L2. Codes differ in what they call weight decay by
powers of ten; s is what can be compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sparserbm.backends import Backend
from sparserbm.registry import register, resolve
from sparserbm.schedules import Constant, Schedule, resolve_schedule


class Penalty(ABC):
    """One term of the regularization; what it does not define does nothing."""

    biases: bool

    def add_gradient(self, backend: Backend, value: Any, gradient: Any, layer: int, step: int) -> None:
        """Add the gradient of the penalty to that of the loss, in place (before the optimizer)."""

    def shrink(self, backend: Backend, value: Any, layer: int, step: int, learning_rate: float) -> None:
        """Change the values themselves, in place (after the optimizer)."""

    @abstractmethod
    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        """The penalty on these values, in units of the loss."""


def _strengths(given: Any, what: str) -> Any:
    """A strength, or one for each layer, checked; constants stay plain numbers, so that texts read well."""
    if isinstance(given, (list, tuple)):
        return tuple(_strengths(item, what) for item in given)
    schedule = resolve_schedule(given, what)
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

    def penalty(self, backend: Backend, value: Any, layer: int, step: int) -> float:
        return L1(self.l1).penalty(backend, value, layer, step) + L2(self.l2).penalty(backend, value, layer, step)


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
