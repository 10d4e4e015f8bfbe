"""Recipes: a run in plain words."""

import dataclasses
import json

import numpy as np
import pytest

from sparserbm.recipes import Recipe, resume_recipe
from sparserbm.runs import load_run


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """50 samples of 12 features with text labels, sorted by class."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("data") / "table.npz"
    np.savez(path, X=rng.random((50, 12)), y=np.repeat(["cat", "ant", "bee", "ant", "dog"], 10))
    return str(path)


SMALL = {"hidden": (8,), "density": 0.5, "epochs": 2, "batch_size": 16, "backend": "reference"}


def test_labels_become_class_numbers_and_a_share_is_held_out(table):
    data = Recipe(model="mlp", data=table, validation=0.3, **SMALL).load_data()
    assert data.X.shape == (35, 12)
    assert data.X_test.shape == (15, 12)
    assert sorted(np.unique(np.concatenate([data.y, data.y_test]))) == [0, 1, 2, 3]
    assert np.bincount(np.concatenate([data.y, data.y_test])).tolist() == [20, 10, 10, 10]
    whole = np.load(table)
    numbers = {"ant": 0, "bee": 1, "cat": 2, "dog": 3}
    for x, y in zip(data.X, data.y):
        (row,) = np.flatnonzero(np.all(np.isclose(whole["X"], x, atol=1e-6), axis=1))
        assert numbers[str(whole["y"][row])] == y


def test_nothing_is_held_out_on_demand_or_where_there_is_a_test_set(table, tmp_path):
    assert Recipe(data=table, validation=0.0, **SMALL).load_data().X_test is None
    stored = dict(np.load(table))
    np.savez(tmp_path / "both.npz", X_test=stored["X"][:7], y_test=stored["y"][:7], **stored)
    assert len(Recipe(data=str(tmp_path / "both.npz"), **SMALL).load_data().X_test) == 7


def test_a_test_label_that_training_never_saw_is_an_error(table, tmp_path):
    stored = dict(np.load(table))
    np.savez(tmp_path / "new.npz", X_test=stored["X"][:2], y_test=np.array(["ant", "yak"]), **stored)
    with pytest.raises(ValueError, match="labels that no training sample has: .'yak'"):
        Recipe(model="mlp", data=str(tmp_path / "new.npz"), **SMALL).load_data()


def test_the_model_is_what_the_words_say(table):
    recipe = Recipe(model="mlp", data=table, activation="tanh", seed=5, **SMALL | {"hidden": (8, 6), "density": 0.25})
    model = recipe.build(recipe.load_data())
    assert [len(layer) for layer in model.connections] == [24, 12, 24]
    assert [type(units).__name__ for units in model.units] == ["Identity", "Tanh", "Tanh", "Softmax"]
    assert model.seed == 5
    rbm = Recipe(data=table, visible="gaussian", wiring="fixed_fan_in(3)", **{**SMALL, "density": None})
    model = rbm.build(rbm.load_data())
    assert model.matrix.pattern.fan_in().tolist() == [3] * 8
    assert type(model.visible).__name__ == "Gaussian"


def test_slopes_of_all_relu_alternate(table):
    recipe = Recipe(model="mlp", data=table, activation="all_relu(0.6)", **SMALL | {"hidden": (8, 6, 5)})
    model = recipe.build(recipe.load_data())
    assert [units.slope for units in model.units[1:-1]] == [-0.6, 0.6, -0.6]
    assert type(model.units[1]).__name__ == "AllReLU"


def test_penalties_are_those_that_are_not_zero():
    assert Recipe().penalties() == []
    both = Recipe(l1=1e-4, l2="linear(0, 1e-3, steps=10)", penalise_biases=True).penalties()
    assert [type(penalty).__name__ for penalty in both] == ["L2", "L1"]
    assert both[0].strength(5) == pytest.approx(5e-4)
    assert all(penalty.biases for penalty in both)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model": "cnn"}, "unknown model 'cnn'; known: rbm, mlp"),
        ({"hidden": (3, 4)}, "an RBM has one hidden layer"),
        ({"hidden": ()}, "at least one"),
        ({"epsilon": 3, "density": 0.1}, "give one of them"),
    ],
)
def test_words_that_contradict_each_other(words, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**words)


def test_an_mlp_needs_labels(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 5)))
    recipe = Recipe(model="mlp", data=str(tmp_path / "x.npy"), **SMALL)
    with pytest.raises(ValueError, match=r"an MLP needs labels, and x.npy has none"):
        recipe.run()


def test_a_run_remembers_its_recipe_and_goes_on_with_it(table, tmp_path):
    recipe = Recipe(data=table, seed=2, **SMALL)
    recipe.run(tmp_path / "a", name="mine")
    stored = json.loads((tmp_path / "a" / "config.json").read_text())
    assert stored["name"] == "mine"
    assert Recipe(**stored["recipe"]) == recipe
    resume_recipe(tmp_path / "a", 5)
    whole = dataclasses.replace(recipe, epochs=5).run()
    resumed = load_run(tmp_path / "a")
    assert [line["loss"] for line in resumed.metrics[1:]] == [line["loss"] for line in whole.metrics[1:]]


def test_resuming_a_run_without_recipe_says_what_to_do(table, tmp_path):
    recipe = Recipe(data=table, **SMALL)
    recipe.run(tmp_path / "a")
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text())
    del config["recipe"]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="not made from a recipe; resume it in Python"):
        resume_recipe(tmp_path / "a", 5)


@pytest.mark.parametrize("wiring", [{"density": 0.0}, {"epsilon": 0.0}])
def test_no_connections_at_all_are_not_silently_the_default(table, wiring):
    recipe = Recipe(data=table, **{**SMALL, "density": None, **wiring})
    with pytest.raises(ValueError, match=r"(density|epsilon)=0.0 is not possible"):
        recipe.build(recipe.load_data())


def test_one_number_is_one_hidden_layer_and_an_image_has_two_sides(table):
    assert Recipe(hidden=500).hidden == (500,)
    with pytest.raises(ValueError, match="give rows and columns, e.g. 28,28"):
        Recipe(image_shape=(784,))


def test_a_run_goes_on_at_a_machine_with_fewer_cores(table, tmp_path):
    Recipe(data=table, **SMALL).run(tmp_path / "a")
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text())
    config["recipe"] |= {"threads": 4096, "backend": "auto"}
    path.write_text(json.dumps(config))
    assert len(resume_recipe(tmp_path / "a", 3).metrics) == 4


def test_a_name_wins_over_a_file_that_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("notes")
    (tmp_path / "x.npy").write_bytes(b"")
    assert Recipe(data="digits").from_anywhere().data == "digits"
    assert Recipe(data="x.npy").from_anywhere().data == str(tmp_path / "x.npy")


def test_one_density_for_the_network_is_estimated_and_built(table):
    recipe = Recipe(model="mlp", data=table, wiring="erk(density=0.5)", **{**SMALL, "density": None, "hidden": (8, 6)})
    model = recipe.build(recipe.load_data())
    assert recipe.estimate().connections == tuple(len(layer) for layer in model.connections) == (38, 27, 19)
    assert model.density == 0.5
    rbm = Recipe(data=table, wiring="erk(density=0.5)", **{**SMALL, "density": None})
    assert rbm.estimate().connections == (48,)
    assert rbm.build(rbm.load_data()).n_connections == 48


@pytest.mark.parametrize("model", ["rbm", "mlp"])
def test_the_baseline_without_evolution_begins_with_the_same_network(table, model):
    """FixProb: the same seed gives the same first wiring and weights, and keeps the wiring."""
    recipe = Recipe(model=model, data=table, seed=4, **SMALL | {"hidden": (8,)})
    fixed, evolved = (dataclasses.replace(recipe, evolution=rule).run() for rule in (None, "set(zeta=0.3)"))
    first, same = fixed.snapshots[0], evolved.snapshots[0]
    for layer, other in zip(first.layers, same.layers, strict=True):
        for name in ("indptr", "pre", "weight"):
            assert getattr(layer, name).tobytes() == getattr(other, name).tobytes()
    for layer, connections in zip(first.layers, fixed.model.connections):
        assert np.array_equal(layer.pre, connections.pattern.pre)
    assert any(
        not np.array_equal(layer.pre, connections.pattern.pre)
        for layer, connections in zip(first.layers, evolved.model.connections)
    )
    # Until the first event they are one network: the first epoch has the same loss.
    assert fixed.metrics[1]["loss"] == evolved.metrics[1]["loss"]
