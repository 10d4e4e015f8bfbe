"""Exponents, cut-offs, p values and verdicts on degrees drawn from known laws."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from scipy.special import zeta
from scipy.stats import binom, chi2, kstest, lognorm, poisson

from sparserbm.topology import degree_laws
from sparserbm.topology.power_laws import LawComparison, PowerLawFit, _p_random, power_law


def tailed(n, alpha, d_min, share, seed):
    """Degrees of which a share follows a power law from d_min on, the others are anything below."""
    random = np.random.default_rng(seed)
    n_tail = random.binomial(n, share)
    tail = degree_laws.sampler(degree_laws.Law(alpha, d_min, 0.0))(random.random(n_tail))
    return np.concatenate([tail, random.integers(0, d_min, n - n_tail)])


def random_wiring_degrees(n, n_other, n_connections, seed):
    """Of an Erdos-Renyi layer with exactly so many connections."""
    places = np.random.default_rng(seed).choice(n * n_other, n_connections, replace=False)
    return np.bincount(places // n_other, minlength=n)


# -- the fit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "mean_log"), [(1, 0.01), (1, 0.8), (2, 1.2), (5, 2.1), (30, 3.5), (200, 5.31), (3, 9.0)]
)
def test_exponents_are_the_most_likely_ones(cut, mean_log):
    found = degree_laws._exponents(np.array([cut]), np.array([mean_log]))[0]
    best = minimize_scalar(
        lambda alpha: np.log(zeta(alpha, cut)) + alpha * mean_log,
        bounds=(1.0001, 110),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert_allclose(found, best.x, rtol=1e-5)


def test_distances_are_those_of_all_whole_numbers():
    values, counts = np.array([2, 3, 5, 9, 1500]), np.array([40, 20, 9, 4, 1])
    above = counts[::-1].cumsum()[::-1]
    alpha = np.array([2.4, 2.9])
    for number, found in enumerate(degree_laws._distances(alpha, values, above)):
        k = np.arange(values[number], 1600)
        law = 1 - zeta(alpha[number], k + 1) / zeta(alpha[number], k[0])
        tail = np.repeat(values[number:], counts[number:])
        units = np.searchsorted(np.sort(tail), k, side="right") / len(tail)
        assert_allclose(found, np.abs(law - units).max(), rtol=1e-10)


def test_the_cut_off_is_the_best_of_all():
    degrees = tailed(400, 2.6, 5, 0.4, 3)
    found = power_law(degrees, bootstrap=0)
    candidates = {}
    for cut in range(1, degrees.max()):
        tail = degrees[degrees >= cut]
        if len(tail) < 50 or len(np.unique(tail)) < 2 or cut not in degrees:
            continue
        values, counts = np.unique(tail, return_counts=True)
        alpha = degree_laws._exponents(np.array([cut]), np.array([np.log(tail).mean()]))
        candidates[cut] = degree_laws._distances(alpha, values, counts[::-1].cumsum()[::-1])[0]
    assert found.d_min == min(candidates, key=candidates.get)
    assert_allclose(found.ks, min(candidates.values()))
    assert found.n_tail == (degrees >= found.d_min).sum()
    assert found.tail_share == found.n_tail / 400


def test_a_published_implementation_finds_the_same():
    """The sample of seed 0 in powerlaw 2.0 (Alstott, Bullmore and Plenz 2014), which also rounds its lognormal."""
    found = power_law(np.random.default_rng(0).zipf(2.5, 1000), bootstrap=0)
    assert found.d_min == 1
    assert_allclose(found.alpha, 2.462255859, rtol=3e-5)
    assert_allclose(found.ks, 0.0061735960, rtol=2e-3)
    lognormal = found.comparisons[0]
    assert_allclose(lognormal.ratio, -0.8345358, rtol=1e-3)
    assert_allclose(lognormal.p, 0.463092, rtol=1e-3)


def test_draws_follow_the_law():
    law = degree_laws.Law(2.2, 4, 0.0)
    found = degree_laws.sampler(law)(np.random.default_rng(1).random(200_000))
    assert found.min() == 4
    for k in (4, 5, 8, 20, 100, 1003, 1004, 1500, 5000):
        share = zeta(2.2, k) / zeta(2.2, 4)
        assert abs((found >= k).mean() - share) < 4 * math.sqrt(share / 200_000)


@pytest.mark.slow
def test_standard_errors_are_the_scatter():
    found = [power_law(np.random.default_rng(seed).zipf(2.5, 400), bootstrap=0) for seed in range(40)]
    at_one = [each for each in found if each.d_min == 1]
    alphas = np.array([each.alpha for each in at_one])
    assert abs(alphas.mean() - 2.5) < 0.05
    assert 0.75 < alphas.std() / np.mean([each.standard_error for each in at_one]) < 1.35


# -- other laws --------------------------------------------------------------------------------------------------------


def test_other_laws_are_probabilities():
    degrees = np.random.default_rng(0).binomial(60, 0.3, 300)
    values, counts = np.unique(degrees[degrees >= 15], return_counts=True)
    law = degree_laws.Law(4.0, 15, 0.0)

    found, parameters = degree_laws.binomial(15, values, counts, 60)
    expected = binom(60, parameters["p"])
    assert_allclose(found, expected.logpmf(values) - expected.logsf(14), rtol=1e-9)
    better = [
        counts @ (binom(60, p).logpmf(values) - binom(60, p).logsf(14))
        for p in parameters["p"] + np.array([-1e-3, 1e-3])
    ]
    assert counts @ found > max(better)

    found, parameters = degree_laws.binomial(15, values, counts, None)
    expected = poisson(parameters["mean"])
    assert_allclose(found, expected.logpmf(values) - expected.logsf(14), rtol=1e-9)

    found, parameters = degree_laws.lognormal(law, values, counts)
    expected = lognorm(parameters["sigma"], scale=math.exp(parameters["mu"]))
    mass = expected.cdf(values + 0.5) - expected.cdf(values - 0.5)
    assert_allclose(found, np.log(mass / expected.sf(14.5)), rtol=1e-6)


def test_a_lognormal_is_found_again():
    degrees = np.rint(np.exp(np.random.default_rng(2).normal(3.0, 0.4, 5000))).astype(int)
    values, counts = np.unique(degrees, return_counts=True)
    _, parameters = degree_laws.lognormal(degree_laws.Law(3.0, int(values[0]), 0.0), values, counts)
    assert_allclose(parameters["mu"], 3.0, atol=0.02)
    assert_allclose(parameters["sigma"], 0.4, atol=0.02)


def test_comparisons_by_hand():
    """Vuong's z is the mean difference of log-likelihoods over its standard error."""
    degrees = tailed(500, 2.5, 3, 0.6, 1)
    found = power_law(degrees, n_other=5000, bootstrap=0)
    tail = degrees[degrees >= found.d_min]
    p = found.parameters["binomial"]["p"]
    own = -found.alpha * np.log(tail) - np.log(zeta(found.alpha, found.d_min))
    theirs = binom(5000, p).logpmf(tail) - binom(5000, p).logsf(found.d_min - 1)
    off = own - theirs
    comparison = found.comparisons[1]
    assert (comparison.law, comparison.other) == ("power law", "binomial")
    assert_allclose(comparison.ratio, off.sum(), rtol=1e-6)
    assert_allclose(comparison.z, off.mean() / (off.std() / math.sqrt(len(off))), rtol=1e-6)
    assert_allclose(found.comparisons[2].ratio, comparison.ratio - found.comparisons[0].ratio)
    assert comparison.preferred == "power law"
    assert "power law against binomial" in str(comparison)


