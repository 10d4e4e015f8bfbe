"""Missing visible values, NaN in data: which entries are observed, and what stands in for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparserbm.backends import Backend
from sparserbm.network.units import Mixed, Potts, Units
from sparserbm.rng import Draws

if TYPE_CHECKING:
    from sparserbm.models.rbm import RBM

SETTLED = 50  # sweeps of mean field; each lowers the variational free energy, and few move after some dozens


class Observed:
    """The entries of visible states that are known: they are put back after every draw.

    Parameters
    ----------
    backend : Backend
    values : (n_visible, n_samples)
        On the device, NaN where an entry is missing; kept, not copied.
    mask : (n_visible, n_samples) bool, optional
        Memory to use.
    """

    def __init__(self, backend: Backend, values: Any, mask: Any = None):
        self.xp, self.values = backend.xp, values
        # NaN is unlike itself.
        self.mask = self.xp.equal(values, values) if mask is None else self.xp.equal(values, values, out=mask)

    def put(self, v: Any) -> Any:
        """Write the known entries into `v`."""
        self.xp.copyto(v, self.values, where=self.mask)
        return v

    def begin(self, rbm: RBM, v: Any) -> Any:
        """Fill `v`: missing entries get the means that their units have without connections."""
        v[...] = rbm.visible_bias[:, None]
        rbm.visible.conditional(rbm.backend, rbm.biases[0], v)
        return self.put(v)

    def sweep(self, rbm: RBM, v: Any, v_mean: Any, h_mean: Any, h: Any, draws: Draws) -> None:
        """One Gibbs sweep from the visible states `v`, which stay as they are where they are known."""
        rbm.hidden_given(v, h_mean, draws, h)
        rbm.visible_given(h, v_mean, draws, v)
        self.put(v)


def settled(rbm: RBM, values: Any) -> Any:
    """Visible means with the known entries held: (n_visible, n_samples), by `SETTLED` sweeps of mean field.

    Missing entries get the mean of their units given the means of the hidden ones, and those the mean given these, in
    turn (Peterson and Anderson 1987): a deterministic approximation of the means given the known entries, from one
    mode of what is possible.
    """
    observed, v = Observed(rbm.backend, values), rbm.backend.empty(values.shape)
    observed.begin(rbm, v)
    h = rbm.backend.empty((rbm.hidden.n, v.shape[1]))
    for _ in range(SETTLED):
        rbm.hidden_given(v, h)
        rbm.visible_given(h, v)
        observed.put(v)
    return v


def filled(rbm: RBM, values: Any, sweeps: int, mean: bool, streams: Any, stream: str) -> Any:
    """States (or means over the second half of the sweeps) given the known entries: (n_visible, n_samples)."""
    backend, observed = rbm.backend, Observed(rbm.backend, values)
    v, v_mean = backend.empty(values.shape), backend.empty(values.shape)
    h, h_mean = (backend.empty((rbm.hidden.n, v.shape[1])) for _ in range(2))
    observed.begin(rbm, v)
    total, first = backend.zeros(v.shape), sweeps // 2
    for sweep in range(sweeps):
        observed.sweep(rbm, v, v_mean, h_mean, h, streams.draws(stream, sweep))
        if mean and sweep >= first:
            total += v_mean
    if not mean:
        return v
    total /= sweeps - first
    return observed.put(total)


def without_gaps(units: Units, X: np.ndarray) -> np.ndarray:
    """`X`, (n_samples, n), with values that are possible where it has NaN: only for `Units.check_data`.

    Raises
    ------
    ValueError
        If a group of Potts units is known in part.
    """
    parts, start, out = units.parts if isinstance(units, Mixed) else (units,), 0, X.copy()
    for part in parts:
        columns = slice(start, start + part.n)
        gaps = np.isnan(X[:, columns])
        if isinstance(part, Potts):
            groups = gaps.reshape(len(X), part.groups, -1)
            halves = np.argwhere(groups.any(axis=2) & ~groups.all(axis=2))
            if len(halves):
                row, group = halves[0]
                raise ValueError(
                    f"group {group} of Potts units is missing in part in row {row}; all units of a group are missing, "
                    f"or none"
                )
            out[:, columns][gaps] = 1 / (part.states or 1)
        else:
            out[:, columns][gaps] = 0
        start = columns.stop
    return out
