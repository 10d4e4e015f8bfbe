"""What rules of evolution are told about mini-batches, and that looking at them changes nothing else."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import (
    arrays_of,
    assert_same_bytes,
    blobs,
    dense_forward,
    evidence_of,
    host,
    slopes_everywhere,
    stripes,
    tiny_mlp,
    tiny_rbm,
)
from scipy.special import expit

from sparserbm import (
    CD,
    MLP,
    RBM,
    SGD,
    Adam,
    Backprop,
    Bernoulli,
    DivergenceError,
    ErdosRenyi,
    Evolution,
    Normal,
    RandomGrow,
    ReLU,
    Softmax,
    load_run,
    resume,
    train,
)
from sparserbm.registry import register

X, Y = blobs(25)
PICTURES = stripes(25)


def mlp_of(backend, seed=0, dtype="float32"):
    wiring = [ErdosRenyi(density=0.5)] * 2
    return MLP(6, ReLU(8), Softmax(3), wiring=wiring, seed=seed, backend=backend, dtype=dtype)


def rbm_of(backend, seed=0):
    # Weights so large that chains remember where they were: with small ones, the same draws soon give the same states.
    wiring = ErdosRenyi(density=0.4)
    return RBM(Bernoulli(16), Bernoulli(12), wiring=wiring, weights=Normal(2.0), seed=seed, backend=backend)


def trained(model, epochs=3, **settings):
    defaults = {"batch_size": 10, "optimizer": SGD(0.1, momentum=0.9), "epochs": epochs}
    if isinstance(model, MLP):
        return train(model, X, Backprop(), **(defaults | {"y": Y} | settings))
    return train(model, PICTURES, **({"algorithm": CD(persistent=True)} | defaults | settings))


@register("grow", "test_watching")
@dataclass(frozen=True)
class Watching(RandomGrow):
    """As the uniform rule; keeps what it was told, and the model as it was then."""

    needs_batches: ClassVar[bool] = True
    model: ClassVar = None
    seen: ClassVar[list] = []

    def propose(self, request, generator):
        everywhere = np.arange(request.n_pre * request.n_post)
        batches = [host(coactivity.pairs[0].pre).copy() for coactivity in request.batches(4)]
        self.seen.append((request.number, self.model.copy(), request.gradient(everywhere), batches))
        return super().propose(request, generator)


@pytest.fixture
def watching():
    Watching.seen.clear()
    yield Watching
    Watching.model = None
    Watching.seen.clear()


@pytest.mark.parametrize("when", ["every(epochs=1)", "every(steps=1)"])
def test_a_grow_rule_sees_the_gradient_of_the_last_batch(backend, when, watching):
    """At the weights of the event; also at the start of the next epoch, after everything was measured."""
    watching.model = mlp_of(backend, dtype="float64")
    trained(watching.model, 2, evolution=f"evolution(grow=test_watching, when={when})", shuffle=False)
    rows = slice(20, 25) if when == "every(epochs=1)" else slice(0, 10)  # the batch before the first event
    assert len(watching.seen) == 2 * (1 if when == "every(epochs=1)" else 5)
    for number, model, gradient, batches in watching.seen[:2]:
        assert_allclose(gradient, slopes_everywhere(model, number, X[rows], Y[rows]), rtol=1e-5, atol=1e-8)
        if number == 0:
            assert len(batches) == (3 if when == "every(epochs=1)" else 1)
            assert np.array_equal(batches[0].T, X[rows])
    if when == "every(steps=1)":
        *_, batches = watching.seen[6]  # the first layer after step 4, the first one of the second epoch
        assert [len(batch.T) for batch in batches] == [10, 5, 10, 10]
        assert np.array_equal(batches[1].T, X[20:])


def test_in_an_event_all_layers_are_judged_by_one_network(backend, watching):
    """The second layer's gradients are those before the first one was rewired."""
    watching.model = mlp_of(backend)
    trained(watching.model, 2, evolution="evolution(grow=test_watching, when=every(epochs=1))")
    (first, before, *_), (second, after, *_) = watching.seen
    assert (first, second) == (0, 1)
    assert_same_bytes(before, after)


