"""What training refuses, by name and with what to do, before it writes anything; and what it does when it diverges."""

import numpy as np
import pytest
from problems import assert_same_bytes, blobs, stripes

from sparserbm import (
    CD,
    MLP,
    RBM,
    SGD,
    Backprop,
    Bernoulli,
    DivergenceError,
    ErdosRenyi,
    Gaussian,
    Identity,
    ReLU,
    Softmax,
    Tanh,
    load_model,
    load_run,
    resume,
    train,
)

X, Y = blobs(30)
NAN, INF = X.copy(), X.copy()
NAN[4, 2], INF[29, 0] = np.nan, -np.inf


def mlp_of(backend="reference", *units):
    return MLP(6, *(units or (ReLU(8), Softmax(3))), wiring=ErdosRenyi(density=0.5), backend=backend)


def rbm_of(backend="reference"):
    return RBM(Bernoulli(6), Bernoulli(4), wiring="dense", backend=backend)


BAD_DATA = [
    (NAN, r"X holds 1 NaN or infinite values, the first \(nan\) at row 4, column 2 \(counted from 0\); remove or fill"),
    (INF, r"the first \(-inf\) at row 29, column 0"),
    (X[:0], r"X is empty \(shape \(0, 6\)\); give at least one sample"),
    (X[:, :0], r"X is empty"),
    (X[:, :5], "X has 5 features, but the model has 6 inputs"),
    (X[0], r"X has shape \(6,\); reshape it to two dimensions"),
    (X.astype(str), r"X has dtype .*; give a dense array of real numbers"),
    (X.astype(object), "X has dtype object"),
    (X + 1j, "X has dtype complex128"),
]


@pytest.mark.parametrize(
    ("data", "message"), BAD_DATA, ids=lambda value: "" if isinstance(value, str) else str(value.shape)
)
def test_data_that_cannot_be_trained_on(tmp_path, data, message):
    for model, algorithm in ((rbm_of(), CD()), (mlp_of(), Backprop())):
        if data is NAN and algorithm.takes_missing:  # see test_missing.py
            continue
        before = model.connections[0].weight.copy()
        targets = np.zeros(len(data), int)
        with pytest.raises(ValueError, match=message):
            train(model, data, algorithm, y=targets, out=tmp_path / "run")
        with pytest.raises(ValueError, match=f"validation data: .*{message}"):
            train(model, X, algorithm, y=Y, validation=(data, targets), out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
        assert np.array_equal(model.connections[0].weight, before)


@pytest.mark.parametrize("data", [X * 255, X - 0.5])
def test_bernoulli_units_refuse_raw_pixels(data):
    with pytest.raises(
        ValueError, match=r"Bernoulli units need values in \[0, 1\], but X has values from .*; scale the"
    ):
        train(rbm_of(), data, CD())


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "an MLP needs targets: pass y"),
        (Y[:29], "X has 30 samples but y has 29; give one target for each sample"),
        (Y[:0], "X has 30 samples but y has 0"),
        (Y + 1, "y has classes from 1 to 3, but the model has 3 outputs: 0 to 2"),
        (Y.astype(float), "Softmax outputs need class numbers"),
        (np.array(["cat", "dog", "eel"])[Y], "Softmax outputs need class numbers"),
    ],
)
def test_targets_that_do_not_fit(y, message):
    with pytest.raises(ValueError, match=message):
        train(mlp_of(), X, Backprop(), y=y)


def test_targets_of_a_regression_must_be_finite():
    with pytest.raises(ValueError, match=r"y holds 1 NaN or infinite values, the first \(nan\) at row 4"):
        train(mlp_of("reference", Tanh(4), Identity(1)), X, Backprop("mse"), y=NAN[:, 2])


RULES = [
    ({"algorithm": "cdd(1)"}, "unknown algorithm 'cdd' .did you mean 'cd'.*known: backprop, cd"),
    ({"algorithm": "backprop(loss=hinge)"}, "unknown loss 'hinge'; known: cross_entropy, mse"),
    ({"optimizer": "rmsprop(0.1)"}, "unknown optimizer 'rmsprop'.*known: adam, sgd"),
    ({"evolution": "rigl"}, "unknown evolution 'rigl'.*known: evolution, set"),
    ({"evolution": "set(0.3, when=monthly)"}, "unknown trigger 'monthly'.*known: chance, every, window"),
    ({"evolution": "set(zeta=1.5)"}, r"zeta=1.5 is out of range; use a value in \[0, 1\)"),
    (
        {"evolution": "set(zeta=)"},
        "cannot read 'set.zeta=.' as evolution; write name or name.argument, key=argument.",
    ),
    ({"regularization": ["l2(1e-3)", "l3(1e-3)"]}, "unknown penalty 'l3'.*known: elastic_net, l1, l2"),
    ({"regularization": "l2(quadratic(0, 1, 5))"}, "unknown schedule 'quadratic'.*known: constant, cosine, cubic"),
    ({"early_stopping": "patience(3)"}, "unknown early_stopping 'patience'; known: early_stopping"),
    ({"zone": "disc(3)"}, "unknown zone 'disc'; known: central, columns, deviation, information, rectangle"),
    ({"epochs": 0}, "epochs=0 is not possible; use an integer of at least 1"),
    ({"batch_size": 2.5}, "batch_size=2.5 is not possible"),
    ({"snapshot_every": True}, "snapshot_every=True is not possible"),
    ({"image_shape": (3, 3)}, r"image_shape=\(3, 3\) .*6"),
    (
        {"regularization": "l2((0.1, 0.2, 0.3))"},
        "has 3 strengths for 2 matrices of connections; give one, or one for each",
    ),
    ({"early_stopping": "early_stopping(metric=core_validation_loss)"}, r"pass validation=\(X, y\), or another metric"),
]


