"""Published settings by name: their sizes are the published ones, they train, and flags change them."""

import numpy as np
import pytest
from sparserbm_cli.main import main

import sparserbm as sr
from sparserbm.data import Dataset
from sparserbm.runs import load_run

# Connections on data of this many features and classes, from the publications (set_rbm and set_mlp: before repetitions).
SIZES = {
    "set_rbm": (1024, 20, [10 * (1024 + 200)]),
    "set_mlp": (784, 10, [13 * 1784, 13 * 2000, 13 * 2000, 10_000]),
    "synapses": (784, 10, [14_256, 7_040, 1_280]),
    "evolnet": (784, 10, [14_256, 7_040, 1_280]),
    "fixprob": (784, 10, [14_256, 7_040, 1_280]),
    "dense": (784, 10, [784 * 512, 512 * 128, 1_280]),
    "rigl": (784, 10, [4_704, 3_540, 1_000]),
}


def test_every_preset_is_listed_with_its_description():
    assert set(sr.known_presets()) == set(SIZES)
    assert all("We differ:" in text or name in ("fixprob", "dense") for name, text in sr.known_presets().items())


@pytest.mark.parametrize("name", SIZES)
def test_the_network_has_the_published_size(name):
    n_features, n_classes, connections = SIZES[name]
    X, y = np.zeros((1, n_features), np.float32), np.array([n_classes - 1])
    data = Dataset("none", X, y, None, None, None, "none", "")
    model = sr.preset(name).build(data)
    assert [len(layer) for layer in model.connections] == connections


@pytest.mark.parametrize("name", SIZES)
def test_every_preset_trains(name):
    small = {"hidden": (30, 20), "weights": None, "biases": "zero"}
    small = {"set_rbm": {"hidden": (20,)}, "rigl": {"optimizer": "sgd(0.05)"}}.get(name, small)
    less = {"epsilon": 3} if sr.preset(name).epsilon is not None else {}
    run = sr.preset(name, data="digits", epochs=3, batch_size=100 if name != "rigl" else 20, **small, **less).run()
    losses = run.history["loss"][1:]
    assert losses[-1] < losses[0]
    evolved = np.sum(run.history["dropped"]) > 0
    assert evolved == (name not in ("fixprob", "dense"))


def test_settings_may_be_others():
    recipe = sr.preset("set_rbm", data="mnist", epochs=2)
    assert (recipe.data, recipe.epochs, recipe.batch_size) == ("mnist", 2, 10)
    with pytest.raises(ValueError, match="unknown setting 'epoch'; known: activation, algorithm"):
        sr.preset("set_rbm", epoch=2)
    with pytest.raises(ValueError, match=r"unknown preset 'set_rb' \(did you mean 'set_rbm'\?\)"):
        sr.preset("set_rb")


def test_flags_win_over_the_preset(monkeypatch, capsys, tmp_path):
    words = "train rbm --preset set_rbm --hidden 20 --epsilon 4 --epochs 1 --set batch_size=50 --quiet --out"
    monkeypatch.setattr("sys.argv", ["sparserbm", *words.split(), str(tmp_path / "a")])
    main()
    recipe = load_run(tmp_path / "a").config["recipe"]
    assert (recipe["hidden"], recipe["epochs"], recipe["batch_size"]) == ([20], 1, 50)
    assert recipe["regularization"] == "set_decay(2e-7, biases=True)"
    assert recipe["optimizer"] == "sgd(0.1)"
    monkeypatch.setattr("sys.argv", ["sparserbm", "train", "mlp", "--preset", "set_rbm", "--dry-run"])
    with pytest.raises(SystemExit):
        main()
    assert "preset 'set_rbm' is for train rbm, not for train mlp" in capsys.readouterr().err
