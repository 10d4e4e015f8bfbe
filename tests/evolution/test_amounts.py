"""How many connections there are after an event, which ones may go, and when: density, age, returning places, chance."""

from dataclasses import dataclass

import numpy as np
import pytest
from problems import assert_same_bytes, blobs, evidence_of, host, tiny_mlp, tiny_rbm
from scipy.stats import binomtest

from sparserbm import Evolution, ReLU, Softmax
from sparserbm.evolution import Drop
from sparserbm.evolution.drop import ConnectionsView

X, Y = blobs(25)
DROPS = ["set", "magnitude", "random", "largest", "taylor", "threshold(0.5)", "reference_set(0.3)"]
GROWS = [
    "random",
    "gradient",
    "gradient(None)",
    "momentum(batches=2)",
    "cosine",
    "parental",
    "parental((3, 4), share=1.0)",
]


def three_layers(backend, density=0.3, seed=0):
    """Two sparse layers of 12 x 20 and 20 x 15 places, then a full one."""
    mlp = tiny_mlp(backend, 12, ReLU(20), ReLU(15), Softmax(3), density=density, seed=seed)
    mlp.connections[2] = tiny_mlp(backend, 12, ReLU(20), ReLU(15), Softmax(3), density=1.0).connections[2]
    return mlp


def evidence_for(mlp):
    return evidence_of(mlp, np.random.default_rng(0).random((25, 12)), Y)


def counts(mlp):
    return [len(layer) for layer in mlp.connections]


# -- density ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "density"),
    [
        (0.2, "0.2"),
        (0.2, "cubic(0.2, 0.05, 100)"),
        (0.05, "linear(0.05, 0.3, 80)"),
        (0.9, "steps((0.9, 0.02), (50,))"),
        (0.1, "steps((0.1, 0.95), (50,))"),
    ],
)
def test_every_event_brings_the_layer_to_its_density(backend, first, density):
    rbm = tiny_rbm(backend, 12, 10, density=first)
    rule = Evolution(density=density, zeta=0.3)
    for step in (0, 10, 40, 60, 99, 120):
        before = len(rbm.matrix)
        report = rule.evolve(rbm, None, step)
        assert len(rbm.matrix) == round(rule.density(step) * 120)
        assert report.grown - report.dropped == len(rbm.matrix) - before
        assert report.dropped == max(int(0.3 * before), before - len(rbm.matrix))
        rbm.matrix.pattern.check()


def test_layers_keep_their_proportions_and_full_ones_do_not_count(backend):
    mlp = three_layers(backend, density=0.4)
    mlp.connections[1] = three_layers(backend, density=0.2).connections[1]
    assert counts(mlp) == [96, 60, 45]
    rule = Evolution(density="linear(0.3, 0.1, 20)", zeta=0.2)
    for step in range(0, 31, 2):
        rule.evolve(mlp, None, step)
        n = counts(mlp)
        assert n[0] + n[1] == round(rule.density(step) * 540)
        assert n[0] == pytest.approx(96 / 156 * (n[0] + n[1]), abs=2)  # rounded 16 times
        assert n[2] == 45


def test_a_layer_that_fills_up_leaves_the_rest_to_the_others(backend):
    mlp = three_layers(backend, density=0.8)
    mlp.connections[1] = three_layers(backend, density=0.2).connections[1]
    Evolution(density=0.7).evolve(mlp, None, 1)
    assert counts(mlp) == [240, 378 - 240, 45]


def test_no_layer_is_lost_for_good(backend):
    """One connection always stays, so that it can grow again."""
    mlp = three_layers(backend)
    mlp.connections[1] = three_layers(backend, density=0.01).connections[1]
    assert counts(mlp) == [72, 3, 45]
    rule = Evolution(density="steps((0.01, 0.3), (5,))")
    rule.evolve(mlp, None, 1)
    assert counts(mlp) == [5, 1, 45]
    rule.evolve(mlp, None, 6)
    assert sum(counts(mlp)) == 162 + 45
    assert counts(mlp)[1] == pytest.approx(162 / 6, abs=1)


