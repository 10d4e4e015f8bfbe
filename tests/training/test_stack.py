"""Greedy training of a stack: what each layer learns from, where it starts, its folder, and stopping in between."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import assert_same_bytes, host, stripes

from sparserbm import (
    CD,
    RBM,
    SET,
    SGD,
    Bernoulli,
    EarlyStopping,
    ErdosRenyi,
    Gaussian,
    Normal,
    Stack,
    load_dataset,
    load_model,
    load_run,
    resume,
    resume_stack,
    train,
    train_stack,
    transposed,
    variational_bound,
)
from sparserbm.runs import LayerSnapshot

X, UNSEEN = stripes(35), stripes(12, seed=1)
SETTINGS = {"epochs": 3, "batch_size": 10, "optimizer": SGD(0.1, momentum=0.5), "evolution": SET(0.3)}


def small(backend, *sizes, **more):
    units = [Bernoulli(n) for n in sizes or (16, 9, 7)]
    return Stack(*units, wiring=ErdosRenyi(density=0.4), weights=Normal(1.0), seed=3, backend=backend, **more)


def assert_same_stack(first, second):
    assert len(first) == len(second)
    for own, other in zip(first, second):
        assert_same_bytes(own, other)


class Crash(Exception):
    pass


def crashing(layer_sizes, epoch):
    """A callback that raises after this epoch of the layer with these numbers of units."""

    def callback(model, metrics):
        if [units.n for units in model.units] == layer_sizes and metrics["epoch"] == epoch:
            raise Crash

    return callback


# -- what is learnt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, np.arange(35) % 3])
def test_each_layer_learns_the_means_of_the_one_below(backend, weight):
    stack = small(backend)
    by_hand = stack.copy()
    kind = SETTINGS | {"sample_weight": weight}
    run = train_stack(stack, X, CD(), validation=(UNSEEN, None, np.arange(12)), **kind)
    H, unseen = X, UNSEEN
    for number, layer in enumerate(by_hand):
        zone = "auto" if number == 0 else None
        alone = train(layer, H, CD(), validation=(unseen, None, np.arange(12)), zone=zone, **kind)
        lines = [{k: v for k, v in line.items() if k != "seconds"} for line in alone.metrics]
        assert [{k: v for k, v in line.items() if k != "seconds"} for line in run.layers[number].metrics] == lines
        H, unseen = layer.transform(H), layer.transform(unseen)
    assert_same_stack(stack, by_hand)
    assert run.model is stack
    assert run.folder is None
    assert [each.name for each in run.layers] == ["layer 0", "layer 1"]
    assert run.layers[1].config["data"]["name"] == "layer 0"


def test_layers_differ_in_their_settings():
    stack = small("reference")
    each = [{"epochs": 2}, {"algorithm": "cd(k=2)", "optimizer": "adam(0.01)", "evolution": None}]
    run = train_stack(stack, X, per_layer=each, name="deep", regularization="l2(0.001)", **SETTINGS)
    assert [layer.epoch for layer in stack] == [2, 3]
    said = [layer.config["training"] for layer in run.layers]
    assert said[1]["algorithm"].startswith("cd(k=2")
    assert said[0]["algorithm"].startswith("cd(k=1")
    assert said[0]["evolution"]
    assert said[1]["evolution"] is None
    assert said[1]["regularization"] == said[0]["regularization"] != []
    assert run.layers[1].name == "deep, layer 1"


def test_a_data_set_brings_images_and_test_samples():
    digits = load_dataset("digits")
    stack = Stack(Bernoulli(784), Bernoulli(8), Bernoulli(4))
    run = train_stack(stack, digits, epochs=1, batch_size=500)
    assert run.layers[0].config["data"]["image_shape"] == [28, 28]
    assert run.layers[0].zone_mask.sum() == 400
    assert run.layers[1].zone_mask is None
    assert all("validation_loss" in layer.metrics[-1] for layer in run.layers)


def test_a_gaussian_layer_at_the_bottom(backend):
    stack = Stack(Gaussian(16), Bernoulli(9), Bernoulli(7), seed=1, backend=backend)
    run = train_stack(stack, 3 * X - 1, per_layer=[{"optimizer": "sgd(0.001)"}, {}], epochs=2, batch_size=10)
    assert all(np.isfinite(layer.metrics[-1]["loss"]) for layer in run.layers)


def test_trained_layers_stay_and_new_ones_are_trained(backend):
    first = train_stack(small(backend, 16, 9), X, **SETTINGS).model
    before = first.layers[0].copy()
    first.add(Bernoulli(5), wiring="dense")
    run = train_stack(first, X, **SETTINGS)
    assert_same_bytes(first.layers[0], before)
    assert run.layers[0] is None
    assert run.layers[1].metrics[-1]["epoch"] == 3
    assert [layer.epoch for layer in first] == [3, 3]


# -- the transpose as a start ----------------------------------------------------------------------------------------


def test_a_layer_can_start_as_the_transpose(backend):
    stack = small(backend, 16, 9, 16, dtype="float64")
    settings = SETTINGS | {"evolution": None}
    run = train_stack(stack, X, start="transpose", **settings)
    wanted = transposed(stack[0])
    found = run.layers[1].snapshots[0].layers[0]
    assert isinstance(found, LayerSnapshot)
    assert np.array_equal(found.pre, wanted.matrix.pattern.pre)
    assert np.array_equal(found.indptr, wanted.matrix.pattern.indptr)
    assert_allclose(found.weight, host(wanted.matrix.weight), rtol=1e-15)
    assert stack[1].origin["wiring"][0].startswith("transpose of erdos_renyi(")
    assert stack[1].step == 12


def test_training_leaves_the_biases_of_a_transpose(backend):
    """Visible biases of an untrained RBM go to those of the data; these are there already."""
    stack = small(backend, 4, 3, dtype="float64")
    data = stripes(20, side=2)
    train_stack(stack, data, **SETTINGS)
    before = variational_bound(stack, data)
    new = stack.add_transpose()
    train(new, stack.layers[0].transform(data), CD(), epochs=1, optimizer=SGD(1e-12))
    assert_allclose(variational_bound(stack, data), before, atol=1e-9)


def test_no_transpose_where_sizes_differ():
    with pytest.raises(
        ValueError, match=r"layer 1 cannot start as the transpose of layer 0: .*7\) instead of .*n=16\)"
    ):
        train_stack(small("reference"), X, start="transpose")
    with pytest.raises(ValueError, match="start='copy' is not possible; use one of drawn, transpose"):
        train_stack(small("reference"), X, start="copy")


# -- settings that are wrong are found before anything is trained ----------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"per_layer": [{}]}, ValueError, "give a list of 2 dicts of settings, one for each layer"),
        ({"per_layer": {"epochs": 3}}, ValueError, "give a list of 2 dicts"),
        ({"per_layer": [{}, {"epoch": 3}]}, TypeError, r"no setting 'epoch' \(did you mean 'epochs'\?\)"),
        ({"follows": None}, TypeError, "no setting 'follows'"),
        ({"per_layer": [{}, {"epochs": 0}]}, ValueError, "layer 1: epochs=0 is not possible"),
        ({"per_layer": [{}, {"optimizer": "sdg(0.1)"}]}, ValueError, "layer 1: unknown optimizer 'sdg'"),
        ({"callbacks": [1]}, TypeError, "callbacks="),
    ],
)
def test_wrong_settings(settings, error, match, tmp_path):
    stack = small("reference")
    with pytest.raises(error, match=match):
        train_stack(stack, X, out=tmp_path / "stack", **settings)
    assert stack.layers[0].epoch == 0
    assert not (tmp_path / "stack").exists()


def test_one_word_for_each():
    stack = small("reference")
    with pytest.raises(TypeError, match=r"train trains one model; train_stack\(stack, X"):
        train(stack, X, CD())
    with pytest.raises(TypeError, match="train_stack trains a Stack, not a RBM"):
        train_stack(stack[0], X)
    with pytest.raises(ValueError, match=r"16 inputs"):
        train_stack(stack, X[:, :5])


# -- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_holds_the_stack_and_a_run_for_each_layer(backend, tmp_path):
    folder = tmp_path / "stack"
    run = train_stack(small(backend), X, validation=UNSEEN, out=folder, name="deep", **SETTINGS)
    config = json.loads((folder / "config.json").read_text())
    assert config["model"]["units"] == ["bernoulli(n=16)", "bernoulli(n=9)", "bernoulli(n=7)"]
    assert config["name"] == "deep"
    assert config["training"]["layers"][1]["epochs"] == 3
    loaded = load_model(folder, backend)
    assert [units.n for units in loaded.units] == [16, 9, 7]
    assert loaded.seed == 3
    assert loaded.transform(X).tobytes() == run.model.transform(X).tobytes()
    for number, layer in enumerate(run.layers):
        assert load_run(folder / f"layer{number}").metrics == layer.metrics
    with pytest.raises(ValueError, match="holds a stack, with one run for each layer: read .*layer0"):
        load_run(folder)
    with pytest.raises(ValueError, match="holds a stack; go on with resume_stack"):
        resume(folder, X, epochs=9)
    with pytest.raises(ValueError, match="a stack has no 'best' model"):
        load_model(folder, which="best")
    with pytest.raises(ValueError, match="holds the run of one model"):
        resume_stack(folder / "layer0", X)


def test_an_earlier_stack_is_kept_unless_it_may_go(tmp_path):
    train_stack(small("reference", 16, 9, 7, 5), X, out=tmp_path / "stack", epochs=1)
    (tmp_path / "stack" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists; give another name"):
        train_stack(small("reference"), X, out=tmp_path / "stack", epochs=1)
    stack = small("reference")
    for layer in stack:
        layer.epoch = 1  # as if trained elsewhere: runs of the earlier stack must not pass for theirs
    run = train_stack(stack, X, out=tmp_path / "stack", overwrite=True)
    assert run.layers == [None, None]
    kept = sorted(path.name for path in (tmp_path / "stack").iterdir())
    assert kept == ["config.json", "layer0.npz", "layer1.npz", "notes.txt"]
    assert len(load_model(tmp_path / "stack")) == 2


def test_what_layers_above_were_trained_on_is_what_is_saved(backend, tmp_path):
    """Early stopping goes back to its best epoch, and `last` drops connections after the checkpoint."""
    settings = {"early_stopping": EarlyStopping(1), "evolution": SET(0.3, last="drop"), "optimizer": SGD(5.0)}
    run = train_stack(small(backend), X, validation=UNSEEN, out=tmp_path / "s", **(SETTINGS | settings | {"epochs": 8}))
    loaded = load_model(tmp_path / "s", backend)
    for own, other in zip(loaded, run.model):
        assert np.array_equal(own.matrix.pattern.keys, other.matrix.pattern.keys)
        assert host(own.matrix.weight).tobytes() == host(other.matrix.weight).tobytes()
        assert len(own.matrix) < round(0.4 * own.visible.n * own.hidden.n)


# -- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [([16, 9], 1), ([16, 9], 3), ([9, 16], 1), ([9, 16], 2)])
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(backend, where, tmp_path):
    data = {"sample_weight": 1 + np.arange(35) % 3, "validation": UNSEEN}
    settings = SETTINGS | {"algorithm": CD(persistent=True), "start": "transpose"} | data
    whole = train_stack(small(backend, 16, 9, 16), X, **settings, out=tmp_path / "whole")
    with pytest.raises(Crash):
        train_stack(small(backend, 16, 9, 16), X, out=tmp_path / "stopped", callbacks=[crashing(*where)], **settings)
    assert len(load_model(tmp_path / "stopped", backend)) == 2
    run = resume_stack(tmp_path / "stopped", X, backend=backend, **data)
    for number, (own, other) in enumerate(zip(run.layers, whole.layers)):
        own_lines, lines = ([{**line, "seconds": 0} for line in each.metrics] for each in (own, other))
        assert own_lines == lines
        assert own.model is run.model.layers[number]
    loaded = [load_model(tmp_path / name, backend) for name in ("stopped", "whole")]
    assert_same_stack(*loaded)
    assert loaded[0].transform(X).tobytes() == run.model.transform(X).tobytes()
    again = resume_stack(tmp_path / "stopped", X, backend=backend, **data)  # nothing is left to do
    assert_same_stack(again.model, loaded[0])


def test_a_layer_that_died_before_its_first_epoch_begins_anew(tmp_path, monkeypatch):
    whole = train_stack(small("reference"), X, **SETTINGS)
    import sparserbm.training.stack as module

    def dying(model, *given, **named):
        if model.visible.n == 9:
            named["out"].mkdir()
            raise Crash
        return train(model, *given, **named)

    monkeypatch.setattr(module, "train", dying)
    zone = np.arange(16) < 5
    with pytest.raises(Crash):
        train_stack(small("reference"), X, out=tmp_path / "s", zone=zone, **SETTINGS)
    monkeypatch.undo()
    run = resume_stack(tmp_path / "s", X)
    assert np.array_equal(run.layers[0].zone_mask, zone)
    for own, other in zip(run.model, whole.model):
        assert own.matrix.weight.tobytes() == other.matrix.weight.tobytes()


def test_a_first_layer_that_never_began_gets_its_zone(tmp_path, monkeypatch):
    import sparserbm.training.stack as module

    zone = np.arange(16) < 5
    monkeypatch.setattr(module, "train", lambda *given, **named: (_ for _ in ()).throw(Crash))
    with pytest.raises(Crash):
        train_stack(small("reference"), X, out=tmp_path / "s", zone=zone, image_shape=(4, 4), **SETTINGS)
    monkeypatch.undo()
    run = resume_stack(tmp_path / "s", X)
    assert np.array_equal(run.layers[0].zone_mask, zone)
    assert run.layers[0].config["data"]["image_shape"] == [4, 4]


def test_other_data_are_noticed(tmp_path):
    train_stack(small("reference"), X, out=tmp_path / "s", epochs=1)
    with pytest.raises(ValueError, match="these are not the data of stack"):
        resume_stack(tmp_path / "s", UNSEEN)
    with pytest.raises(ValueError, match="these are not the data of stack"):
        resume_stack(tmp_path / "s", X, sample_weight=np.arange(35))


def test_another_backend_can_finish(tmp_path):
    callbacks = [crashing([9, 7], 1)]
    with pytest.raises(Crash):
        train_stack(small("reference", dtype="float64"), X, out=tmp_path / "s", callbacks=callbacks, **SETTINGS)
    run = resume_stack(tmp_path / "s", X, backend="numpy")
    assert {layer.backend.name for layer in run.model} == {"numpy"}
    assert run.layers[1].metrics[-1]["epoch"] == 3


def test_progress_names_the_layer(capsys):
    train_stack(small("reference"), X, epochs=1, progress=True)
    said = capsys.readouterr().err
    assert "layer 1 of 2: 16 to 9 units" in said
    assert "layer 2 of 2: 9 to 7 units" in said


def test_an_rbm_by_itself_is_the_first_layer_of_a_stack():
    stack = small("reference", 16, 9)
    rbm = RBM(
        Bernoulli(16), Bernoulli(9), wiring=ErdosRenyi(density=0.4), weights=Normal(1.0), seed=3, backend="reference"
    )
    train(rbm, X, CD(), **SETTINGS)
    train_stack(stack, X, CD(), **SETTINGS)
    assert_same_bytes(stack[0], rbm)
