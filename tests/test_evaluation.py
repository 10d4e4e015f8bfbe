"""Figures of finished runs, against those of the library's parts."""

import json

import numpy as np
import pytest
from problems import stripes

import sparserbm as sr
from sparserbm.data import fingerprint
from sparserbm.models.likelihood import LikelihoodWarning

KIND = {"hidden": (6,), "epsilon": 3, "batch_size": 40, "epochs": 2, "backend": "reference", "image_shape": (4, 4)}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """100 binary pictures with two classes."""
    X = stripes(100)
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    np.savez(path, X=X, y=np.where(X[:, :4].sum(axis=1) > 1, 7, 3))
    return path


@pytest.fixture(scope="module")
def rbm(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "rbm"
    return sr.Recipe(data=str(table), **KIND).run(out)


@pytest.fixture(scope="module")
def mlp(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mlp"
    return sr.Recipe(model="mlp", data=str(table), **KIND).run(out)


def test_the_figures_of_an_rbm(rbm, table):
    found = sr.evaluate(rbm.folder, backend="reference")
    data = sr.load_dataset(table, hold_out=0.2)
    model, test = sr.load_model(rbm.folder), data.X_test
    assert found.log_likelihood.mean == pytest.approx(sr.log_likelihood(model, test).mean())
    assert found.log_likelihood.partition.method == "exact"
    assert found.figures["pseudo_likelihood"] == pytest.approx(sr.pseudo_likelihood(model, test, exact=True).mean())
    assert found.figures["free_energy_gap"] == pytest.approx(sr.free_energy_gap(model, data.X, test))
    # That of the last epoch, as training recorded it
    assert found.figures["reconstruction_error"] == pytest.approx(rbm.metrics[-1]["validation_loss"], rel=1e-5)
    assert (found.n_samples, found.part, found.epoch, found.binarised) == (20, "test set", 2, None)
    assert found.sha256 == fingerprint(test)


def test_the_figures_of_an_mlp(mlp):
    found = sr.evaluate(mlp.folder, backend="reference")
    assert found.log_likelihood is None
    assert found.figures["loss"] == pytest.approx(mlp.metrics[-1]["validation_loss"], rel=1e-5)
    assert found.figures["accuracy"] == pytest.approx(mlp.metrics[-1]["validation_accuracy"])
    assert "accuracy" in str(found)


def test_other_data(rbm, mlp, tmp_path):
    X = stripes(30, seed=1)
    np.savez(tmp_path / "others.npz", X=X, y=np.full(30, 7))
    found = sr.evaluate(rbm.folder, tmp_path / "others.npz", backend="reference")
    assert (found.part, found.n_samples) == ("all samples", 30)
    assert "free_energy_gap" not in found.figures
    again = sr.evaluate(rbm.folder, sr.load_dataset(tmp_path / "others.npz"), backend="reference")
    assert again == found
    # One class only, whose number is that of the training data
    model = sr.load_model(mlp.folder)
    expected = (model.predict(X).argmax(axis=1) == 1).mean()
    assert sr.evaluate(mlp.folder, tmp_path / "others.npz", backend="reference").figures["accuracy"] == expected
    np.savez(tmp_path / "strange.npz", X=X, y=np.full(30, 5))
    with pytest.raises(ValueError, match="labels that no training sample has"):
        sr.evaluate(mlp.folder, tmp_path / "strange.npz")


def test_states_are_drawn(rbm, tmp_path):
    np.savez(tmp_path / "grey.npz", X=np.clip(stripes(60), 0.2, 0.8), X_test=np.clip(stripes(30, seed=2), 0.2, 0.8))
    with pytest.warns(LikelihoodWarning, match="no log-likelihood of any data"):
        sr.evaluate(rbm.folder, tmp_path / "grey.npz", backend="reference")
    first, again, other = (
        sr.evaluate(rbm.folder, tmp_path / "grey.npz", binarised=seed, backend="reference") for seed in (0, 0, 1)
    )
    assert first == again
    assert (first.binarised, other.binarised) == (0, 1)
    assert first.sha256 != other.sha256
    assert "states drawn with seed 0" in str(first)


def test_estimates_between_bounds(table, tmp_path):
    run = sr.Recipe(data=str(table), **(KIND | {"hidden": (24,), "visible": "bernoulli"})).run(tmp_path / "a")
    big = sr.RBM(sr.Bernoulli(30), sr.Bernoulli(25), backend="reference")
    X = (np.random.default_rng(0).random((40, 30)) < 0.3).astype(float)
    out = tmp_path / "big"
    sr.train(big, X, "cd", epochs=1, out=out)
    data = sr.data.Dataset("small", X, None, X[:10], None, None, "none", "")
    found = sr.evaluate(out, data, chains=20, temperatures=20, sweeps=5, backend="reference")
    log_z = found.log_likelihood.partition
    assert (log_z.method, log_z.chains, log_z.temperatures) == ("ais", 20, 20)
    assert log_z.samples == "5 Gibbs sweeps from data"
    assert found.log_likelihood.lower == pytest.approx(found.log_likelihood.mean - log_z.width)
    assert "log Z, from above" in str(found)
    alone = sr.evaluate(out, data, chains=20, temperatures=20, reverse=False, backend="reference")
    assert alone.log_likelihood.lower is None
    assert "from above" not in str(alone)
    read = json.loads(json.dumps(found.as_dict()))
    assert read["log_likelihood"]["partition"]["width"] == pytest.approx(log_z.width)
    assert run.model.visible.n == 16


def test_real_units_have_no_pseudo_likelihood(table, tmp_path):
    sr.Recipe(data=str(table), visible="gaussian", **KIND).run(tmp_path / "g")
    found = sr.evaluate(tmp_path / "g", backend="reference")
    assert "pseudo_likelihood" not in found.figures
    assert np.isfinite(found.log_likelihood.mean)
    with pytest.raises(ValueError, match="states are drawn for Bernoulli units, and this model has gaussian"):
        sr.evaluate(tmp_path / "g", binarised=0)


def test_large_models_flip_some_bits_only(rbm, monkeypatch):
    monkeypatch.setattr("sparserbm.evaluation.MOST_FLIPS", 1)
    found = sr.evaluate(rbm.folder, backend="reference")
    assert not found.exact_pseudo_likelihood
    assert "stochastic" in str(found)


def test_what_cannot_be_evaluated(rbm, tmp_path):
    with pytest.raises(ValueError, match="is no run folder"):
        sr.evaluate(tmp_path)
    assert sr.evaluate(rbm.folder, best=True, backend="reference").which == "best"
    np.savez(tmp_path / "wide.npz", X=np.eye(5))
    with pytest.raises(ValueError, match="wide.npz has 5 features, but the model of .* has 16 inputs"):
        sr.evaluate(rbm.folder, tmp_path / "wide.npz")
    own = sr.RBM(sr.Bernoulli(5), sr.Bernoulli(3), backend="reference")
    sr.train(own, np.eye(5), "cd", epochs=1, out=tmp_path / "own")
    with pytest.raises(ValueError, match="was not made from a recipe, which would name its data"):
        sr.evaluate(tmp_path / "own")
    with pytest.raises(ValueError, match="has no best model: only training with validation data keeps one"):
        sr.evaluate(tmp_path / "own", best=True)
    stack = sr.Stack(sr.Bernoulli(5), sr.Bernoulli(3), backend="reference")
    sr.train_stack(stack, np.eye(5), epochs=1, out=tmp_path / "stack")
    with pytest.raises(ValueError, match="holds a stack"):
        sr.evaluate(tmp_path / "stack")
