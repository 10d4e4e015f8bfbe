"""Where new connections come: a grow rule picks absent places of a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sparserbm.backends import Backend
from sparserbm.network.coactivity import Coactivity
from sparserbm.network.connections import Pattern
from sparserbm.registry import register
from sparserbm.rng import distinct_ranks


@dataclass(frozen=True)
class GrowRequest:
    """What a grow rule is asked.

    Attributes
    ----------
    n_pre, n_post : int
        Units of the layer; place (i, j) has the key ``j * n_pre + i``.
    occupied : Pattern
        Places that may not be picked.
    count : int
        How many to pick; there is room for them.
    coactivity : Coactivity or None
        Of the batch that was trained last, for rules that look at gradients (`Coactivity.at_places`).
    backend : Backend
    """

    n_pre: int
    n_post: int
    occupied: Pattern
    count: int
    coactivity: Coactivity | None
    backend: Backend


class Grow(ABC):
    """Picks places for new connections."""

    @abstractmethod
    def propose(self, request: GrowRequest, generator: np.random.Generator) -> np.ndarray:
        """Keys of ``request.count`` distinct absent places, increasing; (count,) int64."""


@register("grow", "random")
@dataclass(frozen=True)
class RandomGrow(Grow):
    """Uniformly among the absent places, exact at every density and without rejection (Mocanu et al. 2018)."""

    def propose(self, request: GrowRequest, generator: np.random.Generator) -> np.ndarray:
        occupied = request.occupied
        return occupied.absent_keys(distinct_ranks(generator, occupied.n_places - len(occupied), request.count))