def test_activities_are_those_while_the_data_were_shown(backend):
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3))
    batch = X[20:]
    hidden = np.maximum(batch @ mlp.connections[0].to_dense().T + host(mlp.biases[0]["bias"]), 0)
    for coactivity, sides in zip(
        next(iter(evidence_of(mlp, X, Y)(1))), ((batch, hidden), (hidden, dense_forward(mlp, batch)))
    ):
        for found, expected in zip(coactivity.seen, sides):
            assert_allclose(host(found).T, expected, rtol=1e-9, atol=1e-12)
    rbm, data = tiny_rbm(backend, 16, 5), PICTURES[20:]
    (coactivity,) = next(iter(evidence_of(rbm, PICTURES, algorithm=CD(persistent=True))(1)))
    believed = expit(data @ rbm.matrix.to_dense().T + host(rbm.biases[1]["bias"]))
    assert_allclose(host(coactivity.seen[0]).T, data)
    assert_allclose(host(coactivity.seen[1]).T, believed, rtol=1e-9)


# -- looking changes nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [mlp_of, rbm_of])
@pytest.mark.parametrize("when", ["every(steps=2)", "every(epochs=1)"])
def test_training_goes_on_as_if_nobody_had_looked(backend, build, when, watching):
    """Persistent chains and the batch at work included: the same events, with a rule that looks and one that does not."""
    blind, watching.model = build(backend), build(backend)
    first = trained(blind, evolution=f"evolution(grow=random, when={when})")
    second = trained(watching.model, evolution=f"evolution(grow=test_watching, when={when})")
    assert len(watching.seen) >= 2
    assert_same_bytes(blind, watching.model)
    assert [line | {"seconds": 0} for line in first.metrics] == [line | {"seconds": 0} for line in second.metrics]


def test_events_without_newborns_leave_no_trace(backend):
    looking = "evolution(drop=taylor, grow=gradient, birth=gradient_sign, zeta=0, when=every(steps=1))"
    for build in (mlp_of, rbm_of):
        models = build(backend), build(backend)
        trained(models[0], evolution=looking)
        trained(models[1], evolution=None)
        assert_same_bytes(*models)


def test_chains_begin_at_the_first_batch_of_a_run_also_if_somebody_looked_before(backend, watching):
    """A model that was trained before has an event due before there are chains."""
    models = []
    for rule in ("random", "test_watching"):
        watching.model = rbm_of(backend)
        trained(watching.model, 1)
        trained(watching.model, 2, evolution=f"evolution(grow={rule}, zeta=0)")
        models.append(watching.model)
    assert len(watching.seen) == 2
    assert_same_bytes(*models)


def test_other_data_with_longer_epochs_may_follow(backend):
    """Their epoch would have begun before the first step."""
    mlp = mlp_of(backend)
    train(mlp, X[:20], Backprop(), y=Y[:20], epochs=1, batch_size=10)
    run = train(mlp, X, Backprop(), y=Y, epochs=1, batch_size=5, evolution="evolution(grow=momentum(None, 10))")
    assert run.metrics[-1]["grown"] == run.metrics[-1]["dropped"] > 0


# -- runs ------------------------------------------------------------------------------------------------------------

ALL = "drop=taylor, grow=gradient(None), birth=gradient_sign, density=cubic(0.5, 0.3, 12), when=chance(0.3)"
PARENTAL = "evolution(grow=parental((4, 4)), when=window(chance(0.5), 2, 12))"
LOOKING = [
    (rbm_of, "evolution(drop=taylor, when=every(steps=2))"),
    (mlp_of, "evolution(drop=magnitude, grow=gradient(4), birth=zero)"),
    (rbm_of, "evolution(grow=momentum(batches=5), when=every(steps=4), allow_return=False)"),
    (mlp_of, "evolution(grow=cosine(None, centred=True), birth=gradient_sign, min_age=2)"),
    (rbm_of, f"evolution({ALL})"),
    (mlp_of, f"evolution({ALL})"),
    (rbm_of, PARENTAL),
]


