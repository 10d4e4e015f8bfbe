"""A matrix of connections: one sorted pattern and the slots that belong to it.

The pattern is CSR by post unit: ``pre[indptr[j]:indptr[j + 1]]`` are the inputs of unit j. The place of connection
(i, j) is the key ``j * n_pre + i``; keys are unique and increasing. A weight of exactly 0.0 is still a connection.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from sparserbm.backends import Backend, Rows
from sparserbm.network.slots import Slots

_MOST = np.iinfo(np.int32).max


class Pattern:
    """Which places hold a connection; immutable, on the host.

    Parameters
    ----------
    n_pre, n_post : int
        Units on both sides.
    indptr : (n_post + 1,) int64
    pre : (n_connections,) int32
        Sorted and unique within every row.
    """

    def __init__(self, n_pre: int, n_post: int, indptr: np.ndarray, pre: np.ndarray):
        self.n_pre, self.n_post = int(n_pre), int(n_post)
        self.indptr = np.ascontiguousarray(indptr, dtype=np.int64)
        self.pre = np.ascontiguousarray(pre, dtype=np.int32)

    @classmethod
    def from_keys(cls, n_pre: int, n_post: int, keys: np.ndarray) -> Pattern:
        """The pattern whose places are `keys`, (n_connections,) int64, increasing."""
        if len(keys) > _MOST:
            raise ValueError(f"{len(keys):,} connections do not fit 32-bit indices; use at most {_MOST:,}")
        starts = np.arange(n_post + 1, dtype=np.int64) * n_pre
        return cls(n_pre, n_post, np.searchsorted(keys, starts), (keys % n_pre).astype(np.int32))

    def __len__(self) -> int:
        return len(self.pre)

    @property
    def n_places(self) -> int:
        return self.n_pre * self.n_post

    @property
    def density(self) -> float:
        """Connections over places, 0 to 1."""
        return len(self) / self.n_places

    @cached_property
    def post(self) -> np.ndarray:
        """Post unit of every connection, (n_connections,) int32."""
        return np.repeat(np.arange(self.n_post, dtype=np.int32), np.diff(self.indptr))

    @property
    def keys(self) -> np.ndarray:
        """Place of every connection, (n_connections,) int64, increasing."""
        return self.post.astype(np.int64) * self.n_pre + self.pre

    def fan_in(self) -> np.ndarray:
        """Connections of every post unit, (n_post,) int64."""
        return np.diff(self.indptr)

    def fan_out(self) -> np.ndarray:
        """Connections of every pre unit, (n_pre,) int64."""
        return np.bincount(self.pre, minlength=self.n_pre)

    def transposed(self) -> Rows:
        """The pattern by pre unit, with the permutation into the order by post; O(n_connections)."""
        from scipy.sparse import csr_matrix

        # A conversion, not arithmetic: SciPy keeps explicit zeros here (entry 0 of the permutation is one).
        numbers = np.arange(len(self), dtype=np.int32)
        by_pre = csr_matrix((numbers, self.pre, self.indptr), shape=(self.n_post, self.n_pre)).tocsc()
        return Rows(by_pre.indptr.astype(np.int64), by_pre.indices.astype(np.int32, copy=False), by_pre.data)

    def check(self) -> None:
        """Raise ValueError unless the pattern is well formed; what a kernel reads was checked here."""
        indptr, pre = self.indptr, self.pre
        if len(indptr) != self.n_post + 1 or indptr[0] != 0 or indptr[-1] != len(pre) or np.any(np.diff(indptr) < 0):
            raise ValueError(f"indptr does not describe {self.n_post} rows of {len(pre)} connections")
        if len(pre) and (pre.min() < 0 or pre.max() >= self.n_pre):
            raise ValueError(f"a connection starts at a unit outside 0 to {self.n_pre - 1}")
        if np.any(np.diff(self.keys) <= 0):
            raise ValueError("connections are not sorted and unique")


class Connections:
    """A pattern on a device with its slots; ``weight`` and ``born`` (step of birth) always exist.

    Parameters
    ----------
    backend : Backend
    pattern : Pattern
    weight : (n_connections,) float
    weights_rule : WeightScale, optional
        The rule that drew the weights; newborn connections may draw from it again.
    """

    def __init__(self, backend: Backend, pattern: Pattern, weight: Any, weights_rule: Any = None):
        self.backend = backend
        self.pattern = pattern
        self.weights_rule = weights_rule
        self.slots = Slots(backend, len(pattern))
        self.slots["weight"] = backend.asarray(weight, backend.dtype)
        self.slots["born"] = np.zeros(len(pattern), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.pattern)

    @property
    def n_pre(self) -> int:
        return self.pattern.n_pre

    @property
    def n_post(self) -> int:
        return self.pattern.n_post

    @property
    def weight(self) -> Any:
        return self.slots["weight"]

    @property
    def density(self) -> float:
        return self.pattern.density

    @cached_property
    def by_post(self) -> Rows:
        return Rows(self.backend.asarray(self.pattern.indptr), self.backend.asarray(self.pattern.pre), None)

    @cached_property
    def by_pre(self) -> Rows:
        rows = self.pattern.transposed()
        return Rows(*(self.backend.asarray(array) for array in rows))

    def rewire(self, keep: np.ndarray, grown: np.ndarray, weight: np.ndarray, step: int) -> None:
        """Drop some connections and add others; every slot moves along.

        Parameters
        ----------
        keep : (n_connections,) bool
            Which connections stay.
        grown : (n_grown,) int64
            Places of the newborn, increasing, none of them occupied by a connection that stays.
        weight : (n_grown,) float
            Weights of the newborn; their other slots are 0, ``born`` is `step`.

        Raises
        ------
        ValueError
            If a newborn takes an occupied or repeated place, or one that does not exist.
        """
        kept = self.pattern.keys[keep]
        position = np.searchsorted(kept, grown)  # how many of the kept come before each newborn
        self._check_grown(kept, grown, position)
        places = position + np.arange(len(grown))
        source = np.full(len(kept) + len(grown), -1, dtype=np.int64)
        stays = np.ones(len(source), dtype=bool)
        stays[places] = False
        source[stays] = np.flatnonzero(keep)
        keys = np.empty(len(source), dtype=np.int64)
        keys[stays], keys[places] = kept, grown
        self.slots.reorder(source)
        where = self.backend.asarray(places)
        self.slots["weight"][where] = self.backend.asarray(np.asarray(weight, dtype=self.backend.dtype))
        self.slots["born"][where] = step
        self.pattern = Pattern.from_keys(self.n_pre, self.n_post, keys)
        self.__dict__.pop("by_post", None)
        self.__dict__.pop("by_pre", None)

    def _check_grown(self, kept: np.ndarray, grown: np.ndarray, position: np.ndarray) -> None:
        if len(grown) == 0:
            return
        if grown[0] < 0 or grown[-1] >= self.pattern.n_places or np.any(np.diff(grown) <= 0):
            raise ValueError("new connections must be at increasing, distinct places of the layer")
        beside = np.minimum(position, max(len(kept) - 1, 0))
        if len(kept) and np.any(kept[beside] == grown):
            taken = int(np.sum(kept[beside] == grown))
            raise ValueError(
                f"{taken} of {len(grown)} new connections are at occupied places; a grow rule must pick absent ones"
            )

    def copy(self) -> Connections:
        """A twin that shares the (immutable) pattern and owns its slots."""
        twin = Connections.__new__(Connections)
        twin.__dict__.update(self.__dict__)
        twin.slots = self.slots.copy()
        return twin

    def to_scipy(self) -> Any:
        """The weights as `scipy.sparse.csr_matrix` of shape (n_post, n_pre); zeros stay explicit entries."""
        from scipy.sparse import csr_matrix

        weight = self.backend.to_numpy(self.weight)
        return csr_matrix((weight, self.pattern.pre, self.pattern.indptr), shape=(self.n_post, self.n_pre), copy=True)

    def to_dense(self) -> np.ndarray:
        """The weights as a dense (n_post, n_pre) array; absent connections are 0."""
        dense = np.zeros((self.n_post, self.n_pre), dtype=self.backend.dtype)
        dense[self.pattern.post, self.pattern.pre] = self.backend.to_numpy(self.weight)
        return dense
