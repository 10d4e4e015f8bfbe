"""``sparserbm evaluate``: tables, a file of figures, and errors in one line."""

import json
import re

import numpy as np
import pytest
from sparserbm_cli.evaluate import Bar

import sparserbm as sr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on grey values, with too many units to enumerate."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "grey.npz", X=np.random.default_rng(0).random((60, 24)), y=np.arange(60) % 2)
    kind = {"data": str(folder / "grey.npz"), "epochs": 1, "epsilon": 3, "backend": "reference", "zone": None}
    sr.Recipe(hidden=(23,), **kind).run(folder / "rbm")
    sr.Recipe(model="mlp", hidden=(5,), **kind).run(folder / "mlp")
    return folder


QUICK = ("--chains", "10", "--temperatures", "8", "--sweeps", "4", "--backend", "reference")


def test_a_table_and_a_file(run, folder, tmp_path):
    code, out, err = run("evaluate", folder / "rbm", "--binarise", "3", *QUICK, "--json", tmp_path / "f.json")
    assert code == 0, err
    assert err == ""
    assert re.search(r"log Z, from below +-?\d+\.\d{4} +\+- \d\.\d{4}, AIS, 10 chains, 8 temperatures, ESS", out)
    assert re.search(r"log Z, from above .* began at 4 Gibbs sweeps from data", out)
    for name in ("log-likelihood", "pseudo likelihood", "free energy gap", "reconstruction error"):
        assert name in out
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["binarised"], found["n_samples"], found["warnings"]) == (3, 12, [])
    partition = found["log_likelihood"]["partition"]
    assert partition["width"] == pytest.approx(partition["upper"] - partition["lower"])


def test_warnings_are_said_in_a_line_and_kept(run, folder, tmp_path):
    words = ("--no-reverse", *QUICK, "--json", tmp_path / "f.json")
    code, out, err = run("evaluate", folder / "rbm", *words)
    assert code == 0
    assert "from above" not in out
    assert err.startswith("Warning: X holds values between 0 and 1")
    assert len(err.splitlines()) == 1
    assert len(json.loads((tmp_path / "f.json").read_text())["warnings"]) == 1


def test_an_mlp(run, folder):
    code, out, err = run("evaluate", folder / "mlp", "--backend", "reference")
    assert code == 0, err
    assert re.search(r"loss +\d+\.\d{4}\n +accuracy +\d\.\d{4}", out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "Error: nowhere is no run folder"),
        (["{}/rbm", "--chains", "1", "--binarise", "0"], "Error: chains=1 is not possible"),
        (["{}/rbm", "--temperatures", "0", "--binarise", "0"], "Error: temperatures=0 is not possible"),
        (["{}/rbm", "--data", "digits", "--binarise", "0"], "digits has 784 features, but the model of"),
        (["{}/rbm", "--data", "nothing.csv"], "Error: "),
        (["{}/mlp", "--binarise", "0"], "Error: states are drawn for Bernoulli units"),
        (["{}/rbm", "--json", "{}/nowhere/f.json"], "Error: there is no folder"),
        (["{}/rbm", "--backend", "abacus"], "Error: unknown backend 'abacus'"),
    ],
)
def test_errors_are_one_line(run, folder, words, said):
    code, out, err = run("evaluate", *(word.format(folder) for word in words))
    assert code != 0
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_progress_is_a_line_now_and_then(capsys):
    with Bar(quiet=False, every=0) as bar:
        bar(1, 4)
        bar(4, 4)
    assert capsys.readouterr().err.splitlines() == ["log Z: 25%", "log Z: 100%"]
    with Bar(quiet=True, every=0) as bar:
        bar(1, 4)
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Bar(quiet=False) as bar:
        bar(1, 4)
        bar(4, 4)
    assert "log Z" in capsys.readouterr().err
