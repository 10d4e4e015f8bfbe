"""An RBM with all states of one side written out: what is exact where that side is small."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserbm.backends import Backend, get_backend
from sparserbm.data.batches import blocks
from sparserbm.network.units import Bernoulli, Mixed, Potts, Units
from sparserbm.registry import to_text
from sparserbm.rng import Streams

if TYPE_CHECKING:
    from sparserbm.models.rbm import RBM

ENUMERABLE = 20  # Bernoulli units; other types with at most 2**20 states in all
BLOCK = 4096  # states at a time
WIDEST = 1 << 22  # activities of the other side in such a block

# How far long work is: what is done, of how much.
Progress = Callable[[int, int], Any]


def values_of(units: Units) -> list[int] | None:
    """How many values each variable of these units has (2 for a Bernoulli unit, more for a Potts group); None where
    states are real numbers."""
    if isinstance(units, Mixed):
        parts = [values_of(part) for part in units.parts]
        return None if any(part is None for part in parts) else [value for part in parts for value in part or []]
    if isinstance(units, Potts):
        return [int(units.states or 0)] * units.groups
    return [2] * units.n if isinstance(units, Bernoulli) else None


def smaller_side(rbm: RBM) -> int | None:
    """The side with the fewest states, 0 visible and 1 hidden; None where neither can be enumerated."""
    bits = [(_bits(values), side) for side, units in enumerate(rbm.units) if (values := values_of(units)) is not None]
    return min(bits)[1] if bits and min(bits)[0] <= ENUMERABLE else None


def _bits(values: list[int]) -> float:
    """Logarithm to base 2 of the number of states."""
    return math.fsum(map(math.log2, values))


def states_of(units: Units, numbers: np.ndarray) -> np.ndarray:
    """States of `units` by number: (n_numbers, n) float64. The first variable changes fastest."""
    rest, columns = np.asarray(numbers), []
    values = values_of(units)
    assert values is not None
    one_hot = _one_hot(units)
    for count, groups in zip(values, one_hot):
        rest, value = np.divmod(rest, count)
        columns.append((value[:, None] == np.arange(count)) if groups else value[:, None])
    return np.hstack(columns).astype(np.float64)


def _one_hot(units: Units) -> list[bool]:
    """Whether a variable has a unit for each of its values."""
    if isinstance(units, Mixed):
        return [each for part in units.parts for each in _one_hot(part)]
    return [True] * units.groups if isinstance(units, Potts) else [False] * units.n


def wide(backend: Backend) -> Backend:
    """The same kind of backend in float64, for sums whose differences matter."""
    if backend.dtype == np.float64:
        return backend
    return get_backend(backend.name, "float64", threads=getattr(backend, "threads", None))


def wide_slots(backend: Backend, slots: Any) -> dict[str, Any]:
    """Copies of the slots of units as float64 arrays on the device."""
    return {name: backend.xp.array(slots[name], dtype=np.float64) for name in slots}


def log_weights(rbm: RBM, progress: Progress | None = None) -> tuple[int, np.ndarray]:
    """Which side is enumerated, and the logarithm of what each of its states contributes to Z, in float64.

    The other side is summed (or integrated) by its units: ``-energy(s) + log_partition(bias + W s)``.

    Raises
    ------
    ValueError
        If neither side can be enumerated.
    """
    side = smaller_side(rbm)
    if side is None:
        raise ValueError(_too_many(rbm))
    backend = wide(rbm.backend)
    units, other = rbm.units[side], rbm.units[1 - side]
    slots, other_slots = (wide_slots(backend, rbm.biases[number]) for number in (side, 1 - side))
    matrix = _dense(rbm, backend, side)
    count = math.prod(values_of(units) or [])
    found, size = np.empty(count), max(64, min(BLOCK, WIDEST // other.n))
    for start in range(0, count, size):
        part = np.arange(start, min(start + size, count))
        states = backend.asarray(states_of(units, part).T)
        z = matrix @ units.statistic(backend, slots, states)
        z += other_slots["bias"][:, None]
        total = other.log_partition(backend, other_slots, z, backend.empty(z.shape)).sum(axis=0)
        found[part] = backend.to_numpy(total - units.energy(backend, slots, states))
        if progress is not None:
            progress(part[-1] + 1, count)
    return side, found


def _dense(rbm: RBM, backend: Backend, side: int) -> Any:
    """Weights times gates in float64 on the device, a row for every unit opposite to `side`."""
    matrix = rbm.matrix.to_dense().astype(np.float64)  # (n_hidden, n_visible)
    if rbm.gate is not None:
        matrix *= rbm.backend.to_numpy(rbm.gate).astype(np.float64)[:, None]
    return backend.xp.asarray(np.ascontiguousarray(matrix if side == 0 else matrix.T))


def observed_free_energy(rbm: RBM, X: Any) -> np.ndarray:
    """``F(o) = -log sum exp(-E(v, h))`` over all h and all v whose known entries are those of a row; (n_samples,).

    In nats, float64. All states of the hidden units are written out; given each of them visible units do not depend on
    each other, so that missing ones are summed (or integrated) by formula and known ones add their own energy.
    ``-F(o) - log Z`` is the logarithm of the marginal probability of what is known.

    Parameters
    ----------
    rbm : RBM
    X : (n_samples, n_visible)
        NaN where a value is missing.

    Raises
    ------
    ValueError
        If the hidden units have more than 2**20 states (20 Bernoulli units).
    """
    values = values_of(rbm.hidden)
    if values is None or _bits(values) > ENUMERABLE:
        raise ValueError(
            f"the free energy of rows with missing values needs all states of the hidden units, possible up to "
            f"2**{ENUMERABLE}, and this model has {to_text(rbm.hidden)}; fill the gaps first (fill), or use the "
            f"pseudo-likelihood"
        )
    backend = wide(rbm.backend)
    xp, (visible, hidden) = backend.xp, (wide_slots(backend, slots) for slots in rbm.biases)
    matrix, bias, count = _dense(rbm, backend, 1), visible["bias"][:, None], math.prod(values)
    parts = rbm.visible.parts if isinstance(rbm.visible, Mixed) else (rbm.visible,)
    real = backend.asarray(np.concatenate([np.full((part.n, 1), float(part.real)) for part in parts]))
    found = np.empty(len(X))
    for rows, v in blocks(backend, X, rbm.widest):
        known = xp.equal(v, v)
        states = xp.where(known, v, bias * real)  # missing real units at their biases, others at 0: without energy
        seen = xp.where(known, rbm.visible.statistic(backend, visible, states), backend.zeros(v.shape))
        own = rbm.visible.energy(backend, visible, states)
        missing, total = xp.where(known, 0.0, 1.0), None
        size = max(64, min(BLOCK, WIDEST // max(v.shape)))
        for start in range(0, count, size):
            part = np.arange(start, min(start + size, count))
            h = backend.asarray(states_of(rbm.hidden, part).T)
            z = matrix @ rbm.hidden.statistic(backend, hidden, h)
            terms = seen.T @ z
            z += bias
            terms += missing.T @ rbm.visible.log_partition(backend, visible, z, backend.empty(z.shape))
            terms -= rbm.hidden.energy(backend, hidden, h)
            largest = terms.max(axis=1)
            summed = largest + xp.log(xp.exp(terms - largest[:, None]).sum(axis=1))
            total = summed if total is None else xp.maximum(total, summed) + xp.log1p(xp.exp(-xp.abs(total - summed)))
        found[rows] = backend.to_numpy(own - total)
    return found


def draw_exactly(rbm: RBM, n_samples: int, streams: Streams) -> Any:
    """Visible states that are independent samples of the model: (n_visible, n_samples) on its device.

    The states of the side that is enumerated are drawn by their probabilities, the others given them.
    """
    side, weights = log_weights(rbm)
    chances = np.cumsum(np.exp(weights - weights.max()))
    uniform = streams.host("exact samples").random(n_samples) * chances[-1]
    numbers = np.minimum(np.searchsorted(chances, uniform, side="right"), len(chances) - 1)
    states = rbm.backend.asarray(states_of(rbm.units[side], numbers).T)
    if side == 0:
        return states
    v = rbm.backend.empty((rbm.visible.n, n_samples))
    rbm.visible_given(states, rbm.backend.empty(v.shape), streams.draws("exact samples", 0), v)
    return v


def _too_many(rbm: RBM) -> str:
    discrete = [(units, values) for units in rbm.units if (values := values_of(units)) is not None]
    what = f"{to_text(rbm.visible)} and {to_text(rbm.hidden)}"
    if not discrete:
        return f"exact log Z needs Bernoulli or Potts units on one side, and this model has {what}; estimate it by AIS"
    units, values = min(discrete, key=lambda each: _bits(each[1]))
    if isinstance(units, Bernoulli):
        return (
            f"exact log Z enumerates the smaller side, here {len(values)} units; possible up to {ENUMERABLE}; "
            f'estimate it by AIS: partition_function(rbm, X, method="ais")'
        )
    return (
        f"exact log Z enumerates all states of one side, here 2**{_bits(values):.0f} of {to_text(units)}; "
        f'possible up to 2**{ENUMERABLE}; estimate it by AIS: partition_function(rbm, X, method="ais")'
    )