@pytest.mark.parametrize("density", [1.0, "linear(0.4, 1.0, 10)"])
def test_a_layer_may_become_full_and_then_rests(density):
    rbm = tiny_rbm("reference", 8, 5, density=0.4)
    rule = Evolution(density=density)
    rule.evolve(rbm, None, 10)
    assert len(rbm.matrix) == 40
    assert not rule.evolve(rbm, None, 11).happened


def test_a_rule_with_a_number_of_its_own_may_drop_less_than_a_density_asks_for():
    """Nothing grows then, and no other connection goes."""
    rbm = tiny_rbm("reference", 10, 8, density=0.5)
    rbm.matrix.weight[:] = np.where(np.arange(40) < 4, 0.1, 1.0)
    report = Evolution(drop="threshold(0.5)", density=0.1).evolve(rbm, None, 1)
    assert (report.dropped, report.grown, len(rbm.matrix)) == (4, 0, 36)


def test_what_density_may_be():
    assert Evolution(density=1).density_at(5) == 1.0
    assert Evolution(density="0.25").density_at(5) == 0.25
    assert Evolution().density is None
    with pytest.raises(TypeError, match="density must be a number, a schedule or its text"):
        Evolution(density=True)


# -- places that were just emptied -----------------------------------------------------------------------------------


@pytest.mark.parametrize("grow", GROWS)
@pytest.mark.parametrize("density", [None, 0.6, 0.4])
def test_without_return_no_rule_takes_an_emptied_place(grow, density):
    mlp = three_layers("reference", density=0.5)
    evidence, rule = evidence_for(mlp), Evolution(grow=grow, zeta=0.4, allow_return=False, density=density)
    for step in range(1, 5):
        before, n = [layer.pattern.keys for layer in mlp.connections], counts(mlp)
        rule.evolve(mlp, evidence, step)
        for layer, keys in zip(mlp.connections[:2], before):
            newborn = layer.pattern.keys[host(layer.born) == step]
            assert len(newborn) > 0
            assert not np.intersect1d(newborn, keys).size
        assert sum(counts(mlp)[:2]) == (round(density * 540) if density else sum(n[:2]))


@pytest.mark.parametrize("grow", GROWS)
def test_with_return_every_rule_may_take_one_again(grow):
    """Nearly full, it has to."""
    mlp = three_layers("reference", density=0.97)
    evidence, before = evidence_for(mlp), counts(mlp)
    kept = [layer.pattern.keys for layer in mlp.connections]
    Evolution(grow=grow, zeta=0.4).evolve(mlp, evidence, 3)
    assert counts(mlp) == before
    for layer, keys in zip(mlp.connections[:2], kept):
        assert np.intersect1d(layer.pattern.keys[host(layer.born) == 3], keys).size > 0


# -- age -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", DROPS)
def test_the_young_never_go_and_the_count_comes_from_the_others(backend, drop):
    mlp = three_layers(backend, density=0.5)
    born = []
    for layer in mlp.connections:
        ages = np.random.default_rng(len(layer)).integers(0, 10, len(layer))
        layer.slots["born"] = 20 - ages
        born.append(dict(zip(layer.pattern.keys.tolist(), ages.tolist())))
    evidence = evidence_for(mlp)
    report = Evolution(drop=drop, zeta=0.3, min_age=5).evolve(mlp, evidence, 20)
    for layer, ages in zip(mlp.connections[:2], born):
        alive = layer.pattern.keys[host(layer.born) != 20].tolist()
        young = [key for key, age in ages.items() if 0 < age < 5]
        assert set(young) <= set(alive)
    assert min(np.concatenate(report.ages)) >= 5
    if drop not in DROPS[-2:]:
        assert report.dropped == int(0.3 * 120) + int(0.3 * 150)
    assert report.dropped == report.grown > 0


