"""Which connections go: a drop rule sees a read-only view of a layer and marks a given number of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparserbm.registry import register


@dataclass(frozen=True)
class ConnectionsView:
    """What a drop rule may look at, on the host; all arrays are read-only and of one length.

    Attributes
    ----------
    weight : (n_connections,) float
    pre, post : (n_connections,) int32
        The units that each connection joins.
    age : (n_connections,) int
        Steps since birth.
    slots : mapping of str to (n_connections,) array
        Everything else that is known, e.g. ``"velocity"``.
    """

    weight: np.ndarray
    pre: np.ndarray
    post: np.ndarray
    age: np.ndarray
    slots: Mapping[str, np.ndarray]


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
        mark = np.zeros(len(weight), dtype=bool)
        zero = np.flatnonzero(weight == 0)
        mark[smallest(np.zeros(len(zero)), min(count, len(zero)), generator, zero)] = True
        rest = count - int(mark.sum())
        positive, negative = np.flatnonzero(weight > 0), np.flatnonzero(weight < 0)
        signed = len(positive) + len(negative)
        n_positive = round(rest * len(positive) / signed) if signed else 0
        mark[smallest(weight[positive], n_positive, generator, positive)] = True
        mark[smallest(-weight[negative], rest - n_positive, generator, negative)] = True
        return mark


def smallest(values: np.ndarray, count: int, generator: np.random.Generator, index: np.ndarray) -> np.ndarray:
    """Entries of `index` with the `count` smallest `values`, in O(n).

    Ties are broken at random: by index, they would go from the top of the image down and fake a topology.
    """
    if count <= 0:
        return index[:0]
    if count >= len(values):
        return index
    limit = np.partition(values, count - 1)[count - 1]
    below, at = np.flatnonzero(values < limit), np.flatnonzero(values == limit)
    missing = count - len(below)
    if missing < len(at):
        at = generator.choice(at, missing, replace=False)
    return index[np.concatenate([below, at])]
