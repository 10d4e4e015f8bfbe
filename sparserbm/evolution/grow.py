"""Where new connections come: a grow rule picks absent places of a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from sparserbm.backends import SignedPair
from sparserbm.evolution.drop import check_scores
from sparserbm.network.coactivity import Coactivity, Evidence
from sparserbm.network.connections import Connections, Pattern
from sparserbm.registry import register
from sparserbm.rng import distinct_ranks

STREAMED = 1 << 20  # places scored at a time where all of them are
TRIES = 8  # of a parental rule, before it takes any places


class GrowRequest:
    """What a grow rule is asked.

    Attributes
    ----------
    number : int
        Of the layer in the model.
    parents : Pattern
        The connections that stay.
    weight : (n_parents,) float
        Their weights.
    occupied : Pattern
        Places that may not be picked; place (i, j) has the key ``j * n_pre + i``.
    count : int
        How many to pick; there is room for them.
    backend : Backend
    fell_back : int
        Written by rules that cannot always have their way: newborns that were placed uniformly instead.
    """

    def __init__(
        self,
        number: int,
        layer: Connections,
        keep: np.ndarray,
        parents: Pattern,
        occupied: Pattern,
        count: int,
        evidence: Evidence | None,
    ):
        self.number, self.parents, self.occupied, self.count = number, parents, occupied, count
        self.backend, self.fell_back = layer.backend, 0
        self._layer, self._keep, self._evidence = layer, keep, evidence

    @cached_property
    def weight(self) -> np.ndarray:
        return self.backend.to_numpy(self._layer.weight)[self._keep]

    @cached_property
    def parents_by_pre(self) -> tuple[np.ndarray, np.ndarray]:
        """Parents in the order of their pre units, (n_parents,), and where those of each unit begin, (n_pre + 1,)."""
        return np.argsort(self.parents.pre, kind="stable"), np.append(0, np.cumsum(self.parents.fan_out()))

    @property
    def n_pre(self) -> int:
        return self.occupied.n_pre

    @property
    def n_post(self) -> int:
        return self.occupied.n_post

    @property
    def n_absent(self) -> int:
        return self.occupied.n_places - len(self.occupied)

    def batches(self, count: int) -> Iterator[Coactivity]:
        """Coactivity of this layer for the last mini-batches, the newest first.

        Raises
        ------
        ValueError
            Outside training.
        """
        if self._evidence is None:
            raise ValueError("this rule looks at mini-batches: it works in training only")
        for layers in self._evidence(count):
            yield layers[self.number]

    def gradient(self, keys: np.ndarray) -> np.ndarray:
        """Gradient of the loss over the last mini-batch at these places, (n_keys,), whether connected or not."""
        total = np.zeros(len(keys))
        for coactivity in self.batches(1):
            total += self.backend.to_numpy(coactivity.at_places(self.backend, keys))
        check_scores(total)
        return total


class Grow(ABC):
    """Picks places for new connections."""

    needs_batches: ClassVar[bool] = False  # such a rule works in training only

    @abstractmethod
    def propose(self, request: GrowRequest, generator: np.random.Generator) -> np.ndarray:
        """Keys of ``request.count`` distinct absent places, increasing; (count,) int64."""


@register("grow", "random")
@dataclass(frozen=True)
class RandomGrow(Grow):
    """Uniformly among the absent places, exact at every density and without rejection (Mocanu et al. 2018)."""

    def propose(self, request: GrowRequest, generator: np.random.Generator) -> np.ndarray:
        return _uniform(request, request.count, generator)


def _uniform(request: GrowRequest, count: int, generator: np.random.Generator) -> np.ndarray:
    return request.occupied.absent_keys(distinct_ranks(generator, request.n_absent, count))


# -- by a score ------------------------------------------------------------------------------------------------------


class _Scored(Grow):
    """The best of the absent places, or of a sample of them; ties are broken at random."""

    needs_batches: ClassVar[bool] = True
    candidates: float | None
    batches: int

    def __post_init__(self) -> None:
        if self.candidates is not None and not self.candidates >= 1:
            raise ValueError(
                f"candidates={self.candidates} is not possible; use at least 1 for each connection to grow, or None "
                f"for all places"
            )
        if isinstance(self.batches, bool) or not isinstance(self.batches, (int, np.integer)) or self.batches < 1:
            raise ValueError(f"batches={self.batches!r} is not possible; use an integer of at least 1")

    @abstractmethod
    def score(self, request: GrowRequest, keys: np.ndarray) -> np.ndarray:
        """How good places are, (n_keys,): larger is better."""

    def propose(self, request: GrowRequest, generator: np.random.Generator) -> np.ndarray:
        best, scores, luck = np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
        if not request.count:
            return best
        for keys in self._places(request, generator):
            found = self.score(request, keys)
            check_scores(found)
            best, scores = np.concatenate([best, keys]), np.concatenate([scores, found])
            luck = np.concatenate([luck, generator.random(len(keys))])  # drawn once: blocks do not matter
            if len(best) > request.count:
                chosen = _largest(scores, luck, request.count)
                best, scores, luck = best[chosen], scores[chosen], luck[chosen]
        return np.sort(best)

    def _places(self, request: GrowRequest, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """All absent places block by block, or a sample of them."""
        if self.candidates is not None:
            wanted = min(self.candidates * request.count, request.n_absent)
            yield _uniform(request, max(round(wanted), request.count), generator)
            return
        for first in range(0, request.n_absent, STREAMED):
            ranks = np.arange(first, min(first + STREAMED, request.n_absent))
            yield request.occupied.absent_keys(ranks)


def _largest(scores: np.ndarray, luck: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the `count` largest scores, (count,); of equal ones the luckiest; O(n)."""
    limit = np.partition(scores, len(scores) - count)[len(scores) - count]
    above, ties = np.flatnonzero(scores > limit), np.flatnonzero(scores == limit)
    missing = count - len(above)
    if missing < len(ties):
        ties = ties[np.argpartition(luck[ties], missing - 1)[:missing]]
    return np.concatenate([above, ties])


