"""Optimizers: they write the values and their own slots, which a rewire moves like all others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from sparserbm.backends import Backend
from sparserbm.network.slots import Slots
from sparserbm.registry import register
from sparserbm.schedules import Constant, Schedule, resolve_schedule


def _plain(given: Any, what: str, high: float = float("inf")) -> Any:
    schedule = resolve_schedule(given, what, 0.0, high)
    return schedule.value if isinstance(schedule, Constant) else schedule


def _at(value: Any, step: int) -> float:
    return value(step) if isinstance(value, Schedule) else float(value)


def _own(what: str, name: str) -> str:
    """The optimizer's slot for the slot `name`; units may have several slots that are trained."""
    return what if name in ("weight", "bias") else f"{what} of {name}"


class Optimizer(ABC):
    """Changes values against their gradient."""

    learning_rate: Any

    @property
    @abstractmethod
    def n_slots(self) -> int:
        """Numbers that it keeps for every value."""

    def rate(self, step: int) -> float:
        """Learning rate at `step`."""
        return _at(self.learning_rate, step)

    def momentum_at(self, step: int) -> float | None:
        """Share of the last update that goes on, at `step`; None where updates are no sums of gradients."""
        return None

    @abstractmethod
    def step(
        self, backend: Backend, slots: Slots, name: str, part: slice, gradient: Any, step: int, start: int
    ) -> None:
        """One update of `part` of the slot `name`.

        Parameters
        ----------
        slots : Slots
            Of the connections or biases; the optimizer keeps its own slots there.
        part : slice
            Large matrices are updated part by part: a gradient for all connections would need memory of its own.
        gradient : (n,)
            Of the part.
        step : int
            Mini-batches that the model has seen before this one.
        start : int
            Value of `step` when this optimizer began.
        """


@register("optimizer", "sgd")
@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with momentum: ``v <- momentum * v + g``, ``w <- w - learning_rate * v`` (PyTorch's form).

    Parameters
    ----------
    learning_rate : float, Schedule or text
    momentum : float, Schedule or text, in [0, 1)
    nesterov : bool
        Step along ``g + momentum * v`` instead of v.

    Notes
    -----
    The learning rate stands outside the velocity: a change of it acts at once. Newborn connections have velocity 0.
    """

    learning_rate: Any = 0.05
    momentum: Any = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", _plain(self.learning_rate, "learning_rate"))
        object.__setattr__(self, "momentum", _plain(self.momentum, "momentum", 1.0))

    @property
    def n_slots(self) -> int:
        return int(bool(self.momentum))

    def momentum_at(self, step: int) -> float | None:
        return _at(self.momentum, step)

    def step(
        self, backend: Backend, slots: Slots, name: str, part: slice, gradient: Any, step: int, start: int
    ) -> None:
        momentum = _at(self.momentum, step)
        # A schedule may begin at 0: the velocity must be there when it rises.
        needed = momentum or isinstance(self.momentum, Schedule)
        velocity = slots.ensure(_own("velocity", name))[part] if needed else None
        backend.sgd(slots[name][part], velocity, gradient, self.rate(step), momentum, self.nesterov)


@register("optimizer", "adam")
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015) with each connection's own age in the bias correction.

    With one step count for all, the first update of a newborn connection would be ``(1 - beta1) / sqrt(1 - beta2)`` =
    3.16 times the normal step.

    Parameters
    ----------
    learning_rate : float, Schedule or text
    beta1, beta2 : float in [0, 1)
        Decay of the first and second moment.
    eps : float
        Added to the root of the second moment.
    """

    learning_rate: Any = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", _plain(self.learning_rate, "learning_rate"))
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; use a value in [0, 1)")
        if not self.eps > 0:
            raise ValueError(f"eps={self.eps} is not possible; use a number above 0")

    @property
    def n_slots(self) -> int:
        return 2

    def step(
        self, backend: Backend, slots: Slots, name: str, part: slice, gradient: Any, step: int, start: int
    ) -> None:
        born = slots["born"][part] if "born" in slots else None  # biases live for ever
        first, second = (slots.ensure(_own(moment, name))[part] for moment in ("first_moment", "second_moment"))
        rates = (self.rate(step), self.beta1, self.beta2, self.eps)
        backend.adam(slots[name][part], first, second, gradient, born, step, start, *rates)
