"""Options of contrastive divergence: schedules of k, centring, sparsity, numbers of chains; what is kept of them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import assert_same_bytes, exact_loss, finite_differences, gradient, host, hosted, stripes, tiny_rbm

from sparserbm import (
    CD,
    RBM,
    SET,
    SGD,
    Bernoulli,
    ErdosRenyi,
    Gaussian,
    Linear,
    Mixed,
    Normal,
    Potts,
    Sparsity,
    Steps,
    TruncatedGaussian,
    load_run,
    resume,
    train,
)
from sparserbm.data.batches import Batch
from sparserbm.registry import parse, to_text
from sparserbm.rng import Streams


def signals(rbm, trainer, data, step=0, stream="activities"):
    batch = Batch(rbm.backend.asarray(np.ascontiguousarray(data.T)), None, step)
    return trainer.signals(rbm, batch, Streams(9).draws(stream, step))


def gradients(rbm, found):
    """Of the weights, the visible and the hidden biases."""
    biases = []
    for units, terms in zip(rbm.units, found.biases):
        means = [(sign / array.shape[1], array) for sign, array in terms]
        biases.append(hosted(rbm.backend).row_sums(means, np.full(units.n, np.nan)))
    return gradient(found.coactivity[0], rbm.matrix), *biases


def still(*arguments, **named):
    """An RBM that no start changes."""
    rbm = tiny_rbm(*arguments, **named)
    rbm.step = 1
    return rbm


def sweeps_done(rbm, trainer, data, step, monkeypatch):
    """How often visible units were drawn in the negative phase of one step."""
    count, visible_given = [], rbm.visible_given

    def counted(hidden, mean, draws=None, sample=None):
        count.append(draws is not None)
        return visible_given(hidden, mean, draws, sample)

    with monkeypatch.context() as patch:
        patch.setattr(rbm, "visible_given", counted)
        signals(rbm, trainer, data, step)
    return sum(count)


# -- sweeps ----------------------------------------------------------------------------------------------------------


def test_k_may_be_a_schedule(backend, monkeypatch):
    rbm, data = still(backend), stripes(10, side=2)
    for rule, expected in (
        (CD(k="steps((1, 5, 10), (2, 4))", negative="sample"), [1, 1, 5, 5, 10, 10]),
        (CD(k=Linear(1, 3, 4), persistent=True), [1, 2, 2, 2, 3, 3]),  # 1, 1.5, 2, 2.5, 3: halves to the even number
        (CD(k=2), [2] * 6),
    ):
        trainer = rule.start(rbm, data, 10)
        assert [sweeps_done(rbm, trainer, data, step, monkeypatch) for step in range(6)] == expected
        assert [rule.sweeps(step) for step in range(6)] == expected
    assert CD(k=Steps((1, 5), (10,))).multiply_adds([100]) == CD(k=5).multiply_adds([100])


def test_persistent_chains_take_more_sweeps_once_connections_have_changed(backend, monkeypatch):
    rbm, data = still(backend, 6, 5, density=0.5), stripes(10, side=3)[:, :6]
    rule = CD(k=2, persistent=True)
    trainer = rule.start(rbm, data, 10)
    assert sweeps_done(rbm, trainer, data, 0, monkeypatch) == 2
    chains = trainer.state()["chains"].copy()
    SET(0.3).evolve(rbm, None, 1)
    asked = rule.start(rbm, data, 10)
    assert np.array_equal(trainer.state()["chains"], chains)  # they go on
    assert [sweeps_done(rbm, trainer, data, step, monkeypatch) for step in (1, 2)] == [4, 2]
    assert sweeps_done(rbm, asked, data, 1, monkeypatch) == 2  # a trainer that never saw another pattern
    plain = CD(k=2, negative="sample").start(rbm, data, 10)
    SET(0.3).evolve(rbm, None, 2)
    assert sweeps_done(rbm, plain, data, 3, monkeypatch) == 2  # chains that begin at the data need none


# -- grey values as probabilities ------------------------------------------------------------------------------------


def test_grey_values_are_drawn_afresh_at_each_sight(backend):
    rbm, grey = still(backend, 6, 4), np.tile(np.linspace(0, 1, 6), (2000, 1))
    trainer = CD(data="sample").start(rbm, grey, len(grey))
    seen = [host(signals(rbm, trainer, grey, step).coactivity[0].pairs[0].pre).copy() for step in (0, 1, 0)]
    assert set(np.unique(seen[0])) == {0.0, 1.0}
    assert_allclose(seen[0].mean(axis=1), grey[0], atol=0.05)
    assert (seen[0][0] == 0).all()
    assert (seen[0][-1] == 1).all()
    assert (seen[0] != seen[1]).any()
    assert (seen[0] == seen[2]).all()  # a resumed run sees what this one saw


def test_states_are_what_they_are_with_both(backend):
    """Data of 0 and 1 stay, and so does the expected gradient; only the draws of later states are others."""
    rbm, data = still(backend, scale=0.0), stripes(10, side=2)
    found = {}
    for kind in ("mean", "sample"):
        trainer = CD(data=kind).start(rbm, data, 10)
        pairs = signals(rbm, trainer, data).coactivity[0].pairs
        found[kind] = host(pairs[0].pre).copy(), host(pairs[0].post).copy()
    for mean, sample in zip(*found.values()):
        assert (mean == sample).all()


def test_missing_values_are_drawn_once(backend):
    rbm, grey = still(backend, 6, 4), np.tile(np.linspace(0, 1, 6), (50, 1))
    grey[:, 3] = np.nan
    trainer = CD(data="sample").start(rbm, grey, len(grey))
    seen = host(signals(rbm, trainer, grey).coactivity[0].pairs[0].pre)
    assert set(np.unique(seen)) == {0.0, 1.0}


@pytest.mark.parametrize("visible", [Gaussian(6), Potts(6, states=3), Mixed((Bernoulli(3), Potts(3)))])
def test_only_bernoulli_units_have_such_data(visible):
    rbm = RBM(visible, Bernoulli(3), wiring="dense", backend="numpy")
    with pytest.raises(ValueError, match='data="sample" draws Bernoulli visible units; of .* use data="mean"'):
        CD(data="sample").check(rbm, None)


# -- numbers of chains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chains", [3, 10, 64])
def test_there_are_as_many_chains_as_asked_for(backend, chains):
    rbm, data = still(backend), stripes(10, side=2)
    trainer = CD(persistent=True, chains=chains).start(rbm, data, 10)
    found = signals(rbm, trainer, data)
    drawn = trainer.state()["chains"]
    assert drawn.shape == (3, chains)
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    assert [pair.pre.shape[1] for pair in found.coactivity[0].pairs] == [10, chains]
    assert trainer.evaluate(rbm, data, None)["loss"] > 0


def test_every_chain_draws_for_itself(backend):
    """More chains than samples: several begin at one sample, with draws of their own."""
    rbm = still(backend, scale=0.3)
    trainer = CD(persistent=True, chains=4000).start(rbm, np.ones((1, 4)), 1)
    signals(rbm, trainer, np.ones((1, 4)))
    drawn = trainer.state()["chains"]
    counts = np.bincount((drawn.T @ [1, 2, 4]).astype(int), minlength=8)
    assert counts.min() > 50


def test_chains_are_as_many_as_a_mini_batch_by_default(backend):
    rbm = still(backend)
    trainer = CD(persistent=True).start(rbm, np.ones((3, 4)), 8)
    signals(rbm, trainer, np.ones((3, 4)))
    assert trainer.state()["chains"].shape == (3, 8)


# -- the centred gradient --------------------------------------------------------------------------------------------


def centred_by_hand(rbm, trainer, found):
    """The centred gradient from the uncentred statistics of the same step, by its definition."""
    (_, v0, h0), (_, v1, h1) = ((sign, host(pre), host(post)) for sign, pre, post in found.coactivity[0].pairs[:2])
    state = trainer.state()
    m, n = state["offset_visible"][:, None], state["offset_hidden"][:, None]
    dense = (v1 - m) @ (h1 - n).T / v1.shape[1] - (v0 - m) @ (h0 - n).T / v0.shape[1]
    mask = np.zeros_like(dense)
    mask[rbm.matrix.pattern.pre, rbm.matrix.pattern.post] = 1
    dense *= mask
    visible = v1.mean(axis=1) - v0.mean(axis=1) - dense @ n[:, 0]
    hidden = h1.mean(axis=1) - h0.mean(axis=1) - dense.T @ m[:, 0]
    return dense[rbm.matrix.pattern.pre, rbm.matrix.pattern.post], visible, hidden


UNITS = [None, (Gaussian(6, sigma=0.5), Bernoulli(5)), (Mixed((Bernoulli(4), Potts(2))), TruncatedGaussian(5))]


@pytest.mark.parametrize("units", UNITS, ids=["bernoulli", "gaussian", "mixed"])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_centred_gradient_is_that_of_its_definition(backend, units, persistent):
    rbm = still(backend, 6, 5, density=0.6, scale=0.3, units=units)
    data = stripes(24, side=3)[:, :6]
    data[:, 5] = 1 - data[:, 4]
    trainer = CD(persistent=persistent, centred=True, chains=7 if persistent else None).start(rbm, data, 12)
    for step, rows in ((0, data[:12]), (1, data[12:]), (2, data[:5])):
        found = signals(rbm, trainer, rows, step)
        for given, exact in zip(gradients(rbm, found), centred_by_hand(rbm, trainer, found)):
            assert_allclose(given, exact, rtol=1e-9, atol=1e-11)
    # at places, as grow rules ask for it, it is the same
    keys = rbm.matrix.pattern.keys
    at = host(found.coactivity[0].at_places(rbm.backend, keys))
    assert_allclose(at, gradients(rbm, found)[0], rtol=1e-9, atol=1e-11)


def test_offsets_are_running_means_of_data_and_hidden_units(backend):
    rbm, data = still(backend), stripes(20, side=2)
    trainer = CD(centred=True, offset_rate=0.25).start(rbm, data, 10)
    assert trainer.state() == {}
    signals(rbm, trainer, data[:10])
    hidden = rbm.transform(data)
    assert_allclose(trainer.state()["offset_visible"], data[:10].mean(axis=0))
    assert_allclose(trainer.state()["offset_hidden"], hidden[:10].mean(axis=0))
    signals(rbm, trainer, data[10:], 1)
    for name, values in (("offset_visible", data), ("offset_hidden", hidden)):
        expected = 0.75 * values[:10].mean(axis=0) + 0.25 * values[10:].mean(axis=0)
        assert_allclose(trainer.state()[name], expected, rtol=1e-9)


def test_centring_makes_training_blind_to_how_a_pixel_is_coded(backend):
    """Data and flipped data give models that are each other's flips, in law: here with means, exactly.

    The flip v -> 1 - v turns w into -w and moves the hidden biases; mean-field phases make no draws that matter once
    hidden units are certain of their states.
    """
    one = still(backend, 4, 3)
    one.biases[1]["bias"] = np.array([60.0, -60.0, 60.0])
    two = one.copy()
    w, b = host(one.matrix.weight), host(one.hidden_bias)
    two.matrix.slots["weight"] = -w
    two.biases[0]["bias"] = -host(one.visible_bias)
    two.biases[1]["bias"] = b + w.reshape(3, 4).sum(axis=1)
    data = stripes(12, side=2)
    plain, centred = ([], [])
    for found, rule in ((plain, CD()), (centred, CD(centred=True))):
        for rbm, rows in ((one, data), (two, 1 - data)):
            found.append(gradients(rbm, signals(rbm, rule.start(rbm, rows, 12), rows)))
    for (weight, visible, hidden), (flipped, flipped_visible, flipped_hidden), exact in (
        (*centred, True),
        (*plain, False),
    ):
        same = np.allclose(flipped, -weight, atol=1e-9) and np.allclose(flipped_visible, -visible, atol=1e-9)
        moved = np.allclose(flipped_hidden, hidden + weight.reshape(3, 4).sum(axis=1), atol=1e-9)
        assert (same and moved) == exact


def test_the_centred_gradient_leads_downhill_and_vanishes_with_the_gradient(backend):
    """It is the gradient times a positive definite matrix: their product is positive, and 0 only where that is 0."""
    rbm = still(backend, 4, 3, density=0.8, scale=0.7)
    data = np.tile(stripes(8, side=2), (1500, 1))
    trainer = CD(k=20, negative="sample", centred=True).start(rbm, data, len(data))
    found = gradients(rbm, signals(rbm, trainer, data))
    exact = [
        finite_differences(values, lambda: exact_loss(rbm, data))
        for values in (rbm.matrix.weight, rbm.visible_bias, rbm.hidden_bias)
    ]
    product = sum(float(a @ b) for a, b in zip(found, exact))
    assert product > 0.5 * sum(float(a @ a) for a in exact) > 0
    # the same by hand, from the exact gradient: C = G - m D_h - D_v n at the connections
    state, pattern = trainer.state(), rbm.matrix.pattern
    m, n = state["offset_visible"], state["offset_hidden"]
    centred = exact[0] - m[pattern.pre] * exact[2][pattern.post] - exact[1][pattern.pre] * n[pattern.post]
    assert_allclose(found[0], centred, atol=5 * 1.0 / np.sqrt(12_000))


def test_centring_learns_bars_with_evolving_connections(backend):
    data = stripes(60)
    for rule in ("cd(centred=True)", "cd(persistent=True, centred=True, chains=10, sparsity=sparsity(0.2, cost=0.1))"):
        rbm = RBM(Bernoulli(16), Bernoulli(12), wiring=ErdosRenyi(density=0.5), seed=2, backend=backend)
        run = train(
            rbm, data, rule, epochs=8, batch_size=25, evolution=SET(0.2, "every(steps=2)"), optimizer="sgd(0.1)"
        )
        assert run.history["loss"][-1] < run.history["loss"][1]
        assert run.history["grown"][1:].min() > 0


# -- sparsity --------------------------------------------------------------------------------------------------------


def test_sparsity_adds_what_is_too_much_to_the_hidden_biases(backend):
    rbm, data = still(backend, 6, 5, density=0.6), stripes(20, side=3)[:, :6]
    rule = Sparsity(0.1, cost=0.5, decay=0.75)
    plain, sparse = CD().start(rbm, data, 10), CD(sparsity=rule).start(rbm, data, 10)
    both = CD(sparsity=Sparsity(0.1, 0.5, 0.75, weights=True)).start(rbm, data, 10)
    hidden, running = rbm.transform(data), None
    for step, rows in enumerate((slice(0, 10), slice(10, 20))):
        now = hidden[rows].mean(axis=0)
        running = now if running is None else 0.75 * running + 0.25 * now
        before, after, weighted = (
            gradients(rbm, signals(rbm, trainer, data[rows], step)) for trainer in (plain, sparse, both)
        )
        assert_allclose(sparse.state()["activity"], running, rtol=1e-9)
        assert_allclose(after[2] - before[2], 0.5 * (running - 0.1), rtol=1e-8, atol=1e-10)
        assert np.array_equal(after[0], before[0])
        assert np.array_equal(after[1], before[1])
        extra = 0.5 * np.outer(data[rows].mean(axis=0), running - 0.1)
        assert_allclose(
            weighted[0] - before[0], extra[rbm.matrix.pattern.pre, rbm.matrix.pattern.post], rtol=1e-8, atol=1e-10
        )


def test_hidden_units_come_to_the_target(backend):
    data, found = stripes(100), []
    for rule in (CD(), CD(sparsity="sparsity(0.05, cost=2.0)")):
        rbm = RBM(Bernoulli(16), Bernoulli(10), wiring=ErdosRenyi(density=0.5), seed=1, backend=backend)
        train(rbm, data, rule, epochs=15, batch_size=20, optimizer=SGD(0.2))
        found.append(rbm.transform(data).mean(axis=0))
    assert found[0].mean() > 0.25
    assert np.abs(found[1] - 0.05).max() < 0.05


# -- what is kept ----------------------------------------------------------------------------------------------------

RULES = [
    "cd(centred=True, persistent=True, chains=7)",
    "cd(k=steps((1, 3), (6,)), sparsity=sparsity(0.1, weights=True), centred=True)",
    "cd(k=linear(1, 4, 12), persistent=True, sparsity=sparsity(0.1))",
]


@pytest.mark.parametrize("rule", RULES)
def test_resumed_runs_are_those_that_never_stopped(backend, tmp_path, rule):
    """Chains and running means come back; evolution looks at mini-batches without moving them."""
    data = stripes(35)

    def begin(out, epochs):
        wiring = ErdosRenyi(density=0.4)
        rbm = RBM(Bernoulli(16), Bernoulli(10), wiring=wiring, weights=Normal(1.0), seed=3, backend=backend)
        momentum = "sgd(0.1, momentum=linear(0.5, 0.9, steps=10))"
        evolution = "evolution(grow=gradient, when=every(steps=3))"
        settings = {"optimizer": momentum, "evolution": evolution, "batch_size": 10}
        return train(rbm, data, rule, epochs=epochs, out=out, **settings)

    whole = begin(tmp_path / "whole", 5)
    begin(tmp_path / "parts", 2)
    resume(tmp_path / "parts", data, epochs=3, backend=backend)
    parts = resume(tmp_path / "parts", data, epochs=5, backend=backend)
    assert_same_bytes(whole.model, parts.model)
    assert whole.carry["trainer"].keys() == parts.carry["trainer"].keys()
    for name, array in whole.carry["trainer"].items():
        assert np.array_equal(array, parts.carry["trainer"][name]), name
    assert parse("algorithm", load_run(tmp_path / "parts").config["training"]["algorithm"]) == parse("algorithm", rule)


def test_texts_are_rules_and_back():
    for rule in (
        CD(k=Steps((1, 5, 10), (1000, 5000)), persistent=True, chains=50),
        CD(k=Linear(1, 10, 20_000), centred=True, offset_rate=0.05),
        CD(sparsity=Sparsity(0.05, cost=0.1, decay=0.95, weights=True)),
    ):
        assert parse("algorithm", to_text(rule)) == rule
    assert parse("algorithm", "cd(k=steps((1, 5, 10), (1000, 5000)), sparsity=sparsity(0.05))") == CD(
        k=Steps((1, 5, 10), (1000, 5000)), sparsity=Sparsity(0.05)
    )
    momentum = parse("optimizer", "sgd(0.05, momentum=steps((0.5, 0.9), (5,)))")
    assert [momentum.momentum_at(step) for step in (0, 4, 5, 100)] == [0.5, 0.5, 0.9, 0.9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": "linear(0, 5, 10)"}, r"k=0 is out of range; use a value in \[1"),
        ({"k": "three"}, "unknown schedule 'three'"),
        ({"chains": 0, "persistent": True}, "chains=0 is not possible; use an integer of at least 1"),
        ({"chains": 5}, "chains=5 is for persistent chains; use persistent=True"),
        ({"offset_rate": 0}, "offset_rate=0 is not possible; use a number above 0, at most 1"),
        ({"sparsity": "sparsity(0)"}, "sparsity target=0 is not possible; use a number above 0"),
        ({"sparsity": "sparsity(0.1, cost=-1)"}, "sparsity cost=-1 is not possible; use a number of at least 0"),
        ({"sparsity": "sparsity(0.1, decay=1)"}, "sparsity decay=1 is not possible"),
    ],
)
def test_settings_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        CD(**arguments)


def test_settings_that_do_not_fit_the_model():
    with pytest.raises(TypeError, match="sparsity=0.1 is not possible; give e.g. Sparsity"):
        CD(sparsity=0.1)
    rbm = tiny_rbm("reference", gates=True)
    with pytest.raises(ValueError, match="the centred gradient is not worked out for gates"):
        train(rbm, stripes(5, side=2), CD(centred=True))
    with pytest.raises(ValueError, match="sparsity target=2 is not possible for Bernoulli units"):
        train(tiny_rbm("reference"), stripes(5, side=2), CD(sparsity=Sparsity(2)))
