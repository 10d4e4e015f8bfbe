"""Mini-batches: seeded order, unit-major arrays on the device.

An array goes to the device once and as a whole, a `Source` mini-batch by mini-batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import Backend, Workspace
from sparserbm.data.sources import Samples, Source, as_samples
from sparserbm.rng import Streams

BLOCK = 1024  # samples at a time in a pass without training
WIDEST = 1 << 24  # activities of one layer in such a block; wider layers get fewer samples


@dataclass(frozen=True)
class Batch:
    """One mini-batch on the device.

    Attributes
    ----------
    x : (n_features, n_samples)
        Valid until the next batch is drawn.
    y : (n_samples,) int or (n_outputs, n_samples) float, or None
        Class numbers or targets; valid as long as `x`.
    step : int
        Mini-batches of the run before this one.
    weight : (n_samples,) float64, or None
        How much each sample counts, on average over all mini-batches 1; valid as long as `x`.
    """

    x: Any
    y: Any
    step: int
    weight: Any = None


class Batches:
    """Training data, handed out in mini-batches on the device.

    Parameters
    ----------
    backend : Backend
    X : (n_samples, n_features) float or Source
    y : (n_samples,) int or (n_samples, n_outputs) float, optional
    batch_size : int
        The last batch of an epoch has what is left over.
    origin : int
        A step at which an epoch begins.
    weight : (n_samples,) float with mean 1, optional
    """

    def __init__(
        self,
        backend: Backend,
        X: Samples,
        y: np.ndarray | None,
        batch_size: int,
        origin: int = 0,
        weight: np.ndarray | None = None,
    ):
        self._backend = backend
        X = as_samples(X)
        self._X = X if isinstance(X, Source) else backend.asarray(X)
        self._y: Any = None if y is None else backend.asarray(y)
        # In float64: of rounded weights a share could come out above 1.
        self._weight: Any = None if weight is None else backend.asarray(weight, np.float64)
        self.n_samples, self.n_features = X.shape
        self.batch_size = min(batch_size, self.n_samples)
        self.per_epoch = -(-self.n_samples // self.batch_size)
        self._origin = origin
        self._workspace = Workspace(backend)
        self._classes = backend.xp.empty(self.batch_size, dtype=np.int64)
        self._some_weights = backend.xp.empty(self.batch_size, dtype=np.float64)

    def latest(self, streams: Streams, step: int, count: int, shuffle: bool = True) -> Iterator[Batch]:
        """The `count` mini-batches before `step`, the newest first; fewer where training is younger.

        They overwrite the batch that is in use.
        """
        order, began = None, -1
        for number in range(step - 1, max(step - 1 - count, -1), -1):
            first = self._origin + (number - self._origin) // self.per_epoch * self.per_epoch
            if order is None or first != began:
                # An epoch of other data may have had fewer mini-batches, and this one would begin before 0.
                order, began = self._order(streams, max(first, 0), shuffle), first
            yield self._batch(order, number - first, number)

    def epoch(self, streams: Streams, step: int, shuffle: bool = True) -> Iterator[Batch]:
        """The mini-batches of the epoch that begins at `step`; the order depends on the seed and the step only."""
        order = self._order(streams, step, shuffle)
        for number in range(self.per_epoch):
            yield self._batch(order, number, step + number)

    def _order(self, streams: Streams, step: int, shuffle: bool) -> tuple[np.ndarray, Any]:
        """Numbers of the samples in the order of the epoch that begins at `step`, on the host and on the device."""
        order = streams.host("order", step).permutation(self.n_samples) if shuffle else np.arange(self.n_samples)
        return order, self._backend.asarray(order)

    def _batch(self, order: tuple[np.ndarray, Any], number: int, step: int) -> Batch:
        part = slice(number * self.batch_size, (number + 1) * self.batch_size)
        on_host, rows = (each[part] for each in order)
        x = self._workspace.array("x", self.n_features, len(rows))
        if isinstance(self._X, Source):
            self._X.put(self._backend, on_host, x)
        else:
            self._backend.gather(self._X, rows, x)
        return Batch(x, self._targets(rows), step, self._weights(rows))

    def _weights(self, rows: Any) -> Any:
        """Weights of these samples, always in the same memory."""
        if self._weight is None:
            return None
        return self._backend.xp.take(self._weight, rows, out=self._some_weights[: len(rows)])

    def _targets(self, rows: Any) -> Any:
        """Targets of these samples, always in the same memory."""
        if self._y is None or self._y.ndim == 1:
            return None if self._y is None else self._backend.xp.take(self._y, rows, out=self._classes[: len(rows)])
        return self._backend.gather(self._y, rows, self._workspace.array("y", self._y.shape[1], len(rows)))


def block_size(widest: int) -> int:
    """Samples of one block for a network whose largest layer has `widest` units."""
    return max(8, min(BLOCK, WIDEST // widest))


def blocks(backend: Backend, X: Any, widest: int) -> Iterator[tuple[slice, Any]]:
    """Cut `X`, (n_samples, n_features) on the host or the device or a `Source`, into unit-major blocks on the device.

    For a pass without training; `widest` is the number of units of the largest layer that the samples go through.
    """
    size = block_size(widest)
    for start in range(0, len(X), size):
        part = slice(start, min(start + size, len(X)))
        if isinstance(X, Source):
            index = np.arange(part.start, part.stop)
            yield part, X.put(backend, index, backend.empty((X.n_features, len(index))))
            continue
        samples = backend.asarray(X[part])
        yield part, backend.gather(samples, backend.xp.arange(len(samples)), backend.empty(samples.shape[::-1]))
