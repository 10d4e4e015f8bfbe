"""p values that are right under the null, seeds taken together, turns by hand, groups of columns."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from sparserbm.topology import (
    border_distance,
    combine,
    density_by_distance,
    group_densities,
    holm,
    learning_index,
    mutual_information,
    rectangle,
    turning_point,
    zone_test,
)


def random_degrees(generator, n_inputs=40, n_outputs=30, n=200):
    places = generator.choice(n_inputs * n_outputs, n, replace=False)
    return np.bincount(places // n_outputs, minlength=n_inputs), n_inputs * n_outputs


def test_p_is_that_of_the_normal_distribution():
    degrees = np.array([9, 8, 3, 2, 3, 2])
    found = learning_index(degrees, np.arange(6) < 2, 60)
    assert_allclose(found.p, 2 * stats.norm.sf(abs(found.z)))


@pytest.mark.parametrize("null", ["connections", "degrees"])
def test_p_is_uniform_where_wirings_are_random(null):
    generator, mask = np.random.default_rng(0), np.arange(40) < 15
    found = []
    for seed in range(300):
        degrees, n_places = random_degrees(generator)
        found.append(zone_test(degrees, mask, n_places, null=null, n_permutations=199, seed=seed).p)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.09


def test_the_permutations_agree_with_the_formula():
    degrees, n_places = random_degrees(np.random.default_rng(3))
    degrees[:15] += 2
    mask = np.arange(40) < 15
    index, found = learning_index(degrees, mask, n_places), zone_test(degrees, mask, n_places, seed=1)
    assert_allclose(found.z, index.z, rtol=0.05)
    assert abs(found.p - index.p) < 0.005
    assert_allclose(found.share, degrees[:15].sum() / degrees.sum())
    assert found.null.shape == (9999,)


def test_uneven_degrees_are_no_evidence_to_the_stricter_null():
    """Two hubs that happen to lie in the zone: far from a random wiring, but no farther than hubs get by chance."""
    degrees = np.full(40, 3)
    degrees[[2, 5]] = 30
    mask = np.arange(40) < 20
    assert zone_test(degrees, mask, 40 * 100).p < 0.001
    assert zone_test(degrees, mask, 40 * 100, null="degrees").p > 0.1


def test_a_wiring_without_connections_says_nothing():
    found = zone_test(np.zeros(10, int), np.arange(10) < 5, 100, n_permutations=9)
    assert (found.z, found.p) == (0.0, 1.0)
    assert math.isnan(found.share)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"null": "weights"}, "null='weights' is not possible; use connections or degrees"),
        ({"n_permutations": 0}, "n_permutations=0 is not possible"),
    ],
)
def test_tests_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        zone_test(np.ones(10, int), np.arange(10) < 5, 100, **changes)
    with pytest.raises(ValueError, match="covers 10 of 10 inputs"):
        zone_test(np.ones(10, int), np.ones(10, bool), 100)


# -- several seeds -----------------------------------------------------------------------------------------------------


def test_seeds_add_up():
    found = combine([2.0, 2.5, 1.8, 2.2])
    assert_allclose(found.z, 8.5 / 2)
    assert_allclose(found.p, 2 * stats.norm.sf(8.5 / 2))
    assert_allclose(found.z, stats.combine_pvalues(stats.norm.sf([2.0, 2.5, 1.8, 2.2]), "stouffer").statistic)
    assert (found.verdict, found.n) == ("positive", 4)
    assert_allclose(found.spread, np.std([2.0, 2.5, 1.8, 2.2], ddof=1))
    assert combine([-5.0]).verdict == "negative"
    assert combine([4.0, -4.0]).verdict == "none"
    assert math.isnan(combine([1.0]).spread)
    with pytest.raises(ValueError, match="give one finite number for each run"):
        combine([1.0, math.nan])


def test_combined_p_is_uniform_where_wirings_are_random():
    random = np.random.default_rng(0)
    mask = np.arange(100) < 40
    p = []
    for _ in range(400):
        drawn = [random.choice(100 * 20, 300, replace=False) // 20 for _ in range(3)]
        z = [learning_index(np.bincount(pre, minlength=100), mask, 100 * 20).z for pre in drawn]
        p.append(combine(z).p)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_holm_by_hand():
    assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    found = holm([0.5, math.nan, 0.01])
    assert_allclose([found[0], found[2]], [0.5, 0.02])


# -- over time ---------------------------------------------------------------------------------------------------------


def test_a_turn_by_hand():
    epochs = np.arange(0, 11)
    found = turning_point(epochs, 5.0 - epochs, window=1)
    assert (found.epoch, found.direction) == (5.0, "to negative")
    assert (found.last_before, found.first_after, found.lasting_from) == (1, 9, 9)
    back = turning_point(10 * epochs, epochs - 5.25, window=1)
    assert (back.epoch, back.direction) == (52.5, "to positive")


def test_one_event_is_no_turn():
    z = np.full(30, 8.0)
    z[12] = -4.0
    assert turning_point(np.arange(30), z).direction == "none"
    z[20:] = -6.0
    found = turning_point(np.arange(30), z)
    assert found.direction == "to negative"
    assert 19 < found.epoch < 21
    assert (found.last_before, found.first_after, found.lasting_from) == (19, 12, 20)


def test_noise_around_zero_is_no_turn():
    z = np.random.default_rng(0).normal(size=100)
    assert turning_point(np.arange(100), z).direction == "none"
    fading = np.linspace(12, -1, 100)  # it loses its preference and gains none
    assert turning_point(np.arange(100), fading).direction == "none"


def test_series_that_cannot_turn():
    with pytest.raises(ValueError, match="must increase"):
        turning_point(np.array([0, 0]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="must be finite"):
        turning_point(np.arange(2), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="window=4 is not possible"):
        turning_point(np.arange(2), np.array([1.0, 2.0]), window=4)


# -- zones -------------------------------------------------------------------------------------------------------------


def test_information_of_a_copy_is_the_entropy_of_the_label():
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 20_000)
    X = np.column_stack([y, random.normal(size=len(y)), np.ones(len(y)), (y == 1) * 1.0])
    found = mutual_information(X, y)
    share = np.bincount(y) / len(y)
    assert_allclose(found[0], -(share * np.log(share)).sum(), atol=1e-3)
    assert found[1] < 1e-3
    assert found[2] == 0
    one = (y == 1).mean()
    assert_allclose(found[3], -(one * np.log(one) + (1 - one) * np.log(1 - one)), atol=1e-3)


def test_inputs_that_tell_nothing_come_to_nothing_in_the_mean():
    random = np.random.default_rng(1)
    X, y = random.random((300, 400)), random.integers(0, 5, 300)
    raw = 7 * 4 / 600
    assert mutual_information(X, y).mean() < 0.15 * raw


def test_distance_to_the_border_by_hand():
    found = border_distance(rectangle((5, 5), 1, 1, 4, 4), (5, 5)).reshape(5, 5)
    assert found[2, 2] == -1.5
    assert found[1, 2] == -0.5
    assert found[0, 2] == 0.5
    assert_allclose(found[0, 0], math.sqrt(2) - 0.5)
    with pytest.raises(ValueError, match="has no border"):
        border_distance(np.ones(25, bool), (5, 5))


def test_density_over_distance():
    mask = rectangle((6, 6), 1, 1, 5, 5)
    degrees = np.where(mask, 4, 1)
    degrees[14] = 8  # a pixel of the inner square
    distance, density, error, count = density_by_distance(degrees, mask, (6, 6))
    assert distance.tolist() == [-1.5, -0.5, 0.5]
    assert_allclose(density, [5, 4, 1])
    assert count.tolist() == [4, 12, 20]
    assert_allclose(error, [1, 0, 0])


# -- groups of columns -------------------------------------------------------------------------------------------------


def test_groups_of_columns():
    degrees = np.array([30, 28, 32, 5, 6, 4, 12, 14])
    groups = {"informative": np.arange(3), "noise": np.arange(8) // 3 == 1, "other": [6, 7]}
    found = {row.name: row for row in group_densities(degrees, groups, 8 * 100)}
    assert [found[name].verdict for name in groups] == ["denser", "sparser", "none"]
    assert found["informative"].density == 30
    assert_allclose(found["informative"].others, 41 / 5)
    assert found["noise"].n_inputs == 3
    z = learning_index(degrees, np.arange(8) < 3, 800).z
    assert found["informative"].z == z
    assert found["informative"].p <= 3 * 2 * stats.norm.sf(z) * (1 + 1e-9)
    with pytest.raises(ValueError, match="group 'far': inputs 9 to 9 do not exist"):
        group_densities(degrees, {"far": [9]}, 800)
    with pytest.raises(ValueError, match="group 'all': the active zone covers 8 of 8"):
        group_densities(degrees, {"all": np.ones(8, bool)}, 800)


@pytest.mark.parametrize("null", ["connections", "degrees"])
@pytest.mark.parametrize(("n_permutations", "level"), [(1, 0.5), (9, 0.1), (19, 0.05)])
def test_few_permutations_find_no_more_than_many(null, n_permutations, level):
    """Phipson and Smyth (2010): p of at most k / (n + 1) comes with that probability."""
    random, mask = np.random.default_rng(0), np.arange(30) < 12
    found = []
    for seed in range(400):
        degrees = np.bincount(random.choice(30 * 20, 80, replace=False) // 20, minlength=30)
        found.append(zone_test(degrees, mask, 600, null=null, n_permutations=n_permutations, seed=seed).p)
    share = np.mean(np.array(found) <= level + 1e-12)
    assert share < level + 3 * np.sqrt(level / 400)


def test_verdicts_of_groups_are_those_of_corrected_p():
    random = np.random.default_rng(1)
    groups = {str(first): np.arange(first, first + 5) for first in range(0, 200, 5)}
    said = 0
    for _ in range(40):
        degrees = np.bincount(random.choice(200 * 30, 900, replace=False) // 30, minlength=200)
        for group in group_densities(degrees, groups, 6000):
            assert (group.verdict != "none") == (group.p < 0.0027)
            said += group.verdict != "none"
    assert said <= 2
