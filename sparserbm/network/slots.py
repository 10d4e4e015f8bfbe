"""Named arrays of one length that are always reordered together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sparserbm.backends import Backend

BLOCK = 1 << 17  # connections worked on at a time; what belongs to so many fits the cache


class Slots:
    """What is known of every connection (or every neuron): ``weight``, ``velocity``, ``born`` and so on.

    Nothing else may hold an array per connection: a rewire moves these arrays and no others.

    Parameters
    ----------
    backend : Backend
    length : int
        Number of connections (or neurons).
    """

    def __init__(self, backend: Backend, length: int):
        self.backend = backend
        self.length = length
        self._arrays: dict[str, Any] = {}

    def __len__(self) -> int:
        return self.length

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name]

    def get(self, name: str) -> Any:
        """The slot `name`, or None."""
        return self._arrays.get(name)

    def __setitem__(self, name: str, array: Any) -> None:
        """Store an array of the right length; floating-point values get the backend's dtype."""
        array = self.backend.asarray(array)
        if array.shape != (self.length,):
            raise ValueError(f"slot {name!r} needs shape ({self.length},), not {array.shape}")
        self._arrays[name] = array

    def ensure(self, name: str) -> Any:
        """The slot `name`, made of zeros if it does not exist yet."""
        if name not in self._arrays:
            self._arrays[name] = self.backend.zeros(self.length)
        return self._arrays[name]

    def keep_only(self, names: set[str]) -> None:
        """Forget all other slots, e.g. those of an optimizer that is no longer used."""
        for name in [name for name in self._arrays if name not in names]:
            del self._arrays[name]

    def rewire(self, keep: np.ndarray, before: np.ndarray) -> None:
        """Move every slot: those not kept go, and newborn ones, with 0 in all slots, come in between.

        Parameters
        ----------
        keep : (length,) bool
        before : (n_newborn,) int
            How many of the kept come before each newborn; not decreasing.
        """
        self.length = int(np.count_nonzero(keep)) + len(before)
        keep, before = self.backend.asarray(keep), self.backend.asarray(before)
        for name in self._arrays:  # one after the other: two generations of all slots would need twice the memory
            self._arrays[name] = self.backend.merged(self._arrays[name], keep, before)

    def copy(self, names: set[str] | None = None) -> Slots:
        """A twin with its own arrays: all slots, or those called so."""
        twin = Slots(self.backend, self.length)
        wanted = self._arrays.keys() if names is None else names
        twin._arrays = {name: array.copy() for name, array in self._arrays.items() if name in wanted}
        return twin

    def to_numpy(self) -> dict[str, np.ndarray]:
        return {name: self.backend.to_numpy(array) for name, array in self._arrays.items()}
