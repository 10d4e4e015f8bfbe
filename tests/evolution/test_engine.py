"""The evolution engine: what an event keeps, drops and grows, and when it happens."""

from dataclasses import dataclass

import numpy as np
import pytest
from problems import arrays_of, assert_same_bytes, blocks_of, host, tiny_mlp, tiny_rbm

from sparserbm import (
    MLP,
    SET,
    Cosine,
    ErdosRenyi,
    Every,
    Evolution,
    Fresh,
    Normal,
    ReLU,
    Softmax,
    Window,
    ZeroBirth,
    core_view,
)
from sparserbm.evolution import Birth, Drop, Grow
from sparserbm.evolution.birth import Newborns
from sparserbm.evolution.drop import ConnectionsView
from sparserbm.evolution.engine import silence_weakest
from sparserbm.network.slots import BLOCK
from sparserbm.registry import known, parse, register, to_text
from sparserbm.rng import distinct_ranks


def layered(backend, density=0.3, seed=0):
    """A sparse layer, then a full one."""
    mlp = tiny_mlp(backend, 12, ReLU(10), Softmax(3), density=density, seed=seed)
    full = tiny_mlp(backend, 12, ReLU(10), Softmax(3), density=1.0, seed=seed)
    mlp.connections[1] = full.connections[1]
    for layer in mlp.connections:
        layer.slots["velocity"] = np.random.default_rng(seed).normal(size=len(layer))
    return mlp


def values(layer):
    """Place -> the bytes of all slots."""
    slots = layer.slots.to_numpy()
    return {int(key): tuple(array[k].tobytes() for array in slots.values()) for k, key in enumerate(layer.pattern.keys)}


def test_three_hundred_events_keep_the_count_and_the_survivors(backend):
    mlp = layered(backend)
    rule, random = SET(zeta=0.3), np.random.default_rng(1)
    layer, full = mlp.connections
    n, untouched = len(layer), values(full)
    for step in range(1, 301):
        layer.slots["weight"] = random.normal(size=n) * (random.random(n) < 0.9)
        layer.slots["velocity"] = random.normal(size=n)
        before = values(layer)
        report = rule.evolve(mlp, None, step)
        layer.pattern.check()
        born = host(layer.born)
        newborn = set(layer.pattern.keys[born == step].tolist())
        assert len(layer) == n == len(layer.weight)
        assert report.dropped == report.grown == len(newborn) == int(0.3 * n)
        after = values(layer)
        kept = after.keys() - newborn
        assert all(after[key] == before[key] for key in kept)
        assert len(kept) == n - len(newborn)
        assert not host(layer.slots["velocity"])[born == step].any()
    assert values(full) == untouched  # a full layer never evolves


@pytest.mark.parametrize(("zeta", "count"), [(0.3, 30), (0.29, 29), (0.07, 7), (0.999, 99), (0.0, 0), (0.004, 0)])
def test_zeta_is_a_share_of_the_connections(zeta, count):
    rbm = tiny_rbm("reference", 20, 20, density=0.25)
    assert SET(zeta=zeta).evolve(rbm, None, 1).dropped == count


def test_the_report_knows_ages_at_death(backend):
    rbm = tiny_rbm(backend, 10, 10, density=0.4)
    rbm.matrix.slots["born"] = np.full(40, 3, np.int32)
    report = SET(zeta=0.25).evolve(rbm, None, 13)
    assert [ages.tolist() for ages in report.ages] == [[10] * 10]
    again = SET(zeta=0.5).evolve(rbm, None, 20)
    assert sorted(set(again.ages[0].tolist())) in ([7, 17], [17])
    assert (report + again).dropped == 30


def test_an_event_depends_on_seed_and_step_only(backend):
    first, second = layered(backend, seed=1), layered("reference", seed=1)
    for mlp in (first, second):
        SET(zeta=0.3).evolve(mlp, None, 7)
    assert_same_bytes(first, second)
    third = layered(backend, seed=1)
    SET(zeta=0.3).evolve(third, None, 8)
    assert not np.array_equal(third.connections[0].pattern.keys, first.connections[0].pattern.keys)


