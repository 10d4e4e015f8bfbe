"""TopologySelector: which features it takes, and that it is a selector of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sparserbm as sr

CRITERIA = ["strength", "degree", "survival"]
NETWORK = sr.SparseAutoencoder(30, max_iter=5, batch_size=20, density=0.05, scale=True, random_state=0)


@pytest.fixture(scope="module")
def data():
    """Ten features that two numbers make, with noise, then 90 of noise alone; y is the sign of the first number."""
    random = np.random.default_rng(0)
    causes = random.normal(size=(400, 2))
    made = causes @ random.normal(size=(2, 10)) + 0.1 * random.normal(size=(400, 10))
    return np.hstack([made, random.normal(size=(400, 90))]), (causes[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def network(data):
    return clone(NETWORK).fit(data[0])


def scores_by_hand(network, criterion):
    layer = network.model_.connections[0]
    ages = network.model_.step - np.asarray(layer.born, dtype=int)
    found = np.zeros(layer.n_pre)
    for feature in range(layer.n_pre):
        mine = layer.pattern.pre == feature
        if mine.any():
            of = {"strength": np.abs(layer.weight[mine]).sum(), "degree": mine.sum(), "survival": ages[mine].mean()}
            found[feature] = of[criterion]
    return found


# -- what is selected ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_are_those_of_the_connections(data, network, criterion):
    selector = sr.TopologySelector(network, criterion=criterion, n_features_to_select=10, prefit=True).fit(data[0])
    assert_allclose(selector.scores_, scores_by_hand(network, criterion))
    assert_array_equal(selector.scores_ == 0, network.topology_[0]["fan_out"] == 0)
    assert selector.get_support().sum() == selector.n_features_ == 10
    assert selector.scores_[selector.support_].min() >= selector.scores_[~selector.support_].max()


def test_the_default_network_leaves_features_that_never_vary_alone():
    X = sr.load_dataset("digits").X  # 784 pixels, half of them always 0
    selector = sr.TopologySelector(n_features_to_select=50, random_state=0).fit(X)
    assert isinstance(selector.estimator_, sr.SparseAutoencoder)
    assert selector.estimator_.n_iter_ == 10
    assert not selector.support_[X.std(axis=0) == 0].any()


def test_the_default_network_finds_features_that_go_together(data):
    support = [sr.TopologySelector(n_features_to_select=10, random_state=s).fit(data[0]).support_ for s in range(3)]
    assert np.mean([chosen[:10].sum() for chosen in support]) >= 7  # by chance 1


@pytest.mark.parametrize(("n_samples", "size"), [(10, 1), (400, 20), (2000, 100), (20_000, 100), (60_000, 300)])
def test_batches_of_the_default_network(n_samples, size):
    assert sr.TopologySelector()._untrained(n_samples).batch_size == size


def test_features_that_go_together_are_found(data):
    """An autoencoder of four units has room for what many features share, and none for the noise of each."""
    network = sr.SparseAutoencoder(
        4, "identity", noise=0.2, density=0.3, weights="normal(0.03)", scale=True, max_iter=60, batch_size=20
    )
    selector = sr.TopologySelector(network, n_features_to_select=10, random_state=0).fit(data[0])
    assert selector.support_[:10].sum() >= 8  # by chance 1


@pytest.mark.parametrize(
    "network",
    [
        sr.SparseRBM(10, n_iter=2, scale=True),
        sr.SparseMLPClassifier(10, max_iter=2),
        sr.SparseMLPRegressor((10, 5), max_iter=2),
    ],
)
def test_any_sparse_network_will_do(data, network):
    selector = sr.TopologySelector(network, random_state=0).fit(*data)
    assert selector.transform(data[0]).shape == (400, 50)
    assert selector.estimator_ is not network
    assert not hasattr(network, "model_")


def test_equals_are_taken_by_strength_and_then_in_order(data):
    dense = sr.SparseAutoencoder(4, density=1.0, max_iter=1, random_state=0).fit(data[0])
    selector = sr.TopologySelector(dense, criterion="degree", n_features_to_select=5, prefit=True).fit(data[0])
    assert_array_equal(selector.scores_, np.full(100, 4.0))
    strongest = np.argsort(-scores_by_hand(dense, "strength"), kind="stable")[:5]
    assert_array_equal(selector.get_support(indices=True), np.sort(strongest))
    dense.model_.connections[0].weight[:] = 0.5
    assert_array_equal(selector.fit(data[0]).get_support(indices=True), np.arange(5))


def test_dead_features_come_last(data):
    sparse = sr.SparseAutoencoder(6, wiring="fixed_fan_in(2)", max_iter=1, random_state=0).fit(data[0])
    alive = sparse.topology_[0]["fan_out"] > 0
    selector = sr.TopologySelector(sparse, n_features_to_select=int(alive.sum()), prefit=True).fit(data[0])
    assert_array_equal(selector.support_, alive)


@pytest.mark.parametrize(
    ("wanted", "count"), [(None, 50), (5, 5), (np.int64(100), 100), (0.25, 25), (1.0, 100), (1, 1), (0.001, 1)]
)
def test_how_many(data, network, wanted, count):
    selector = sr.TopologySelector(network, n_features_to_select=wanted, prefit=True).fit(data[0])
    assert selector.transform(data[0]).shape == (400, count)


def test_fit_repeats(data):
    short = clone(NETWORK).set_params(max_iter=2)
    scores = [sr.TopologySelector(short).fit(data[0]).scores_ for _ in range(2)]
    assert_array_equal(*scores)
    other = sr.TopologySelector(short, random_state=1).fit(data[0]).scores_
    assert not np.array_equal(scores[0], other)


# -- as scikit-learn has it ---------------------------------------------------------------------------------------


def test_transform_and_back(data, network):
    selector = sr.TopologySelector(network, n_features_to_select=3, prefit=True).fit(data[0])
    assert isinstance(selector, SelectorMixin)
    places = selector.get_support(indices=True)
    assert_array_equal(selector.transform(data[0]), data[0][:, places])
    back = selector.inverse_transform(selector.transform(data[0]))
    assert_array_equal(back[:, places], data[0][:, places])
    assert np.count_nonzero(back) == 3 * 400
    assert list(selector.get_feature_names_out()) == [f"x{place}" for place in places]


def test_names_and_data_frames(data, network):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(data[0], columns=[f"f{n}" for n in range(100)])
    selector = sr.TopologySelector(NETWORK, n_features_to_select=4).set_output(transform="pandas").fit(frame)
    out = selector.transform(frame)
    assert list(out.columns) == list(selector.get_feature_names_out())
    assert set(out.columns) <= set(frame.columns)
    assert list(selector.feature_names_in_) == list(frame.columns)


def test_in_a_pipeline_and_a_grid_search(data):
    X, y = data
    pipeline = make_pipeline(sr.TopologySelector(NETWORK), LogisticRegression())
    grid = {
        "topologyselector__n_features_to_select": [20, 0.5],
        "topologyselector__criterion": ["strength", "degree"],
        "topologyselector__estimator__zeta": [0.2],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.7
    assert search.best_estimator_[0].estimator_.zeta == 0.2


def test_fit_parameters_reach_the_network(data):
    class Told(sr.SparseAutoencoder):
        def fit(self, X, y=None, told=None):
            self.told_ = told
            return super().fit(X, y)

    assert sr.TopologySelector(Told(5, max_iter=1)).fit(data[0], told="so").estimator_.told_ == "so"


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0, 101, -1, 0.0, 1.5, True, "all", float("nan")])
def test_impossible_numbers(data, network, wanted):
    with pytest.raises(ValueError, match=r"n_features_to_select=.* use an integer from 1 to the 100 features of X"):
        sr.TopologySelector(network, n_features_to_select=wanted, prefit=True).fit(data[0])


def test_what_is_no_network(data):
    with pytest.raises(ValueError, match="unknown criterion 'weight'; known: strength, degree, survival"):
        sr.TopologySelector(NETWORK, criterion="weight").fit(data[0])
    with pytest.raises(TypeError, match="KMeans has no sparse network to look at; use SparseRBM, SparseAutoencoder"):
        sr.TopologySelector(KMeans(2, n_init=1)).fit(data[0])
    with pytest.raises(NotFittedError, match="prefit=True needs an estimator that was trained before; call its fit"):
        sr.TopologySelector(clone(NETWORK), prefit=True).fit(data[0])
    with pytest.raises(ValueError, match="prefit=True needs an estimator that was trained before; give one"):
        sr.TopologySelector(prefit=True).fit(data[0])
    with pytest.raises(NotFittedError):
        sr.TopologySelector(NETWORK).get_support()
