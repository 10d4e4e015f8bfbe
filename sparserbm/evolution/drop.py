"""Which connections go: a drop rule sees a read-only view of a layer and marks a given number of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from sparserbm.network.connections import Connections
from sparserbm.registry import register


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
    """

    def __init__(self, layer: Connections, step: int):
        self._layer, self._step = layer, step

    # Brought to the host and made when asked for: most rules look at the weights only.

    @cached_property
    def weight(self) -> np.ndarray:
        return self._slot("weight")

    @cached_property
    def slots(self) -> Mapping[str, np.ndarray]:
        return MappingProxyType(
            {name: self._slot(name) for name in self._layer.slots if name not in ("weight", "born")}
        )

    @property
    def pre(self) -> np.ndarray:
        return _read_only(self._layer.pattern.pre.view())

    @property
    def post(self) -> np.ndarray:
        return _read_only(self._layer.pattern.post)

    @property
    def age(self) -> np.ndarray:
        return _read_only(self.age_of(slice(None)))

    @cached_property
    def _born(self) -> np.ndarray:
        return self._slot("born")

    def _slot(self, name: str) -> np.ndarray:
        return _read_only(self._layer.backend.to_numpy(self._layer.slots[name]).view())

    def age_of(self, some: Any) -> np.ndarray:
        """Ages of the connections that an index or mask picks."""
        return (self._step - self._born[some].astype(np.int64)).astype(np.int32)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


class Drop(ABC):
    """Marks connections to be dropped."""

    @abstractmethod
    def select(self, view: ConnectionsView, count: int, generator: np.random.Generator) -> np.ndarray:
        """Mark `count` connections.

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
    each. The published code computes two thresholds instead and drops one or two connections more (all of them,
    where all weights are equal); this rule drops exactly the number asked for.
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