@register("grow", "gradient")
@dataclass(frozen=True)
class GradientGrow(_Scored):
    """Where the gradient of the loss is largest (RigL: Evci et al. 2020), for both trainers.

    Parameters
    ----------
    candidates : float or None
        So many absent places are sampled for each connection to grow, and their gradients are exact. None scores all
        absent places, block by block: the rule of the paper, in the time of a dense network.
    batches : int
        Mini-batches whose gradients are summed, the newest first.
    decay : float in [0, 1]
        Weight of each batch against the one after it.

    Notes
    -----
    Gradients are those of the loss, without penalties, over the last mini-batches at the present weights. RigL does
    not train in the step of an event, here the step was done before; it starts new connections at 0
    (``birth="zero"``).
    """

    candidates: float | None = 8
    batches: int = 1
    decay: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay={self.decay} is not possible; use a number of [0, 1]")

    def score(self, request: GrowRequest, keys: np.ndarray) -> np.ndarray:
        total = np.zeros(len(keys))
        for age, coactivity in enumerate(request.batches(self.batches)):
            found = request.backend.to_numpy(coactivity.at_places(request.backend, keys))
            total += self.decay**age * found
        return np.abs(total)


@register("grow", "momentum")
def MomentumGrow(candidates: float | None = 8, batches: int = 10, decay: float = 0.9) -> GradientGrow:
    """Where the gradient of the last mini-batches, smoothed over time, is largest.

    The idea of SNFS (Dettmers and Zettlemoyer 2019), which keeps a dense momentum for all places at every step. Here
    the average over `batches` batches is made at the event, at sampled places and with the present weights: no array
    of the size of a dense layer, and nothing to save in a checkpoint.
    """
    return GradientGrow(candidates, batches, decay)


