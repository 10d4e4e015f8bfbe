"""Figures of degrees, ages and survival, from runs that evolved."""

import numpy as np
import pytest

import sparserbm as sr
from sparserbm import plotting
from sparserbm.plotting import age_pyramid, degree_distribution, survival
from sparserbm.runs import Run
from sparserbm.topology import WiringHistory, survival_curve


def title(figure):
    return figure.get_suptitle().replace("\n", " ")


@pytest.fixture(scope="module")
def runs():
    X = (np.random.default_rng(0).random((60, 16)) < np.linspace(0.1, 0.9, 16)).astype(float)
    found = []
    for seed in (0, 1):
        rbm = sr.RBM(
            "bernoulli(16)", "bernoulli(30)", wiring=sr.ErdosRenyi(density=0.3), seed=seed, backend="reference"
        )
        zone = sr.Columns((4, 5, 6, 7, 8, 9, 10, 11))
        settings = {"epochs": 8, "batch_size": 20, "snapshot_every": 1, "zone": zone}
        found.append(sr.train(rbm, X, "cd", evolution="set(0.3)", name=f"seed {seed}", **settings))
    return found


def test_degrees_are_those_of_the_snapshots(runs):
    hidden, inputs = degree_distribution.load(runs[:1], bootstrap=0)
    first, last = (runs[0].snapshots[epoch].layers[0] for epoch in (0, 8))
    assert [each.tolist() for each in hidden.degrees] == [first.degree_post.tolist(), last.degree_post.tolist()]
    assert inputs.degrees[1].tolist() == last.degree_pre.tolist()
    values, share = degree_distribution.at_least(last.degree_post)
    assert share[0] == (last.degree_post >= values[0]).mean()
    assert share[-1] == (last.degree_post == last.degree_post.max()).mean()
    assert hidden.random[0] == 1
    both = degree_distribution.load(runs, bootstrap=0)
    assert len(both[0].degrees[1]) == 60
    assert "2 runs" in title(plotting.plot("degree-distribution", runs, bootstrap=0))
    with pytest.raises(ValueError, match="run seed 0 has no layer 1; it has 0 to 0"):
        degree_distribution.load(runs, layer=1)


def test_a_wiring_without_a_law():
    X = np.eye(6)
    rbm = sr.RBM("bernoulli(6)", "bernoulli(4)", wiring="dense", backend="reference")
    run = sr.train(rbm, X, "cd", epochs=1, zone=None)
    assert "hidden units: all alike" in title(plotting.plot("degree-distribution", run))


def test_ages_by_zone(runs):
    (pyramid,) = age_pyramid.load(runs, 2)[:1]
    last = runs[0].snapshots[8].layers[0]
    inside = runs[0].zone_mask[last.pre]
    age = (runs[0].metrics[-1]["step"] - last.born) / pyramid.steps_per_epoch
    assert pyramid.ages.inside.sum() == inside.sum()
    assert pyramid.ages.outside.sum() == (~inside).sum()
    assert pyramid.young == (np.median(age[inside]), np.median(age[~inside]))
    assert len(age_pyramid.load(runs[:1])) == 3
    assert "in the active zone" in title(plotting.plot("age-pyramid", runs[0]))
    bare = Run(runs[0].config | {"zone": None}, runs[0].metrics, runs[0].snapshots)
    assert title(plotting.plot("age-pyramid", bare)).startswith("Half of the connections are at most 5 epochs old")


def test_survival_is_that_of_the_newborn(runs):
    one, other = survival.load(runs)
    expected = survival_curve(WiringHistory.of_run(runs[0]), born_from=1)
    assert one.curve.survival.tolist() == expected.survival.tolist()
    assert one.steps_per_epoch == 3
    assert one.curve.ages[0] == 3  # newborns of one epoch can go after the next
    text = title(plotting.plot("survival", runs))
    assert f"{one.curve.survival[0]:.1%}, {other.curve.survival[0]:.1%}" in text
    assert survival.load(runs[:1], first=True)[0].curve.n_connections > one.curve.n_connections


def test_nothing_born_nothing_survives():
    rbm = sr.RBM("bernoulli(6)", "bernoulli(5)", wiring=sr.ErdosRenyi(density=0.5), backend="reference")
    run = sr.train(rbm, np.eye(6), "cd", epochs=2, zone=None, snapshot_every=1, evolution=None)
    with pytest.raises(ValueError, match="survival: run .*"):
        plotting.plot("survival", run)


def trained(epochs, every, evolution="set(0.3)"):
    X = (np.random.default_rng(0).random((60, 16)) < 0.5).astype(float)
    rbm = sr.RBM("bernoulli(16)", "bernoulli(30)", wiring=sr.ErdosRenyi(density=0.3), seed=0, backend="reference")
    return sr.train(
        rbm, X, "cd", epochs=epochs, batch_size=20, evolution=evolution, snapshot_every=every, zone=None, name="short"
    )


def test_survival_says_when_it_is_estimated(runs):
    assert "estimated" not in title(plotting.plot("survival", runs[0]))
    assert title(plotting.plot("survival", trained(8, 4))).endswith("(estimated: snapshots missed some)")


def test_survival_of_short_runs(runs):
    figure = plotting.plot("survival", trained(3, 1))
    assert figure.axes[0].lines[0].get_marker() == "o"
    with pytest.raises(ValueError, match="no connection of run short died between its snapshots"):
        plotting.plot("survival", trained(3, 1, evolution=None), first=True)
    found = title(plotting.plot("survival", [*runs, trained(8, 1)]))
    assert " to " in found
    assert found.count("%") == 2
