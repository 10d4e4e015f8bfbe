"""The training loop: what an epoch is, what it records, when it evolves, and that a seed decides everything."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    arrays_of,
    assert_same_bytes,
    blobs,
    dense_loss,
    finite_differences,
    host,
    stripes,
    tiny_mlp,
    tiny_rbm,
)

from sparserbm import CD, MLP, RBM, SET, SGD, Adam, Backprop, Bernoulli, ErdosRenyi, Gaussian, ReLU, Softmax, train
from sparserbm.backends import get_backend
from sparserbm.data.batches import Batches
from sparserbm.rng import Streams

X, Y = blobs(25)


def mlp_of(backend, seed=0, dtype="float32"):
    wiring = [ErdosRenyi(density=0.5)] * 2
    return MLP(6, ReLU(8), Softmax(3), wiring=wiring, seed=seed, backend=backend, dtype=dtype)


def rbm_of(backend, seed=0, hidden=12):
    return RBM(Bernoulli(16), Bernoulli(hidden), wiring=ErdosRenyi(density=0.4), seed=seed, backend=backend)


def trained_mlp(backend, seed=0, dtype="float32", **settings):
    mlp = mlp_of(backend, seed, dtype)
    defaults = {"y": Y, "epochs": 4, "batch_size": 10, "optimizer": SGD(0.2, momentum=0.9), "evolution": SET(0.3)}
    return mlp, train(mlp, X, Backprop(), **(defaults | settings))


# -- learning --------------------------------------------------------------------------------------------------------


def test_an_rbm_learns_stripes(backend):
    rbm, data = rbm_of(backend, hidden=24), stripes(400)
    settings = {"epochs": 15, "batch_size": 20, "optimizer": SGD(0.2, momentum=0.5), "evolution": SET(0.3)}
    run = train(rbm, data, CD(), validation=stripes(100, seed=1), **settings)
    losses = run.history["validation_loss"]
    assert losses[-1] < 0.6 * losses[0]
    unseen = stripes(100, seed=2)
    shuffled = np.random.default_rng(0).permuted(unseen, axis=1)
    assert rbm.free_energy(unseen).mean() < rbm.free_energy(shuffled).mean() - 1
    assert rbm.n_connections == round(0.4 * 16 * 24)


def test_an_mlp_learns_blobs(backend):
    X, y = blobs(300)
    mlp = mlp_of(backend)
    run = train(mlp, X, Backprop(), y=y, epochs=15, batch_size=20, evolution=SET(0.2), validation=blobs(100, seed=1))
    assert run.history["validation_accuracy"][-1] > 0.97
    assert run.history["loss"][-1] < 0.3 * run.history["loss"][1]


# -- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 10, 25, 100])
def test_an_epoch_hands_out_every_sample_once(backend, batch_size):
    batches = Batches(get_backend(backend, "float64"), X, Y, batch_size)
    seen = [(host(batch.x).copy(), host(batch.y).copy(), batch.step) for batch in batches.epoch(Streams(0), 7)]
    assert [step for *_, step in seen] == list(range(7, 7 + len(seen)))
    assert len(seen) == batches.per_epoch == -(-25 // min(batch_size, 25))
    x, y = np.concatenate([x for x, *_ in seen], axis=1).T, np.concatenate([y for _, y, _ in seen])
    order, given_order = np.lexsort(x.T), np.lexsort(X.T)
    assert np.array_equal(x[order], X[given_order])
    assert np.array_equal(y[order], Y[given_order])
    assert batch_size == 100 or not np.array_equal(x, X)
    later = [host(batch.x).copy() for batch in batches.epoch(Streams(0), 8)]
    assert batch_size == 100 or not np.array_equal(np.concatenate(later, axis=1).T, x)  # every epoch has its order
    plain = [host(batch.x).copy() for batch in batches.epoch(Streams(0), 7, shuffle=False)]
    assert np.array_equal(np.concatenate(plain, axis=1).T, X)


@pytest.mark.parametrize(("batch_size", "per_epoch"), [(10, 3), (25, 1), (1000, 1)])
def test_the_last_partial_batch_counts(backend, batch_size, per_epoch):
    """Without learning, the mean loss of an epoch is that of all 25 samples."""
    mlp, run = trained_mlp(backend, batch_size=batch_size, optimizer=SGD(0.0), evolution=None, epochs=2)
    assert run.history["step"].tolist() == [0, per_epoch, 2 * per_epoch]
    assert mlp.step == 2 * per_epoch
    assert run.history["loss"][1:] == pytest.approx([dense_loss(mlp, X, Y, "cross_entropy")] * 2, rel=1e-5)


def test_one_step_is_one_gradient(backend):
    """The whole route of a mini-batch: weights move by -rate * slope of the mean loss."""
    mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(3))
    weight = host(mlp.connections[0].weight).copy()
    slopes = finite_differences(mlp.connections[0].weight, lambda: dense_loss(mlp, X, Y, "cross_entropy"))
    train(mlp, X, Backprop(), y=Y, epochs=1, batch_size=25, optimizer=SGD(0.1))
    assert_allclose(host(mlp.connections[0].weight), weight - 0.1 * slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("origin", "step"), [(0, 8), (0, 6), (0, 1), (2, 8), (2, 5), (7, 8)])
def test_the_latest_batches_are_those_of_the_epochs(backend, origin, step):
    """The newest first, over the borders of epochs, none before the first step; an epoch begins at `origin`."""
    batches = Batches(get_backend(backend, "float64"), X, Y, 10, origin)
    begins = [step for step in range(12) if (step - origin) % 3 == 0]
    epochs = [
        (host(batch.x).copy(), host(batch.y).copy(), batch.step)
        for first in begins
        for batch in batches.epoch(Streams(0), first)
    ]
    for count in (1, 3, 100):
        found = [
            (host(batch.x).copy(), host(batch.y).copy(), batch.step)
            for batch in batches.latest(Streams(0), step, count)
        ]
        assert [number for *_, number in found] == list(range(step - 1, max(step - 1 - count, -1), -1))
        whole = {number: (x, y) for x, y, number in epochs}
        for x, y, number in found:
            if number in whole:
                assert np.array_equal(x, whole[number][0])
                assert np.array_equal(y, whole[number][1])
    assert not list(batches.latest(Streams(0), 0, 5))
    plain = [host(batch.x).T.copy() for batch in batches.latest(Streams(0), origin + 3, 3, shuffle=False)]
    assert np.array_equal(np.concatenate(plain[::-1]), X)


def test_integers_and_floats_are_the_same_data(backend):
    data = np.round(stripes(30))
    runs = []
    for kind in (np.float64, np.uint8, bool):
        rbm = rbm_of(backend)
        train(rbm, data.astype(kind), CD(), epochs=2, batch_size=8, validation=data[:5].astype(kind))
        runs.append(rbm)
    assert_same_bytes(runs[0], runs[1])
    assert_same_bytes(runs[0], runs[2])


# -- seeds, threads, backends ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(backend):
    first, run = trained_mlp(backend)
    second, again = trained_mlp(backend)
    assert_same_bytes(first, second)
    assert [line | {"seconds": 0} for line in run.metrics] == [line | {"seconds": 0} for line in again.metrics]
    other, _ = trained_mlp(backend, seed=1)
    assert not np.array_equal(arrays_of(first)["keys 0"], arrays_of(other)["keys 0"])


@pytest.mark.parametrize("rule", [CD(k=2), CD(persistent=True)])
def test_threads_change_no_byte(monkeypatch, rule):
    numba = pytest.importorskip("numba")
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    from sparserbm.backends import threads as sharing

    monkeypatch.setattr("sparserbm.backends.numpy_backend.SHARE", 1)
    state = sharing.team(2).state
    state[sharing.ALONE] = 0  # no rest from what came before
    models, tickets = [], [int(state[sharing.FIRST])]
    for threads in (1, 2):
        rbm = rbm_of(get_backend("numpy", threads=threads))
        train(rbm, stripes(45), rule, epochs=3, batch_size=20, optimizer=SGD(0.1, momentum=0.9), evolution=SET(0.3))
        models.append(rbm)
        tickets.append(int(state[sharing.FIRST]))
    assert tickets[0] == tickets[1] < tickets[2]  # kernels were shared, and only in the second run
    assert_same_bytes(*models)


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_backends_agree_on_topology_and_nearly_on_weights(backend):
    for settings in ({"dtype": "float64", "optimizer": Adam(0.01)}, {}):
        first, second = (arrays_of(trained_mlp(name, **settings)[0]) for name in ("reference", backend))
        for name, array in first.items():
            if array.dtype.kind == "f":
                assert_allclose(array, second[name], rtol=1e-3, atol=1e-5)
            else:
                assert np.array_equal(array, second[name]), name


def test_zeta_of_zero_is_no_evolution(backend):
    """Beside the empty events, training with a fixed wiring is the same to the bit."""
    assert_same_bytes(trained_mlp(backend, evolution=SET(0.0))[0], trained_mlp(backend, evolution=None)[0])


# -- evolution -------------------------------------------------------------------------------------------------------


def test_an_epoch_is_measured_before_it_is_rewired(backend):
    """The event of an epoch shows in the next line, and there is none after the last."""
    mlp, run = trained_mlp(backend, snapshot_every=1)
    n = [len(layer) for layer in mlp.connections]
    expected = sum(int(0.3 * count) for count in n)
    assert run.history["dropped"].tolist() == [0, 0] + 3 * [expected]
    assert run.history["grown"].tolist() == [0, 0] + 3 * [expected]
    first, second, last = (run.snapshots[epoch].layers[0] for epoch in (0, 1, 4))
    assert np.array_equal(first.pre, second.pre)
    assert not np.array_equal(second.pre, run.snapshots[2].layers[0].pre)
    assert np.array_equal(last.pre, mlp.connections[0].pattern.pre)
    assert np.array_equal(last.weight, host(mlp.connections[0].weight))
    assert {len(layer) for layer in mlp.connections} == set(n)


def test_events_by_steps_count_over_epochs(backend):
    """Three batches an epoch, due after steps 2, 4, 6, 8: step 6 is the end of epoch 2, so it shows in epoch 3."""
    mlp, run = trained_mlp(backend, epochs=3, evolution="set(0.3, every(steps=2))", snapshot_every=1)
    event = sum(int(0.3 * len(layer)) for layer in mlp.connections)
    assert (run.history["dropped"] / event).tolist() == [0, 1, 1, 2]
    born = np.concatenate([layer.born for layer in run.snapshots[3].layers])
    assert set(born) <= {0, 2, 4, 6, 8}
    assert 8 in born


@pytest.mark.parametrize(
    ("when", "batch_size", "epochs", "event"), [("every(epochs=1)", 25, 2, 1), ("every(steps=2)", 10, 1, 2)]
)
def test_the_first_step_of_a_newborn_in_adam(backend, when, batch_size, epochs, event):
    """One mini-batch after the event, newborns of weight 0 have moved by the learning rate, whatever their gradient."""
    evolution = f"set(0.3, {when}, birth=zero)"
    settings = {"optimizer": Adam(0.01), "evolution": evolution, "batch_size": batch_size, "epochs": epochs}
    mlp, _ = trained_mlp(backend, dtype="float64", **settings)
    for layer in mlp.connections:
        newborn = host(layer.born) == event
        moved = np.abs(host(layer.weight)[newborn])
        moved = moved[moved > 0]  # a silent ReLU has no gradient
        assert newborn.sum() == int(0.3 * len(layer))
        assert moved.size >= 2
        assert moved == pytest.approx(np.full(moved.size, 0.01), rel=1e-3)


def test_events_of_a_window_of_epochs(backend):
    """Due at the end of epochs 2 and 3, seen in the lines of epochs 3 and 4."""
    _, run = trained_mlp(backend, epochs=6, evolution="set(0.3, window(every(epochs=1), 2, 3))")
    assert (run.history["dropped"] > 0).tolist() == [False, False, False, True, True, False, False]


def test_the_model_after_the_end(backend):
    kept, _ = trained_mlp(backend)
    core, run = trained_mlp(backend, evolution=SET(0.3, last="drop"))
    assert len(core.connections[0]) == len(kept.connections[0]) - int(0.3 * len(kept.connections[0]))
    assert np.isin(core.connections[0].pattern.keys, kept.connections[0].pattern.keys).all()
    assert run.history["n_connections"][-1] == kept.n_connections  # what was measured is the whole network


# -- going on ------------------------------------------------------------------------------------------------------


def test_a_model_goes_on_with_a_fresh_optimizer(backend):
    mlp, _ = trained_mlp(backend, epochs=2)
    assert "velocity" in mlp.connections[0].slots
    run = train(mlp, X, Backprop(), y=Y, epochs=2, batch_size=10, optimizer=Adam(1e-3))
    assert run.history["epoch"].tolist() == [2, 3, 4]
    assert set(mlp.connections[0].slots) == {"weight", "born", "first_moment", "second_moment"}
    assert set(mlp.biases[0]) == {"bias", "first_moment", "second_moment"}


@pytest.mark.parametrize("evolution", [SET(0.3), "set(0.3, every(steps=2))"])
def test_a_run_that_follows_another_is_one_run(backend, evolution):
    whole = rbm_of(backend)
    settings = {"batch_size": 10, "optimizer": Adam(0.01), "evolution": evolution}
    train(whole, stripes(35), CD(persistent=True), epochs=5, **settings)
    parts = rbm_of(backend)
    first = train(parts, stripes(35), CD(persistent=True), epochs=2, **settings)
    train(parts, stripes(35), CD(persistent=True), epochs=3, follows=first, **settings)
    assert_same_bytes(whole, parts)
    with pytest.raises(ValueError, match="follows must be the run that trained this very model last"):
        train(rbm_of(backend), stripes(35), CD(), follows=first)


def test_real_data_need_gaussian_units(backend):
    data = np.random.default_rng(0).normal(3.0, 2.0, (40, 6))
    rbm = RBM(Gaussian(6, sigma=2.0), Bernoulli(5), wiring="dense", backend=backend)
    run = train(rbm, data, CD(), epochs=3, batch_size=10, optimizer=SGD(0.01))
    assert np.isfinite(run.history["loss"][1:]).all()
    with pytest.raises(ValueError, match=r"Bernoulli units need values in \[0, 1\]"):
        train(tiny_rbm(backend, 6, 5), data, CD())
