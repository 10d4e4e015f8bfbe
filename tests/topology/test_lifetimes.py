"""Survival curves by hand, against single lives, and from snapshots that missed deaths."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sparserbm as sr
from sparserbm.topology.lifetimes import survival_curve
from sparserbm.topology.turnover import WiringHistory

STEPS = 10  # of an epoch


def watched(lives, epochs, every=1, counted=True):
    """The history of connections that lived from `birth` to `death` (steps), each at a place of its own."""
    birth, death = np.array(lives).T
    moments = np.arange(0, epochs + 1, every)
    # An event comes after the snapshot of its step: who dies at it is seen, who is born at it is not.
    present = [np.flatnonzero(((birth < step) | (birth == 0)) & (death >= step)) for step in moments * STEPS]
    until = np.arange(epochs + 1) * STEPS
    grown = np.array([0, *(np.count_nonzero((birth >= b) & (birth < b + STEPS) & (birth > 0)) for b in until[:-1])])
    return WiringHistory(
        1,
        len(lives),
        moments,
        present,
        moments * STEPS,
        [birth[each] for each in present],
        *((until, grown) if counted else ()),
    )


def lives_of(hazard, epochs, n=500, seed=0, first=300):
    """Births at the end of every epoch; at each later event a connection of the age of k events dies with hazard(k)."""
    random = np.random.default_rng(seed)
    found = []
    for epoch, count in [(0, first), *((epoch, n) for epoch in range(1, epochs))]:
        death = np.full(count, 10**9)
        for later in range(epoch + 1, epochs):
            dies = (death == 10**9) & (random.random(count) < hazard(later - epoch))
            death[dies] = later * STEPS
        found += [(epoch * STEPS, when) for when in death]
    return found


def kaplan_meier(lives, end, born_from=0):
    """One connection at a time: ages of death, survival and Greenwood's error."""
    spells = [(min(death, end) - birth, death < end) for birth, death in lives if born_from <= birth < end]
    ages = sorted({age for age, died in spells if died})
    survival, total, found = 1.0, 0.0, []
    for age in ages:
        # Censored at `end`, before the event of that step: out of the risk set at that age.
        at_risk = sum(length > age or (length == age and died) for length, died in spells)
        deaths = sum(length == age and died for length, died in spells)
        survival *= 1 - deaths / at_risk
        total += deaths / (at_risk * (at_risk - deaths)) if at_risk > deaths else np.inf
        found.append((age, survival, survival * np.sqrt(total)))
    return np.array(found).T


def test_by_hand():
    """Five of the first wiring: two die after epoch 1, one after epoch 2; of two born at step 10 one dies after epoch 2."""
    lives = [(0, 10), (0, 10), (0, 20), (0, 10**9), (0, 10**9), (10, 20), (10, 10**9)]
    found = survival_curve(watched(lives, 3))
    assert_array_equal(found.ages, [10, 20])
    assert_array_equal(found.at_risk, [7, 3])  # the newborn that lives is 20 steps old at the end, and not at risk then
    assert_array_equal(found.deaths, [3, 1])
    assert_allclose(found.survival, [4 / 7, 4 / 7 * 2 / 3])
    errors = [4 / 7 * np.sqrt(3 / (7 * 4)), 8 / 21 * np.sqrt(3 / (7 * 4) + 1 / (3 * 2))]
    assert_allclose(found.standard_error, errors)
    assert found.median == 20
    assert (found.n_connections, found.n_censored) == (7, 3)
    newborns = survival_curve(watched(lives, 3), born_from=1)
    assert_array_equal(newborns.survival, [0.5])


