"""The first pattern of a layer, and nothing else: how many connections there are and where."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.network.connections import Pattern
from sparserbm.registry import register, resolve
from sparserbm.rng import distinct_ranks


class Wiring(ABC):
    """Draws the pattern that training starts from."""

    @abstractmethod
    def pattern(self, n_pre: int, n_post: int, generator: np.random.Generator) -> Pattern:
        """A pattern between `n_pre` and `n_post` units."""

    def count(self, n_pre: int, n_post: int) -> int:
        """How many connections the layer gets."""
        return len(self.pattern(n_pre, n_post, np.random.default_rng(0)))

    def weights(self) -> np.ndarray | None:
        """Weights that come with the pattern, in its order; None where a weight scale draws them."""
        return None

    def of_layers(self, sizes: Sequence[int]) -> list[Wiring]:
        """What this wiring, given for a whole network of layers of `sizes` units, is for each matrix of connections.

        This one for all but the last, which is then dense; a wiring that sees the network as a whole says otherwise.
        """
        return [self] * (len(sizes) - 2) + [Dense()]


def resolve_wiring(given: Wiring | str) -> Wiring:
    """A wiring from an object or a text such as ``"erdos_renyi(epsilon=11)"``."""
    wiring = resolve("wiring", given)
    if not isinstance(wiring, Wiring):
        raise TypeError(f"{given!r} is no Wiring; give a rule or its text")
    return wiring


def _check_density(density: float) -> None:
    if not 0 < density <= 1:
        raise ValueError(f"density={density} is not possible; use a number above 0, at most 1")


@register("wiring", "erdos_renyi")
@dataclass(frozen=True)
class ErdosRenyi(Wiring):
    """Exactly ``round(p * n_pre * n_post)`` connections at places drawn uniformly without repetition.

    Parameters
    ----------
    epsilon : float, optional
        ``p = epsilon * (n_pre + n_post) / (n_pre * n_post)``, so that epsilon * (n_pre + n_post) connections exist.
    density : float in (0, 1], optional
        p itself. Give one of the two.
    clip : bool
        A layer that epsilon would make more than full becomes full, instead of an error.

    Notes
    -----
    Source: Mocanu et al. (2018), equation 1. Their code draws with repetition and loses 1 to 3 % of the
    connections that way; here the count is exact.
    """

    epsilon: float | None = None
    density: float | None = None
    clip: bool = False

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.density is None):
            raise ValueError(
                f"ErdosRenyi(epsilon={self.epsilon}, density={self.density}): give one of the two, "
                f"e.g. erdos_renyi(epsilon=11) or erdos_renyi(density=0.05)"
            )
        if self.epsilon is not None and not self.epsilon > 0:
            raise ValueError(f"epsilon={self.epsilon} is not possible; use a number above 0")
        if self.density is not None:
            _check_density(self.density)

    def count(self, n_pre: int, n_post: int) -> int:
        """How many connections the layer gets."""
        places = n_pre * n_post
        if self.density is not None:
            return round(self.density * places)
        assert self.epsilon is not None
        wanted = round(self.epsilon * (n_pre + n_post))
        if wanted > places and not self.clip:
            limit = np.floor(10 * places / (n_pre + n_post)) / 10
            raise ValueError(
                f"epsilon={self.epsilon:g} asks for {wanted:,} connections but {n_pre} x {n_post} has room for "
                f"{places:,}; use epsilon <= {limit:.1f} or wiring=Dense()"
            )
        return min(wanted, places)

    def pattern(self, n_pre: int, n_post: int, generator: np.random.Generator) -> Pattern:
        keys = distinct_ranks(generator, n_pre * n_post, self.count(n_pre, n_post))
        return Pattern.from_keys(n_pre, n_post, keys)


@register("wiring", "erk")
@dataclass(frozen=True)
class ERK(Wiring):
    """One density for a whole network, spread over its layers as Erdos-Renyi graphs of one epsilon.

    A layer that this epsilon would make more than full is dense, and the others share what is left, so that the
    network has exactly ``round(density * places)`` connections, the output layer included. Given in a list, or to an
    RBM, it sees that one layer and is ``ErdosRenyi(density=density)``.

    Parameters
    ----------
    density : float in (0, 1]
        Connections over places, all layers together.

    Notes
    -----
    Source: Erdos-Renyi-Kernel of Evci et al. (2020), section 3.1, without kernels: ``density_l = epsilon * (n_pre +
    n_post) / (n_pre * n_post)``.
    """

    density: float

    def __post_init__(self) -> None:
        _check_density(self.density)

    def of_layers(self, sizes: Sequence[int]) -> list[Wiring]:
        pairs = list(zip(sizes, sizes[1:]))
        places = [n_pre * n_post for n_pre, n_post in pairs]
        counts = spread_exactly(round(self.density * sum(places)), [sum(pair) for pair in pairs], places)
        for (n_pre, n_post), count in zip(pairs, counts):
            if not count:
                raise ValueError(
                    f"density={self.density} leaves the layer {n_pre} x {n_post} without a connection; use more"
                )
        return [Dense() if n == most else ErdosRenyi(density=n / most) for n, most in zip(counts, places)]

    def count(self, n_pre: int, n_post: int) -> int:
        return round(self.density * n_pre * n_post)

    def pattern(self, n_pre: int, n_post: int, generator: np.random.Generator) -> Pattern:
        return ErdosRenyi(density=self.density).pattern(n_pre, n_post, generator)


def spread_exactly(total: int, shares: list[int], most: list[int]) -> list[int]:
    """`total` in integers in proportion to `shares`, none above its number in `most`; exact in integers."""
    counts = list(most)
    rest = list(range(len(most)))  # layers that are not full
    while True:
        left = total - (sum(most) - sum(most[layer] for layer in rest))
        whole = sum(shares[layer] for layer in rest)
        fitting = [layer for layer in rest if left * shares[layer] <= most[layer] * whole]
        if len(fitting) == len(rest):
            break
        rest = fitting  # each has more room now than before
    for layer in rest:
        counts[layer] = left * shares[layer] // whole
    # What rounding down leaves over goes to the largest remainders.
    remainders = sorted(rest, key=lambda layer: -(left * shares[layer] % whole))
    for layer in remainders[: total - sum(counts)]:
        counts[layer] += 1
    return counts


@register("wiring", "dense")
@dataclass(frozen=True)
class Dense(Wiring):
    """Every place holds a connection; such a layer never evolves."""

    def count(self, n_pre: int, n_post: int) -> int:
        return n_pre * n_post

    def pattern(self, n_pre: int, n_post: int, generator: np.random.Generator) -> Pattern:
        return Pattern.from_keys(n_pre, n_post, np.arange(n_pre * n_post, dtype=np.int64))


@register("wiring", "fixed_fan_in")
@dataclass(frozen=True)
class FixedFanIn(Wiring):
    """Every post unit gets `fan_in` inputs, drawn uniformly without repetition."""

    fan_in: int

    def count(self, n_pre: int, n_post: int) -> int:
        return self.fan_in * n_post

    def pattern(self, n_pre: int, n_post: int, generator: np.random.Generator) -> Pattern:
        if not 1 <= self.fan_in <= n_pre:
            raise ValueError(f"fan_in={self.fan_in} is not possible with {n_pre} inputs; use 1 to {n_pre}")
        rows = [unit * n_pre + distinct_ranks(generator, n_pre, self.fan_in) for unit in range(n_post)]
        return Pattern.from_keys(n_pre, n_post, np.concatenate(rows))


@register("wiring", "side_by_side")
@dataclass(frozen=True)
class SideBySide(Wiring):
    """A wiring for each of several groups of neighbouring pre units: sparse pixels beside a dense group of classes.

    Parameters
    ----------
    parts : tuple of Wiring or texts
        From the first unit on.
    sizes : tuple of int
        Pre units of each.
    """

    parts: tuple[Any, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(resolve_wiring(part) for part in self.parts))
        object.__setattr__(self, "sizes", tuple(int(size) for size in self.sizes))
        if len(self.parts) != len(self.sizes):
            raise ValueError(f"{len(self.parts)} wirings for {len(self.sizes)} groups of units; give one for each")
        if any(part.weights() is not None for part in self.parts):
            raise ValueError(
                "a wiring that brings its own weights cannot stand beside others; use it for the whole layer"
            )

    def _check(self, n_pre: int) -> None:
        if sum(self.sizes) != n_pre:
            raise ValueError(f"sizes={self.sizes} are {sum(self.sizes)} units, and the layer has {n_pre} inputs")

    def count(self, n_pre: int, n_post: int) -> int:
        self._check(n_pre)
        return sum(part.count(size, n_post) for part, size in zip(self.parts, self.sizes))

    def pattern(self, n_pre: int, n_post: int, generator: np.random.Generator) -> Pattern:
        self._check(n_pre)
        keys, first = [], 0
        for part, size in zip(self.parts, self.sizes):
            own = part.pattern(size, n_post, generator)
            keys.append(own.post.astype(np.int64) * n_pre + own.pre + first)
            first += size
        return Pattern.from_keys(n_pre, n_post, np.sort(np.concatenate(keys)))


@dataclass(frozen=True, eq=False)
class FromScipy(Wiring):
    """Pattern and weights of a SciPy sparse matrix of shape (n_post, n_pre); explicit zeros are connections.

    Parameters
    ----------
    matrix : scipy.sparse matrix or array, or a path to an .npz file of `scipy.sparse.save_npz`
    """

    matrix: Any

    def __repr__(self) -> str:
        """In one line, as configs keep it: SciPy writes a matrix in two."""
        entries = f"{self.matrix.nnz:,} entries" if hasattr(self.matrix, "nnz") else str(self.matrix)
        return f"FromScipy({entries})"

    def _csr(self) -> Any:
        from scipy import sparse

        if isinstance(self.matrix, np.ndarray):
            raise TypeError(
                "FromScipy takes a sparse matrix, whose entries are the connections; for all places use Dense()"
            )
        matrix = self.matrix if sparse.issparse(self.matrix) else sparse.load_npz(self.matrix)
        csr = sparse.csr_matrix(matrix, copy=True)
        stored = matrix.nnz if matrix.format == "coo" else csr.nnz  # COO sums its repeats when it is converted
        csr.sum_duplicates()
        if csr.nnz != stored:
            raise ValueError(f"{stored - csr.nnz} entries of the matrix repeat a place; every place must be unique")
        return csr

    def pattern(self, n_pre: int, n_post: int, generator: np.random.Generator) -> Pattern:
        csr = self._csr()
        if csr.shape != (n_post, n_pre):
            raise ValueError(f"the matrix has shape {csr.shape}, the layer needs (n_post, n_pre) = {(n_post, n_pre)}")
        return Pattern(n_pre, n_post, csr.indptr, csr.indices)

    def weights(self) -> np.ndarray | None:
        return np.asarray(self._csr().data)