def without_seconds(run):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics]


@pytest.mark.parametrize(("build", "evolution"), LOOKING)
def test_a_resumed_run_is_the_one_that_never_stopped(backend, tmp_path, build, evolution):
    settings = {"evolution": evolution, "optimizer": Adam(0.02)}
    whole = trained(build(backend), 4, out=tmp_path / "whole", **settings)
    trained(build(backend), 2, out=tmp_path / "parts", **settings)
    data, y = (X, Y) if build is mlp_of else (PICTURES, None)
    parts = resume(tmp_path / "parts", data, y=y, epochs=4, backend=backend)
    assert_same_bytes(whole.model, parts.model)
    assert without_seconds(whole) == without_seconds(parts)
    assert sum(line["grown"] for line in whole.metrics) > 0


@pytest.mark.parametrize("evolution", [f"evolution({ALL})", PARENTAL])
def test_a_seed_decides_the_events(backend, evolution):
    first, second, other = (trained(mlp_of(backend, seed), 4, evolution=evolution) for seed in (3, 3, 4))
    assert_same_bytes(first.model, second.model)
    assert without_seconds(first) == without_seconds(second)
    assert [line["dropped"] for line in first.metrics] != [line["dropped"] for line in other.metrics]


@pytest.mark.parametrize("last", ["drop", "full"])
def test_at_the_end_a_rule_looks_at_the_last_batch(backend, last):
    rule = f"evolution(drop=taylor, grow=gradient, last={last!r}, when=window(every(epochs=1), 90))"
    model = mlp_of(backend)
    before = len(model.connections[0])
    run = trained(model, evolution=rule)
    assert len(model.connections[0]) == before - (last == "drop") * int(0.3 * before)
    assert (last == "full") == (model.step in host(model.connections[0].born))
    assert "core_validation_loss" not in run.metrics[-1]


def test_what_fell_back_is_in_the_metrics(backend, tmp_path):
    model = tiny_mlp(backend, 6, ReLU(8), Softmax(3), density=0.9)
    rule = Evolution(grow="parental(share=1.0)", zeta=0.5, allow_return=False)
    run = trained(model, 3, evolution=rule, out=tmp_path / "run")
    assert all("fell_back" not in line for line in run.metrics[:2])
    for line in run.metrics[2:]:
        assert 0 < line["fell_back"] <= line["grown"]
    assert load_run(tmp_path / "run").metrics[2]["fell_back"] == run.metrics[2]["fell_back"]


@pytest.mark.parametrize("when", ["every(epochs=1)", "every(steps=2)"])
def test_gradients_that_are_not_finite_end_the_run(monkeypatch, when):
    """With the message of a run that diverged, between mini-batches and between epochs."""

    def broken(self, request, keys):
        return np.full(len(keys), np.nan)

    monkeypatch.setattr("sparserbm.evolution.grow.GradientGrow.score", broken)
    epoch = 2 if when == "every(epochs=1)" else 1
    with pytest.raises(
        DivergenceError, match=f"diverged in epoch {epoch}: gradients or activities are NaN or infinite"
    ):
        trained(mlp_of("reference"), evolution=f"evolution(grow=gradient, when={when})")


def test_backends_grow_at_the_same_places(backend):
    """Gradients differ in their last bits only: the first event, in double precision, is the same."""
    found = []
    for name in (backend, "reference"):
        model = mlp_of(name, dtype="float64")
        rule = "evolution(drop=taylor, grow=gradient, birth=gradient_sign, when=every(steps=2))"
        trained(model, 1, evolution=rule)
        found.append({key: array for key, array in arrays_of(model).items() if key.startswith(("keys", "born"))})
    assert all(np.array_equal(array, found[1][key]) for key, array in found[0].items())
