"""A run that was stopped and resumed has the bytes of one that never was."""

import json

import numpy as np
import pytest
from problems import arrays_of, assert_same_bytes, blobs, stripes

from sparserbm import (
    CD,
    L1,
    L2,
    MLP,
    RBM,
    SET,
    SGD,
    Adam,
    Backprop,
    Bernoulli,
    Cosine,
    EarlyStopping,
    ErdosRenyi,
    Linear,
    Normal,
    ReLU,
    Softmax,
    load_model,
    load_run,
    resume,
    train,
)
from sparserbm.runs import RunWriter

PICTURES, UNSEEN = stripes(35), stripes(12, seed=1)
X, Y = blobs(35)
VALIDATION = blobs(12, seed=1)[0], np.arange(12) % 3  # wrong labels: soon this loss rises


def rbm_run(backend, out, epochs, **settings):
    # Weights so large that chains remember where they were: with small ones, the same draws soon give the same states.
    wiring, weights = ErdosRenyi(density=0.4), Normal(2.0)
    rbm = RBM(Bernoulli(16), Bernoulli(10), wiring=wiring, weights=weights, seed=3, backend=backend)
    return train(rbm, PICTURES, epochs=epochs, batch_size=10, validation=UNSEEN, out=out, **settings)


def mlp_run(backend, out, epochs, **settings):
    mlp = MLP(6, ReLU(8), Softmax(3), wiring=[ErdosRenyi(density=0.5)] * 2, seed=3, backend=backend)
    return train(mlp, X, Backprop(), y=Y, epochs=epochs, batch_size=10, validation=VALIDATION, out=out, **settings)


def rbm_resumed(backend, out, epochs, **settings):
    return resume(out, PICTURES, validation=UNSEEN, epochs=epochs, backend=backend, **settings)


def mlp_resumed(backend, out, epochs, **settings):
    return resume(out, X, y=Y, validation=VALIDATION, epochs=epochs, backend=backend, **settings)


def assert_same_run(first, second):
    """Models, metrics without the time that they took, and degrees of all epochs."""
    assert_same_bytes(first.model, second.model)
    lines = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics] for run in (first, second)]
    assert lines[0] == lines[1]
    for layer in range(len(first.model.connections)):
        for side in ("pre", "post"):
            assert np.array_equal(first.degrees(layer, side)[1], second.degrees(layer, side)[1])


RBM_RUNS = [
    {"algorithm": CD(), "evolution": SET(0.3), "optimizer": SGD(0.1, momentum=0.9)},
    {"algorithm": CD(persistent=True), "evolution": SET(0.3, "every(steps=3)"), "optimizer": Adam(0.01)},
    {"algorithm": CD(negative="sample"), "regularization": [L2(Linear(0, 1e-2, 20)), L1(1e-4)]},
    {"algorithm": CD(), "evolution": SET(0.3, "every(steps=3)"), "regularization": ["set_decay(1e-3)", "max_norm(4)"]},
    {"algorithm": CD(), "evolution": SET(Cosine(0.4, 0.1, 20), last="drop"), "shuffle": False},
]
MLP_RUNS = [
    {"evolution": SET(0.3), "optimizer": Adam(Linear(0.05, 0.0, 30))},
    {"evolution": SET(0.3, "every(steps=4)", allow_return=False), "optimizer": SGD(0.2, 0.9, nesterov=True)},
    {"evolution": SET(0.3, "window(every(epochs=2), 2, 4)"), "regularization": L2(1e-3, coupled=False)},
]


@pytest.mark.parametrize("settings", RBM_RUNS, ids=["sgd", "persistent-adam", "penalties", "decay-norm", "cosine-drop"])
def test_resumed_rbms_are_those_that_never_stopped(backend, tmp_path, settings):
    whole = rbm_run(backend, tmp_path / "whole", 6, **settings)
    rbm_run(backend, tmp_path / "parts", 2, **settings)
    rbm_resumed(backend, tmp_path / "parts", 3)
    assert_same_run(whole, rbm_resumed(backend, tmp_path / "parts", 6))


@pytest.mark.parametrize("settings", MLP_RUNS, ids=["adam", "steps-nesterov", "window-decoupled"])
def test_resumed_mlps_are_those_that_never_stopped(backend, tmp_path, settings):
    whole = mlp_run(backend, tmp_path / "whole", 6, **settings)
    mlp_run(backend, tmp_path / "parts", 3, **settings)
    assert_same_run(whole, mlp_resumed(backend, tmp_path / "parts", 6))
    assert_same_bytes(load_model(tmp_path / "whole", backend), load_model(tmp_path / "parts", backend))


def test_a_run_in_memory_is_the_run_of_a_folder(backend, tmp_path):
    settings = {"algorithm": CD(), "evolution": SET(0.3)}
    assert_same_run(rbm_run(backend, None, 3, **settings), rbm_run(backend, tmp_path / "run", 3, **settings))


