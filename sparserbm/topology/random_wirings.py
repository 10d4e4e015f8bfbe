"""Random wirings in which every unit keeps its degree, and what measures make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np
from scipy import sparse

from sparserbm.topology.matrices import layers_of

ROUNDS = 20  # each halves what is left of the wiring that was given


def random_wiring(layer: Any, *, rounds: int = ROUNDS, seed: int = 0) -> sparse.csr_matrix:
    """A random wiring in which every unit, on both sides, keeps its number of connections.

    Parameters
    ----------
    layer : network of one layer
        As in `squares`.
    rounds : int
        Of trades of all units with each other.
    seed : int

    Returns
    -------
    (n_post, n_pre) csr_matrix of ones

    Raises
    ------
    TypeError
        If this is no network.
    ValueError
        If it has several layers, or there is no round.

    Notes
    -----
    Curveball trades (Strona, Nappo, Boccacci, Fattorini and San-Miguel-Ayanz 2014): two units put together the
    neighbours that only one of them has, and draw anew who gets which. In a round all units of the side with fewer
    units trade in random pairs at the same time, which has the same limit, all wirings with these degrees equally
    likely (Carstens, Hamann, Meyer, Penschuck, Tran and Wagner 2018, "Parallel and I/O-efficient randomisation of
    massive networks using global curveball trades").
    """
    layers = layers_of(layer)
    if len(layers) != 1:
        raise ValueError(f"a network of {len(layers)} layers is given; draw a random wiring for each layer")
    return _traded(layers[0], rounds, np.random.default_rng(seed))


def _traded(layer: sparse.csr_matrix, rounds: int, generator: np.random.Generator) -> sparse.csr_matrix:
    if rounds < 1:
        raise ValueError(f"rounds={rounds} would change nothing; use at least 1")
    turned = layer.shape[0] > layer.shape[1]
    side = sparse.csr_matrix(layer.T) if turned else layer
    n_units, width = side.shape
    unit, neighbour = np.repeat(np.arange(n_units), np.diff(side.indptr)), side.indices.astype(np.int64)
    for _ in range(rounds):
        unit, neighbour = _one_round(unit, neighbour, n_units, width, generator)
    found = sparse.csr_matrix((np.ones(len(unit)), (unit, neighbour)), shape=side.shape)
    return sparse.csr_matrix(found.T) if turned else found


def _one_round(
    unit: np.ndarray, neighbour: np.ndarray, n_units: int, width: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Units at the places 2p and 2p + 1 of a random order trade; the last of an odd number has nobody."""
    order = generator.permutation(n_units)
    place = np.empty_like(order)
    place[order] = np.arange(n_units)
    # One sorted number says pair, neighbour and which unit of the pair: sorting is much faster than argsort.
    key, second = np.divmod(np.sort(((place[unit] // 2) * width + neighbour) * 2 + place[unit] % 2), 2)
    pair, neighbour = np.divmod(key, width)
    alone = np.ones(len(key), dtype=bool)
    alone[1:] &= key[1:] != key[:-1]
    alone[:-1] &= key[:-1] != key[1:]
    traded = np.flatnonzero(alone)
    whose, n_traded = pair[traded], len(traded)
    # Lots are different numbers, those of a pair below those of the next one; the smallest of a pair, as many as its
    # first unit had, are that unit's.
    lots = whose * n_traded + generator.permutation(n_traded)
    n_first = np.bincount(whose[second[traded] == 0], minlength=(n_units + 1) // 2)
    start = np.searchsorted(whose, np.arange((n_units + 1) // 2))
    limit = np.append(np.sort(lots), np.iinfo(np.int64).max)[start + n_first]
    second[traded] = lots >= limit[whose]
    return order[2 * pair + second], neighbour


@dataclass(frozen=True)
class AgainstNull:
    """A measure of a network beside that of random wirings in which all units have the same degrees.

    Attributes
    ----------
    value : float
        Of the network.
    mean, sd : float
        Of the random wirings.
    z : float
        How many of their standard deviations the network is above their mean; 0 where all are alike and it is too, NaN
        where the measure is.
    p : float
        Probability of a value at least as far from the mean (of all, the network counted) if the network is one of
        these wirings: ``(1 + how many are) / (1 + n_wirings)``, two-sided, never 0. NaN where the measure is.
    null : (n_wirings,) float
        Of every random wiring.
    """

    value: float
    mean: float
    sd: float
    z: float
    p: float
    null: np.ndarray

    def __str__(self) -> str:
        return f"{self.value:.4g} against {self.mean:.4g} ± {self.sd:.2g} (z {self.z:+.1f}, p {self.p:.2g})"


def against_null(
    measure: Callable[[Any], SupportsFloat], network: Any, *, n_wirings: int = 20, rounds: int = ROUNDS, seed: int = 0
) -> AgainstNull:
    """Hold a measure of a network against what its degrees alone would make of it.

    Parameters
    ----------
    measure : function of a network that gives a number
        `square_clustering`, `path_length`, `giant_component`, `squares`, or one of your own: it is given a list of csr
        matrices (n_post, n_pre), the layer at the input first.
    network : network
        As in `squares`. Every layer is rewired by itself.
    n_wirings : int, at least 2
        Random ones to compare it with.
    rounds, seed
        As in `random_wiring`.

    Returns
    -------
    AgainstNull

    Raises
    ------
    TypeError
        If this is no network.
    ValueError
        With fewer than two wirings, or no round.

    Notes
    -----
    All random wirings come from one that was itself made from the network, each by `rounds` of its own: so p holds
    however few rounds there are (Besag and Clifford 1989, "Generalized Monte Carlo significance tests").
    """
    if n_wirings < 2:
        raise ValueError(f"n_wirings={n_wirings} gives no standard deviation; use at least 2")
    layers = layers_of(network)
    generator = np.random.default_rng(seed)
    value = float(measure(layers))
    middle = [_traded(layer, rounds, generator) for layer in layers]
    found = np.array(
        [float(measure([_traded(layer, rounds, generator) for layer in middle])) for _ in range(n_wirings)]
    )
    mean, sd = float(found.mean()), float(found.std(ddof=1))
    return AgainstNull(value, mean, sd, _z(value, mean, sd), _p_value(value, found), found)


def _z(value: float, mean: float, sd: float) -> float:
    # Means and deviations of equal numbers are equal and 0 but for rounding.
    if math.isnan(value) or math.isnan(mean):
        return math.nan
    if sd > 1e-12 * abs(mean):
        return (value - mean) / sd
    return 0.0 if math.isclose(value, mean, rel_tol=1e-9) else math.copysign(math.inf, value - mean)


def _p_value(value: float, null: np.ndarray) -> float:
    everything = np.append(null, value)
    apart = np.abs(everything - everything.mean())
    if np.isnan(apart).any():
        return math.nan
    # A hair's breadth of tolerance: sums in another order must not decide whether two are equal.
    return float(np.count_nonzero(apart >= apart[-1] * (1 - 1e-9)) / len(everything))
