"""Grids: keys, values, names of runs, and the recipes that come of them; no training."""

import dataclasses
import inspect
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparserbm as sr
from sparserbm.registry import parse
from sparserbm.studies.grid import (
    EVOLUTION,
    LONGEST_NAME,
    LONGEST_VALUE,
    STUDY_L2,
    cell_name,
    cell_of,
    default_of,
    full_grid,
    grid_key,
    planned_runs,
    value_text,
)

SHARED = {"data": "digits", "folder": None, "backend": "auto", "threads": 1}


def planned(grid=None, settings=None, epochs=None, **short):
    return planned_runs(full_grid(grid, **short), SHARED, settings or {}, epochs)


def test_the_short_forms_are_keys_of_the_grid():
    assert full_grid(None) == {"model": ("rbm", "mlp"), "l2": STUDY_L2, "seed": (0, 1, 2)}
    short = full_grid({"zeta": [0.1]}, models=("mlp",), l2=(0.0, 0.1), seeds=2)
    assert short == {"model": ("mlp",), "l2": (0.0, 0.1), "zeta": (0.1,), "seed": (0, 1)}
    assert full_grid({"l2": [0.0, 0.1], "zeta": 0.1, "seed": [0, 1], "model": "mlp"}) == short
    assert list(full_grid({"seed": [7], "zeta": [0.1], "model": ["rbm"]})) == ["model", "zeta", "seed"]
    assert full_grid({"seed": [7]})["l2"] == STUDY_L2  # nothing else varies


def test_every_setting_and_every_parameter_of_evolution_is_a_key():
    assert (
        set(EVOLUTION) == set(inspect.signature(sr.Evolution).parameters) >= {"drop", "grow", "birth", "zeta", "when"}
    )
    for key in sr.Recipe.options():
        assert grid_key(key) == key
    for name in EVOLUTION:
        key = grid_key(f"evolution.{name}")
        assert key == (f"evolution.{name}" if name in sr.Recipe.options() else name)
        assert default_of(key) == EVOLUTION[name]


@pytest.mark.parametrize(
    ("grid", "short", "message"),
    [
        (
            {"drpo": ["set"]},
            {},
            r"unknown grid key 'drpo' \(did you mean 'drop'\?\).*settings of a run \(model, .*\(drop,",
        ),
        ({"evolution.zetta": [0.1]}, {}, "unknown grid key 'evolution.zetta'"),
        ({"zeta": []}, {}, "grid key 'zeta' has no value"),
        ({"l2": [0, 0.0]}, {}, "the values of 'l2' repeat themselves: 0.0 comes twice"),
        ({"zeta": [0.1], "evolution.zeta": [0.2]}, {}, "'evolution.zeta' is given twice"),
        ({"l2": [0.1]}, {"l2": (0.0,)}, "'l2' is given twice, or in its short form too"),
        ({"seed": [4]}, {"seeds": 2}, "'seed' is given twice"),
        ({"model": ["cnn"]}, {}, "unknown model 'cnn'; known: rbm, mlp"),
        ({"zeta": [{"a": 1}]}, {}, "cannot be written as a rule text"),
        ({"epochs": [1, 2]}, {"epochs": 3}, "epochs are in the grid and given for all runs too"),
        ({"allow_return": ["no"]}, {}, "rbm-allow_return=no: allow_return='no' is not possible; use true or false"),
        ({"evolution": [None], "zeta": [0.1]}, {}, "rbm-evolution=none-zeta=0.1: evolution is off, so it has no zeta"),
        ({"last": ["nothing"]}, {}, "last='nothing' is not possible; use one of none, drop, full"),
        ({"hidden": [(20, 10)]}, {}, "rbm-hidden=20-10: .*an RBM has one hidden layer"),
        ({"epsilon": [5], "density": [0.1]}, {}, "epsilon, density and wiring say the same thing"),
        ({"seed": ["a"]}, {}, "seed='a' is not possible; give int"),
        (
            {},
            {"settings": {"mlp": {"hiden": (3,)}}},
            "unknown setting 'hiden' in the settings of a study; known: model",
        ),
        ({}, {"settings": {"mpl": {}}}, "unknown model 'mpl' in the settings of a study; known: rbm, mlp"),
    ],
)
def test_bad_grids(grid, short, message):
    with pytest.raises((ValueError, TypeError), match=message):
        planned(grid, **short)