@register("grow", "cosine")
@dataclass(frozen=True)
class CosineGrow(_Scored):
    """Where the activities of both units are most alike: the absolute cosine (CTRE: Atashgahi et al. 2022).

    Parameters
    ----------
    candidates : float or None
        As in `GradientGrow`; the published code compares all pairs of units.
    batches : int
        Mini-batches whose samples are compared.
    centred : bool
        Correlation instead of cosine. Activities that are never negative, as ReLU's, have high cosines throughout.

    Notes
    -----
    A unit that is never active has cosine 0 with all others, one that never changes has correlation 0.
    """

    candidates: float | None = 8
    batches: int = 4
    centred: bool = False

    def score(self, request: GrowRequest, keys: np.ndarray) -> np.ndarray:
        backend, pre, post = request.backend, keys % request.n_pre, keys // request.n_pre
        n, products, first = 0, np.zeros(len(keys)), None
        sums = [np.zeros(size) for size in (request.n_pre, request.n_post)]
        squares = [np.zeros(size) for size in (request.n_pre, request.n_post)]
        for coactivity in request.batches(self.batches):
            assert coactivity.seen is not None
            x, y = coactivity.seen
            n += x.shape[1]
            if self.centred:
                # Correlations do not depend on where 0 is. From the first sample on, what never changes is exactly 0,
                # and rounding does not make it correlate.
                first = first or (x[:, :1].copy(), y[:, :1].copy())
                x, y = x - first[0], y - first[1]
            both = Coactivity((SignedPair(float(x.shape[1]), x, y),))
            products += backend.to_numpy(both.at_places(backend, keys))
            for side, activity in enumerate((x, y)):
                sums[side] += backend.to_numpy(activity.sum(axis=1))
                squares[side] += backend.to_numpy((activity * activity).sum(axis=1))
        if self.centred and n:
            products -= sums[0][pre] * sums[1][post] / n
            squares = [np.maximum(square - total**2 / n, 0.0) for square, total in zip(squares, sums)]
        length = np.sqrt(squares[0][pre]) * np.sqrt(squares[1][post])
        return np.abs(np.divide(products, length, out=np.zeros(len(keys)), where=length > 0))


# -- by descent ------------------------------------------------------------------------------------------------------


