"""``sparserbm compare`` and ``sparserbm info``: what is printed is what the runs hold."""

import json
import shutil

import numpy as np
import pytest

import sparserbm as sr
from sparserbm.plotting.topology_distance import last_layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    np.savez(folder / "grey.npz", X=random.random((60, 24)) * (np.arange(24) < 16), y=np.arange(60) % 2)
    kind = {"data": str(folder / "grey.npz"), "epochs": 2, "epsilon": 3, "backend": "reference"}
    for seed in (0, 1):
        sr.Recipe(hidden=(9,), seed=seed, zone="columns((0, 1, 2, 3))", **kind).run(folder / f"rbm{seed}")
    sr.Recipe(model="mlp", hidden=(8, 6), zone=None, **kind).run(folder / "mlp")
    return folder


def fields(text):
    """Lines as {name: rest}; names end where two spaces begin."""
    return {line.split("  ")[0].strip(): line.split("  ", 1)[-1].strip() for line in text.splitlines() if "  " in line}


def test_runs_side_by_side(run, folder, tmp_path):
    code, out, err = run("compare", folder / "rbm0", folder / "rbm1", "-o", tmp_path / "both.png")
    assert (code, err) == (0, "")
    found = fields(out)
    assert found["connections"].split() == ["99", "99"]
    last = [sr.load_run(folder / name).metrics[-1] for name in ("rbm0", "rbm1")]
    assert found["training loss"].split() == [f"{line['loss']:.4g}" for line in last]
    assert found["verdict"].split() == [line["verdict"] for line in last]
    assert found["z"].split() == [f"{line['learning_z']:+.1f}" for line in last]
    distance = sr.topology.nnstd(*(last_layers(sr.load_run(folder / name)) for name in ("rbm0", "rbm1")))
    assert found["distance to rbm0 (random nets)"].split() == ["0", f"{distance:.3f}", f"({distance.null:.3f})"]
    assert (tmp_path / "both.png").stat().st_size > 5000


def test_runs_that_have_no_distance(run, folder, tmp_path):
    code, out, err = run("compare", folder / "rbm0", folder / "mlp", "-o", tmp_path / "both.svg")
    assert (code, err) == (0, "")
    assert (
        "no distances: the nets have other numbers of layers or inputs (rbm0: 1 over 24 inputs; mlp: 3 over 24" in out
    )
    assert fields(out)["verdict"].split()[1] == "-"
    assert (tmp_path / "both.svg").is_file()


def test_what_is_in_a_folder(run, folder):
    code, out, err = run("info", folder / "rbm0")
    assert (code, err) == (0, "")
    found, last = fields(out), sr.load_run(folder / "rbm0").metrics[-1]
    assert found["model"] == "RBM, bernoulli(n=24) - bernoulli(n=9)"
    assert found["layer 0"].startswith("24 x 9, 99 connections, density 45.83%")
    assert found["data"] == "grey.npz, 48 samples, 24 features"
    assert found["active zone"] == "columns(columns=(0, 1, 2, 3)), 4 inputs"
    assert found["loss"] == f"{last['loss']:.5g}"
    assert found["seed"] == "0"
    assert found["learning"].startswith(f"{last['verdict']}: {last['centre_density']:.2f} connections")
    assert "3 snapshots" in found["files"]
    history = sr.topology.WiringHistory.of_run(sr.load_run(folder / "rbm0"))
    tried = len(np.union1d(*history.keys)) / (24 * 9)
    assert found["places tried"] == f"{tried:.1%} of layer 0 seen in 2 snapshots, 45.8% in the first"


@pytest.mark.parametrize("kind", ["rbm0", "mlp"])
def test_what_is_in_a_checkpoint(run, folder, kind):
    code, out, err = run("info", folder / kind / "checkpoint.npz")
    assert (code, err) == (0, "")
    found, model = fields(out), sr.load_model(folder / kind, "reference")
    assert found["trained for"] == f"2 epochs, {model.step} mini-batches"
    for number, layer in enumerate(model.connections):
        assert f"{len(layer)} connections" in found[f"layer {number}"]


def test_what_is_in_a_stack(run, folder):
    X = (np.random.default_rng(0).random((30, 6)) < 0.5).astype(float)
    sr.train_stack(
        sr.Stack("bernoulli(6)", "bernoulli(4)", "bernoulli(3)", backend="reference"), X, epochs=1, out=folder / "stack"
    )
    code, out, err = run("info", folder / "stack")
    assert (code, err) == (0, "")
    assert "bernoulli(n=6) - bernoulli(n=4) - bernoulli(n=3)" in out
    assert "layer1" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("info", "nowhere"), "there is no nowhere; give a run folder or a checkpoint"),
        (("info", "{}"), "is no run folder (no config.json)"),
        (("compare", "{}/rbm0"), "give two run folders or more"),
        (("compare", "{}/rbm0", "{}/rbm1", "-o", "x.txt"), "cannot save a figure as x.txt"),
        (("compare", "{}/rbm0", "{}/rbm0", "-o", "nowhere/x.png"), "folder nowhere does not exist"),
    ],
)
def test_errors_are_one_line(run, folder, words, said):
    code, out, err = run(*(word.format(folder) for word in words))
    assert code != 0
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_damaged_checkpoint(run, folder, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    code, _, err = run("info", tmp_path / "bad.npz")
    assert code == 1
    assert "bad.npz" in err
    (tmp_path / "config.json").write_text(json.dumps({"format": 99}))
    code, _, err = run("info", tmp_path)
    assert "has run format 99" in err


def test_a_comparison_does_not_move(run, folder, tmp_path):
    code, out, err = run("compare", folder / "rbm0", folder / "rbm1", "-o", tmp_path / "both.gif")
    assert (code, out) == (1, "")
    assert "does not move; save it as .png" in err


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", lambda text: "[]", "config.json is damaged (it holds a list)"),
        ("config.json", lambda text: '{"format": 1}', "damaged (it says nothing of 'model')"),
        ("metrics.jsonl", lambda text: text + "[1]\n", "metrics.jsonl, line 4 is damaged"),
    ],
)
def test_a_damaged_folder(run, folder, tmp_path, file, change, said):
    shutil.copytree(folder / "rbm0", tmp_path / "run")
    path = tmp_path / "run" / file
    path.write_text(change(path.read_text()))
    code, _, err = run("info", tmp_path / "run")
    assert code == 1
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("figure", "said"),
    [("age-pyramid", ""), ("explored", ""), ("survival", "1 snapshot is given; a death shows between two")],
)
def test_a_snapshot_whose_line_was_lost_is_left_out(run, folder, tmp_path, figure, said):
    """The last one: what is left is the one before training."""
    shutil.copytree(folder / "rbm0", tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])
    code, _, err = run("plot", figure, tmp_path / "run", "-o", tmp_path / "a.png")
    assert code == bool(said)
    assert said in err
    assert "Traceback" not in err
    assert (tmp_path / "a.png").is_file() == (not said)
    code, out, _ = run("info", tmp_path / "run")
    assert code == 0
    assert fields(out)["places tried"] == "45.8% of layer 0 seen in 1 snapshot, 45.8% in the first"
    path.unlink()
    code, out, _ = run("info", tmp_path / "run")
    assert code == 0
    assert "places tried" not in fields(out)
