"""A change of topology as plain data: made by rules, checked, then applied in one move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparserbm.network.connections import Connections


@dataclass(frozen=True)
class RewirePlan:
    """Which connections of a layer stay, and which are born.

    Attributes
    ----------
    keep : (n_connections,) bool
    grown : (n_grown,) int64
        Keys, increasing.
    weight : (n_grown,) float
        Weights of the newborn.
    """

    keep: np.ndarray
    grown: np.ndarray
    weight: np.ndarray

    @property
    def n_dropped(self) -> int:
        return int(len(self.keep) - self.keep.sum())

    @property
    def n_grown(self) -> int:
        return len(self.grown)

    def check(self, connections: Connections) -> None:
        """Raise ValueError if the plan does not fit the layer (`Connections.rewire` checks the places)."""
        if self.keep.shape != (len(connections),) or self.keep.dtype != bool:
            raise ValueError(f"the plan is for {self.keep.size} connections, the layer has {len(connections)}")
        if self.weight.shape != self.grown.shape or not np.isfinite(self.weight).all():
            raise ValueError(f"a birth rule must give one finite weight for each of {self.n_grown} new connections")

    def apply(self, connections: Connections, step: int) -> None:
        self.check(connections)
        connections.rewire(self.keep, self.grown, self.weight, step)
