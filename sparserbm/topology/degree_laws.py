"""Laws of degrees above a cut-off, each fitted by its likelihood: power law, lognormal, binomial.

Source: Clauset, Shalizi and Newman (2009), "Power-law distributions in empirical data", SIAM Review 51, 661-703.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import gammaln, log_ndtr, logsumexp, zeta

SMALLEST_TAIL = 50  # units; below, exponent and p value say little (Clauset et al., section 3)
TABLE = 1000  # degrees that sums and draws take from a table; beyond, a rounded continuous law is off by 1e-7


@dataclass(frozen=True)
class Law:
    """A power law above a cut-off: exponent, cut-off, and its Kolmogorov-Smirnov distance from the units there."""

    alpha: float
    d_min: int
    ks: float


def fit(values: np.ndarray, counts: np.ndarray) -> Law | None:
    """The best cut-off with its exponent; None if there is no tail of two degrees."""
    above = counts[::-1].cumsum()[::-1]  # units with at least that degree
    enough = above >= min(SMALLEST_TAIL, above[0] if len(above) else 0)
    n_cut = min(int(enough.sum()), len(values) - 1)
    if n_cut < 1:
        return None
    cut = values[:n_cut]
    mean_log = (counts * np.log(values))[::-1].cumsum()[::-1][:n_cut] / above[:n_cut]
    alpha = _exponents(cut, mean_log)
    ks = _distances(alpha, values, above)
    best = int(np.argmin(ks))
    return Law(float(alpha[best]), int(cut[best]), float(ks[best]))


def _exponents(cut: np.ndarray, mean_log: np.ndarray) -> np.ndarray:
    """The most likely exponent for every cut-off and mean logarithm of the degrees above it.

    Newton's method in log(alpha - 1) on ``log zeta(alpha, cut) + alpha * mean_log``, which is convex in alpha.
    """
    cut = cut.astype(float)
    # Beyond, zeta would underflow; nothing that steep is a tail.
    steepest = np.log(600.0 / np.log(np.maximum(cut, 2.0)))
    gap = np.minimum(-np.log(mean_log - np.log(cut - 0.5)), steepest)  # Clauset et al., equation 3.7
    for _ in range(50):
        width = np.exp(gap)
        below, here, above = (np.log(zeta(1.0 + (1.0 + k * 1e-4) * width, cut)) for k in (-1, 0, 1))
        slope, curvature = (above - below) / (2e-4 * width) + mean_log, (above - 2 * here + below) / (1e-4 * width) ** 2
        step = np.clip(slope / (curvature * width), -1.0, 1.0)
        gap = np.minimum(gap - step, steepest)
        if np.abs(step).max() < 1e-9:
            break
    return 1.0 + np.exp(gap)


def _distances(alpha: np.ndarray, values: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov distance for the cut-offs values[:len(alpha)].

    Units jump where a degree occurs and the law at every whole number, so that the largest distance is at a degree that
    occurs or just below one.
    """
    n_cut = len(alpha)
    law = _tails(alpha, values)
    beyond = law - np.exp(-alpha[:, None] * np.log(values))  # P(D > d) rather than P(D >= d), not yet divided
    whole = np.diagonal(law)[:, None]
    units, units_beyond = above / above[:n_cut, None], np.append(above[1:], 0) / above[:n_cut, None]
    apart = np.maximum(np.abs(units - law / whole), np.abs(units_beyond - beyond / whole))
    apart[np.arange(len(values)) < np.arange(n_cut)[:, None]] = 0.0
    return apart.max(axis=1)