@pytest.mark.parametrize("counted", [True, False])
def test_it_is_that_of_single_lives(counted):
    lives = lives_of(lambda k: 0.6 / k, 8, n=40, seed=1)
    found = survival_curve(watched(lives, 8, counted=counted))
    ages, survival, errors = kaplan_meier(lives, 8 * STEPS)
    assert_array_equal(found.ages, ages)
    assert_allclose(found.survival, survival)
    assert_allclose(found.standard_error, errors)
    newborns = survival_curve(watched(lives, 8, counted=counted), born_from=1)
    assert_allclose(newborns.survival, kaplan_meier(lives, 8 * STEPS, 1)[1])


def test_the_band_holds_the_truth():
    def hazard(k):
        return 0.5 if k == 1 else 0.1

    inside = []
    for seed in range(200):
        found = survival_curve(watched(lives_of(hazard, 6, n=20, first=20, seed=seed), 6))
        truth = 0.5 * 0.9 ** (found.ages / STEPS - 1)
        assert np.all((found.lower <= found.survival) & (found.survival <= found.upper))
        inside.append(((found.lower <= truth) & (truth <= found.upper))[:3])
    assert np.all(np.abs(np.mean(inside, axis=0) - 0.95) < 0.045)


@pytest.mark.parametrize("every", [2, 5])
def test_what_snapshots_missed_comes_from_the_counts(every):
    lives = lives_of(lambda k: 0.7 if k == 1 else 0.4 if k == 2 else 0.1, 30, n=2000, first=0, seed=2)
    exact = survival_curve(watched(lives, 30))
    found = survival_curve(watched(lives, 30, every=every))
    assert_array_equal(found.ages, exact.ages)
    assert np.abs(found.survival - exact.survival).max() < 0.01
    assert found.n_connections == exact.n_connections
    assert_allclose(found.deaths.sum(), exact.deaths.sum())


def test_several_events_without_counts_are_refused():
    lives = lives_of(lambda k: 0.3, 6, n=30)
    with pytest.raises(ValueError, match="2 events lie between the snapshots of steps .*snapshot_every=1"):
        survival_curve(watched(lives, 6, every=2, counted=False))


def test_connections_older_than_the_first_snapshot_enter_late():
    """What died before is not seen: a curve from birth would be too high, one from the age of entry is not."""
    lives = lives_of(lambda k: 0.5, 12, n=3000, first=3000, seed=3)
    whole = watched(lives, 12)
    late = WiringHistory(1, whole.n_post, whole.epochs[4:], whole.keys[4:], whole.steps[4:], whole.born[4:])
    found = survival_curve(late)
    assert_allclose(found.survival[:6], 0.5 ** np.arange(1, 7), atol=0.015)
    assert found.n_connections < len(lives)


def test_a_cohort_of_which_nobody_was_seen():
    """Three born at step 10 are all dead by step 30, the next snapshot: they count."""
    lives = [(0, 10**9), (0, 10**9), (10, 20), (10, 20), (10, 20), (20, 10**9)]
    found = survival_curve(watched(lives, 3, every=3))
    assert found.n_connections == 6
    assert_allclose(found.deaths.sum(), 3)


def test_nobody_is_left():
    found = survival_curve(watched([(0, 10), (0, 10)], 2))
    assert_array_equal(found.survival, [0])
    assert np.isnan([found.standard_error[0], found.lower[0], found.upper[0]]).all()
    assert found.median == 10


def test_nobody_died():
    found = survival_curve(watched([(0, 10**9)] * 3, 3))
    assert len(found.ages) == 0
    assert found.median == np.inf
    assert found.n_censored == 3


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (WiringHistory(2, 2, [0, 1], [[0], [1]]), "give steps and born"),
        (WiringHistory(2, 2, [0], [[0]], [0], [[0]]), "1 snapshot is given"),
        (WiringHistory(2, 2, [0, 1], [[0], [0, 1]], [0, 10], [[0], [0, 0]]), "not in those since their birth"),
    ],
)
def test_what_says_nothing(history, message):
    with pytest.raises(ValueError, match=message):
        survival_curve(history)


