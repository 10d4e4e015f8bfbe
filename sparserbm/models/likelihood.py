"""How probable data are under an RBM: log Z exactly or between two bounds, log-likelihood, pseudo-likelihood."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from sparserbm.backends import Rows
from sparserbm.data.batches import blocks
from sparserbm.data.scaling import check_features
from sparserbm.data.sources import chunks, has_missing
from sparserbm.models import annealing
from sparserbm.models.enumeration import (
    ENUMERABLE,
    Progress,
    log_weights,
    observed_free_energy,
    smaller_side,
    wide,
    wide_slots,
)
from sparserbm.models.gates import fold_gates
from sparserbm.models.missing import settled
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Bernoulli, Gaussian, Mixed, Potts, TruncatedGaussian
from sparserbm.rng import Streams

__all__ = [
    "ENUMERABLE",
    "LikelihoodWarning",
    "LogLikelihood",
    "Partition",
    "free_energy_gap",
    "log_likelihood",
    "log_partition",
    "mean_log_likelihood",
    "partition_function",
    "pseudo_likelihood",
]

WIDE_SANDWICH = 1.0  # nats between the bounds
FEW = 0.1  # effective samples over chains
TERMS = 1 << 21  # connections x samples of one block of flips


class LikelihoodWarning(UserWarning):
    """A likelihood that should not be trusted as it is."""


@dataclass(frozen=True)
class Partition:
    """log Z of an RBM, and how sure it is; in nats.

    Attributes
    ----------
    log_z : float
        Exact, or the estimate of annealed importance sampling (AIS). The estimate of Z is unbiased, so that of log Z
        lies below the truth in the mean, and is above it by more than x nats with a probability below ``exp(-x)``
        (Grosse, Ancha and Roy 2016): a stochastic lower bound. Log-likelihoods computed with it come out too high.
    standard_error : float
        Of `log_z`, by the delta method over chains; 0 where exact. It knows only what the chains have seen: with a
        small `ess` it is too small itself.
    ess : float or None
        Effective sample size of the chains' weights, 1 to `chains`.
    chains, temperatures : int
        0 where exact.
    method : {"exact", "ais"}
    upper : float or None
        Estimate by chains that come from the model: a stochastic upper bound if they began at independent samples of
        it, which `samples` tells. None where it was not asked for.
    upper_error, upper_ess : float or None
        As `standard_error` and `ess`, of `upper`.
    samples : str or None
        Where the chains of `upper` began: ``"exact samples"``, or what stands for samples of the model.
    seed : int or None
    """

    log_z: float
    standard_error: float = 0.0
    ess: float | None = None
    chains: int = 0
    temperatures: int = 0
    method: str = "exact"
    upper: float | None = None
    upper_error: float | None = None
    upper_ess: float | None = None
    samples: str | None = None
    seed: int | None = None

    @property
    def lower(self) -> float:
        """The lower bound: `log_z` itself."""
        return self.log_z

    @property
    def width(self) -> float | None:
        """From `lower` to `upper`; None where there is no upper bound."""
        return None if self.upper is None else self.upper - self.log_z

    def interval(self, deviations: float = 3.0) -> tuple[float, float]:
        """``log(Z - deviations * error)`` and ``log(Z + deviations * error)``, as in Salakhutdinov and Murray (2008).

        The first is -inf where the error is that large.
        """
        share = deviations * self.standard_error
        below = self.log_z + float(np.log1p(-share)) if share < 1 else -np.inf
        return below, self.log_z + float(np.log1p(share))

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self) | {"lower": self.lower, "width": self.width}


@dataclass(frozen=True)
class LogLikelihood:
    """Mean log-likelihood of some samples under an RBM, in nats a sample; higher is better.

    Attributes
    ----------
    mean : float
        ``-mean F(v) - log Z``. With a `Partition` of AIS it is too high in the mean.
    standard_error : float
        What the choice of these samples leaves open: the standard deviation over them, over the root of their number.
    lower, upper : float or None
        With the upper and the lower bound of log Z: the truth for these samples lies between them as far as those are
        bounds. Without an upper bound of log Z there is no `lower`.
    n_samples : int
    partition : Partition
        Has the standard error that log Z adds.
    """

    mean: float
    standard_error: float
    lower: float | None
    upper: float
    n_samples: int
    partition: Partition

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self) | {"partition": self.partition.as_dict()}


def log_partition(rbm: RBM, progress: Progress | None = None) -> float:
    """Exact log Z, by writing out all states of the side that has fewer; in nats, float64.

    ``log Z = log sum_s exp(-energy(s) + sum_k log_partition_k(bias_k + W_k s))`` over the states s of Bernoulli or
    Potts units, where the units k of the other side, of any type, are summed or integrated by formula. Of real visible
    units P(v) is a density.

    Parameters
    ----------
    rbm : RBM
    progress : callable, optional
        Called now and then with what is done, of how much.

    Raises
    ------
    ValueError
        If the smaller side has more than 2**20 states (20 Bernoulli units), or both have real ones.
    """
    return float(np.logaddexp.reduce(log_weights(rbm, progress)[1]))


def partition_function(
    rbm: RBM,
    data: Any = None,
    *,
    method: str = "auto",
    chains: int = 100,
    temperatures: Any = annealing.PUBLISHED,
    reverse: bool = False,
    samples: Any = None,
    sweeps: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Partition:
    """log Z of an RBM: exactly where one side has at most 20 Bernoulli units, else by annealed importance sampling.

    Parameters
    ----------
    rbm : RBM
        Units of any type, gates or none.
    data : (n_samples, n_visible), optional
        Training data. Their means make the base model from which the chains start, and without `samples` the reverse
        chains begin near them. Without data, the means that the model itself shows after 100 Gibbs sweeps are taken.
    method : {"auto", "exact", "ais"}
    chains : int
        At least 2.
    temperatures : int or array
        Steps from base model to model. A number keeps the proportions of the published schedule (500 on [0, 0.5],
        4,000 on [0.5, 0.9], 10,000 on [0.9, 1]); an array holds inverse temperatures that increase from 0 to 1.
    reverse : bool
        Also estimate from above, by chains that come from the model; takes as long again.
    samples : (n, n_visible), optional
        Samples of the model to begin these with. By default exact ones where the model can be enumerated, else the
        states of `chains` Gibbs chains after `sweeps` sweeps from data, which are samples only if that is enough: then
        what is called the upper bound need not be one. Nobody can tell from the result alone.
    sweeps : int
    seed : int
        The same seed gives the same chains on any number of threads, and on every backend as far as its products round
        alike.
    progress : callable, optional
        Called now and then with what is done, of how much.

    Returns
    -------
    Partition

    Warns
    -----
    LikelihoodWarning
        If the bounds lie more than 1 nat apart, or crosswise, or the effective sample size is below a tenth of the
        chains: more temperatures are needed.

    Raises
    ------
    ValueError
        If data or settings do not fit, or ``method="exact"`` is not possible.
    FloatingPointError
        If weights are not finite, or the model has no finite partition function.

    Notes
    -----
    Sources: Salakhutdinov and Murray (2008); in reverse Burda, Grosse and Salakhutdinov (2015), Grosse, Ancha and Roy
    (2016). States are drawn in the model's precision, log weights are computed and added in float64.
    """
    if method not in ("auto", "exact", "ais"):
        raise ValueError(f"method={method!r} is not possible; use auto, exact or ais")
    if method == "exact" or (method == "auto" and smaller_side(rbm) is not None):
        log_z = log_partition(rbm, progress)
        return Partition(log_z, upper=log_z, upper_error=0.0)
    for name, value, least in (("chains", chains, 2), ("sweeps", sweeps, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name}={value!r} is not possible; use an integer of at least {least}")
    betas, streams = annealing.schedule(temperatures), Streams(seed)
    data = None if data is None else rbm.check_data(data)
    ask = _stages(progress, [len(betas) - 1] + reverse * [sweeps, len(betas) - 1])
    base = annealing.own_biases(rbm, chains, streams) if data is None else annealing.base_biases(rbm, data)
    path, draws = annealing.Path(rbm, base, chains), annealing.draws_of(streams, "ais")
    log_z_of_base = path.log_z_of_base()
    weights = annealing.anneal(path, path.start(draws), betas, draws, ask[0])
    found = annealing.estimate(weights, log_z_of_base, 1)
    more: dict[str, Any] = {}
    if reverse:
        start, where = annealing.model_samples(rbm, base, data, samples, chains, sweeps, streams, ask[1])
        path = annealing.Path(rbm, base, start.shape[1])
        weights = annealing.anneal(path, start, betas[::-1], annealing.draws_of(streams, "reverse ais"), ask[2])
        above = annealing.estimate(weights, log_z_of_base, -1)
        more = {"upper": above.log_z, "upper_error": above.standard_error, "upper_ess": above.ess, "samples": where}
    partition = Partition(
        found.log_z, found.standard_error, found.ess, int(chains), len(betas) - 1, "ais", seed=streams.seed, **more
    )
    _warn(partition)
    return partition


def _stages(progress: Progress | None, lengths: list[int]) -> list[Progress | None]:
    """One callback for each stage of the work, which together count through it."""
    if progress is None:
        return [None] * 3
    total = sum(lengths)

    def stage(before: int) -> Progress:
        return lambda done, _: progress(before + done, total)

    return [stage(sum(lengths[:number])) for number in range(3)]


def _warn(found: Partition) -> None:
    width, problems = found.width, []
    if width is not None and width > WIDE_SANDWICH:
        problems.append(f"the bounds of log Z lie {width:.1f} nats apart")
    if width is not None and width < -3 * np.hypot(found.standard_error, found.upper_error or 0.0) - 1e-9:
        problems.append(
            f"the upper bound lies {-width:.2f} nats below the lower one (it began at {found.samples}: "
            f"no samples of the model)"
        )
    if found.ess is not None and found.ess < FEW * found.chains:
        problems.append(f"only {found.ess:.1f} of {found.chains} chains count (effective sample size)")
    if problems:
        text = " and ".join(problems)
        warnings.warn(f"{text}; use more temperatures, then more chains", LikelihoodWarning, stacklevel=3)


# -- of data -----------------------------------------------------------------------------------------------------------


def log_likelihood(rbm: RBM, X: Any, partition: Partition | float | None = None) -> np.ndarray:
    """``log P(v) = -F(v) - log Z`` of every row, (n_samples,) float64 in nats.

    Parameters
    ----------
    rbm : RBM
    X : (n_samples, n_visible)
        States of the visible units. Of probabilities in place of Bernoulli states the result is the same formula, but
        no probability: see `binarise`. Of rows with missing values, NaN, it is the exact log P of what is known, summed
        over all that the missing may be; the hidden units must then have at most 2**20 states.
    partition : Partition or float, optional
        log Z of this model; exact by default (see `log_partition` for its limits).
    """
    X = rbm.check_known(X)
    if partition is None:
        partition = log_partition(rbm)
    return -_free_energy(rbm, X) - (partition.log_z if isinstance(partition, Partition) else float(partition))


def mean_log_likelihood(rbm: RBM, X: Any, partition: Partition | None = None) -> LogLikelihood:
    """Mean of `log_likelihood` over the rows of `X`, with what is uncertain about it.

    Parameters
    ----------
    rbm, X
        As in `log_likelihood`.
    partition : Partition, optional
        From `partition_function`; by default ``partition_function(rbm)``.

    Returns
    -------
    LogLikelihood

    Warns
    -----
    LikelihoodWarning
        If visible units are Bernoulli and `X` is not binary.
    """
    X = rbm.check_known(X)
    if not has_states(rbm, X):
        warnings.warn(
            "X holds values between 0 and 1, and Bernoulli units have the states 0 and 1: this is no log-likelihood of "
            "any data; draw states with binarise(X, seed)",
            LikelihoodWarning,
            stacklevel=2,
        )
    partition = partition_function(rbm) if partition is None else partition
    energy = _free_energy(rbm, X)
    mean = -float(energy.mean())
    return LogLikelihood(
        mean - partition.log_z,
        float(energy.std(ddof=1) / np.sqrt(len(energy))) if len(energy) > 1 else float("inf"),
        None if partition.upper is None else mean - partition.upper,
        mean - partition.lower,
        len(energy),
        partition,
    )


def free_energy_gap(rbm: RBM, X: Any, validation: Any) -> float:
    """Mean free energy of `validation` minus that of `X`, the training data, in nats.

    It needs no log Z. About 0 while the model finds new data as probable as training data; it grows when it overfits
    (Hinton 2010, section 6).
    """
    seen, unseen = (_free_energy(rbm, rbm.check_known(rows)).mean() for rows in (X, validation))
    return float(unseen - seen)


def has_states(rbm: RBM, X: Any) -> bool:
    """Whether rows of `X` are states that the visible units can have, not means of them."""
    start = 0
    for part in rbm.visible.parts if isinstance(rbm.visible, Mixed) else (rbm.visible,):
        if isinstance(part, (Bernoulli, Potts)):
            for _, rows in chunks(X):
                values = rows[:, start : start + part.n]
                if not ((values == 0) | (values == 1) | (values != values)).all():
                    return False
        start += part.n
    return True


def _free_energy(rbm: RBM, X: Any) -> np.ndarray:
    """F(v) of every row, (n_samples,): total inputs in the model's precision, what is summed in float64."""
    if has_missing(X):
        return observed_free_energy(rbm, X)
    rbm, precise = fold_gates(rbm), wide(rbm.backend)
    visible, hidden = (wide_slots(precise, slots) for slots in rbm.biases)
    out = np.empty(len(X))
    for part, v in blocks(rbm.backend, X, rbm.widest):
        z = precise.empty((rbm.hidden.n, v.shape[1]))
        z[...] = _total_input(rbm, v)
        log_z = rbm.hidden.log_partition(precise, hidden, z, z).sum(axis=0)
        energy = rbm.visible.energy(precise, visible, v.astype(np.float64))
        out[part] = rbm.backend.to_numpy(energy - log_z)
    return out


