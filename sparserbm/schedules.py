"""Values that change with training, and the question whether something is due.

A schedule is a function of the step (mini-batches seen), never of its own history, so a resumed run needs no
state from it. ``resolve_schedule(0.1)`` and ``resolve_schedule("linear(0, 1e-3, steps=5000)")`` both give one.
"""

from __future__ import annotations

import contextlib
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparserbm.registry import register, resolve


class Schedule(ABC):
    """A value at every step."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The value at `step` (mini-batches done before this one, from 0)."""

    @abstractmethod
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest value that the schedule takes, so that a rule can check its range at once."""


@register("schedule", "constant")
@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step."""

    value: float

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, numbers.Real):
            raise ValueError(f"a constant must be a number, not {self.value!r}")

    def __call__(self, step: int) -> float:
        return float(self.value)

    def extremes(self) -> tuple[float, float]:
        return float(self.value), float(self.value)


class _Ramp(Schedule):
    """From `start` to `stop` over `steps` steps, beginning after `after` steps; flat on both sides."""

    start: float
    stop: float
    steps: int
    after: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} is not possible for {type(self).__name__}; use steps >= 1")
        if self.after < 0:
            raise ValueError(f"after={self.after} is not possible for {type(self).__name__}; use after >= 0")

    def __call__(self, step: int) -> float:
        progress = min(max((step - self.after) / self.steps, 0.0), 1.0)
        return float(self.start + (self.stop - self.start) * self.shape(progress))

    @abstractmethod
    def shape(self, progress: float) -> float:
        """Share of the way done, 0 to 1, at a share `progress` of the steps."""

    def extremes(self) -> tuple[float, float]:
        return min(self.start, self.stop), max(self.start, self.stop)


@register("schedule", "linear")
@dataclass(frozen=True)
class Linear(_Ramp):
    """Straight from `start` to `stop` in `steps` steps."""

    start: float
    stop: float
    steps: int
    after: int = 0

    def shape(self, progress: float) -> float:
        return progress


@register("schedule", "cosine")
@dataclass(frozen=True)
class Cosine(_Ramp):
    """Half a cosine from `start` to `stop` in `steps` steps: slow, fast, slow."""

    start: float
    stop: float
    steps: int
    after: int = 0

    def shape(self, progress: float) -> float:
        return (1.0 - math.cos(math.pi * progress)) / 2.0


@register("schedule", "cubic")
@dataclass(frozen=True)
class Cubic(_Ramp):
    """Fast at first: the share of the way done is ``1 - (1 - progress)**3``.

    Source: Zhu and Gupta (2017), "To prune, or not to prune", equation 1.
    """

    start: float
    stop: float
    steps: int
    after: int = 0

    def shape(self, progress: float) -> float:
        return 1.0 - (1.0 - progress) ** 3


@register("schedule", "power")
@dataclass(frozen=True)
class Power(_Ramp):
    """A power of the progress, flat where the value is small.

    Upwards ``start + (stop - start) * progress**exponent``, a strength that comes in late; downwards
    ``stop + (start - stop) * (1 - progress)**exponent``, a zeta that fades out (Evci et al. 2020).

    Parameters
    ----------
    start, stop : float
    steps : int
    exponent : float
        Above 0; 1 is `Linear`. (`Cubic` from 0 to 1 is fast at first, this one is slow.)
    after : int
    """

    start: float
    stop: float
    steps: int
    exponent: float
    after: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.exponent < math.inf:
            raise ValueError(f"exponent={self.exponent} is not possible for Power; use a number above 0")

    def shape(self, progress: float) -> float:
        if self.stop > self.start:
            return progress**self.exponent
        return 1.0 - (1.0 - progress) ** self.exponent


