"""Are the degrees heavy-tailed? A power law fitted to them, tested, and held against two other laws.

Source: Clauset, Shalizi and Newman (2009), "Power-law distributions in empirical data", SIAM Review 51, 661-703. A fit
alone shows nothing, as a power law can be fitted to anything: read `PowerLawFit.verdict`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtr, chdtrc, zeta

from sparserbm.topology import degree_laws
from sparserbm.topology.degree_laws import SMALLEST_TAIL, Law
from sparserbm.topology.zones import two_sided

LEVEL = 0.1  # what Clauset et al. take for both kinds of test (sections 4 and 5)


@dataclass(frozen=True)
class LawComparison:
    """One law against another, both fitted to the same units (Vuong 1989).

    Attributes
    ----------
    law, other : {"power law", "lognormal", "binomial"}
    ratio : float
        Log-likelihood of `law` minus that of `other`, summed over the units of the tail.
    z : float
        The same in its standard deviations: positive speaks for `law`.
    p : float
        Probability of a ratio at least as far from 0 if both are equally good.
    """

    law: str
    other: str
    ratio: float
    z: float
    p: float

    @property
    def preferred(self) -> str:
        """What the data prefer: one of both laws, or "neither" where p is not below 0.1."""
        return "neither" if not self.p < LEVEL else self.law if self.z > 0 else self.other

    def __str__(self) -> str:
        return f"{self.law} against {self.other}: z {self.z:+.1f} (p {self.p:.2g}), preferred: {self.preferred}"


@dataclass(frozen=True)
class PowerLawFit:
    """A power law ``P(d) = d**-alpha / zeta(alpha, d_min)`` of the degrees d >= d_min, and what speaks against it.

    Attributes
    ----------
    alpha : float, above 1
        Exponent.
    standard_error : float
        Of alpha, d_min taken for known.
    d_min : int
        The cut-off: the law is claimed for units with at least so many connections.
    ks : float in [0, 1]
        Kolmogorov-Smirnov distance between law and units above the cut-off.
    p : float or None
        Share of samples of the fitted law, fitted again, that are at least as far from their law: small speaks against
        the power law. None where it was not asked for, or the tail has fewer than 50 units.
    n_tail, n_units : int
        Units above the cut-off, and all of them.
    comparisons : tuple of LawComparison
        Power law against lognormal, power law against binomial, lognormal against binomial: all above the cut-off.
    parameters : dict of str to dict
        Of the two other laws: mu and sigma of the logarithm; n and p (the mean, where n is not known).
    p_random : float
        Probability that the degrees of a random wiring (binomial) scatter so much more or less than expected: the index
        of dispersion of all units against chi-square, two-sided.
    """

    alpha: float
    standard_error: float
    d_min: int
    ks: float
    p: float | None
    n_tail: int
    n_units: int
    comparisons: tuple[LawComparison, LawComparison, LawComparison]
    parameters: dict[str, dict[str, float]]
    p_random: float

    @property
    def tail_share(self) -> float:
        """Share of all units that are above the cut-off, those without connections counted."""
        return self.n_tail / self.n_units

    @property
    def verdict(self) -> str:
        """What the degrees are: one of five words, by the first rule that holds.

        1. Fewer than 50 units in the tail: undecided.
        2. All degrees together scatter as those of a random wiring do (p_random of at least 0.1): binomial.
        3. The samples do not refuse the power law (p of at least 0.1), the data prefer it to the binomial and do not
           prefer the lognormal to it: power law. A lognormal comes as close to a power law as one likes, so that it can
           hardly lose; where both are as good, the law with fewer parameters stands.
        4. The data prefer the lognormal to both others: lognormal.
        5. The data prefer the binomial to the power law, and do not prefer the lognormal to it: light tail. The upper
           degrees end as those of a random wiring do; all together scatter otherwise, as those of two zones.
        6. Undecided.
        """
        if self.n_tail < SMALLEST_TAIL:
            return "undecided"
        if self.p_random >= LEVEL:
            return "binomial"
        power_or_lognormal, power_or_binomial, lognormal_or_binomial = (each.preferred for each in self.comparisons)
        plausible = self.p is not None and self.p >= LEVEL
        if plausible and power_or_binomial == "power law" and power_or_lognormal != "lognormal":
            return "power law"
        if power_or_lognormal == lognormal_or_binomial == "lognormal":
            return "lognormal"
        if power_or_binomial == "binomial" and lognormal_or_binomial != "lognormal":
            return "light tail"
        return "undecided"

    def survival(self, degrees: np.ndarray) -> np.ndarray:
        """Share of all units that have at least so many connections, by the fitted law.

        Parameters
        ----------
        degrees : (n,) int

        Returns
        -------
        (n,) float in [0, tail_share]
            NaN below the cut-off, where the law says nothing.
        """
        degrees = np.asarray(degrees)
        share = self.tail_share * zeta(self.alpha, np.maximum(degrees, 1)) / zeta(self.alpha, self.d_min)
        return np.where(degrees >= self.d_min, share, np.nan)

    def __str__(self) -> str:
        p = "no p value" if self.p is None else f"p {self.p:.2f}"
        return (
            f"{self.verdict}: alpha {self.alpha:.2f} ± {self.standard_error:.2f} from degree {self.d_min} on "
            f"({self.n_tail} of {self.n_units} units), KS {self.ks:.3f}, {p}; as at random: p {self.p_random:.2g}"
        )


def power_law(degrees: np.ndarray, *, n_other: int | None = None, bootstrap: int = 1000, seed: int = 0) -> PowerLawFit:
    """Fit a power law to the upper degrees and test it.

    Parameters
    ----------
    degrees : (n_units,) int, at least 0
        Connections of every unit, those without any included.
    n_other : int, optional
        Units on the other side: the most connections that a unit can have, n of the binomial. Without it a Poisson law
        takes the place of the binomial, to which it comes close at low density.
    bootstrap : int
        Samples of the fitted law that the p value is made of; 0: no p. With 1,000 it is known to 0.016.
    seed : int
        Of these samples.

    Returns
    -------
    PowerLawFit

    Raises
    ------
    ValueError
        If degrees are negative, no whole numbers or above `n_other`, all units with connections have the same, or
        `bootstrap` is negative.

    Notes
    -----
    Exponents are those of the largest likelihood with the zeta distribution (Clauset et al., appendix B). The cut-off
    is the degree, of those that occur and leave at least 50 units (or all units with connections, where they are
    fewer), at which law and units are closest (section 3.3); Clauset et al. try smaller tails too.
    Samples for p consist of draws from the law above the cut-off and of degrees found below it, in proportion to the
    units there (section 4.1), each with a cut-off of its own. The lognormal is that of a rounded variable. Degrees are
    taken for independent and unbounded above.
    """
    degrees = _checked(degrees, n_other)
    if bootstrap < 0:
        raise ValueError(f"bootstrap={bootstrap} is not possible; give a number of samples, or 0 for none")
    generator = np.random.default_rng(seed)
    law = degree_laws.fit(*degree_laws.counted(degrees))
    if law is None:
        raise ValueError(
            f"units have the degrees {np.unique(degrees).tolist()}: a law of degrees can be fitted to at least two "
            f"that are above 0"
        )
    tail = degrees[degrees >= law.d_min]
    claimed = bootstrap > 0 and len(tail) >= SMALLEST_TAIL
    return PowerLawFit(
        law.alpha,
        degree_laws.standard_error(law, len(tail)),
        law.d_min,
        law.ks,
        _p_value(law, degrees, bootstrap, generator) if claimed else None,
        len(tail),
        len(degrees),
        *_comparisons(law, tail, n_other),
        _p_random(degrees, n_other),
    )


def _checked(degrees: np.ndarray, n_other: int | None) -> np.ndarray:
    given = np.asarray(degrees)
    whole = given.dtype.kind in "iu" or (np.isfinite(given).all() and np.array_equal(given, np.floor(given)))
    if given.ndim != 1 or not whole:
        raise ValueError(f"degrees must be flat whole numbers; got {given.dtype} of shape {given.shape}")
    found = given.astype(np.int64)
    if not (len(found) and found.min() >= 0 and (n_other is None or found.max() <= n_other)):
        limits = "at least 0" if n_other is None else f"from 0 to n_other={n_other}"
        what = f"from {found.min()} to {found.max()}" if len(found) else "none at all"
        raise ValueError(f"degrees must be {limits}; got {what}")
    return found


def _p_value(law: Law, degrees: np.ndarray, samples: int, generator: np.random.Generator) -> float:
    body = degrees[degrees < law.d_min]
    draw, worse = degree_laws.sampler(law), 0
    for _ in range(samples):
        n_tail = int(generator.binomial(len(degrees), 1 - len(body) / len(degrees)))
        below = generator.choice(body, len(degrees) - n_tail) if len(body) else body
        again = degree_laws.fit(*degree_laws.counted(np.concatenate([below, draw(generator.random(n_tail))])))
        worse += again is not None and again.ks >= law.ks
    return worse / samples


def _comparisons(
    law: Law, tail: np.ndarray, n_other: int | None
) -> tuple[tuple[LawComparison, LawComparison, LawComparison], dict[str, dict[str, float]]]:
    values, counts = np.unique(tail, return_counts=True)
    power = -law.alpha * np.log(values) - math.log(zeta(law.alpha, law.d_min))
    lognormal, mu_sigma = degree_laws.lognormal(law, values, counts)
    binomial, n_p = degree_laws.binomial(law.d_min, values, counts, n_other)
    found = (
        _vuong("power law", "lognormal", power - lognormal, counts),
        _vuong("power law", "binomial", power - binomial, counts),
        _vuong("lognormal", "binomial", lognormal - binomial, counts),
    )
    return found, {"lognormal": mu_sigma, "binomial": n_p}


def _vuong(law: str, other: str, differences: np.ndarray, counts: np.ndarray) -> LawComparison:
    """From the differences of log-likelihoods at every degree (Clauset et al., appendix C)."""
    ratio = float(counts @ differences)
    spread = math.sqrt(counts @ (differences - ratio / counts.sum()) ** 2)
    z = ratio / spread if spread > 0 else 0.0
    return LawComparison(law, other, ratio, z, two_sided(z))


def _p_random(degrees: np.ndarray, n_other: int | None) -> float:
    """The index of dispersion of all units, two-sided against chi-square."""
    mean = degrees.mean()
    variance = mean * (1 - mean / n_other) if n_other else mean
    if len(degrees) < 2 or variance <= 0:
        return 1.0
    index, freedom = float(((degrees - mean) ** 2).sum() / variance), len(degrees) - 1
    return float(min(1.0, 2 * min(chdtr(freedom, index), chdtrc(freedom, index))))