def test_what_is_preferred():
    assert LawComparison("power law", "lognormal", 3, 2.0, 0.05).preferred == "power law"
    assert LawComparison("power law", "lognormal", -3, -2.0, 0.05).preferred == "lognormal"
    assert LawComparison("power law", "lognormal", -3, -1.0, 0.3).preferred == "neither"


# -- verdicts ----------------------------------------------------------------------------------------------------------


def verdict(first, second, third, p=0.5, p_random=0.0, n_tail=100):
    """With the z of power law/lognormal, power law/binomial, lognormal/binomial."""
    pairs = [("power law", "lognormal"), ("power law", "binomial"), ("lognormal", "binomial")]
    found = tuple(LawComparison(*pair, z, z, 0.01 if z else 0.9) for pair, z in zip(pairs, (first, second, third)))
    return PowerLawFit(2.5, 0.1, 5, 0.03, p, n_tail, 784, found, {}, p_random).verdict


def test_the_rules_of_the_verdict():
    assert verdict(0, 3, 3) == "power law"
    assert verdict(3, 3, 0) == "power law"
    assert verdict(0, 3, 3, p=0.05) == "undecided"
    assert verdict(0, 3, 3, p=None) == "undecided"
    assert verdict(0, 3, 3, n_tail=49) == "undecided"
    assert verdict(0, 3, 3, p_random=0.2) == "binomial"
    assert verdict(-3, 3, 3) == "lognormal"
    assert verdict(-3, -3, 0) == "light tail"
    assert verdict(-3, -3, 3) == "lognormal"
    assert verdict(-3, 0, 0) == "undecided"
    assert verdict(0, -3, 0) == "light tail"
    assert verdict(0, 0, 0) == "undecided"