@register("schedule", "steps")
@dataclass(frozen=True)
class Steps(Schedule):
    """Piecewise constant: ``values[i]`` from step ``boundaries[i - 1]`` on.

    Parameters
    ----------
    values : tuple of float
        One more than there are boundaries.
    boundaries : tuple of int
        Increasing, in steps.
    """

    values: tuple[float, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        if len(self.values) != len(self.boundaries) + 1 or list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(
                f"Steps needs increasing boundaries and one value more than boundaries; got {len(self.values)} "
                f"values and boundaries {self.boundaries}"
            )

    def __call__(self, step: int) -> float:
        return float(self.values[sum(step >= boundary for boundary in self.boundaries)])

    def extremes(self) -> tuple[float, float]:
        return float(min(self.values)), float(max(self.values))


@register("schedule", "rounded")
@dataclass(frozen=True)
class Rounded(Schedule):
    """Another schedule, rounded to the nearest integer: for counts, such as the sweeps of `CD`."""

    schedule: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", resolve_schedule(self.schedule, "a rounded schedule", -math.inf))

    def __call__(self, step: int) -> float:
        return float(round(self.schedule(step)))

    def extremes(self) -> tuple[float, float]:
        smallest, largest = self.schedule.extremes()
        return float(round(smallest)), float(round(largest))


def resolve_schedule(given: Any, what: str, low: float = 0.0, high: float = math.inf) -> Schedule:
    """Return `given` (number, text or schedule) as a schedule whose values all lie in [`low`, `high`).

    Raises
    ------
    ValueError
        If a value is not finite or out of the range; the message calls the quantity `what`.
    """
    if isinstance(given, str):
        with contextlib.suppress(ValueError):
            given = float(given)
    if isinstance(given, numbers.Real) and not isinstance(given, bool):
        given = Constant(float(given))
    schedule = resolve("schedule", given)
    if not isinstance(schedule, Schedule):
        raise TypeError(f"{what} must be a number, a schedule or its text, not {given!r}")
    smallest, largest = schedule.extremes()
    if not (math.isfinite(smallest) and low <= smallest and largest < high):
        worst = largest if math.isfinite(smallest) and smallest >= low else smallest
        raise ValueError(f"{what}={worst:g} is out of range; use a value in [{low:g}, {high:g})")
    return schedule


class Trigger(ABC):
    """Says after which steps or epochs something is due."""

    @abstractmethod
    def after_step(self, step: int) -> bool:
        """Whether it is due after `step` mini-batches (counted from 1)."""

    @abstractmethod
    def after_epoch(self, epoch: int) -> bool:
        """Whether it is due at the end of `epoch` (counted from 1)."""

    def interval(self, per_epoch: int) -> float | None:
        """Steps from one time to the next, in epochs of `per_epoch` steps; None where that is no one number."""
        return None

    def takes(self, draw: Callable[[], float]) -> bool:
        """Whether a layer takes part in what is due; `draw` gives its number of [0, 1) for this step."""
        return True


@register("trigger", "every")
@dataclass(frozen=True)
class Every(Trigger):
    """Due after steps (or epochs) n, 2n, 3n, ...; never at 0.

    Parameters
    ----------
    steps, epochs : int
        Give one of the two, at least 1.
    """

    steps: int = 0
    epochs: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.epochs) != 0 or max(self.steps, self.epochs) < 1:
            raise ValueError(
                f"Every(steps={self.steps}, epochs={self.epochs}): give one of the two, at least 1, "
                f"e.g. every(epochs=1) or every(steps=50)"
            )

    def after_step(self, step: int) -> bool:
        return self.steps > 0 and step > 0 and step % self.steps == 0

    def after_epoch(self, epoch: int) -> bool:
        return self.epochs > 0 and epoch > 0 and epoch % self.epochs == 0

    def interval(self, per_epoch: int) -> float | None:
        return self.steps or self.epochs * per_epoch


@register("trigger", "chance")
@dataclass(frozen=True)
class Chance(Trigger):
    """Due after a step with probability `p`, for every layer by itself (the EvolNet of Klear 2018).

    Parameters
    ----------
    p : float in (0, 1]
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"p={self.p} is not possible for Chance; use a probability above 0, at most 1")

    def after_step(self, step: int) -> bool:
        return step > 0

    def after_epoch(self, epoch: int) -> bool:
        return False

    def interval(self, per_epoch: int) -> float | None:
        return 1.0 / self.p  # on average

    def takes(self, draw: Callable[[], float]) -> bool:
        return draw() < self.p


@register("trigger", "window")
@dataclass(frozen=True)
class Window(Trigger):
    """Another trigger, only from `start` to `stop` (both included), counted in the unit of that trigger."""

    trigger: Trigger
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "trigger", resolve("trigger", self.trigger))
        if not isinstance(self.trigger, Trigger):
            raise TypeError(f"{self.trigger!r} is no trigger; give e.g. every(epochs=1)")
        if self.stop is not None and self.stop < self.start:
            raise ValueError(f"a window from {self.start} to {self.stop} is empty; use stop >= start")

    def _open(self, count: int) -> bool:
        return self.start <= count and (self.stop is None or count <= self.stop)

    def after_step(self, step: int) -> bool:
        return self._open(step) and self.trigger.after_step(step)

    def after_epoch(self, epoch: int) -> bool:
        return self._open(epoch) and self.trigger.after_epoch(epoch)

    def interval(self, per_epoch: int) -> float | None:
        return self.trigger.interval(per_epoch)

    def takes(self, draw: Callable[[], float]) -> bool:
        return self.trigger.takes(draw)