def _total_input(rbm: RBM, v: Any) -> Any:
    """Total inputs of the hidden units of a model without gates, (n_hidden, n_samples)."""
    z = rbm.backend.empty((rbm.hidden.n, v.shape[1]))
    return rbm.backend.spmm(rbm.matrix, rbm.matrix.weight, rbm.seen(0, v), z, rbm.hidden_bias)


# -- pseudo-likelihood -------------------------------------------------------------------------------------------------


def pseudo_likelihood(rbm: RBM, X: Any, seed: int = 0, exact: bool = False) -> np.ndarray:
    """Log pseudo-likelihood of every row, (n_samples,) in nats; higher is better.

    The sum over visible units of ``log P(v_i | all others) = log sigmoid(F(v with bit i flipped) - F(v))`` (Besag
    1975). It needs no log Z, but is no likelihood: models rank otherwise by it.

    Parameters
    ----------
    rbm : RBM
    X : (n_samples, n_visible)
        Probabilities are rounded to states first. With missing values, NaN, the sum goes over the known units of a row,
        with the missing ones held at their mean-field means (`RBM.transform`), not summed over; those know the unit
        that is flipped, so that the score is somewhat too high. A row without a known value scores 0.
    seed : int
        Of the bits that are flipped.
    exact : bool
        Flip every bit. Flipping one changes the total inputs of the hidden units that it is connected to and no others,
        so that a row takes as many log-partitions as there are connections, not n_visible times the hidden units
        (hidden units that depend on each other, Potts, do take these). False: flip one random bit a row, times
        n_visible: an unbiased estimate (that of scikit-learn's BernoulliRBM). Which bit depends on seed and state
        alone: a row has the same score in every order and company.

    Raises
    ------
    ValueError
        If visible units are not Bernoulli.
    """
    if not isinstance(rbm.visible, Bernoulli):
        raise ValueError("the pseudo-likelihood flips bits: it needs Bernoulli visible units")
    X = check_features(X, n_features=rbm.n_features, missing=True)
    gaps = has_missing(X)
    words = np.random.Generator(np.random.Philox(seed)).integers(0, 2**64, rbm.visible.n + 1, dtype=np.uint64)
    out, backend, rbm = np.empty(len(X)), rbm.backend, fold_gates(rbm) if exact else rbm
    for part, means in blocks(backend, X, rbm.widest):
        v, known = (means > 0.5).astype(backend.dtype), None
        if gaps:
            known = means == means
            means = backend.xp.where(known, v, means)
            v = settled(rbm, means)
        if exact:
            out[part] = _all_flips(rbm, v, known)
            continue
        before = backend.to_numpy(rbm.free_energy_of(v)).astype(np.float64)
        flipped = _bits_to_flip(backend.to_numpy(means).T > 0.5, words)
        count: Any = rbm.visible.n
        if known is not None:
            flipped, count = _among_known(backend.to_numpy(known).T, flipped)
        rows, columns = (backend.asarray(index) for index in (flipped, np.arange(v.shape[1])))
        v[rows, columns] = 1 - v[rows, columns]
        after = backend.to_numpy(rbm.free_energy_of(v)).astype(np.float64)
        out[part] = -count * np.logaddexp(0.0, before - after)
    return out


