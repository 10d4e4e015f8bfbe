"""Plans that do not fit are refused, and plans count what they do."""

import numpy as np
import pytest
from problems import wired

from sparserbm.evolution import RewirePlan


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