def _tails(alpha: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of ``k**-alpha`` over k >= value, (n_alpha, n_values): zeta, added up from the top where that is faster."""
    low = values[values <= TABLE]
    found = np.empty((len(alpha), len(values)))
    found[:, len(low) :] = zeta(alpha[:, None], values[len(low) :])
    if len(low):
        k = np.arange(low[-1], low[0] - 1, -1)
        terms = np.exp(-alpha[:, None] * np.log(k))
        terms[:, 0] = zeta(alpha, low[-1])
        found[:, : len(low)] = terms.cumsum(axis=1)[:, low[-1] - low]
    return found


def standard_error(law: Law, n: int) -> float:
    """From the curvature of the likelihood (Clauset et al., equation 3.6)."""
    h = 1e-4 * (law.alpha - 1)
    below, here, above = np.log(zeta(law.alpha + np.array([-h, 0.0, h]), law.d_min))
    return float(1 / math.sqrt(n * (above - 2 * here + below) / h**2))


def counted(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The degrees above 0 that occur, increasing, and how many units have each."""
    return np.unique(degrees[degrees > 0], return_counts=True)


def sampler(law: Law) -> Callable[[np.ndarray], np.ndarray]:
    """Degrees of the law for uniform numbers of [0, 1)."""
    k = np.arange(law.d_min, law.d_min + TABLE)
    beyond = _tails(np.array([law.alpha]), k)[0] / zeta(law.alpha, law.d_min)  # P(D >= k), decreasing
    end = k[-1] + 0.5

    def draw(uniform: np.ndarray) -> np.ndarray:
        rest = 1.0 - uniform
        found = k[np.searchsorted(-beyond, -rest, side="right") - 1]
        far = rest < beyond[-1]
        # Like a continuous law that is rounded (Clauset et al., appendix D); more than 2**53 no double tells apart.
        found[far] = np.minimum(end * (rest[far] / beyond[-1]) ** (1 / (1 - law.alpha)) - 0.5, 2.0**53)
        return found

    return draw


# -- other laws --------------------------------------------------------------------------------------------------------


def lognormal(law: Law, values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Log-probabilities of `values` under the most likely rounded lognormal above the cut-off, and its parameters.

    Looked for in u, the place of the cut-off in standard deviations, and log(sigma): where the data are close to a
    power law, mu and sigma run away together, u / sigma does not.
    """
    low, high = np.log(values - 0.5), np.log(values + 0.5)
    start = math.log(law.d_min - 0.5)

    def log_probabilities(u: float, log_sigma: float) -> np.ndarray:
        sigma = math.exp(log_sigma)
        above, beyond = (log_ndtr(-(u + (edge - start) / sigma)) for edge in (low, high))
        return above + np.log(np.maximum(-np.expm1(beyond - above), 1e-300)) - log_ndtr(-u)

    def cost(x: np.ndarray) -> float:
        return float(-(counts @ log_probabilities(*x)) / counts.sum())

    mean = counts @ np.log(values) / counts.sum()
    sigma = max(math.sqrt(counts @ (np.log(values) - mean) ** 2 / counts.sum()), 0.02)
    starts = [((start - mean) / sigma, math.log(sigma)), (10.0, math.log(10.0 / (law.alpha - 1)))]
    bounds = [(-20.0, 100.0), (math.log(1e-3), math.log(1e3))]
    fits = [minimize(cost, x, method="L-BFGS-B", bounds=bounds) for x in starts]
    u, log_sigma = min(fits, key=lambda fit: fit.fun).x
    sigma = math.exp(log_sigma)
    return log_probabilities(u, log_sigma), {"mu": float(start - u * sigma), "sigma": sigma}


def binomial(
    d_min: int, values: np.ndarray, counts: np.ndarray, n_other: int | None
) -> tuple[np.ndarray, dict[str, float]]:
    """The same for the binomial above the cut-off (Poisson without `n_other`)."""
    mean = counts @ values / counts.sum()
    # The law has a smaller mean than the tail, so that nothing is left of it beyond.
    top = int(mean + 20 * math.sqrt(mean) + 100)
    k = np.arange(d_min, (top if n_other is None else min(top, n_other)) + 1)

    def log_weights(degrees: np.ndarray) -> np.ndarray:
        return -gammaln(degrees + 1.0) - (0.0 if n_other is None else gammaln(n_other - degrees + 1.0))

    base = log_weights(k)
    base -= base.max()

    def cost(log_odds: float) -> float:  # convex: one exponential family
        return float(logsumexp(base + k * log_odds) - mean * log_odds)

    guess = math.log(mean) if n_other is None else math.log(mean / max(n_other - mean, 1e-9))
    log_odds = float(minimize_scalar(cost, bracket=(guess - 1, guess)).x)
    found = log_weights(values) + values * log_odds - logsumexp(log_weights(k) + k * log_odds)
    if n_other is None:
        return found, {"mean": math.exp(log_odds)}
    return found, {"n": float(n_other), "p": 1 / (1 + math.exp(-log_odds))}