def test_born_from_after_the_end():
    with pytest.raises(ValueError, match="no connection was born at step 99 or later"):
        survival_curve(watched([(0, 10), (10, 10**9)], 3), born_from=99)


@pytest.mark.parametrize("when", ["every(epochs=1)", "every(steps=2)"])
def test_ages_at_death_are_those_that_training_logged(when):
    X = (np.random.default_rng(0).random((100, 12)) < 0.5).astype(float)
    rbm = sr.RBM(sr.Bernoulli(12), sr.Bernoulli(20), wiring=sr.ErdosRenyi(density=0.3), seed=0, backend="numpy")
    run = sr.train(rbm, X, sr.CD(k=1), epochs=8, batch_size=20, evolution=sr.SET(when=when), snapshot_every=1)
    found = survival_curve(WiringHistory.of_run(run))
    logged = run.history
    died = np.nan_to_num(logged["dropped"])
    assert_allclose(found.deaths.sum(), died.sum())
    if when == "every(epochs=1)":  # otherwise an event within an epoch may be the one or the other
        assert_allclose(found.ages @ found.deaths, np.nansum(logged["mean_age_at_death"] * died))
    assert np.all(np.diff(found.survival) <= 0)


def test_events_of_one_line_need_not_grow_alike():
    """By hand: 2 of the first wiring, 8 born at step 3, 2 at step 7, nobody dies; then one of the 8 at step 7."""
    keys, born = np.arange(12), np.repeat([0, 3, 7], [2, 8, 2])
    until, grown = [0, 10], [0, 10]
    found = survival_curve(WiringHistory(3, 4, [0, 1], [keys[:2], keys], [0, 10], [born[:2], born], until, grown))
    assert (found.n_connections, found.deaths.sum()) == (12, 0)
    there = np.delete(keys, 5)
    found = survival_curve(
        WiringHistory(3, 4, [0, 1], [keys[:2], there], [0, 10], [born[:2], born[there]], until, grown)
    )
    assert (found.n_connections, found.deaths[found.ages == 4].sum(), found.deaths.sum()) == (12, 1, 1)


@pytest.mark.parametrize("every", [2, 3])
def test_deaths_come_at_events_only_where_zeta_changes(every):
    data = (np.random.default_rng(0).random((60, 12)) < 0.5).astype(float)
    rbm = sr.RBM(sr.Bernoulli(12), sr.Bernoulli(10), wiring=sr.ErdosRenyi(density=0.5), seed=0, backend="reference")
    evolution = sr.SET(zeta=sr.Cosine(0.8, 0.1, steps=40), when=sr.Every(steps=every))
    run = sr.train(rbm, data, sr.CD(k=1), epochs=8, batch_size=10, evolution=evolution, snapshot_every=1)
    found = survival_curve(WiringHistory.of_run(run), born_from=1)
    assert found.ages.min() >= every
    assert np.all(found.ages % every == 0)


@pytest.mark.parametrize("seed", range(5))
def test_deaths_that_are_rounding_make_no_band(seed):
    """200 births and 1 in turn, of which the single ones often die unseen: their events have no steps."""
    random, lives = np.random.default_rng(seed), []
    events = list(range(5, 200, 5))
    for number, birth in enumerate(events):
        for _ in range((200, 1)[number % 2]):
            dies = (when for k, when in enumerate(events[number + 1 :]) if random.random() < (0.2 if k else 0.5))
            lives.append((birth, next(dies, 10**9)))
    found = survival_curve(watched(lives, 20), born_from=1)
    assert np.all(found.lower[found.survival == 1] == 1)
    assert np.all(np.diff(found.survival) <= 0)


def test_a_curve_that_all_but_ends_has_no_band():
    for seed in range(6):
        found = survival_curve(watched(lives_of(lambda age: 0.9, 12, n=40, seed=seed, first=0), 12, every=4))
        gone = found.survival == 0
        assert np.isnan(found.upper[gone]).all()
        assert np.all(found.survival[~gone] > 1e-6)
