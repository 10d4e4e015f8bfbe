"""The question of the package, asked of a table: do connections leave columns that are known to be noise?"""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.preprocessing import StandardScaler

from sparserbm import Information, SparseMLPClassifier
from sparserbm.topology import combine, group_densities

INFORMATIVE = np.arange(100) < 10


def noisy_table(seed):
    """100 columns, of which the first 10 decide the class, as in Madelon."""
    X, y = make_classification(
        2000,
        100,
        n_informative=10,
        n_redundant=0,
        n_clusters_per_class=4,
        class_sep=1.5,
        shuffle=False,
        random_state=seed,
    )
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def fitted():
    models = []
    for seed in range(3):
        X, y = noisy_table(seed)
        model = SparseMLPClassifier(
            (100,),
            epsilon=3,
            max_iter=60,
            batch_size=32,
            learning_rate_init=0.05,
            n_iter_no_change=1000,
            zone=INFORMATIVE,
            random_state=seed,
            backend="numpy",
        )
        models.append(model.fit(X, y))
    return models


def test_connections_leave_the_noise(fitted):
    found = [model.topology_[0]["zone"] for model in fitted]
    assert all(index.z > 2 for index in found)
    assert combine([index.z for index in found]).verdict == "positive"
    first = [model.run_.history["learning_z"][0] for model in fitted]
    assert combine(first).verdict == "none"  # it was not so at the start


def test_groups_say_the_same(fitted):
    model = fitted[0]
    degrees, places = model.topology_[0]["fan_out"], model.model_.connections[0].pattern.n_places
    informative, noise = group_densities(degrees, {"informative": INFORMATIVE, "noise": ~INFORMATIVE}, places)
    assert (informative.verdict, noise.verdict) == ("denser", "sparser")
    assert informative.density > 1.5 * noise.density
    assert informative.z == model.topology_[0]["zone"].z


def test_a_zone_found_from_the_labels_holds_no_noise():
    X, y = noisy_table(0)
    mask = Information(threshold=0.005).mask(X, None, y)
    assert mask[INFORMATIVE].sum() >= 4
    assert mask[~INFORMATIVE].sum() <= 3