def verdicts(samples, **options):
    return [power_law(each, seed=seed, **options) for seed, each in enumerate(samples)]


def test_power_laws_are_found():
    found = verdicts([tailed(784, 2.6, 5, 0.5, seed) for seed in range(4)], n_other=10**7, bootstrap=100)
    assert [each.verdict for each in found].count("power law") >= 3
    assert all(abs(each.alpha - 2.6) < 0.35 for each in found)


def test_random_wirings_are_binomial():
    found = verdicts([random_wiring_degrees(784, 500, 14_124, seed) for seed in range(10)], n_other=500, bootstrap=60)
    assert [each.verdict for each in found].count("binomial") >= 8
    assert not any(each.verdict in ("power law", "lognormal") for each in found)
    assert np.mean([each.comparisons[1].z for each in found]) < 0


def test_two_zones_are_no_power_law():
    """Inputs in the middle have more connections: overdispersed, but not heavy-tailed."""
    samples = [
        np.concatenate(
            [random_wiring_degrees(400, 500, 10_000, seed), random_wiring_degrees(384, 500, 4_000, 50 + seed)]
        )
        for seed in range(5)
    ]
    found = verdicts(samples, n_other=500, bootstrap=60)
    assert all(each.p_random < 1e-6 for each in found)
    assert {each.verdict for each in found} <= {"light tail", "undecided"}


def test_few_units_claim_nothing():
    found = power_law(np.random.default_rng(0).zipf(2.2, 40))
    assert found.p is None
    assert found.verdict == "undecided"
    assert "no p value" in str(found)


def test_dispersion_of_random_wirings():
    p = [_p_random(random_wiring_degrees(200, 90, 2_000, seed), 90) for seed in range(300)]
    assert kstest(p, "uniform").pvalue > 0.01
    degrees = np.array([2, 4, 6, 3, 5])
    index = ((degrees - 4) ** 2).sum() / (4 * (1 - 4 / 10))
    assert_allclose(
        power_law(degrees, n_other=10, bootstrap=0).p_random, 2 * min(chi2(4).cdf(index), chi2(4).sf(index))
    )


def test_the_same_seed_gives_the_same():
    degrees = tailed(300, 2.5, 3, 0.6, 0)
    assert power_law(degrees, bootstrap=30, seed=5) == power_law(degrees, bootstrap=30, seed=5)
    assert str(power_law(degrees, bootstrap=30)).startswith(power_law(degrees, bootstrap=30).verdict)


def test_the_survival_of_the_law():
    found = power_law(tailed(500, 2.5, 4, 0.5, 2), bootstrap=0)
    shares = found.survival(np.array([0, found.d_min - 1, found.d_min, found.d_min + 1]))
    assert np.isnan(shares[:2]).all()
    assert_allclose(shares[2], found.tail_share)
    assert_allclose(
        shares[2] - shares[3], found.tail_share * found.d_min**-found.alpha / zeta(found.alpha, found.d_min)
    )


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ([3, -1], "at least 0; got from -1 to 3"),
        ([2.5, 3], "whole numbers"),
        ([[1, 2]], "flat"),
        ([], "none at all"),
        ([7, 7, 0], r"\[0, 7\]"),
        ([0, 0], r"\[0\]"),
    ],
)
def test_what_is_refused(degrees, message):
    with pytest.raises(ValueError, match=message):
        power_law(np.array(degrees))


def test_degrees_above_the_other_side_are_refused():
    with pytest.raises(ValueError, match="from 0 to n_other=5"):
        power_law(np.array([1, 6]), n_other=5)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "d_min", "share"), [(2.5, 1, 1.0), (2.7, 6, 0.4)])
def test_p_values_of_power_laws_are_uniform(alpha, d_min, share):
    found = [power_law(tailed(500, alpha, d_min, share, seed), bootstrap=100, seed=seed) for seed in range(200)]
    p = np.array([each.p for each in found])
    assert kstest(p, "uniform").pvalue > 0.01
    assert 0.05 < np.mean(p < 0.1) < 0.15
    assert abs(np.mean([each.alpha for each in found]) - alpha) < 0.05
    assert np.mean([each.verdict == "power law" for each in found]) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_other"), [(784, 500), (500, 784)])
def test_random_wirings_are_hardly_ever_heavy_tailed(n, n_other):
    found = verdicts(
        [random_wiring_degrees(n, n_other, 14_124, seed) for seed in range(100)], n_other=n_other, bootstrap=100
    )
    said = [each.verdict for each in found]
    assert said.count("binomial") > 85
    assert said.count("power law") + said.count("lognormal") <= 2
