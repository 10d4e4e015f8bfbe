"""Where newborns come and what they weigh, and plans that do not fit."""

import numpy as np
import pytest
from problems import even, wired

from sparserbm import Fresh, HeSparse, Normal, RandomGrow, ZeroBirth
from sparserbm.backends import get_backend
from sparserbm.evolution import RewirePlan
from sparserbm.evolution.grow import GrowRequest
from sparserbm.network.connections import Pattern


def propose(occupied, count, seed=0, n_pre=10, n_post=8):
    occupied = Pattern.from_keys(n_pre, n_post, np.asarray(occupied, np.int64))
    request = GrowRequest(n_pre, n_post, occupied, count, None, get_backend("reference"))
    return RandomGrow().propose(request, np.random.default_rng(seed))


def test_random_growth_favours_no_absent_place():
    occupied = np.arange(0, 80, 3)
    counts = sum(np.bincount(propose(occupied, 15, seed), minlength=80) for seed in range(600))
    assert counts[occupied].sum() == 0
    absent = np.setdiff1d(np.arange(80), occupied)
    share = 15 / len(absent)
    variance = 600 * share * (1 - share) * len(absent) / (len(absent) - 1)
    assert 1e-3 < even(counts[absent], variance) < 1 - 1e-3


def test_random_growth_into_the_last_places():
    assert propose(np.delete(np.arange(80), 41), 1).tolist() == [41]
    assert propose(np.delete(np.arange(80), [3, 41]), 2).tolist() == [3, 41]
    assert len(propose(np.arange(80), 0)) == 0


def test_newborns_weigh_what_their_rule_says():
    generator, fan_in = np.random.default_rng, np.array([1, 4, 4, 9])
    same = Fresh().draw(generator(0), fan_in, 10, HeSparse())
    assert np.array_equal(same, HeSparse().draw(generator(0), fan_in, 10))
    own = Fresh("normal(0.5)").draw(generator(0), fan_in, 10, HeSparse())
    assert np.array_equal(own, Normal(0.5).draw(generator(0), fan_in, 10))
    assert ZeroBirth().draw(generator(0), fan_in, 10, HeSparse()).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match=r'no weight scale to draw newborns from; use birth="same\(normal\(0.05\)\)"'):
        Fresh().draw(generator(0), fan_in, 10, None)


@pytest.mark.parametrize(
    ("keep", "weight", "message"),
    [
        (np.ones(5, bool), np.zeros(1), "the plan is for 5 connections, the layer has 6"),
        (np.ones(6, int), np.zeros(1), "the plan is for"),
        (np.ones(6, bool), np.zeros(2), "one finite weight for each of 1 new connections"),
        (np.ones(6, bool), np.array([np.nan]), "one finite weight for each of 1 new connections"),
    ],
)
def test_plans_that_do_not_fit_are_refused(backend, keep, weight, message):
    connections = wired(backend, 4, 3, 6)
    absent = np.setdiff1d(np.arange(12), connections.pattern.keys)[:1]
    with pytest.raises(ValueError, match=message):
        RewirePlan(keep, absent, weight).apply(connections, step=1)
    assert len(connections) == 6


def test_a_plan_counts_what_it_does(backend):
    connections = wired(backend, 4, 3, 6)
    absent = np.setdiff1d(np.arange(12), connections.pattern.keys)[:1]
    plan = RewirePlan(np.array([True, False, True, False, True, True]), absent, np.array([0.5]))
    plan.apply(connections, step=1)
    assert (plan.n_dropped, plan.n_grown, len(connections)) == (2, 1, 5)
