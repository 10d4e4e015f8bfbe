"""Gates of units: what they compute, how they are trained, driven apart and folded into the weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    arrays_of,
    assert_same_bytes,
    blobs,
    dense_forward,
    energies,
    exact_log_z,
    finite_differences,
    host,
    states,
    stripes,
    tiny_mlp,
    tiny_rbm,
)
from scipy.special import logsumexp

from sparserbm import (
    CD,
    MLP,
    RBM,
    SGD,
    Adam,
    Backprop,
    Bernoulli,
    Gaussian,
    Polarization,
    ReLU,
    Softmax,
    SReLU,
    Tanh,
    fold_gates,
    log_partition,
    resume,
    train,
)
from sparserbm.backends import get_backend
from sparserbm.registry import parse, to_text

X, Y = blobs(40)


def open_mlp(backend, **settings):
    return MLP(6, ReLU(9), Tanh(8), Softmax(3), gates=True, seed=2, backend=backend, wiring="dense", **settings)


# -- what gates compute ----------------------------------------------------------------------------------------------


def test_gates_are_there_where_asked_for_and_open(backend):
    mlp, rbm = open_mlp(backend), RBM(Bernoulli(4), Bernoulli(3), gates=True, backend=backend)
    assert [list(slots) for slots in mlp.biases] == [["bias", "gate"], ["bias", "gate"], ["bias"]]
    assert [list(slots) for slots in rbm.biases] == [["bias"], ["bias", "gate"]]
    assert host(rbm.gate).tolist() == [1.0] * 3
    assert mlp.origin["gates"] is True
    plain = MLP(6, ReLU(9), Tanh(8), Softmax(3), seed=2, backend=backend, wiring="dense")
    assert "gates" not in plain.origin
    assert RBM(Bernoulli(4), Bernoulli(3), backend=backend).gate is None
    assert_allclose(mlp.predict(X), plain.predict(X), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_of_an_mlp_multiply_activities(backend, dtype):
    mlp = tiny_mlp(backend, 6, ReLU(9), SReLU(8), Softmax(3), gates=True, dtype=dtype)
    tolerance = 1e-11 if dtype == "float64" else 2e-5
    assert_allclose(mlp.predict(X), dense_forward(mlp, X), rtol=tolerance, atol=tolerance)
    mlp.biases[0]["gate"] = np.zeros(9)  # nothing of the first layer is left
    assert np.ptp(mlp.predict(X), axis=0).max() == 0


def test_gates_of_an_rbm_multiply_what_connections_bring(backend):
    rbm = tiny_rbm(backend, 5, 4, density=0.7, gates=True)
    assert_allclose(rbm.free_energy(states(5)), -logsumexp(-energies(rbm), axis=1), rtol=1e-11, atol=1e-11)
    joint, v, h = np.exp(-energies(rbm)), states(5), states(4)
    assert_allclose(rbm.transform(v), (joint @ h) / joint.sum(axis=1, keepdims=True), rtol=1e-10)
    found = rbm.visible_given(rbm.backend.asarray(h.T), rbm.backend.empty((5, 16)))
    assert_allclose(host(found).T, (joint.T @ v) / joint.sum(axis=0)[:, None], rtol=1e-10)
    assert log_partition(rbm) == pytest.approx(exact_log_z(rbm), rel=1e-12)


@pytest.mark.parametrize(
    "units", [(Bernoulli(5), Bernoulli(4)), (Gaussian(5), Bernoulli(4)), (Bernoulli(5), Gaussian(4))]
)
def test_open_gates_change_no_draw(backend, units):
    gated, plain = (tiny_rbm(backend, density=0.7, units=units) for _ in range(2))
    gated.add_gates(gated.biases[1])
    assert_allclose(gated.sample(30, sweeps=5), plain.sample(30, sweeps=5), rtol=1e-9)
    assert_allclose(gated.free_energy(states(5)), plain.free_energy(states(5)), rtol=1e-12)


# -- folding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_folded_gates_leave_the_output_as_it_is(backend, dtype):
    tolerance = {"rtol": 1e-12 if dtype == "float64" else 1e-5, "atol": 1e-6 if dtype == "float32" else 0}
    mlp = tiny_mlp(backend, 6, ReLU(9), Tanh(8), Softmax(3), gates=True, dtype=dtype)
    rbm = tiny_rbm(backend, 5, 4, density=0.7, gates=True, dtype=dtype)
    assert_allclose(fold_gates(mlp).predict(X), mlp.predict(X), **tolerance)
    for method in ("free_energy", "transform", "reconstruct"):
        assert_allclose(getattr(fold_gates(rbm), method)(states(5)), getattr(rbm, method)(states(5)), **tolerance)


def test_gates_of_0_and_1_fold_to_the_bit(backend):
    mlp = tiny_mlp(backend, 6, ReLU(9), Tanh(8), Softmax(3), gates=True, dtype="float32")
    for slots in mlp.biases[:2]:
        slots["gate"] = np.arange(len(slots)) % 2.0
    assert np.array_equal(fold_gates(mlp).predict(X), mlp.predict(X))


def test_a_folded_model_has_no_gates_and_the_other_keeps_them(backend):
    mlp = open_mlp(backend)
    train(mlp, X, Backprop(), y=Y, epochs=1, optimizer=Adam(), regularization="polarization(0.1)")
    before = arrays_of(mlp)
    folded = fold_gates(mlp)
    assert [list(slots) for slots in folded.biases] == [["bias"]] * 3
    assert [sorted(layer.slots) for layer in folded.connections] == [["born", "weight"]] * 3
    assert "gates" not in folded.origin
    after = arrays_of(mlp)
    assert all(np.array_equal(after[name], array) for name, array in before.items())
    assert mlp.origin["gates"] is True
    assert_same_bytes(fold_gates(folded), folded)
    train(folded, X, Backprop(), y=Y, epochs=1)  # it can be trained like any other


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [SGD(0.5, momentum=0.9), Adam(0.1)])
def test_gates_stay_in_the_unit_interval(backend, optimizer):
    mlp, rbm = open_mlp(backend), RBM(Bernoulli(16), Bernoulli(9), gates=True, backend=backend, wiring="dense")
    strong = {"optimizer": optimizer, "regularization": "polarization(0.2)", "epochs": 3, "batch_size": 10}
    train(mlp, X, Backprop(), y=Y, **strong)
    train(rbm, stripes(40), CD(), **strong)
    gates = np.concatenate([host(slots["gate"]) for slots in (*mlp.biases[:2], rbm.biases[1])])
    assert gates.min() == 0.0  # not below
    assert 0.1 < gates.max() <= 1.0


def test_a_step_of_the_gates(backend):
    """Gates that were updated by hand: loss and polarization, then the bounds."""
    mlp = tiny_mlp(backend, 6, Tanh(5), Softmax(3), gates=True)
    twin, rule = mlp.copy(), Polarization(0.3, t=1.2)
    train(mlp, X, Backprop(), y=Y, epochs=1, batch_size=40, optimizer=SGD(0.1), regularization=rule, shuffle=False)
    signals = Backprop().start(twin, X, 40).signals(twin, _batch(twin), twin.streams.draws("activities", 0))
    ((number, name, slope),) = signals.others
    assert (number, name) == (0, "gate")
    g = host(twin.biases[0]["gate"])
    signs = np.sign(g - g.mean())
    slope = host(slope) + 0.3 * (1.2 * np.sign(g) - signs + signs.mean())
    assert_allclose(host(mlp.biases[0]["gate"]), np.clip(g - 0.1 * slope, 0, 1), rtol=1e-12)


def _batch(mlp):
    from sparserbm.data.batches import Batch

    return Batch(mlp.backend.asarray(np.ascontiguousarray(X.T)), mlp.backend.asarray(Y), 0)


def test_the_gradient_of_polarization_is_the_slope_of_its_penalty(backend):
    """Over all layers together, the part of the mean included."""
    library, rule = get_backend(backend, "float64"), Polarization("linear(0, 1, 10)", t=1.4)
    values = np.random.default_rng(0).random(9)
    every = library.asarray(values)
    slopes = finite_differences(every, lambda: rule.penalty(library, every, 0, 5))
    gates = [library.asarray(part) for part in np.split(values, [2, 6])]
    gradients = [library.asarray(np.ones(len(gate))) for gate in gates]
    rule.add_gate_gradients(library, gates, gradients, 5)
    assert_allclose(np.concatenate([host(gradient) for gradient in gradients]), 1 + slopes, rtol=1e-7)
    assert rule.penalty(library, every, 0, 5) == pytest.approx(
        0.5 * sum(1.4 * abs(g) - abs(g - values.mean()) for g in values)
    )


def test_polarization_drives_gates_apart(backend):
    """With t=0 it keeps as many open as it closes (the global minimum has a share of (2 - t) / 4 open)."""
    library, rule = get_backend(backend, "float64"), Polarization(1.0, t=0.0)
    gate = library.asarray(np.random.default_rng(0).random(400))
    for _ in range(150):
        gradient = library.zeros(400)
        rule.add_gate_gradients(library, [gate], [gradient], 0)
        gate -= 0.01 * gradient
        library.xp.clip(gate, 0, 1, out=gate)
    found = host(gate)
    assert set(np.unique(found)) == {0.0, 1.0}
    assert found.mean() == pytest.approx(0.5, abs=0.05)


def test_other_penalties_leave_gates_alone(backend):
    """Biases included or not: a decayed gate would close for no reason."""
    found = []
    for rules in ([], ["l2(0.5, biases=True)", "l1(0.1, biases=True)", "set_decay(0.5, biases=True)"]):
        rbm = RBM(Bernoulli(16), Bernoulli(9), gates=True, backend=backend, weights="zero")
        rbm.matrix.weight[:] = 0
        train(rbm, stripes(40), CD(), epochs=1, batch_size=40, regularization=rules)
        found.append(host(rbm.gate))
    assert found[0].tolist() == found[1].tolist() == [1.0] * 9


def test_polarization_needs_gates():
    mlp = MLP(6, ReLU(9), Softmax(3), backend="reference", wiring="dense")
    with pytest.raises(
        ValueError, match="polarization acts on gates, and this model has none; make it with gates=True"
    ):
        train(mlp, X, Backprop(), y=Y, regularization="polarization(1e-4)")


def test_polarization_as_a_text():
    assert parse("penalty", "polarization(3e-5)") == Polarization(3e-5, t=1.5)
    rule = Polarization("linear(0, 1e-4, 100)", t=1.4)
    assert parse("penalty", to_text(rule)) == rule
    assert rule.shrink_per_step(0, 0.1, 0.9, 0) is None
    with pytest.raises(ValueError, match="strength=-1 is out of range"):
        Polarization(-1.0)
    with pytest.raises(TypeError, match="strength must be a number, a schedule or its text"):
        Polarization((1e-4, 1e-5))
    with pytest.raises(ValueError, match="t=nan is not possible for Polarization; use a finite number"):
        Polarization(1e-4, t=float("nan"))


def test_a_gate_that_is_no_number_is_found(backend):
    mlp = open_mlp(backend)
    mlp.biases[1]["gate"][3] = np.nan
    with pytest.raises(FloatingPointError, match="gates are NaN or infinite"):
        mlp.check_finite()


# -- going on --------------------------------------------------------------------------------------------------------


SETTINGS = {"batch_size": 10, "evolution": "set(0.3)", "regularization": "polarization(1e-2)"}


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.01)])
def test_gates_and_slots_of_units_resume(backend, tmp_path, optimizer):
    def mlp():
        return MLP(6, SReLU(8), ReLU(7), Softmax(3), gates=True, seed=3, backend=backend)

    settings = {"algorithm": Backprop(dropout=0.2), "y": Y, "optimizer": optimizer, **SETTINGS}
    whole = train(mlp(), X, epochs=4, **settings)
    train(mlp(), X, epochs=2, out=tmp_path / "mlp", **settings)
    assert_same_bytes(resume(tmp_path / "mlp", X, y=Y, epochs=4, backend=backend).model, whole.model)
    moved = {name for name in ("gate", "t_left", "a_left", "a_right") if host(whole.model.biases[0][name]).std() > 0}
    assert moved == {"gate", "t_left", "a_left", "a_right"}
    again = train(whole.model, X, Backprop(), y=Y, epochs=1)  # a fresh optimizer forgets the slots of the other one
    own = {"bias", "gate", *SReLU.own}
    assert set(again.model.biases[0]) == own


@pytest.mark.parametrize("algorithm", [CD(k=2), CD(persistent=True), CD(positive="sample", negative="sample")])
def test_gates_of_rbms_resume(backend, tmp_path, algorithm):
    def rbm():
        return RBM(Bernoulli(16), Bernoulli(9), gates=True, seed=3, backend=backend, wiring="erdos_renyi(density=0.5)")

    data, settings = stripes(35), {"algorithm": algorithm, "optimizer": SGD(0.1, momentum=0.9), **SETTINGS}
    whole = train(rbm(), data, epochs=4, **settings)
    train(rbm(), data, epochs=2, out=tmp_path / "rbm", **settings)
    assert_same_bytes(resume(tmp_path / "rbm", data, epochs=4, backend=backend).model, whole.model)
    assert host(whole.model.gate).std() > 0