@register("grow", "parental")
@dataclass(frozen=True)
class ParentalGrow(Grow):
    """Near connections that are strong: future work of the regularization study, here for the first time.

    A share of the newborns has parents among the connections that stay, drawn in proportion to ``|weight|**power``; the
    others come anywhere. The child of parent (i, j) is, by `child`:

    - ``"neighbour"``: (i', j), with i' at most `radius` pixels away from i in the image of `shape`;
    - ``"sibling"``: (i, j'), with j' a unit that shares an input with j;
    - ``"crossover"``: (i, j'), where j' is the post unit of a second parent.

    Parameters
    ----------
    shape : (rows, columns), optional
        Of the input images; for neighbours. Layers with another number of inputs grow by crossover then.
    share : float in [0, 1]
    child : {"neighbour", "sibling", "crossover"}
        Neighbours where a shape is given, crossover otherwise.
    radius : int
    power : float
        0 draws parents uniformly: the control that tells whether strength matters.

    Notes
    -----
    Children at occupied places, or outside the image, are tried again with other parents, 8 times in all; then they
    come anywhere, and are counted (``fell_back`` in the metrics).
    """

    shape: tuple[int, int] | None = None
    share: float = 0.5
    child: str | None = None
    radius: int = 1
    power: float = 1.0

    def __post_init__(self) -> None:
        if self.shape is not None:
            if len(self.shape) != 2 or min(self.shape) < 1:
                raise ValueError(f"shape={self.shape} is not possible; use (rows, columns)")
            object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        if self.child is None:
            object.__setattr__(self, "child", "crossover" if self.shape is None else "neighbour")
        if self.child not in ("neighbour", "sibling", "crossover"):
            raise ValueError(f"child={self.child!r} is not possible; use neighbour, sibling or crossover")
        if self.child == "neighbour" and self.shape is None:
            raise ValueError('child="neighbour" needs the shape of the images, e.g. parental(shape=(28, 28))')
        if not 0 <= self.share <= 1 or self.radius < 1 or not self.power >= 0:
            raise ValueError(
                f"share={self.share}, radius={self.radius}, power={self.power} are not possible; use a share of "
                f"[0, 1], a radius of at least 1 and a power of at least 0"
            )

    def propose(self, request: GrowRequest, generator: np.random.Generator) -> np.ndarray:
        wanted = round(self.share * request.count)
        taken = np.empty(0, dtype=np.int64)
        occupied, fertility = request.occupied.keys, self._fertility(request.weight)
        fertile = len(fertility) and fertility[-1] > 0
        for _ in range(TRIES if fertile else 0):
            missing = wanted - len(taken)
            if not missing:
                break
            children = np.unique(self._children(request, fertility, missing, generator))
            children = children[~_among(children, occupied) & ~_among(children, taken)]
            taken = np.sort(np.concatenate([taken, children]))
        request.fell_back += wanted - len(taken)
        return _with_others(request, taken, generator)

    def _fertility(self, weight: np.ndarray) -> np.ndarray:
        """Sums of what the parents up to each one count, (n_parents,) float64."""
        size = np.abs(weight.astype(np.float64))
        return np.cumsum((size / (size.max(initial=0.0) or 1.0)) ** self.power)  # so that no power is too large

    def _children(
        self, request: GrowRequest, fertility: np.ndarray, count: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Keys of at most `count` children; some may be occupied or repeated."""
        pattern = request.parents
        first = self._parents(fertility, count, generator)
        pre, post = pattern.pre[first].astype(np.int64), _post(pattern, first)
        if self.child == "neighbour" and self.shape is not None and self.shape[0] * self.shape[1] == request.n_pre:
            row, column = np.divmod(pre, self.shape[1])
            row = row + generator.integers(-self.radius, self.radius + 1, count)
            column = column + generator.integers(-self.radius, self.radius + 1, count)
            inside = (row >= 0) & (row < self.shape[0]) & (column >= 0) & (column < self.shape[1])
            return (post * request.n_pre + row * self.shape[1] + column)[inside]
        if self.child == "sibling":  # an input of j, then another unit that has this input
            fan_in = np.diff(pattern.indptr)[post]
            shared = pattern.pre[pattern.indptr[post] + generator.integers(0, fan_in)]
            by_pre, starts = request.parents_by_pre
            other = by_pre[generator.integers(starts[shared], starts[shared + 1])]
            return _post(pattern, other) * request.n_pre + pre
        return _post(pattern, self._parents(fertility, count, generator)) * request.n_pre + pre

    def _parents(self, fertility: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
        drawn = np.searchsorted(fertility, generator.random(count) * fertility[-1], side="right")
        return np.minimum(drawn, len(fertility) - 1)


def _post(pattern: Pattern, connections: np.ndarray) -> np.ndarray:
    """Post units of some connections, (n,) int64."""
    return np.searchsorted(pattern.indptr, connections, side="right") - 1


def _among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of `keys` are in `others`, both increasing; (n_keys,) bool."""
    if not len(others):
        return np.zeros(len(keys), dtype=bool)
    return others[np.minimum(np.searchsorted(others, keys), len(others) - 1)] == keys


def _with_others(request: GrowRequest, taken: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """`taken`, and as many uniformly drawn absent places as are missing; increasing."""
    missing = request.count - len(taken)
    if not missing:
        return taken
    # Among the places that neither connections nor children have.
    keys = np.sort(np.concatenate([request.occupied.keys, taken]))
    rest = Pattern.from_keys(request.n_pre, request.n_post, keys)
    others = rest.absent_keys(distinct_ranks(generator, rest.n_places - len(rest), missing))
    return np.sort(np.concatenate([taken, others]))