def test_of_those_old_enough_the_rule_picks_as_among_themselves():
    rbm = tiny_rbm("reference", 10, 8, density=0.5)
    rbm.matrix.weight[:] = np.arange(1.0, 41.0)
    rbm.matrix.slots["born"] = np.where(np.arange(40) % 2, 10, 3)
    before = rbm.matrix.pattern.keys
    Evolution(drop="magnitude", zeta=0.1, allow_return=False, min_age=7).evolve(rbm, None, 10)
    assert np.setdiff1d(before, rbm.matrix.pattern.keys).tolist() == before[[0, 2, 4, 6]].tolist()


@pytest.mark.parametrize("drop", DROPS)
def test_where_all_are_young_nothing_goes(backend, drop):
    mlp = three_layers(backend)
    before = mlp.copy()
    report = Evolution(drop=drop, min_age=6).evolve(mlp, evidence_for(mlp), 5)
    assert (report.dropped, report.grown) == (0, 0)
    assert report.happened
    assert_same_bytes(before, mlp)


def test_a_rule_is_not_asked_about_nothing():
    @dataclass(frozen=True)
    class BelowTheMean(Drop):
        def select(self, view, count, generator):
            assert len(view.weight) > 0
            return view.weight < view.weight.mean()

    rbm = tiny_rbm("reference", 10, 8, density=0.5)
    assert Evolution(drop=BelowTheMean(), min_age=6).evolve(rbm, None, 5).dropped == 0
    assert Evolution(drop=BelowTheMean(), min_age=6).evolve(rbm, None, 6).dropped > 0


@pytest.mark.parametrize("drop", DROPS[:-2])
def test_where_few_are_old_enough_fewer_go(drop):
    rbm = tiny_rbm("reference", 10, 8, density=0.5)
    rbm.matrix.slots["born"] = np.where(np.arange(40) < 5, 1, 9)
    evidence = evidence_of(rbm, np.ones((4, 10)))
    report = Evolution(drop=drop, zeta=0.5, min_age=8).evolve(rbm, evidence, 10)
    assert [ages.tolist() for ages in report.ages] == [[9] * 5]
    assert len(rbm.matrix) == 40
    assert np.sum(ConnectionsView(rbm.matrix, 10).age == 0) == 5


# -- chance ----------------------------------------------------------------------------------------------------------


def test_by_chance_each_layer_evolves_by_itself():
    mlp = three_layers("reference", density=0.1)
    rule = Evolution(when="chance(0.2)", zeta=0.1)
    taken = np.zeros((800, 3), bool)
    for step in range(1, 801):
        before = [layer.pattern for layer in mlp.connections]
        report = rule.after_step(mlp, None, step)
        taken[step - 1] = [layer.pattern is not old for layer, old in zip(mlp.connections, before)]
        assert report.happened == taken[step - 1].any()
        assert len(report.ages) == taken[step - 1].sum()
    assert not taken[:, 2].any()  # full
    for layer in (0, 1):
        assert binomtest(int(taken[:, layer].sum()), 800, 0.2).pvalue > 1e-3
    assert binomtest(int(taken[:, :2].all(axis=1).sum()), 800, 0.04).pvalue > 1e-3


def test_chance_depends_on_seed_and_step_only(backend):
    first, second, other = three_layers(backend), three_layers("reference"), three_layers("reference", seed=1)
    rule = Evolution(when="window(chance(0.3), start=5, stop=30)")
    steps = [
        [step for step in range(40) if rule.after_step(mlp, None, step).happened] for mlp in (first, second, other)
    ]
    assert_same_bytes(first, second)
    assert steps[0] == steps[1] != steps[2]
    assert 5 <= min(steps[0]) < max(steps[0]) <= 30


def test_at_the_end_chance_takes_all_layers():
    mlp = three_layers("reference")
    report = Evolution(when="chance(0.0001)", last="full").finish(mlp)
    assert len(report.ages) == 2