def test_an_interrupted_run_goes_on_from_its_last_epoch(backend, tmp_path):
    """Ctrl-C, and a crash after the metrics of an epoch were written but before its checkpoint."""
    settings = {"evolution": SET(0.3), "optimizer": Adam(0.01)}
    whole = mlp_run(backend, tmp_path / "whole", 6, **settings)

    def interrupt(model, metrics):
        if metrics["epoch"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mlp_run(backend, tmp_path / "parts", 6, callbacks=[interrupt], **settings)
    writer = RunWriter.reopen(tmp_path / "parts", 4)
    writer.log({"epoch": 5, "loss": 1e9})
    with open(tmp_path / "parts" / "metrics.jsonl", "a") as stream:
        stream.write('{"epoch": 6, "lo')
    assert_same_run(whole, mlp_resumed(backend, tmp_path / "parts", 6))
    assert load_run(tmp_path / "parts").history["epoch"].tolist() == list(range(7))


def test_early_stopping_knows_the_epochs_before(backend, tmp_path):
    settings = {"optimizer": SGD(0.1), "early_stopping": EarlyStopping(3), "evolution": SET(0.3)}
    whole = mlp_run(backend, tmp_path / "whole", 12, **settings)
    stopped = whole.metrics[-1]["epoch"]
    assert 3 < stopped < 12

    def interrupt(model, metrics):
        if metrics["epoch"] == stopped - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mlp_run(backend, tmp_path / "parts", 12, callbacks=[interrupt], **settings)
    assert_same_run(whole, mlp_resumed(backend, tmp_path / "parts", 12))
    assert_same_run(whole, mlp_resumed(backend, tmp_path / "parts", 20))  # it has stopped already


def test_a_finished_run_stays_as_it_is(backend, tmp_path):
    done = rbm_run(backend, tmp_path / "run", 3, algorithm=CD())
    again = rbm_resumed(backend, tmp_path / "run", 2)
    assert_same_run(done, again)
    assert again.config["training"]["epochs"] == 3


def test_the_config_says_how_long_it_became(backend, tmp_path):
    rbm_run(backend, tmp_path / "run", 2, algorithm=CD())
    rbm_resumed(backend, tmp_path / "run", 4)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["epochs"] == 4


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_a_run_may_go_on_with_another_backend(backend, tmp_path):
    rbm_run("reference", tmp_path / "run", 2, algorithm=CD(), evolution=SET(0.3))
    assert rbm_resumed(None, tmp_path / "run", 3).model.backend.name == "reference"  # that of the beginning
    assert rbm_resumed(backend, tmp_path / "run", 4).model.backend.name == backend
    whole = rbm_run("reference", None, 4, algorithm=CD(), evolution=SET(0.3)).model
    assert np.array_equal(arrays_of(whole)["born 0"], arrays_of(load_model(tmp_path / "run"))["born 0"])


# -- what is refused -------------------------------------------------------------------------------------------------


def test_other_data_are_refused(backend, tmp_path):
    mlp_run(backend, tmp_path / "run", 2)
    other = X.copy()
    other[3, 2] += 1e-7
    for data, targets in ((other, Y), (X[:30], Y[:30]), (X, (Y + 1) % 3), (X[::-1], Y)):
        with pytest.raises(
            ValueError, match=r"these are not the data of run .* \(other checksum\); resume it with those"
        ):
            resume(tmp_path / "run", data, y=targets, validation=VALIDATION, epochs=4)
    for validation in (None, (X, Y)):
        with pytest.raises(ValueError, match=r"these are not the validation data of run .* \(other checksum\)"):
            resume(tmp_path / "run", X, y=Y, validation=validation, epochs=4)
    assert load_run(tmp_path / "run").metrics[-1]["epoch"] == 2


def test_folders_that_cannot_be_resumed(backend, tmp_path):
    with pytest.raises(ValueError, match=r"is no run folder \(no config.json\)"):
        resume(tmp_path, X, y=Y, epochs=4)
    mlp_run(backend, tmp_path / "run", 1)
    (tmp_path / "run" / "checkpoint.npz").unlink()
    with pytest.raises(ValueError, match=r"ended before its first epoch was saved; train it again with overwrite=True"):
        mlp_resumed(backend, tmp_path / "run", 4)


def test_an_earlier_run_is_not_overwritten_by_accident(backend, tmp_path):
    first = mlp_run(backend, tmp_path / "run", 2)
    with pytest.raises(FileExistsError, match=r"exists; give another name, pass overwrite=True"):
        mlp_run(backend, tmp_path / "run", 3)
    assert_same_bytes(load_model(tmp_path / "run", backend), first.model)
    assert mlp_run(backend, tmp_path / "run", 3, overwrite=True).history["epoch"].tolist() == [0, 1, 2, 3]


def test_settings_that_cannot_be_leave_no_folder(tmp_path):
    class Own(SGD):
        pass

    for settings, error in (
        ({"optimizer": Own(0.1)}, TypeError),  # has no text, so the run could not be resumed
        ({"evolution": "sett"}, ValueError),
        ({"zone": "central(2)"}, ValueError),
        ({"snapshot_every": 0}, ValueError),
    ):
        with pytest.raises(error):
            mlp_run("reference", tmp_path / "run", 1, **settings)
        assert not (tmp_path / "run").exists()
    assert mlp_run("reference", None, 1, optimizer=Own(0.1)).history["epoch"].tolist() == [0, 1]
