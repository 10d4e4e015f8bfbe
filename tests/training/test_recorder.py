"""What a run says of itself: columns, topology and config."""

import numpy as np
import pytest
from problems import blobs, stripes

from sparserbm import CD, MLP, RBM, SET, SGD, Backprop, Bernoulli, ErdosRenyi, ReLU, Softmax, train

X, Y = blobs(25)


def trained_mlp(backend, **settings):
    mlp = MLP(6, ReLU(8), Softmax(3), wiring=[ErdosRenyi(density=0.5)] * 2, backend=backend)
    optimizer = SGD(0.2, momentum=0.9)
    run = train(mlp, X, Backprop(), y=Y, epochs=4, batch_size=10, optimizer=optimizer, evolution=SET(0.3), **settings)
    return mlp, run


def test_the_columns_of_a_classifier(backend):
    _, run = trained_mlp(backend, validation=(X[:9], Y[:9]))
    columns = {"epoch", "step", "loss", "accuracy", "density", "n_connections", "dropped", "grown", "seconds"}
    columns |= {"mean_age_at_death", "validation_loss", "validation_accuracy"}
    columns |= {"core_validation_loss", "core_validation_accuracy"}
    assert columns <= set(run.history)
    assert {len(column) for column in run.history.values()} == {5}
    assert np.isnan(run.history["loss"][0])
    assert run.history["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert run.history["mean_age_at_death"][2] == 3.0  # all were born at step 0 and died at the end of epoch 1


def test_the_columns_of_an_rbm(backend):
    rbm = RBM(Bernoulli(16), Bernoulli(12), wiring=ErdosRenyi(density=0.4), backend=backend)
    zone = np.arange(16) < 8
    run = train(rbm, stripes(30), CD(), epochs=2, batch_size=10, validation=stripes(10, seed=1), zone=zone)
    columns = {"loss", "validation_loss", "free_energy_gap", "pseudo_likelihood"}
    columns |= {"centre_density", "margin_density", "zone_ratio", "learning_index", "learning_z", "verdict"}
    assert columns <= set(run.history)
    fan_out = rbm.matrix.pattern.fan_out()
    assert run.history["centre_density"][-1] == fan_out[:8].mean()
    assert run.history["margin_density"][-1] == fan_out[8:].mean()
    assert run.zone_mask.tolist() == zone.tolist()
    assert run.degrees()[1][-1].tolist() == fan_out.tolist()
    assert "accuracy" not in run.history


def test_the_config_repeats_the_run(backend, tmp_path):
    mlp, run = trained_mlp(backend, name="mine", out=tmp_path / "run", notes={"why": "a test"})
    config = run.config
    assert run.name == "mine"
    assert config["why"] == "a test"
    assert config["model"]["units"] == ["linear(n=6)", "relu(n=8)", "softmax(n=3)"]
    assert config["model"]["layer_sizes"] == [6, 8, 3]
    assert config["model"]["origin"]["wiring"] == ["erdos_renyi(epsilon=None, density=0.5, clip=False)"] * 2
    assert config["training"]["optimizer"] == "sgd(learning_rate=0.2, momentum=0.9, nesterov=False)"
    assert config["training"]["evolution"].startswith(
        "evolution(drop=set, grow=random, birth=same(scale=None), zeta=0.3"
    )
    assert config["training"]["epochs"] == 4
    assert config["data"] | {"sha256": 0} == {
        "name": "array",
        "n_samples": 25,
        "n_features": 6,
        "image_shape": None,
        "sha256": 0,
        "validation_sha256": None,
    }
    assert config["seed"] == 0
    assert {"python", "numpy", "scipy"} <= set(config["versions"])
    assert run.model is mlp


LAMBDA = [  # regularization, optimizer, evolution, shrink in a step and from one event to the next
    ("l2(0.01)", "sgd(0.2, momentum=0.9)", "set(0.3)", 0.02, 0.06),  # three mini-batches an epoch
    ("l2(0.01)", "sgd(0.2, momentum=0.9)", "set(0.3, every(steps=7))", 0.02, 0.14),
    ("l2(0.01)", "sgd(0.2, momentum=0.9)", "set(0.3, window(every(epochs=2), 4))", 0.02, 0.12),
    ("l2(0.01)", "sgd(0.2, momentum=0.9)", None, 0.02, None),
    (["l2((0.01, 9), coupled=False)", "set_decay(1e-3)", "l1(1e-3)", "max_norm(3)"], "adam(0.1)", "set", 0.002, 0.006),
    ("l2(linear(0, 0.011, 11))", "sgd(steps((9, 0.5), (9,)))", "set", 0.0055, 0.0165),  # of step 11, the last one
]


@pytest.mark.parametrize(("regularization", "optimizer", "evolution", "step", "interval"), LAMBDA, ids=str)
def test_the_shrink_of_a_weight_without_gradient(backend, regularization, optimizer, evolution, step, interval):
    mlp = MLP(6, ReLU(8), Softmax(3), wiring=[ErdosRenyi(density=0.5)] * 2, backend=backend)
    rules = {"regularization": regularization, "optimizer": optimizer, "evolution": evolution}
    history = train(mlp, X, Backprop(), y=Y, epochs=4, batch_size=10, **rules).history
    assert np.isnan(history["shrink_per_step"][0])  # nothing was trained
    assert history["shrink_per_step"][-1] == pytest.approx(step)
    if interval is None:
        assert "shrink_per_interval" not in history
    else:
        assert history["shrink_per_interval"][-1] == pytest.approx(interval)


@pytest.mark.parametrize(
    ("regularization", "optimizer"), [(None, "sgd"), ("l1(1e-3)", "sgd"), ("max_norm(3)", "sgd"), ("l2(1e-3)", "adam")]
)
def test_without_a_constant_decay_there_is_no_shrink(backend, regularization, optimizer):
    rbm = RBM(Bernoulli(16), Bernoulli(12), wiring=ErdosRenyi(density=0.4), backend=backend)
    run = train(rbm, stripes(30), CD(), epochs=1, regularization=regularization, optimizer=optimizer, evolution="set")
    assert not {"shrink_per_step", "shrink_per_interval"} & set(run.history)