def test_parameters_go_into_the_evolution_rule_of_the_model():
    (run,) = planned({"zeta": 0.1, "birth": "zero", "last": "none"}, models=["mlp"], seeds=1)
    rules = parse("evolution", run.recipe.evolution)
    before = parse("evolution", "set(zeta=0.3, when=every(steps=90), allow_return=False)")
    assert rules == dataclasses.replace(before, zeta=0.1, birth="zero")
    assert run.recipe.evolution == "evolution(birth=zero, zeta=0.1, when=every(steps=90, epochs=0), allow_return=False)"
    (run,) = planned({"evolution": "set(zeta=0.2)", "zeta": "linear(0.3, 0.1, 50)"}, models=["rbm"], seeds=1)
    assert parse("evolution", run.recipe.evolution) == sr.SET(zeta=sr.Linear(0.3, 0.1, 50))
    (run,) = planned({"l2": 0.1}, models=["mlp"], seeds=1)
    assert run.recipe.evolution == "set(zeta=0.3, when=every(steps=90), allow_return=False)"  # as it was written


def test_a_setting_and_a_parameter_of_one_name(monkeypatch):
    monkeypatch.setitem(EVOLUTION, "epsilon", 1.0)
    assert grid_key("evolution.epsilon") == "evolution.epsilon"
    assert grid_key("epsilon") == "epsilon"
    assert default_of("evolution.epsilon") == 1.0
    assert list(full_grid({"epsilon": [3], "evolution.epsilon": [2]})) == [
        "model",
        "epsilon",
        "evolution.epsilon",
        "seed",
    ]


def test_a_grid_goes_over_settings_and_they_over_those_of_the_data():
    settings = {"mlp": {"hidden": (9,), "batch_size": 7, "epochs": 5}}
    (run,) = planned({"batch_size": 8}, settings=settings, models=["mlp"], seeds=1)
    assert (run.recipe.hidden, run.recipe.batch_size, run.recipe.epochs) == ((9,), 8, 5)
    assert run.recipe.optimizer == "sgd(0.02, momentum=0.9)"  # of the digits
    (run,) = planned({"batch_size": 8}, settings=settings, models=["mlp"], seeds=1, epochs=6)
    assert run.recipe.epochs == 6
    (run,) = planned({"data": "mnist"}, models=["mlp"], seeds=1)
    assert (run.recipe.hidden, run.recipe.epochs) == ((512, 128), 155)


@pytest.mark.parametrize(("key", "value"), [("density", 0.1), ("wiring", "fixed_fan_in(20)"), ("epsilon", 5)])
def test_another_first_wiring_replaces_that_of_the_recipe(key, value):
    (run,) = planned({key: value}, models=["mlp"], seeds=1)
    given = {name: getattr(run.recipe, name) for name in ("epsilon", "density", "wiring")}
    assert given == dict.fromkeys(given) | {key: value}


def test_values_are_plain():
    grid = full_grid(
        {"l2": [0, np.float32(0.5), sr.Linear(0, 1e-3, 50)], "hidden": [[256, 64], 20], "drop": sr.SignedMagnitude()}
    )
    assert grid["l2"] == (0.0, 0.5, "linear(start=0, stop=0.001, steps=50, after=0)")
    assert [type(value) for value in grid["l2"]] == [float, float, str]
    assert grid["hidden"] == ((256, 64), 20)
    assert grid["drop"] == ("set",)


def test_names_are_readable():
    grid = {"drop": "set", "l2": [0.001], "hidden": [(256, 64)], "birth": "same(normal(0.05))", "allow_return": False}
    (run,) = planned(grid, models=["mlp"], seeds=1)
    assert run.name == "mlp-allow_return=false-birth=same_normal_0.05-drop=set-hidden=256-64-l2=0.001-seed=0"
    assert cell_of(run.name) == run.cell
    assert value_text("linear(0, 1e-3, 5000)") == "linear_0_1e-3_5000"
    assert value_text(None) == "none"
    name = cell_name({"model": "rbm", "zeta": 0.1, "l2": 0.0, "seed": 1})
    assert name == cell_name({"l2": 0.0, "zeta": 0.1, "model": "rbm", "seed": 2}) == "rbm-l2=0.0-zeta=0.1"


def test_long_names_end_in_a_hash_and_stay_apart():
    a, b = (f"steps((0.1, 0.01, 0.001, 0.0001, {last}), (100, 200, 300, 400))" for last in (1e-5, 1e-6))
    assert value_text(a) != value_text(b)
    for text in (a, b):
        assert len(value_text(text)) == LONGEST_VALUE
        assert re.fullmatch(r"steps_0\.1_0\.01_.*_[0-9a-f]{6}", value_text(text))
    many = {key: a for key in ("l2", "l1", "zeta", "optimizer", "algorithm", "early_stopping", "zone", "data")}
    names = {cell_name({"model": "mlp", **many, "zone": zone}) for zone in (a, b)}
    assert len(names) == 2
    assert {len(name) for name in names} == {LONGEST_NAME}


@given(st.text(st.sampled_from(""" \t/\\:*?"'<>|.,;()[]=+-_aZ09é"""), max_size=80))
def test_any_text_gives_a_name_that_every_file_system_takes(text):
    name = value_text(text)
    assert len(name) <= LONGEST_VALUE
    assert not set(name) & set('/\\:*?"<>| ,()')
    assert name == value_text(text)
