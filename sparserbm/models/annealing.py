"""Annealed importance sampling: log Z of an RBM that cannot be enumerated, from below and from above.

Source: Salakhutdinov and Murray (2008), "On the quantitative analysis of deep belief networks", section 4; in reverse,
Burda, Grosse and Salakhutdinov (2015) and Grosse, Ancha and Roy (2016). Difference: the hidden biases belong to what is
tempered, for every type of units.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.data.sources import means, take
from sparserbm.models.enumeration import Progress, draw_exactly, smaller_side, wide, wide_slots
from sparserbm.models.gates import fold_gates
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Bernoulli
from sparserbm.rng import Draws, Streams

PUBLISHED = 14_500  # steps: 500 on [0, 0.5], 4,000 on [0.5, 0.9], 10,000 on [0.9, 1]
_CORNERS = ((0, 500 / PUBLISHED, 4500 / PUBLISHED, 1), (0, 0.5, 0.9, 1))
DrawsAt = Callable[[int], Draws]  # of a step
WARM_UP = 100  # sweeps that say how often visible units are on, where no data do


def schedule(temperatures: int | Any) -> np.ndarray:
    """Inverse temperatures from 0 to 1, increasing: (n_steps + 1,) float64.

    Parameters
    ----------
    temperatures : int or array
        So many steps in the proportions of Salakhutdinov and Murray (2008), whose schedule is 14,500; or the inverse
        temperatures themselves.
    """
    if isinstance(temperatures, (int, np.integer)) and not isinstance(temperatures, bool):
        if temperatures < 1:
            raise ValueError(f"temperatures={temperatures} is not possible; use at least 1")
        return np.interp(np.linspace(0, 1, int(temperatures) + 1), *_CORNERS)
    betas = np.asarray(temperatures, dtype=np.float64)
    if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or not np.all(np.diff(betas) > 0):
        raise ValueError("temperatures must be a number of steps, or inverse temperatures that increase from 0 to 1")
    return betas


@dataclass(frozen=True)
class Annealed:
    """What the chains of one direction found.

    Attributes
    ----------
    log_z : float
        Estimate of log Z of the model.
    standard_error : float
        Of `log_z`, by the delta method.
    ess : float
        Effective sample size of the weights, 1 to the number of chains.
    """

    log_z: float
    standard_error: float
    ess: float


class Path:
    """Models between a base model, whose visible units are independent, and an RBM.

    At inverse temperature b, connections and hidden biases count b times; visible biases are ``(1 - b)`` times those of
    the base and b times those of the model. Each is an RBM of the same units, so that Gibbs sampling and free energy
    are those of its types. At 0, hidden units have total inputs of 0.

    Parameters
    ----------
    rbm : RBM
        Not changed.
    base : (n_visible,) float
        Biases of the visible units of the base model.
    n_chains : int
    """

    def __init__(self, rbm: RBM, base: np.ndarray, n_chains: int):
        rbm.check_finite()
        self.rbm = fold_gates(rbm)  # a twin: its weights and biases follow the temperature
        self.backend, self.wide = rbm.backend, wide(rbm.backend)
        self._weight = self.rbm.matrix.weight.copy()
        self._slots = tuple(wide_slots(self.backend, slots) for slots in self.rbm.biases)
        self._base = self.backend.xp.asarray(base, dtype=np.float64)
        sizes = {"visible": rbm.visible.n, "hidden": rbm.hidden.n}
        self._arrays = {
            f"{side} {name}": self.backend.empty((n, n_chains))
            for side, n in sizes.items()
            for name in ("mean", "state")
        }
        self._input = self.backend.empty((rbm.hidden.n, n_chains))
        self._hidden_bias = self.rbm.hidden_bias.copy()
        self._wide_visible = self.wide.empty((rbm.visible.n, n_chains))
        self._wide_input, self._tempered = (self.wide.empty((rbm.hidden.n, n_chains)) for _ in range(2))

    def log_z_of_base(self) -> float:
        """Exact log Z at inverse temperature 0."""
        total = 0.0
        for units, slots in zip(self.rbm.units, self._at(0.0)):
            z = slots["bias"][:, None].copy()
            log_z = units.log_partition(self.wide, slots, z, self.wide.empty(z.shape))
            total += float(log_z.sum())
        return total

    def _at(self, beta: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Slots of both sides at an inverse temperature, in float64."""
        visible, hidden = self._slots
        return (
            visible | {"bias": (1 - beta) * self._base + beta * visible["bias"]},
            hidden | {"bias": beta * hidden["bias"]},
        )

    def go_to(self, beta: float) -> None:
        """Make the twin the model at an inverse temperature."""
        xp, number = self.backend.xp, self.backend.dtype.type
        xp.multiply(self._weight, number(beta), out=self.rbm.matrix.weight)
        for slots, tempered in zip(self.rbm.biases, self._at(beta)):
            slots["bias"][...] = tempered["bias"]

    def start(self, draws: DrawsAt) -> Any:
        """Draw visible states of the base model, (n_visible, n_chains)."""
        self.go_to(0.0)
        hidden = self._arrays["hidden state"]
        hidden[...] = 0
        return self._draw_visible(hidden, draws(0))

    def _draw_visible(self, hidden: Any, draws: Draws) -> Any:
        state = self._arrays["visible state"]
        self.rbm.visible_given(hidden, self.visible_mean, draws, state)
        return state

    def look(self, visible: Any) -> None:
        """Take the total inputs that these visible states bring, at inverse temperature 1."""
        rbm = self.rbm
        seen = rbm.visible.statistic(self.backend, rbm.biases[0], visible)
        self.backend.spmm(rbm.matrix, self._weight, seen, self._input, self._hidden_bias)
        self._wide_visible[...] = visible
        self._wide_input[...] = self._input

    def log_ratio(self, here: float, there: float) -> Any:
        """How much more probable the states that were looked at are at `there` than at `here`, before normalisation.

        Returns
        -------
        (n_chains,) float64
            Differences of logarithms.
        """
        (visible, _), (visible_there, _) = self._at(here), self._at(there)
        energy = self.rbm.visible.energy
        found = energy(self.wide, visible, self._wide_visible) - energy(self.wide, visible_there, self._wide_visible)
        if isinstance(self.rbm.hidden, Bernoulli):
            return found + self._bernoulli_ratio(here, there)
        return found + self._log_partition(there) - self._log_partition(here)

    def _log_partition(self, beta: float) -> Any:
        z = self._tempered
        self.backend.xp.multiply(self._wide_input, beta, out=z)
        return self.rbm.hidden.log_partition(self.wide, self._at(beta)[1], z, z).sum(axis=0)

    def _bernoulli_ratio(self, here: float, there: float) -> Any:
        """The difference of ``softplus(z) = max(z, 0) + log(1 + exp(-|z|))``.

        What may be large is added in float64; the rest is at most log 2 a unit, and precise enough in float32, where it
        takes a fraction of the time.
        """
        xp, number = self.backend.xp, self.backend.dtype.type
        before, after = self._arrays["hidden mean"], self._arrays["hidden state"]
        xp.abs(self._input, out=before)
        xp.multiply(before, number(-there), out=after)
        before *= number(-here)
        difference = self.backend.softplus(after, after)
        difference -= self.backend.softplus(before, before)
        above = xp.maximum(self._wide_input, 0, out=self._tempered).sum(axis=0)
        return (there - here) * above + difference.sum(axis=0, dtype=np.float64)

    def sweep(self, beta: float, draws: Draws) -> Any:
        """One Gibbs sweep at an inverse temperature, from the states that were looked at."""
        self.go_to(beta)
        mean, state = self._arrays["hidden mean"], self._arrays["hidden state"]
        self.backend.xp.multiply(self._input, self.backend.dtype.type(beta), out=mean)
        self.rbm.hidden.conditional(self.backend, self.rbm.biases[1], mean, draws.next(), state)
        return self._draw_visible(state, draws)

    def trade(self, other: Path, accept: Any) -> None:
        """Swap what was looked at with `other` where `accept`, (n_chains,) bool, says so: sweeps go on from there."""
        xp, mine = self.backend.xp, self._input.copy()
        xp.copyto(self._input, other._input, where=accept)
        xp.copyto(other._input, mine, where=accept)

    @property
    def visible_mean(self) -> Any:
        """Means that the last visible states were drawn with."""
        return self._arrays["visible mean"]