def numbers(layer):
    """Place -> weight, step of birth, velocity; in the order of the connections."""
    slots = [layer.slots[name].tolist() for name in ("weight", "born", "velocity")]
    return list(zip(layer.pattern.keys.tolist(), *slots))


def event_by_hand(rule, mlp, step):
    """What `numbers` must give for the first layer after an event, from whole lists of places."""
    layer, host = mlp.connections[0], mlp.streams.host
    keys = layer.pattern.keys
    room = layer.pattern.n_places - len(keys)
    count = int(rule.zeta * len(keys)) if rule.allow_return else min(int(rule.zeta * len(keys)), room)
    drop = rule.drop.select(ConnectionsView(layer, step), count, host("drop", step, 0))
    absent = np.setdiff1d(np.arange(layer.pattern.n_places), keys[~drop] if rule.allow_return else keys)
    grown = absent[distinct_ranks(host("grow", step, 0), len(absent), count)]
    fan_in = np.bincount(np.append(keys[~drop], grown) // layer.n_pre, minlength=layer.n_post)
    newborns = Newborns(fan_in[grown // layer.n_pre], layer.n_pre, layer.weights_rule)
    weight = rule.birth.draw(host("birth", step, 0), newborns)
    survivors = [line for line, gone in zip(numbers(layer), drop) if not gone]
    newborn = [(key, w, step, 0.0) for key, w in zip(grown.tolist(), weight.astype(mlp.backend.dtype).tolist())]
    return sorted(survivors + newborn)


@pytest.mark.parametrize("block", [1, 7, BLOCK])
@pytest.mark.parametrize("density", [0.1, 0.5, 0.95])
@pytest.mark.parametrize(
    "rule", ["set(0.4)", "set(0.4, birth=same(he_sparse), allow_return=False)", "set(0.6, birth=same(uniform_dense))"]
)
def test_an_event_in_blocks_is_the_event(backend, block, density, rule):
    """Place for place and bit for bit what whole arrays would give; blocks of one row, of some, of all."""
    rule, mlp = parse("evolution", rule), layered(backend, density)
    for step in (3, 4, 65_536, 65_537):
        expected = event_by_hand(rule, mlp, step)
        with blocks_of(block):
            report = rule.evolve(mlp, None, step)
        layer = mlp.connections[0]
        layer.pattern.check()
        assert numbers(layer) == expected
        assert report.grown == report.dropped == np.sum(host(layer.born) == step) > 0


def test_ages_are_right_across_the_steps_that_two_bytes_can_tell(backend):
    rbm = tiny_rbm(backend, 10, 10, density=0.4)
    births = np.zeros(40, np.int64)
    for step in (65_000, 65_535, 65_536, 65_600, 200_000):
        before = dict(zip(rbm.matrix.pattern.keys.tolist(), births.tolist()))
        report = SET(zeta=0.5, allow_return=False).evolve(rbm, None, step)
        keys = rbm.matrix.pattern.keys.tolist()
        dead = sorted(step - born for key, born in before.items() if key not in keys)
        assert sorted(np.concatenate(report.ages).tolist()) == dead
        assert len(dead) == 20
        births = np.array([before.get(key, step) for key in keys])
        assert rbm.matrix.born.tolist() == births.tolist()
        assert rbm.matrix.born.dtype == (np.uint16 if step <= 65_535 else np.uint32)
        assert ConnectionsView(rbm.matrix, step + 5).age.tolist() == (step + 5 - births).tolist()


# -- places that were just emptied -----------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.3, 0.95])
def test_without_return_an_emptied_place_stays_empty(backend, density):
    """A nearly full layer then has less room than it lost."""
    for step in range(1, 30):
        rbm = tiny_rbm(backend, 8, 5, density=density, seed=step)
        before = rbm.matrix.pattern.keys
        report = SET(zeta=0.5, allow_return=False).evolve(rbm, None, step)
        newborn = rbm.matrix.pattern.keys[host(rbm.matrix.born) == step]
        assert not np.intersect1d(newborn, before).size
        room = 40 - len(before)
        assert len(newborn) == report.grown == report.dropped == min(len(before) // 2, room)


def test_with_return_it_may_be_taken_again_by_a_newborn(backend):
    rbm = tiny_rbm(backend, 8, 5, density=0.95)
    rbm.matrix.slots["velocity"] = np.ones(38)
    before = rbm.matrix.pattern.keys
    SET(zeta=0.5).evolve(rbm, None, 4)
    newborn = host(rbm.matrix.born) == 4
    assert np.intersect1d(rbm.matrix.pattern.keys[newborn], before).size >= 17  # only 2 places were empty before
    assert not host(rbm.matrix.slots["velocity"])[newborn].any()


# -- rules -----------------------------------------------------------------------------------------------------------


def test_newborn_weights_come_from_the_birth_rule(backend):
    for birth, deviation in ((ZeroBirth(), 0.0), (Fresh(Normal(0.001)), 0.001), (Fresh(), 1.0)):
        rbm = tiny_rbm(backend, 40, 40, density=0.5, scale=1.0)
        SET(zeta=0.5, birth=birth).evolve(rbm, None, 5)
        weight = host(rbm.matrix.weight)[host(rbm.matrix.born) == 5]
        assert weight.std() == pytest.approx(deviation, rel=0.15)


@dataclass(frozen=True)
class FanIn(Birth):
    """The weight of a newborn is how many inputs its unit has."""

    def draw(self, generator, newborns):
        return newborns.fan_in.astype(float)


def test_a_birth_rule_knows_the_fan_in_after_the_event(backend):
    rbm = tiny_rbm(backend, 12, 10, density=0.4)
    Evolution(birth=FanIn()).evolve(rbm, None, 3)
    newborn = host(rbm.matrix.born) == 3
    pattern = rbm.matrix.pattern
    assert host(rbm.matrix.weight)[newborn].tolist() == pattern.fan_in()[pattern.post[newborn]].tolist()
    assert len(set(pattern.fan_in())) > 2


def test_every_layer_evolves_by_its_own_draws(backend):
    mlp = tiny_mlp(backend, 12, ReLU(12), ReLU(12), density=0.3)
    mlp.connections[1] = mlp.connections[0].copy()
    SET(0.3).evolve(mlp, None, 5)
    first, second = (layer.pattern.keys[host(layer.born) == 5] for layer in mlp.connections)
    assert len(first) == len(second)
    assert not np.array_equal(first, second)


def test_a_drop_rule_cannot_write(backend):
    rbm = tiny_rbm(backend, 5, 4, density=0.5)
    rbm.matrix.slots["velocity"] = np.ones(10)
    view = ConnectionsView(rbm.matrix, step=9)
    assert view.age.tolist() == [9] * 10
    assert view.slots["velocity"].tolist() == [1] * 10
    for array in (view.weight, view.pre, view.post, view.age, view.slots["velocity"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(TypeError):
        view.slots["velocity"] = 0
    rbm.matrix.weight[0] = 5  # the model itself can still be written


@register("drop", "test_oldest")
@dataclass(frozen=True)
class Oldest(Drop):
    """Connections with the greatest age go."""

    def select(self, view, count, generator):
        mark = np.zeros(len(view.weight), bool)
        mark[np.argsort(-view.age, kind="stable")[:count]] = True
        return mark


@register("grow", "test_first_places")
@dataclass(frozen=True)
class FirstPlaces(Grow):
    """The first absent places, or those that are taken."""

    occupied: bool = False

    def propose(self, request, generator):
        if self.occupied:
            return request.occupied.keys[: request.count]
        return np.setdiff1d(np.arange(request.n_pre * request.n_post), request.occupied.keys)[: request.count]


def test_a_rule_of_ones_own_works_by_its_text(backend):
    rule = parse("evolution", "evolution(drop=test_oldest, grow=test_first_places, birth=zero, zeta=0.5)")
    assert rule.drop == Oldest()
    assert parse("evolution", to_text(rule)) == rule
    rbm = tiny_rbm(backend, 4, 3, density=0.5)
    rbm.matrix.slots["born"] = np.array([5, 1, 5, 2, 5, 3], np.int32)
    kept = rbm.matrix.pattern.keys[[0, 2, 4]]
    rule.evolve(rbm, None, 6)
    assert rbm.matrix.pattern.keys.tolist() == sorted([*kept, *np.setdiff1d(np.arange(12), kept)[:3]])


TEXTS = {
    "drop": [
        *("set", "reference_set(0.2)", "magnitude", "threshold(0.1, at_most=0.3)", "taylor", "random", "largest"),
        "sparing(4, threshold(0.1))",
    ],
    "grow": [
        *("random", "gradient", "gradient(None)", "gradient(4, batches=2, decay=0.5)", "momentum(16)"),
        *("cosine(None, batches=2, centred=True)", "parental", "parental((28, 28), share=0.3, radius=2, power=0)"),
        *("parental(child=sibling)", "parental(shape=(6, 6), child='crossover')"),
    ],
    "birth": ["same", "same(normal(0.05))", "zero", "gradient_sign", "gradient_sign(he_sparse)"],
    "trigger": ["every(steps=5)", "every(epochs=2)", "chance(0.05)", "window(chance(0.05), 10, 20)"],
}


@pytest.mark.parametrize("kind", TEXTS)
def test_every_rule_has_a_text(kind):
    names = set()
    for text in TEXTS[kind]:
        rule = parse(kind, text)
        assert parse(kind, to_text(rule)) == rule
        whole = Evolution(**{"when" if kind == "trigger" else kind: text})
        assert parse("evolution", to_text(whole)) == whole
        names.add(text.partition("(")[0])
    assert names == {name for name in known(kind) if not name.startswith("test_")}


def test_the_text_of_an_event_holds_all_of_it():
    rule = Evolution(density="cubic(0.2, 0.05, 100)", zeta="0.2", min_age=3, last="full", allow_return=False)
    assert parse("evolution", to_text(rule)) == rule
    assert "density=cubic(start=0.2, stop=0.05, steps=100, after=0), min_age=3" in to_text(rule)


def test_a_grow_rule_that_picks_taken_places_is_stopped(backend):
    rbm = tiny_rbm(backend, 6, 5, density=0.5)
    before = arrays_of(rbm)
    rule = Evolution(grow=FirstPlaces(occupied=True))
    with pytest.raises(ValueError, match="4 of 4 new connections are at occupied places; a grow rule must pick absent"):
        rule.evolve(rbm, None, 1)
    assert all(np.array_equal(before[name], array) for name, array in arrays_of(rbm).items())


class Careless(FirstPlaces, Drop):
    """Rules that do not give what they are asked for."""

    def propose(self, request, generator):
        return super().propose(request, generator)[:-1]

    def select(self, view, count, generator):
        return np.flatnonzero(view.weight)[:count]


def test_rules_must_give_what_they_are_asked_for(backend):
    rbm = tiny_rbm(backend, 6, 5, density=0.5)
    with pytest.raises(ValueError, match=r"grow rule .* gave 3 places and was asked for 4"):
        Evolution(grow=Careless()).evolve(rbm, None, 1)
    with pytest.raises(
        ValueError, match=r"drop rule .* one True or False for each of 15 connections, not int64 of shape"
    ):
        Evolution(drop=Careless()).evolve(rbm, None, 1)
    assert len(rbm.matrix) == 15


def test_weights_that_are_not_finite_stop_an_event(backend):
    """One NaN among the weights would make the largest of them go."""
    rbm = tiny_rbm(backend, 6, 5, density=0.5)
    rbm.matrix.weight[3] = np.nan
    with pytest.raises(FloatingPointError, match="weights are NaN"):
        SET().evolve(rbm, None, 1)


# -- when and how much -----------------------------------------------------------------------------------------------


def test_events_happen_when_they_are_due():
    rbm = tiny_rbm("reference", 6, 5, density=0.5)

    def due(when):
        return [step for step in range(13) if SET(when=when).after_step(rbm, None, step).dropped]

    assert due("every(steps=4)") == [4, 8, 12]
    assert due(Every(epochs=5)) == []
    assert due(Window(Every(steps=2), start=3, stop=8)) == [4, 6, 8]


def test_zeta_follows_its_schedule():
    rule = SET(zeta=Cosine(0.5, 0.0, steps=100))
    dropped = [
        rule.evolve(tiny_rbm("reference", 20, 20, density=0.5), None, step).dropped for step in (0, 50, 100, 101)
    ]
    assert dropped == [100, 50, 0, 0]


def test_what_happens_at_the_end(backend):
    for last, change in (("none", 0), ("drop", -4), ("full", 0)):
        rbm = tiny_rbm(backend, 6, 5, density=0.5)
        before = rbm.matrix.pattern.keys
        report = SET(zeta=0.3, last=last).finish(rbm)
        assert len(rbm.matrix) == 15 + change
        assert report.dropped == (0 if last == "none" else 4)
        assert report.grown == (4 if last == "full" else 0)
        assert (last == "none") == np.array_equal(before, rbm.matrix.pattern.keys)
        if last == "drop":
            assert np.isin(rbm.matrix.pattern.keys, before).all()


def test_the_core_is_a_copy_without_the_weakest(backend):
    mlp = layered(backend)
    before = arrays_of(mlp)
    core = core_view(mlp, 0.3)
    assert all(np.array_equal(before[name], array) for name, array in arrays_of(mlp).items())
    n = len(mlp.connections[0])
    assert len(core.connections[0]) == n - int(0.3 * n)
    assert len(core.connections[1]) == 30
    kept = np.isin(mlp.connections[0].pattern.keys, core.connections[0].pattern.keys)
    weight = host(mlp.connections[0].weight)
    for sign in (weight > 0, weight < 0):
        assert np.abs(weight[sign & ~kept]).max() <= np.abs(weight[sign & kept]).min()
    assert_same_bytes(core_view(mlp, 0.0), mlp)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"zeta": 1.0}, ValueError, r"zeta=1 is out of range; use a value in \[0, 1\)"),
        ({"zeta": -0.1}, ValueError, r"zeta=-0.1 is out of range; use a value in \[0, 1\)"),
        ({"zeta": "linear(0.3, 1.5, 10)"}, ValueError, "zeta=1.5 is out of range"),
        ({"last": "some"}, ValueError, "last='some' is not possible; use one of none, drop, full"),
        (
            {"drop": "weakest"},
            ValueError,
            "unknown drop 'weakest'.*; known: .*magnitude, random, .*set, sparing, taylor",
        ),
        (
            {"grow": "nearest"},
            ValueError,
            "unknown grow 'nearest'; known: cosine, gradient, momentum, parental, random",
        ),
        ({"density": 0.0}, ValueError, "density=0.0 is not possible; use values above 0, at most 1"),
        ({"density": "linear(0.1, 1.5, 10)"}, ValueError, r"density=linear\(0.1, 1.5, 10\) is not possible"),
        ({"density": float("nan")}, ValueError, "density=nan is out of range"),
        ({"min_age": -1}, ValueError, "min_age=-1 is not possible; use a number of steps, at least 0"),
        ({"min_age": 2.5}, ValueError, "min_age=2.5 is not possible"),
        ({"when": "every(epochs=0)"}, ValueError, "give one of the two, at least 1"),
        ({"drop": ZeroBirth()}, TypeError, "give a Drop or its text"),
        ({"when": 5}, TypeError, "when=5 is not possible; give a Trigger or its text"),
    ],
)
def test_rules_that_cannot_be(arguments, error, message):
    with pytest.raises(error, match=message):
        Evolution(**arguments)


def test_silencing_the_weakest_computes_what_the_core_computes(backend):
    model = MLP(12, ReLU(9), Softmax(3), wiring=ErdosRenyi(density=0.5), backend=backend, seed=4)
    weights = [layer.weight.copy() for layer in model.connections]
    X = np.random.default_rng(0).normal(size=(20, 12)).astype(np.float32)
    silenced, core = silence_weakest(model, 0.3), core_view(model, 0.3)
    np.testing.assert_allclose(silenced.predict(X), core.predict(X), rtol=1e-5, atol=1e-7)
    assert (
        np.count_nonzero(host(silenced.connections[0].weight)) == len(core.connections[0]) < len(model.connections[0])
    )
    assert silenced.connections[0].pattern is model.connections[0].pattern
    assert all((layer.weight == before).all() for layer, before in zip(model.connections, weights))
