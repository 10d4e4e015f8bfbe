"""Parallel tempering: samples of an RBM with modes between which Gibbs chains hardly ever go.

Source: Swendsen and Wang (1986); for RBMs Desjardins et al. (2010), "Tempered Markov chain Monte Carlo for training of
restricted Boltzmann machines". Difference: the models between which states are traded are those of annealed importance
sampling (`Path`), so that the hottest one is not uniform, but has the means of the model, or nearly.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sparserbm.models.annealing import Path, draws_of, own_biases
from sparserbm.models.missing import Observed
from sparserbm.models.rbm import RBM
from sparserbm.rng import Draws, Streams

RARE = 0.01  # share of trades that are accepted; below it, two replicas are as good as separate


def inverse_temperatures(given: int | Any) -> np.ndarray:
    """From 0 to 1, increasing: (n_replicas,) float64; a number of replicas stands for even steps."""
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        if given < 2:
            raise ValueError(f"temperatures={given} is not possible; use at least 2, or None for plain Gibbs sampling")
        return np.linspace(0, 1, int(given))
    betas = np.asarray(given, dtype=np.float64)
    if betas.ndim != 1 or len(betas) < 2 or betas[0] < 0 or betas[-1] != 1 or not np.all(np.diff(betas) > 0):
        raise ValueError(
            f"temperatures={given!r} is not possible; use a number of replicas, or inverse temperatures that increase "
            f"from 0 or more to 1"
        )
    return betas


class Replicas:
    """Gibbs chains at several inverse temperatures, which trade states with their neighbours.

    Parameters
    ----------
    rbm : RBM
    base : (n_visible,) float
        Visible biases at inverse temperature 0, as in `Path`.
    betas : (n_replicas,) float
    n_chains : int
        Of every replica. A chain trades with that of the same number.
    streams : Streams
    held : Observed, optional
        Visible states that stay as they are, the same at all temperatures.

    Attributes
    ----------
    accepted, tried : (n_replicas - 1,) int
        Trades between a replica and the next one.
    """

    def __init__(
        self, rbm: RBM, base: np.ndarray, betas: np.ndarray, n_chains: int, streams: Streams, held: Observed | None
    ):
        self.betas, self._held, self._backend = betas.tolist(), held, rbm.backend
        self._paths = [Path(rbm, base, n_chains) for _ in betas]
        self.accepted, self.tried = (np.zeros(len(betas) - 1, dtype=np.int64) for _ in range(2))
        starts = [draws_of(streams, f"tempered-start {number}") for number in range(len(betas))]
        self._states = [self._hold(path.start(draws)) for path, draws in zip(self._paths, starts)]

    def sweep(self, number: int, draws: Draws) -> Any:
        """Trades, every second pair in turn, then one Gibbs sweep of all; the states at inverse temperature 1."""
        for path, state in zip(self._paths, self._states):
            path.look(state)
        for lower in range(number % 2, len(self._paths) - 1, 2):
            self._trade(lower, draws)
        self._states = [self._hold(path.sweep(beta, draws)) for path, beta in zip(self._paths, self.betas)]
        return self._states[-1]

    def _trade(self, lower: int, draws: Draws) -> None:
        """Accept by the ratio of what the four densities give: the pair keeps its joint distribution."""
        backend, (hot, cold) = self._backend, self._paths[lower : lower + 2]
        temperatures = self.betas[lower], self.betas[lower + 1]
        gain = hot.log_ratio(*temperatures) - cold.log_ratio(*temperatures)
        luck = backend.uniform(draws.next(), backend.empty((1, len(gain))))[0]
        accept = luck < backend.xp.exp(backend.xp.minimum(gain, 0.0))
        hot.trade(cold, accept)
        self.accepted[lower] += int(accept.sum())
        self.tried[lower] += len(gain)

    def _hold(self, state: Any) -> Any:
        return state if self._held is None else self._held.put(state)


def tempered_samples(
    rbm: RBM, n_samples: int, temperatures: Any, sweeps: int, streams: Streams, held: Observed | None = None
) -> Any:
    """Visible states at inverse temperature 1 after so many sweeps of all replicas, (n_visible, n_samples).

    Warns if two neighbours hardly ever traded in the second half of the sweeps.
    """
    betas = inverse_temperatures(temperatures)
    replicas = Replicas(rbm, own_biases(rbm, n_samples, streams), betas, n_samples, streams, held)
    for number in range(sweeps):
        if number == sweeps // 2:  # replicas all begin at the base model and trade freely at first
            replicas.accepted[:], replicas.tried[:] = 0, 0
        states = replicas.sweep(number, streams.draws("tempered", number))
    rates = replicas.accepted / np.maximum(replicas.tried, 1)
    rarest = int(np.argmin(np.where(replicas.tried > 0, rates, 1.0)))
    if rates[rarest] < RARE and replicas.tried[rarest]:
        warnings.warn(
            f"only {rates[rarest]:.2%} of the trades between inverse temperatures {betas[rarest]:.3g} and "
            f"{betas[rarest + 1]:.3g} were accepted, so that hot replicas do not help cold ones; use more temperatures",
            stacklevel=3,
        )
    return states
