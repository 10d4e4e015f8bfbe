"""Random numbers as a function of (seed, stream, step, draw, element), never of history.

Topology is decided on the host, from a fresh `numpy.random.Generator` per (stream, step, index), so that CPU and
GPU runs start from the same wiring. Activities are drawn on the device from Philox4x32-10 counters: a `DrawKey`
names the draw, the kernels add (unit, sample). A run therefore has no generator state to save: seed and step are
enough, and the number of threads cannot change a result.

Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import functools
import operator
import zlib
from typing import NamedTuple

import numpy as np

LARGE = 1_000_000
_BLOCK = 1024


class DrawKey(NamedTuple):
    """Key and upper counter words of one array of draws; all are 32-bit unsigned values."""

    key0: int
    key1: int
    step: int
    draw: int


class Draws:
    """Hands out one `DrawKey` after another for one step of one stream."""

    def __init__(self, key0: int, key1: int, step: int):
        self._key = (key0, key1, step)
        self._draw = 0

    def next(self) -> DrawKey:
        self._draw += 1
        return DrawKey(*self._key, self._draw - 1)


class Streams:
    """All random numbers of a model: named streams that depend on the seed only.

    Parameters
    ----------
    seed : int
        Not negative.
    """

    def __init__(self, seed: int):
        try:
            self.seed = operator.index(seed)
        except TypeError:
            raise TypeError(f"seed must be an integer, not {seed!r}") from None
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or a positive integer")

    def host(self, stream: str, step: int = 0, index: int = 0) -> np.random.Generator:
        """A generator on the host, for decisions about the topology; the same call gives the same numbers."""
        words = np.random.SeedSequence([self.seed, zlib.crc32(stream.encode()), step, index])
        return np.random.Generator(np.random.Philox(words))

    def uniform(self, stream: str, step: int, index: int = 0) -> float:
        """One number of [0, 1) for every step, without the cost of a generator for each."""
        return float(_uniform_block(self.seed, stream, step // _BLOCK, index)[step % _BLOCK])

    def draws(self, stream: str, step: int) -> Draws:
        """Keys for draws on the device at one step of a stream."""
        return Draws(*_philox_key(self.seed, stream), step % 2**32)


@functools.lru_cache(maxsize=64)
def _uniform_block(seed: int, stream: str, block: int, index: int) -> np.ndarray:
    return Streams(seed).host(stream, block, index).random(_BLOCK)


@functools.lru_cache(maxsize=64)  # asked at every step; making it takes as long as a small product
def _philox_key(seed: int, stream: str) -> tuple[int, int]:
    words = np.random.SeedSequence([seed, zlib.crc32(stream.encode())]).generate_state(2, np.uint32)
    return int(words[0]), int(words[1])


def distinct_ranks(generator: np.random.Generator, n_places: int, count: int) -> np.ndarray:
    """`count` distinct integers of [0, `n_places`), every set equally likely, sorted; (count,) int64.

    Neither time nor memory depends on `n_places` below half density: repeats are drawn again, and what is
    too much is taken away at random (keeping the first ones would favour small numbers).
    """
    if not 0 <= count <= n_places:
        raise ValueError(f"{count} distinct numbers out of {n_places} are not possible")
    if count > n_places // 2:
        left_out = distinct_ranks(generator, n_places, n_places - count)
        return np.delete(np.arange(n_places, dtype=np.int64), left_out)
    ranks = np.empty(0, dtype=np.int64)
    # At 50 million connections each array of ranks is 400 MB: there are never three of them.
    while len(ranks) < count:
        wanted = int(1.1 * (count - len(ranks))) + 16
        ranks = np.concatenate([ranks, generator.integers(0, n_places, wanted)])
        ranks = ranks[_first_of_equals(ranks)]
    excess = len(ranks) - count
    if not excess:
        return ranks
    if len(ranks) > LARGE:  # `choice` would shuffle a second array of this length
        surplus = distinct_ranks(generator, len(ranks), excess)
    else:
        surplus = generator.choice(len(ranks), excess, replace=False)
    stays = np.ones(len(ranks), dtype=bool)
    stays[surplus] = False
    return ranks[stays]


def _first_of_equals(numbers: np.ndarray) -> np.ndarray:
    """Sort `numbers` in place and mark the first of equal ones: `numpy.unique` with less memory."""
    numbers.sort()
    first = np.ones(len(numbers), dtype=bool)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return first
