"""What a run says of itself: columns, topology and config."""

import numpy as np
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
