"""A matrix of connections: one sorted pattern and the slots that belong to it.

The pattern is CSR by post unit: ``pre[indptr[j]:indptr[j + 1]]`` are the inputs of unit j. The place of connection
(i, j) is the key ``j * n_pre + i``; keys are unique and increasing. A weight of exactly 0.0 is still a connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sparserbm.backends import Backend, Rows
from sparserbm.network.slots import BLOCK, Slots

_MOST = np.iinfo(np.int32).max


class Part(NamedTuple):
    """Some neighbouring rows of a pattern, as a pattern that can be sampled on its own."""

    units: slice  # of the post units
    connections: slice
    by_post: Rows  # of these rows


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
        check_count(len(keys))
        starts = np.arange(n_post + 1, dtype=np.int64) * n_pre
        pre = np.empty(len(keys), dtype=np.int32)
        for first in range(0, len(keys), BLOCK):
            pre[first : first + BLOCK] = keys[first : first + BLOCK] % n_pre
        return cls(n_pre, n_post, np.searchsorted(keys, starts), pre)

    def __len__(self) -> int:
        return len(self.pre)

    @property
    def n_places(self) -> int:
        return self.n_pre * self.n_post

    @property
    def density(self) -> float:
        """Connections over places, 0 to 1."""
        return len(self) / self.n_places

    @property
    def post(self) -> np.ndarray:
        """Post unit of every connection, (n_connections,) int32."""
        return np.repeat(np.arange(self.n_post, dtype=np.int32), np.diff(self.indptr))

    @property
    def keys(self) -> np.ndarray:
        """Place of every connection, (n_connections,) int64, increasing."""
        return self.keys_of(slice(0, self.n_post))

    def keys_of(self, units: slice) -> np.ndarray:
        """Places of the connections of some neighbouring post units."""
        indptr = self.indptr[units.start : units.stop + 1]
        starts = np.arange(units.start, units.stop, dtype=np.int64) * self.n_pre
        return np.repeat(starts, np.diff(indptr)) + self.pre[indptr[0] : indptr[-1]]

    def blocks(self, together: int = 1) -> Iterator[tuple[slice, slice]]:
        """Post units and connections in turn, about ``together * BLOCK`` connections at a time.

        What is done block by block stays in the cache and needs no second array per connection.
        """
        indptr, unit = self.indptr, 0
        while unit < self.n_post:
            stop = int(np.searchsorted(indptr, indptr[unit] + together * BLOCK, side="right")) - 1
            stop = min(max(stop, unit + 1), self.n_post)
            yield slice(unit, stop), slice(int(indptr[unit]), int(indptr[stop]))
            unit = stop

    def keeping(self, keep: np.ndarray) -> Pattern:
        """The pattern of the connections that are True in `keep`, (n_connections,) bool."""
        return Pattern(self.n_pre, self.n_post, self._indptr_keeping(keep), self.pre[keep])

    def _indptr_keeping(self, keep: np.ndarray) -> np.ndarray:
        indptr = np.zeros(self.n_post + 1, dtype=np.int64)
        for units, part in self.blocks():
            counted = np.concatenate([[0], np.cumsum(keep[part])])
            ends = self.indptr[units.start + 1 : units.stop + 1] - part.start
            indptr[units.start + 1 : units.stop + 1] = indptr[units.start] + counted[ends]
        return indptr

    def absent_keys(self, ranks: np.ndarray) -> np.ndarray:
        """Places without connection, by their rank among all such places.

        Parameters
        ----------
        ranks : (n,) int64
            Increasing, of [0, n_places - n_connections).

        Returns
        -------
        (n,) int64
            Increasing: rank r is place ``r + c``, where c connections come before it. Exact at every density, without
            rejection.
        """
        keys = np.empty(len(ranks), dtype=np.int64)
        done = 0
        for units, part in self.blocks():
            stop = int(np.searchsorted(ranks, units.stop * self.n_pre - part.stop))
            absent_before = self.keys_of(units) - np.arange(part.start, part.stop)
            mine = ranks[done:stop]
            keys[done:stop] = mine + part.start + np.searchsorted(absent_before, mine, side="right")
            done = stop
        return keys

    def fan_in(self) -> np.ndarray:
        """Connections of every post unit, (n_post,) int64."""
        return np.diff(self.indptr)

    def fan_out(self) -> np.ndarray:
        """Connections of every pre unit, (n_pre,) int64."""
        degrees = np.zeros(self.n_pre, dtype=np.int64)
        for first in range(0, len(self), BLOCK):  # `bincount` makes an int64 copy of what it counts
            degrees += np.bincount(self.pre[first : first + BLOCK], minlength=self.n_pre)
        return degrees

    def check(self) -> None:
        """Raise ValueError unless the pattern is well formed; what a kernel reads was checked here."""
        indptr, pre = self.indptr, self.pre
        if len(indptr) != self.n_post + 1 or indptr[0] != 0 or indptr[-1] != len(pre) or np.any(np.diff(indptr) < 0):
            raise ValueError(f"indptr does not describe {self.n_post} rows of {len(pre)} connections")
        if len(pre) and (pre.min() < 0 or pre.max() >= self.n_pre):
            raise ValueError(f"a connection starts at a unit outside 0 to {self.n_pre - 1}")
        # Increasing within a row: a step back is allowed where the next row begins.
        back = np.flatnonzero(np.diff(pre) <= 0) + 1
        if not np.isin(back, indptr).all():
            raise ValueError("connections are not sorted and unique")


def check_count(count: int) -> None:
    """Raise ValueError if so many connections cannot be numbered."""
    if count > _MOST:
        raise ValueError(f"{count:,} connections do not fit 32-bit indices; use at most {_MOST:,}")


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
        self.slots["born"] = np.zeros(len(pattern), dtype=np.uint16)

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

    @property
    def born(self) -> Any:
        """Step of birth, (n_connections,), in as few bytes as the step needs."""
        return self.slots["born"]

    @cached_property
    def by_post(self) -> Rows:
        return Rows(self.backend.asarray(self.pattern.indptr), self.backend.asarray(self.pattern.pre), None)

    @cached_property
    def by_pre(self) -> Rows:
        return self.backend.transposed(self.by_post, self.n_pre)

    @cached_property
    def parts(self) -> list[Part]:
        """The rows in parts of about `BLOCK` connections, on a GPU more; one part where the matrix is small."""
        rows = self.by_post
        return [
            Part(units, part, Rows(rows.indptr[units.start : units.stop + 1] - part.start, rows.index[part], None))
            for units, part in self.pattern.blocks(self.backend.parts_at_once)
        ]

    def release(self) -> None:
        """Forget the indices that the products use, a third of the memory; they are made again when asked for."""
        for index in ("by_post", "by_pre", "parts"):
            self.__dict__.pop(index, None)

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
        before = self._kept_before(keep, grown)
        self.release()
        old = self.pattern
        pre = self.backend.to_numpy(self.backend.merged(self.backend.asarray(old.pre), keep, before))
        for first in range(0, len(before), BLOCK):
            part = slice(first, min(first + BLOCK, len(before)))
            pre[before[part] + np.arange(part.start, part.stop)] = grown[part] % self.n_pre
        starts = np.arange(self.n_post + 1, dtype=np.int64) * self.n_pre
        indptr = old._indptr_keeping(keep) + np.searchsorted(grown, starts)
        self.pattern = Pattern(self.n_pre, self.n_post, indptr, pre)
        del old, pre
        if step > np.iinfo(self.born.dtype).max:
            self.slots["born"] = self.born.astype(np.uint32)
        self.slots.rewire(keep, before)
        for first in range(0, len(before), BLOCK):
            part = slice(first, min(first + BLOCK, len(before)))
            where = self.backend.asarray(before[part] + np.arange(part.start, part.stop))
            self.slots["weight"][where] = self.backend.asarray(np.asarray(weight[part], dtype=self.backend.dtype))
            self.slots["born"][where] = step

    def _kept_before(self, keep: np.ndarray, grown: np.ndarray) -> np.ndarray:
        """How many connections that stay come before each newborn, (n_grown,) int32."""
        if len(grown) and (grown[0] < 0 or grown[-1] >= self.pattern.n_places or np.any(np.diff(grown) <= 0)):
            raise ValueError("new connections must be at increasing, distinct places of the layer")
        before = np.empty(len(grown), dtype=np.int32)
        done = kept = taken = 0
        for units, part in self.pattern.blocks():
            stop = int(np.searchsorted(grown, units.stop * self.n_pre))
            keys, mine = self.pattern.keys_of(units)[keep[part]], grown[done:stop]
            position = np.searchsorted(keys, mine)
            if len(keys):
                taken += int(np.sum(keys[np.minimum(position, len(keys) - 1)] == mine))
            before[done:stop] = kept + position
            done, kept = stop, kept + len(keys)
        if taken:
            raise ValueError(
                f"{taken} of {len(grown)} new connections are at occupied places; a grow rule must pick absent ones"
            )
        return before

    def copy(self, names: set[str] | None = None) -> Connections:
        """A twin that shares the (immutable) pattern and owns its slots: all, or those called so."""
        twin = Connections.__new__(Connections)
        twin.__dict__.update(self.__dict__)
        twin.slots = self.slots.copy(names)
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