@pytest.mark.parametrize(("settings", "message"), RULES)
def test_settings_that_cannot_be(tmp_path, settings, message):
    arguments = {"algorithm": Backprop(), "y": Y, "epochs": 1, "out": tmp_path / "run"} | settings
    with pytest.raises(ValueError, match=message):
        train(mlp_of(), X, **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("callbacks", [print, [print, 3], "loud"])
def test_callbacks_are_a_list_of_functions(callbacks):
    with pytest.raises(TypeError, match=r"give a list of functions of \(model, metrics\)"):
        train(mlp_of(), X, Backprop(), y=Y, callbacks=callbacks)


def test_numbers_beyond_those_of_the_model():
    with pytest.raises(
        ValueError, match=r"X has values beyond 3.4e\+38, the largest number of float32; scale the data"
    ):
        train(mlp_of(), X * 1e200, Backprop(), y=Y)


@pytest.mark.parametrize("name", ["algorithm", "optimizer", "evolution", "early_stopping"])
def test_rules_of_another_kind(name):
    arguments = {"algorithm": Backprop(), "y": Y} | {name: 3}
    with pytest.raises(TypeError, match=f"{name}=3 is not possible; give a .* or its text"):
        train(mlp_of(), X, **arguments)


# -- divergence ------------------------------------------------------------------------------------------------------


def overflow():
    """Plain NumPy warns of it too."""
    return np.errstate(over="ignore", invalid="ignore")


def exploding(backend, tmp_path, rate, evolution=None):
    """A linear network whose weights grow without end above a learning rate of about 1."""
    mlp = mlp_of(backend, Tanh(8), Identity(1))
    settings = {"batch_size": 10, "evolution": evolution, "out": tmp_path / "run"}
    return lambda: train(mlp, 5 * X, Backprop("mse"), y=Y, epochs=60, optimizer=SGD(rate), **settings)


@pytest.mark.parametrize("evolution", [None, "set(0.3)", "set(0.3, every(steps=1))"])
def test_divergence_is_an_error_and_keeps_the_last_good_checkpoint(backend, tmp_path, evolution):
    run = exploding(backend, tmp_path, 3.0, evolution)
    diverged = r"training diverged in epoch \d+: .*; lower the learning rate"
    with overflow(), pytest.raises(DivergenceError, match=diverged) as error:
        run()
    assert isinstance(error.value, FloatingPointError)
    folder = tmp_path / "run"
    kept = load_model(folder, backend)
    kept.check_finite()
    assert 0 < kept.epoch < 60
    assert f"diverged in epoch {kept.epoch + 1}" in str(error.value)
    assert f"the model of epoch {kept.epoch} is kept: load_model({str(folder)!r})" in str(error.value)
    assert load_run(folder).metrics[-1]["epoch"] == kept.epoch
    with overflow(), pytest.raises(DivergenceError, match=f"diverged in epoch {kept.epoch + 1}"):
        resume(folder, 5 * X, y=Y, epochs=60, backend=backend)
    assert_same_bytes(load_model(folder, backend), kept)


def test_an_rbm_that_diverges(backend):
    rbm = RBM(Gaussian(6), Bernoulli(4), wiring="dense", backend=backend)
    with overflow(), pytest.raises(DivergenceError, match="lower the learning rate"):
        train(rbm, 1e3 * stripes(30, side=3)[:, :6], CD(), epochs=60, batch_size=10, optimizer=SGD(1e3, momentum=0.9))


def test_a_model_that_is_not_finite_is_not_trained():
    rbm = rbm_of()
    rbm.matrix.weight[0] = np.inf
    with pytest.raises(DivergenceError, match="weights are NaN or infinite"):
        train(rbm, X, CD(visible_bias="zero"), epochs=1)
