"""Which connections go: a drop rule sees a read-only view of a layer and marks a given number of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from sparserbm.network.coactivity import Evidence
from sparserbm.network.connections import Connections
from sparserbm.registry import register, resolve


class ConnectionsView:
    """What a drop rule may look at, on the host; all arrays are read-only and of one length.

    Attributes
    ----------
    weight : (n_connections,) float
    pre, post : (n_connections,) int32
        The units that each connection joins.
    age : (n_connections,) int32
        Steps since birth.
    slots : mapping of str to (n_connections,) array
        Everything else that is known, e.g. ``"velocity"``.
    gradient : (n_connections,) float
        Of the mean loss (without penalties) over the last mini-batch, with the weights as they are; in training only.
    """

    def __init__(
        self,
        layer: Connections,
        step: int,
        number: int = 0,
        evidence: Evidence | None = None,
        among: np.ndarray | None = None,
    ):
        self._layer, self._step, self._number, self._evidence = layer, step, number, evidence
        self._among = among

    def among(self, eligible: np.ndarray) -> ConnectionsView:
        """The view of those connections that are True in `eligible`, (n_connections,) bool."""
        if self._among is not None:
            within, eligible = eligible, self._among.copy()
            eligible[self._among] = within
        return ConnectionsView(self._layer, self._step, self._number, self._evidence, eligible)

    # Brought to the host and made when asked for: most rules look at the weights only.

    @cached_property
    def weight(self) -> np.ndarray:
        return self._slot("weight")

    @cached_property
    def slots(self) -> Mapping[str, np.ndarray]:
        names = [name for name in self._layer.slots if name not in ("weight", "born")]
        return MappingProxyType({name: self._slot(name) for name in names})

    @property
    def pre(self) -> np.ndarray:
        return self._shown(self._layer.pattern.pre)

    @property
    def post(self) -> np.ndarray:
        return self._shown(self._layer.pattern.post)

    @property
    def age(self) -> np.ndarray:
        return self.age_of(slice(None))

    @cached_property
    def gradient(self) -> np.ndarray:
        if self._evidence is None:
            raise ValueError("this rule looks at gradients: it works in training only, where there are mini-batches")
        layer, backend = self._layer, self._layer.backend
        found = np.zeros(len(layer), dtype=backend.dtype)
        for coactivity in self._evidence(1):
            for part in layer.parts:
                out = backend.zeros(part.connections.stop - part.connections.start)
                coactivity[self._number].at_connections(backend, part, out)
                found[part.connections] = backend.to_numpy(out)
        check_scores(found)
        return self._shown(found)

    def age_of(self, some: Any) -> np.ndarray:
        """Ages of the connections that an index or mask picks."""
        return _read_only((self._step - self._born[some].astype(np.int64)).astype(np.int32))

    @cached_property
    def _born(self) -> np.ndarray:
        return self._slot("born")

    def _slot(self, name: str) -> np.ndarray:
        return self._shown(self._layer.backend.to_numpy(self._layer.slots[name]))

    def _shown(self, array: np.ndarray) -> np.ndarray:
        return _read_only(array.view() if self._among is None else array[self._among])


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def check_scores(scores: np.ndarray) -> None:
    """Raise FloatingPointError if a gradient, or a score made of activities, is NaN or infinite."""
    if not np.isfinite(scores).all():
        raise FloatingPointError("gradients or activities are NaN or infinite")


class Drop(ABC):
    """Marks connections to be dropped."""

    needs_batches: ClassVar[bool] = False  # such a rule works in training only

    @abstractmethod
    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        """Mark `count` connections; a rule with a number of its own may mark more or fewer.

        Returns
        -------
        (n_connections,) bool
            True where a connection goes.
        """


@register("drop", "set")
@dataclass(frozen=True)
class SignedMagnitude(Drop):
    """The weights nearest zero, positive and negative ones apart (Mocanu et al. 2018, algorithm 1).

    Exact zeros go first and count; the rest is split between the signs in proportion to how many there are of
    each. The published code computes two thresholds instead (`PublishedSET`) and drops one or two connections more
    (all of them, where all weights are equal); this rule drops exactly the number asked for.
    """

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        weight = view.weight
        mark = weight == 0
        n_zero = int(np.count_nonzero(mark))
        if count < n_zero:
            chosen = generator.choice(np.flatnonzero(mark), count, replace=False)
            mark[:] = False
            mark[chosen] = True
            return mark
        rest = count - n_zero
        n_positive, n_negative = (int(np.count_nonzero(weight > 0)), int(np.count_nonzero(weight < 0)))
        signed = n_positive + n_negative
        from_positive = round(rest * n_positive / signed) if signed else 0
        mark_nearest_zero(mark, weight, 1.0, from_positive, generator)
        mark_nearest_zero(mark, weight, -1.0, rest - from_positive, generator)
        return mark


@register("drop", "reference_set")
@dataclass(frozen=True)
class PublishedSET(Drop):
    """The threshold rule of the published SET code, comparison for comparison; for parity with it.

    Weights between two thresholds go: those at the share `zeta` of the positive and of the negative weights, counted
    from zero. It drops one or two connections more than asked for, all of them where all weights are equal, and all
    exact zeros on top of both shares.

    Parameters
    ----------
    zeta : float in [0, 1)
        Of the rule itself; use the same number for the event.

    Notes
    -----
    Source: the rewiring of the code of Mocanu et al. (2018), the same in its RBM and MLP.
    """

    zeta: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.zeta < 1:
            raise ValueError(f"zeta={self.zeta} is out of range; use a value in [0, 1)")

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        weight = view.weight
        n = len(weight)
        if not n:
            return np.zeros(0, dtype=bool)
        values = np.sort(weight)
        size = np.abs(values)
        first, last = int(size.argmin()), n - int(size[::-1].argmin())
        low = values[int((1 - self.zeta) * first)]
        high = values[int(min(n - 1, last + self.zeta * (n - last)))]
        return (weight >= low) & (weight <= high)


@register("drop", "magnitude")
@dataclass(frozen=True)
class Magnitude(Drop):
    """The smallest absolute weights, whatever their sign (RigL: Evci et al. 2020)."""

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        return mark_smallest(np.abs(view.weight), count, generator)


@register("drop", "threshold")
@dataclass(frozen=True)
class Threshold(Drop):
    """All absolute weights up to `limit`, however many they are; zeta does not matter.

    Parameters
    ----------
    limit : float
        Not negative.
    at_least, at_most : float in [0, 1]
        Bounds of the share that goes, of the connections that may go. Without the upper one, as in ITOP (Liu et al.
        2021), a layer may lose all at once.
    """

    limit: float
    at_least: float = 0.0
    at_most: float = 0.5

    def __post_init__(self) -> None:
        if not self.limit >= 0:
            raise ValueError(f"limit={self.limit} is not possible for Threshold; use a number of at least 0")
        if not 0 <= self.at_least <= self.at_most <= 1:
            raise ValueError(
                f"at_least={self.at_least}, at_most={self.at_most} are not possible for Threshold; use shares with "
                f"0 <= at_least <= at_most <= 1"
            )

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        size = np.abs(view.weight)
        below = int(np.count_nonzero(size <= self.limit))
        least, most = (share_of(share, len(size)) for share in (self.at_least, self.at_most))
        return mark_smallest(size, min(max(below, least), most), generator)


@register("drop", "taylor")
@dataclass(frozen=True)
class Taylor(Drop):
    """The smallest ``(weight * gradient)**2``: what changes the loss least, to first order.

    Source: Molchanov et al. (2019), equation 8, applied to single weights.
    """

    needs_batches: ClassVar[bool] = True

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        return mark_smallest(np.abs(view.weight * view.gradient), count, generator)


@register("drop", "random")
@dataclass(frozen=True)
class RandomDrop(Drop):
    """Any connections: a control."""

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        mark = np.zeros(len(view.weight), dtype=bool)
        mark[generator.choice(len(mark), count, replace=False)] = True
        return mark


@register("drop", "largest")
@dataclass(frozen=True)
class Largest(Drop):
    """The largest absolute weights: a control that should stop learning (Mocanu et al. 2018 report so)."""

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        return mark_smallest(-np.abs(view.weight), count, generator)


@register("drop", "sparing")
@dataclass(frozen=True)
class Sparing(Drop):
    """Another rule, which sees the connections of the first pre units only; those of all others stay.

    The number that goes is in proportion to what may go: zeta is the share of the connections that are not spared.

    Parameters
    ----------
    first : int
        Pre units whose connections may go.
    rule : Drop or text
    """

    first: int
    rule: Any = "set"

    def __post_init__(self) -> None:
        if isinstance(self.first, bool) or not isinstance(self.first, (int, np.integer)) or self.first < 1:
            raise ValueError(f"first={self.first!r} is not possible for Sparing; use a number of units, at least 1")
        rule = resolve("drop", self.rule)
        if not isinstance(rule, Drop):
            raise TypeError(f"rule={rule!r} is not possible; give a Drop or its text")
        object.__setattr__(self, "rule", rule)

    @property
    def needs_batches(self) -> bool:  # type: ignore[override]
        return self.rule.needs_batches

    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        mark = view.pre < self.first
        n = int(np.count_nonzero(mark))
        if n:
            own = share_of(count / len(mark), n)
            mark[mark] = self.rule.select(view.among(mark.copy()), own, generator)
        return mark


def share_of(share: float, n: int) -> int:
    """How many of `n` a share is, rounded down."""
    return int(round(share * n, 6))  # 0.29 * 100 is 28.999999999999996


def mark_smallest(values: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """True at the `count` smallest of `values`, (n,), ties broken at random; O(n)."""
    if count <= 0 or count >= len(values):
        return np.full(len(values), count > 0)
    limit = np.partition(values, count - 1)[count - 1]
    mark = values < limit
    ties, missing = np.flatnonzero(values == limit), count - int(np.count_nonzero(mark))
    mark[ties if missing == len(ties) else generator.choice(ties, missing, replace=False)] = True
    return mark


def mark_nearest_zero(
    mark: np.ndarray, weight: np.ndarray, sign: float, count: int, generator: np.random.Generator
) -> None:
    """Set `mark`, (n,) bool, at the `count` weights of one sign that are nearest zero; O(n), with little memory.

    Ties are broken at random: by index, they would go from the top of the image down and fake a topology.
    """
    among = weight > 0 if sign > 0 else weight < 0
    if count <= 0:
        return
    size = weight[among]
    if count >= len(size):
        mark |= among
        return
    size *= sign
    size.partition(count - 1)
    limit = sign * size[count - 1]
    missing = count - int(np.count_nonzero(size[:count] < sign * limit))
    at = np.flatnonzero(weight == limit)
    if missing < len(at):
        at = generator.choice(at, missing, replace=False)
    among &= weight < limit if sign > 0 else weight > limit
    mark |= among
    mark[at] = True
