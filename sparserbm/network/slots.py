"""Named arrays of one length that are always reordered together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sparserbm.backends import Backend


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

    def reorder(self, source: np.ndarray) -> None:
        """Move every slot: new place k gets the value of old place ``source[k]``, or 0 where that is -1.

        Parameters
        ----------
        source : (n_new,) int64
        """
        newborn = np.flatnonzero(source < 0)
        take = np.where(source < 0, 0, source)
        index, empty = self.backend.asarray(take), self.backend.asarray(newborn)
        for name, old in self._arrays.items():
            if len(old) == 0:
                moved = self.backend.xp.zeros(len(source), dtype=old.dtype)
            else:
                moved = old[index]
                moved[empty] = 0
            self._arrays[name] = moved
        self.length = len(source)

    def copy(self) -> Slots:
        twin = Slots(self.backend, self.length)
        twin._arrays = {name: array.copy() for name, array in self._arrays.items()}
        return twin

    def to_numpy(self) -> dict[str, np.ndarray]:
        return {name: self.backend.to_numpy(array) for name, array in self._arrays.items()}