def anneal(path: Path, visible: Any, betas: np.ndarray, draws: DrawsAt, progress: Progress | None = None) -> np.ndarray:
    """Log weights of chains that go from `visible` at the first of `betas` to the last: (n_chains,) float64.

    At every step the logarithm of the ratio of two neighbouring densities is added, then a Gibbs sweep at the second of
    them draws the next states. The same product of visible states and weights serves both.
    """
    total = path.backend.xp.zeros(visible.shape[1], dtype=np.float64)
    n_steps, every = len(betas) - 1, max(1, (len(betas) - 1) // 100)
    for step, (here, there) in enumerate(zip(betas[:-1].tolist(), betas[1:].tolist()), start=1):
        path.look(visible)
        total += path.log_ratio(here, there)
        if step < n_steps:
            visible = path.sweep(there, draws(step))
        if progress is not None and (step % every == 0 or step == n_steps):
            float(total[0])  # a device works behind the program: wait for it, so that the progress is true
            progress(step, n_steps)
    return path.backend.to_numpy(total)


def gibbs(path: Path, visible: Any, sweeps: int, draws: DrawsAt, progress: Progress | None = None) -> Any:
    """Visible states after so many sweeps at inverse temperature 1."""
    every = max(1, sweeps // 100)
    for step in range(1, sweeps + 1):
        path.look(visible)
        visible = path.sweep(1.0, draws(step))
        if progress is not None and (step % every == 0 or step == sweeps):
            float(visible[0, 0])
            progress(step, sweeps)
    return visible


def draws_of(streams: Streams, stream: str) -> DrawsAt:
    """The draws of a stream by step; 0 is where chains start."""
    return functools.partial(streams.draws, stream)


def estimate(log_weights: np.ndarray, log_z_of_base: float, sign: int) -> Annealed:
    """log Z from the log weights of chains that went to the model (sign 1), or came from it (sign -1)."""
    if not np.isfinite(log_weights).all():
        raise FloatingPointError(
            "the weights of annealed importance sampling are not finite: the model's weights are too large, or it has "
            "no finite partition function"
        )
    n, largest = len(log_weights), log_weights.max()
    weights = np.exp(log_weights - largest)
    ess = weights.sum() ** 2 / (weights**2).sum()
    # n / ess - 1 is the squared coefficient of variation
    error = np.sqrt(max(n / ess - 1, 0.0) / (n - 1)) if n > 1 else np.inf
    log_mean = float(largest + np.log(weights.mean()))
    return Annealed(log_z_of_base + sign * log_mean, float(error), float(ess))


def base_biases(rbm: RBM, data: Any) -> np.ndarray:
    """Visible biases of a base model whose units have the means of `data`, (n_visible,) float64.

    Units with states of [0, 1] count as if two more samples had the means of units with a bias of 0, so that what no
    sample shows is not impossible.
    """
    return _biases(rbm, means(data), len(data))


def own_biases(rbm: RBM, n_chains: int, streams: Streams) -> np.ndarray:
    """As `base_biases`, with the means that the model itself shows after a few Gibbs sweeps."""
    path = Path(rbm, np.zeros(rbm.visible.n), n_chains)
    draws = draws_of(streams, "rates")
    gibbs(path, path.start(draws), WARM_UP, draws)
    mean = rbm.backend.to_numpy(path.visible_mean).mean(axis=1, dtype=np.float64)
    return _biases(rbm, mean, n_chains)


def _biases(rbm: RBM, mean: np.ndarray, n_samples: int) -> np.ndarray:
    neutral = rbm.backend.zeros((rbm.visible.n, 1))
    slots = {name: rbm.biases[0][name] for name in ("bias", *rbm.visible.own)}
    neutral = rbm.visible.conditional(rbm.backend, slots, neutral)
    neutral = rbm.backend.to_numpy(neutral)[:, 0].astype(np.float64)
    smoothed = (n_samples * mean + 2 * neutral) / (n_samples + 2)
    return rbm.visible.slots_for(np.where(neutral > 0, smoothed, mean))["bias"]


def model_samples(
    rbm: RBM, base: np.ndarray, data: Any, samples: Any, n_chains: int, sweeps: int, streams: Streams, progress: Any
) -> tuple[Any, str]:
    """Where chains begin that come from the model, (n_visible, n) on its device, and what that is in words."""
    if samples is not None:
        rows = rbm.check_data(samples)
        found = _columns(rbm.backend, rows, min(n_chains, len(rows)))
        return found, f"{found.shape[1]} given samples"
    if smaller_side(rbm) is not None:
        return draw_exactly(rbm, n_chains, streams), "exact samples"
    path, draws = Path(rbm, base, n_chains), draws_of(streams, "samples")
    if data is None:
        start, where = path.start(draws), "draws of the base model"
    else:
        start, where = _columns(rbm.backend, data, n_chains), "data"
    return gibbs(path, start, sweeps, draws, progress), f"{sweeps} Gibbs sweeps from {where}"


def _columns(backend: Any, rows: Any, n: int) -> Any:
    """`n` of the rows, evenly spaced (data may be sorted by class) and repeated where there are fewer."""
    index = np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int)
    chosen = np.asarray(take(rows, index)[: len(index)], dtype=backend.dtype)
    return backend.asarray(np.resize(chosen, (n, chosen.shape[1])).T)