def _bits_to_flip(states: np.ndarray, words: np.ndarray) -> np.ndarray:
    """One visible unit a row, (n_samples,) int64: the sum of the random words of its active units (Zobrist 1970), whose
    upper half is scaled to [0, n_visible)."""
    hashed = states.astype(np.uint64) @ words[1:] + words[0]
    return ((hashed >> np.uint64(32)) * np.uint64(states.shape[1]) >> np.uint64(32)).astype(np.int64)


def _among_known(known: np.ndarray, flipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bits to flip, moved to known units of the rows of `known`, and how many there are of these in each row."""
    counts = known.sum(axis=1)
    ranks = flipped * counts // known.shape[1]
    return np.argmax(known.cumsum(axis=1) > ranks[:, None], axis=1), counts


def _all_flips(rbm: RBM, v: Any, known: Any = None) -> np.ndarray:
    """Sum over units of ``log P(v_i | others)`` for visible states (n_visible, n_samples) of a model without gates.

    Over those that are True in `known`, (n_visible, n_samples) bool, where that is given.
    """
    precise, total = wide(rbm.backend), np.zeros(v.shape[1])
    change = _Changes(rbm, v) if isinstance(rbm.hidden, (Bernoulli, Gaussian, TruncatedGaussian)) else None
    indptr = rbm.matrix.pattern.fan_out().cumsum()
    first = 0
    while first < rbm.visible.n:
        done = indptr[first - 1] if first else 0
        last = int(np.searchsorted(indptr, done + TERMS // v.shape[1], side="right"))
        units = slice(first, min(max(last, first + 1), rbm.visible.n))
        drop = _slow_changes(rbm, v, units) if change is None else change.of(units)
        # F(v) - F(flipped), whose softplus is -log sigmoid(F(flipped) - F(v))
        drop = rbm.backend.xp.asarray(drop, dtype=np.float64)
        drop += rbm.visible_bias[units, None] * (1 - 2 * v[units])
        drop = precise.softplus(drop, drop)
        if known is not None:
            drop *= known[units]
        total -= rbm.backend.to_numpy(drop.sum(axis=0))
        first = units.stop
    return total


class _Segments(NamedTuple):
    """A pattern that sums neighbouring rows."""

    by_post: Rows
    by_pre: Rows


class _Changes:
    """What flips of single visible units do to the hidden units' part of the free energy, connection by connection."""

    def __init__(self, rbm: RBM, v: Any):
        self.rbm, self.v = rbm, v
        backend, hidden = rbm.backend, rbm.hidden
        self.z = _total_input(rbm, v)
        self.before = hidden.log_partition(backend, rbm.biases[1], self.z, backend.empty(self.z.shape))

    def of(self, units: slice) -> Any:
        """Sum of the changes of the log-partitions when each of `units` flips: (n_units, n_samples)."""
        rbm, backend = self.rbm, self.rbm.backend
        xp, rows = backend.xp, rbm.matrix.by_pre
        indptr = rows.indptr[units.start : units.stop + 1]
        part = slice(int(indptr[0]), int(indptr[-1]))
        post, weight = rows.index[part], rbm.matrix.weight[rows.order[part]]
        out = backend.zeros((units.stop - units.start, self.v.shape[1]))
        if part.start == part.stop:
            return out
        pre = xp.searchsorted(indptr, xp.arange(part.start, part.stop), side="right") - 1 + units.start
        z = (1 - 2 * self.v[pre]) * weight[:, None]
        z += self.z[post]
        slots = {"bias": rbm.hidden_bias[post]}
        change = rbm.hidden.log_partition(backend, slots, z, z)
        change -= self.before[post]
        ends = indptr - part.start
        sums = Rows(ends, xp.arange(len(post), dtype=rows.index.dtype), None)
        return backend.spmm(_Segments(sums, sums), xp.ones(len(post), backend.dtype), change, out)


def _slow_changes(rbm: RBM, v: Any, units: slice) -> Any:
    """As `_Changes.of`, by full passes: for hidden units that depend on each other."""
    bias, out = rbm.visible_bias, rbm.backend.empty((units.stop - units.start, v.shape[1]))
    before, flipped = rbm.free_energy_of(v), v.copy()
    for row, unit in enumerate(range(units.start, units.stop)):
        flipped[unit] = 1 - v[unit]
        out[row] = before - rbm.free_energy_of(flipped) - bias[unit] * (1 - 2 * v[unit])
        flipped[unit] = v[unit]
    return out
