"""Texts and rules: there and back, and what happens to texts that name nothing."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparserbm as sr
from sparserbm import registry
from sparserbm.regularization import Penalty

ROUND_TRIPS = [
    ("schedule", sr.Constant(0.25)),
    ("schedule", sr.Linear(0.0, 1e-3, steps=5000)),
    ("schedule", sr.Cosine(0.3, 0.0, 100, after=20)),
    ("schedule", sr.Cubic(0.1, 0.9, 7)),
    ("schedule", sr.Steps((0.1, 0.01, 0.001), (100, 200))),
    ("schedule", sr.Steps((0.1,), ())),
    ("trigger", sr.Every(steps=50)),
    ("trigger", sr.Window(sr.Every(epochs=2), start=4, stop=10)),
    ("unit", sr.Bernoulli(784)),
    ("unit", sr.Gaussian(10, sigma=0.5)),
    ("unit", sr.Softmax(10)),
    ("wiring", sr.ErdosRenyi(epsilon=11)),
    ("wiring", sr.ErdosRenyi(density=0.05, clip=True)),
    ("wiring", sr.Dense()),
    ("wiring", sr.FixedFanIn(3)),
    ("weights", sr.Normal(0.1)),
    ("weights", sr.HeSparse()),
    ("penalty", sr.L2(sr.Linear(0.0, 1e-3, steps=5000), biases=True)),
    ("penalty", sr.L2((1e-3, sr.Linear(0, 1, 5)), coupled=False)),
    ("penalty", sr.ElasticNet(1e-4, 1e-3)),
    ("birth", sr.Fresh(sr.Normal(0.05))),
    ("birth", sr.Fresh()),
    ("birth", sr.ZeroBirth()),
    ("evolution", sr.Evolution(zeta=sr.Cosine(0.3, 0.0, 100), when=sr.Every(steps=50), last="drop")),
    ("evolution", sr.SET(zeta=0.2, birth=sr.Fresh(sr.Normal(0.05)), allow_return=False)),
    ("algorithm", sr.CD(k=5, persistent=True)),
    ("algorithm", sr.Backprop("mse")),
    ("optimizer", sr.SGD(sr.Linear(0.1, 0.01, 100), momentum=0.9, nesterov=True)),
    ("optimizer", sr.Adam(1e-4)),
    ("early_stopping", sr.EarlyStopping(3, metric="validation_accuracy")),
    ("zone", sr.Central(20)),
]


@pytest.mark.parametrize(("kind", "rule"), ROUND_TRIPS, ids=lambda value: str(value)[:40])
def test_a_rule_comes_back_from_its_text(kind, rule):
    assert registry.parse(kind, registry.to_text(rule)) == rule


def test_texts_read_as_they_are_written():
    assert registry.to_text(sr.L2(1e-3)) == "l2(strength=0.001, biases=False, coupled=True)"
    assert registry.parse("penalty", "l2(linear(0, 1e-3, steps=5000))") == sr.L2(sr.Linear(0, 1e-3, 5000))
    assert registry.parse("evolution", " set(zeta=0.3) ") == sr.SET(zeta=0.3)
    assert registry.parse("evolution", "set") == sr.SET()
    assert registry.parse("unit", "bernoulli(784)") == sr.Bernoulli(784)
    assert registry.parse("penalty", "l2((1e-3, -0.0))").strength == (1e-3, 0.0)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0))
def test_numbers_keep_their_bits(value):
    assert registry.parse("schedule", registry.to_text(sr.Constant(value))).value == value


@pytest.mark.parametrize("number", [np.float64(0.1), np.float32(0.5), np.int64(3)])
def test_numbers_of_numpy_are_written_as_plain_numbers(number):
    text = registry.to_text(sr.Constant(number))
    assert text == f"constant(value={number.item()!r})"
    assert registry.parse("schedule", text).value == number


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("drop", "oldest", "unknown drop 'oldest'.*; known: .*set"),
        ("evolution", "sett(zeta=0.3)", r"unknown evolution 'sett' \(did you mean 'set'\?\); known: evolution, set"),
        ("unit", "bernouli(3)", r"did you mean 'bernoulli'\?.*known: all_relu, bernoulli, gaussian"),
        ("penalty", "l2(stren=1)", "'l2\\(stren=1\\)' does not fit: .*it takes: strength, biases, coupled"),
        ("penalty", "l2()", "does not fit.*strength"),
        ("schedule", "linear(0, 1", "cannot read 'linear\\(0, 1' as schedule; write name or name\\(argument"),
        ("schedule", "linear(0, 1 + x, 5)", "cannot read"),
        ("schedule", "os.system('true')", "cannot read"),
        ("schedule", "linear(**{})", "cannot read"),
        ("schedule", "3 + 4", "cannot read"),
        ("no such kind", "a", "known: none"),
    ],
)
def test_what_cannot_be_read_says_what_can(kind, text, message):
    with pytest.raises(ValueError, match=message):
        registry.parse(kind, text)


def test_a_text_never_runs_code(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("here")
    for call in (f"__import__('os').remove({str(victim)!r})", f"open({str(victim)!r}, 'w')"):
        with pytest.raises(ValueError, match="a constant must be a number"):  # a nested call stays a text
            registry.parse("schedule", f"constant({call})")
        with pytest.raises(ValueError, match="cannot read|unknown schedule"):
            registry.parse("schedule", call)
    assert victim.read_text() == "here"


def test_two_rules_cannot_have_one_name():
    @dataclass(frozen=True)
    class Impostor(Penalty):
        biases: bool = False

    with pytest.raises(ValueError, match=r"penalty 'l2' is already registered as L2; choose another name"):
        registry.register("penalty", "l2")(Impostor)
    assert registry.rule_class("penalty", "l2") is sr.L2
    with pytest.raises(TypeError, match="register its class"):
        registry.to_text(object())


def test_objects_pass_and_texts_are_parsed():
    rule = sr.L1(1e-4)
    assert registry.resolve("penalty", rule) is rule
    assert registry.resolve("penalty", "l1(1e-4)") == rule
    assert "l1" in registry.known("penalty")
    assert registry.known("penalty") == sorted(registry.known("penalty"))
