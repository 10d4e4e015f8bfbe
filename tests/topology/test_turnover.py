"""Births, deaths, ages and places, by hand, in simulated wirings, and in runs."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import sparserbm as sr
from sparserbm.topology.turnover import WiringHistory, age_pyramid, explored, turnover


def evolved(n_events, *, n_places=400, n=60, dropped=20, every=1, steps_per_epoch=10, seed=0, counted=True):
    """A wiring of which the same number is dropped at random and grown anywhere after every epoch.

    Snapshots every so many epochs; also everything that happened: places, births, deaths, steps.
    """
    random = np.random.default_rng(seed)
    keys, born = random.choice(n_places, n, replace=False), np.zeros(n, dtype=int)
    shots, lives, lines = [], [], []
    for epoch in range(n_events + 1):
        step = epoch * steps_per_epoch
        lines.append((step, dropped if epoch >= 2 else 0))
        order = np.argsort(keys)
        if epoch % every == 0:
            shots.append((epoch, step, keys[order], born[order]))
        if epoch == 0:
            continue  # no event before the first epoch
        gone = random.choice(n, dropped, replace=False)
        lives += [(key, birth, step) for key, birth in zip(keys[gone], born[gone])]
        free = np.setdiff1d(np.arange(n_places), np.delete(keys, gone))
        keys[gone], born[gone] = random.choice(free, dropped, replace=False), step
    epochs, steps, all_keys, all_born = zip(*shots)
    until, grown = zip(*lines)
    history = WiringHistory(20, n_places // 20, epochs, all_keys, steps, all_born, *((until, grown) if counted else ()))
    # The last event is after the last snapshot.
    return history, [life for life in lives if life[2] < steps[-1]]


def test_by_hand():
    history = WiringHistory(
        n_pre=4,
        n_post=3,
        epochs=[0, 1, 3],
        keys=[[0, 5, 7], [0, 5, 8, 11], [5, 8]],
        steps=[0, 10, 30],
        born=[[0, 0, 0], [0, 5, 5, 5], [5, 20]],
        grown_until=[0, 10, 20, 30],
        grown=[0, 4, 2, 3],
    )
    found = turnover(history)
    assert found.births.tolist() == [3, 1]
    assert found.deaths.tolist() == [2, 3]
    assert found.stayed.tolist() == [1, 1]
    assert found.returned.tolist() == [1, 1]  # place 5, then place 8
    assert found.unseen.tolist() == [1, 4]
    assert_allclose(found.share_stayed, [1 / 3, 1 / 4])
    assert_array_equal(found.epochs, [0, 1, 3])
    places = explored(history)
    assert_allclose(places.share, np.array([3, 5, 5]) / 12)
    assert_allclose(places.at_most, np.array([3, 6, 10]) / 12)


def test_without_steps_of_birth_a_place_is_a_connection():
    found = turnover(WiringHistory(4, 3, [0, 1], [[0, 5, 7], [0, 5, 8, 11]]))
    assert (found.stayed.tolist(), found.births.tolist(), found.deaths.tolist()) == ([2], [2], [1])
    assert found.returned is None
    assert found.unseen is None
    assert explored(WiringHistory(4, 3, [0], [[1, 2, 3]])).at_most is None


def test_more_newborns_than_counted_are_refused():
    history = WiringHistory(4, 3, [0, 1], [[0], [1, 2]], [0, 10], [[0], [1, 2]], grown_until=[0, 10], grown=[0, 1])
    for measure in (turnover, explored):
        with pytest.raises(ValueError, match="epoch 1 holds 2 newborns, but 1 were counted"):
            measure(history)


def test_large_layers_do_not_overflow():
    side = np.int32(70_000)
    assert WiringHistory(side, side, [0], [[4_899_999_999]]).n_places == 4_900_000_000


def test_nothing_stays_of_nothing():
    found = turnover(WiringHistory(4, 3, [0, 1, 2], [[], [1], [1]]))
    assert_array_equal(found.share_stayed, [np.nan, 1])


@pytest.mark.parametrize("every", [1, 3])
def test_against_what_happened(every):
    history, lives = evolved(12, every=every, seed=every)
    found = turnover(history)
    steps = history.steps
    for k, (begin, end) in enumerate(zip(steps, steps[1:])):
        # An event belongs to the interval that its snapshot begins; those born in it die in it unseen.
        dead = [(birth, death) for _, birth, death in lives if begin <= death < end]
        within = [birth for birth, _ in dead if birth >= begin and birth > 0]
        assert found.deaths[k] == len(dead) - len(within)
        assert found.unseen[k] == len(within)
        n_events = sum(1 for step in range(begin, end, 10) if step > 0)
        assert found.births[k] == 20 * n_events - len(within)
    assert_array_equal(found.stayed + found.deaths, np.full(len(steps) - 1, 60))
    tried = explored(history)
    assert np.all(np.diff(tried.share) >= 0)
    assert np.all(tried.share <= tried.at_most + 1e-12)
    if every == 1:
        assert (found.unseen == 0).all()
        assert_array_equal(tried.at_most, tried.share)
        every_place = {key for key, _, _ in lives} | set(history.keys[-1].tolist())
        assert tried.share[-1] == len(every_place) / 400


def test_ages_by_hand():
    history = WiringHistory(4, 3, [0, 2], [[0, 1, 2], [0, 3, 5, 6]], [0, 20], [[0, 0, 0], [0, 5, 12, 19]])
    found = age_pyramid(history, bins=[0, 5, 10, 20], mask=[True, True, False, False])
    assert_array_equal(found.counts, [1, 1, 2])
    assert_array_equal(found.inside, [0, 1, 1])  # the places 0 and 5 have the inputs 0 and 1
    assert_array_equal(found.outside, [1, 0, 1])
    assert_array_equal(age_pyramid(history, bins=4).edges, [0, 5, 10, 15, 20])
    first = age_pyramid(history, epoch=0)
    assert first.counts.sum() == 3
    assert first.inside is None


def test_every_connection_has_an_age():
    history, _ = evolved(15, seed=4)
    found = age_pyramid(history, bins=15, mask=np.arange(20) < 7)
    assert found.counts.sum() == 60
    assert_array_equal(found.inside + found.outside, found.counts)
    assert found.counts[:2].tolist() == [0, 20]  # the youngest are one epoch old: the next event is still to come
    assert found.edges[-1] == 150


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": [[0, 1]]}, "keys has 1 entries, epochs 2"),
        ({"keys": [[1, 0], [2]]}, "must increase, from 0 to at most 11"),
        ({"keys": [[0, 1], [12]]}, "must increase, from 0 to at most 11"),
        ({"epochs": [3, 3]}, "epochs must increase"),
        ({"steps": [5, 4]}, "steps must increase"),
        ({"born": [[0], [0]]}, "snapshot 0 has 2 keys and 1 steps of birth"),
        ({"grown": [3, 4]}, "grown and grown_until together"),
        ({"grown": [3], "grown_until": [3, 4]}, "grown and grown_until together"),
        ({"grown": [3, -1], "grown_until": [3, 4]}, "grown holds -1"),
        ({"steps": [0, 9], "grown": [3], "grown_until": [8]}, "counted until step 8, but the last snapshot is of 9"),
        ({"keys": [[0.5, 1], [2]]}, "keys must be whole numbers, not float64"),
        ({"epochs": [], "keys": []}, "there is no snapshot"),
    ],
)
def test_what_is_no_history(change, message):
    given = {"n_pre": 4, "n_post": 3, "epochs": [0, 1], "keys": [[0, 1], [2]]} | change
    with pytest.raises(ValueError, match=message):
        WiringHistory(**given)


def test_what_has_no_ages():
    history = WiringHistory(4, 3, [0, 1], [[0], [1]], [0, 10], [[0], [5]])
    with pytest.raises(ValueError, match="no snapshot of epoch 7; there are \\[0, 1\\]"):
        age_pyramid(history, epoch=7)
    with pytest.raises(ValueError, match="one value for each of 4 inputs"):
        age_pyramid(history, mask=[True])
    with pytest.raises(ValueError, match="give steps and born"):
        age_pyramid(WiringHistory(4, 3, [0, 1], [[0], [1]]))
    with pytest.raises(ValueError, match="step 10, before the event of that step, and has births from 10 to 10"):
        age_pyramid(WiringHistory(4, 3, [0, 1], [[0], [1]], [0, 10], [[0], [10]]))
    with pytest.raises(ValueError, match="births from 11 to 11"):
        age_pyramid(WiringHistory(4, 3, [0, 1], [[0], [1]], [0, 10], [[0], [11]]))


# -- runs --------------------------------------------------------------------------------------------------------------


def data(n_features=12):
    return (np.random.default_rng(0).random((60, n_features)) < 0.5).astype(float)


@pytest.mark.parametrize("every", [1, 4])
def test_of_a_run(every, tmp_path):
    rbm = sr.RBM(sr.Bernoulli(12), sr.Bernoulli(10), wiring=sr.ErdosRenyi(density=0.3), seed=0, backend="numpy")
    options = {"epochs": 8, "batch_size": 20, "evolution": sr.SET(zeta=0.5), "snapshot_every": every}
    run = sr.train(rbm, data(), sr.CD(k=1), out=tmp_path / "run", **options)
    history = WiringHistory.of_run(run)
    assert_array_equal(history.epochs, np.arange(0, 9, every))
    assert_array_equal(history.steps, 3 * history.epochs)
    assert (history.n_pre, history.n_post) == (12, 10)
    assert_array_equal(history.keys[-1], rbm.connections[0].pattern.keys)
    found = turnover(history)
    dropped = run.history["dropped"]
    assert (found.deaths + found.unseen).sum() == dropped.sum()
    assert (found.births + found.unseen).sum() == run.history["grown"].sum()
    if every == 1:
        assert_array_equal(found.deaths, dropped[1:])
        assert (found.unseen == 0).all()
    else:
        assert found.unseen.sum() > 0


def test_newborns_are_counted_where_one_layer_evolves():
    """Metrics have the sum over all layers, of no use for one of two that evolve."""
    y = np.arange(60) % 3
    for wiring, known in ((["er(epsilon=2)", "dense"], True), (["er(epsilon=2)", "er(epsilon=2)"], False)):
        rules = [sr.ErdosRenyi(epsilon=2) if text != "dense" else sr.Dense() for text in wiring]
        mlp = sr.MLP(12, sr.ReLU(20), sr.Softmax(3), wiring=rules, seed=0, backend="numpy")
        run = sr.train(mlp, data(), sr.Backprop(), y=y, epochs=2, evolution=sr.SET(), snapshot_every=1)
        history = WiringHistory.of_run(run)
        full = all(len(layer) == layer.pattern.n_places for layer in mlp.connections[1:])
        assert full == known
        assert (history.grown is not None) == known


def test_a_run_without_patterns():
    layers = (SimpleNamespace(indptr=None),)
    with pytest.raises(ValueError, match="snapshot_every=1"):
        WiringHistory.of_run(SimpleNamespace(snapshots={0: SimpleNamespace(layers=layers)}, metrics=[]))
