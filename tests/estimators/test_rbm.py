"""SparseRBM: what it learns, what it draws, what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import MinMaxScaler

import sparserbm as sr

SMALL = {"n_components": 12, "n_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    return load_digits().data[:200] / 16


def _states(n_samples: int, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Six features, rows near 010101 (70 % of them) or 101010, with the share `noise` of the bits flipped."""
    rng = np.random.default_rng(seed)
    prototype = np.arange(6) % 2
    rows = np.where(rng.random((n_samples, 1)) < 0.7, prototype, 1 - prototype)
    return np.abs(rows - (rng.random(rows.shape) < noise)).astype(float)


def _model_mean(rbm: sr.SparseRBM) -> np.ndarray:
    """Mean of the visible units under the model, exactly, over all of their states."""
    n = rbm.n_features_in_
    states = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    log_p = -rbm.free_energy(states)
    p = np.exp(log_p - log_p.max())
    return p @ states / p.sum()


# -- learning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize(("n_samples", "batch_size"), [(7, 10), (11, 10), (40, 13), (110, 100), (100, 10)])
def test_model_mean_is_data_mean(n_samples, batch_size, persistent):
    # BernoulliRBM divides both phases by the length of the batch, though its chains are always batch_size: with 110
    # samples in batches of 100 the mean falls to 0.09 where that of the data is 0.52. The noise lets chains mix.
    data = _states(n_samples, noise=0.3)
    epochs = 600 // -(-n_samples // batch_size)
    rate = sr.Linear(0.1, 0.0, steps=600)
    rbm = sr.SparseRBM(
        4, density=1.0, learning_rate=rate, n_iter=epochs, batch_size=batch_size, persistent=persistent, random_state=0
    )
    assert_allclose(_model_mean(rbm.fit(data)), data.mean(axis=0), atol=0.08)


def test_training_finds_the_correlations():
    data = _states(200)
    rbm = sr.SparseRBM(4, density=1.0, n_iter=60, random_state=0).fit(data)
    likely, unlikely = np.arange(6) % 2, np.arange(6) // 3
    energy = rbm.free_energy([likely, 1 - likely, unlikely])
    assert max(energy[:2]) < energy[2] - 1
    assert rbm.history_["loss"][-1] < 0.6 * rbm.history_["loss"][1]


@pytest.mark.parametrize("rules", [{}, {"momentum": 0.9, "l2": 1e-3}, {"persistent": True, "cd_steps": 2}])
def test_partial_fit_goes_on_where_it_stopped(X, rules):
    whole = sr.SparseRBM(**(SMALL | {"n_iter": 3, "epsilon": 2}), **rules).fit(X)
    parts = sr.SparseRBM(**(SMALL | {"epsilon": 2}), **rules)
    for _ in range(3):
        assert parts.partial_fit(X) is parts
    assert (whole.connections_ != parts.connections_).nnz == 0
    assert parts.n_iter_ == whole.n_iter_ == 3
    assert_array_equal(parts.history_["loss"], whole.history_["loss"])
    assert_array_equal(parts.history_["learning_index"], whole.history_["learning_index"])


def test_partial_fit_does_not_saturate(X):
    # After one such call every hidden unit of BernoulliRBM is at 0 or 1.
    rbm = sr.SparseRBM(30, batch_size=10, random_state=0).partial_fit(X).partial_fit(X)
    means = rbm.transform(X).mean(axis=0)
    assert np.mean((means > 0.02) & (means < 0.98)) > 0.9
    before = rbm.history_["loss"][1]
    for length in (1, 7, 200, 33, 200):
        rbm.partial_fit(X[:length])
    assert rbm.history_["loss"][-1] < before


def test_fit_starts_anew_and_repeats(X):
    rbm = sr.SparseRBM(**SMALL)
    first = rbm.fit(X).components_
    assert_array_equal(rbm.fit(X).components_, first)
    assert rbm.n_iter_ == 2
    assert not np.array_equal(rbm.set_params(random_state=1).fit(X).components_, first)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_generator_is_drawn_from(X, make):
    rbm = sr.SparseRBM(**(SMALL | {"random_state": make(0)}))
    first, second = rbm.fit(X).components_, rbm.fit(X).components_
    assert not np.array_equal(first, second)
    assert_array_equal(rbm.set_params(random_state=make(0)).fit(X).components_, first)


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_backends_agree(X, backend):
    fits = [sr.SparseRBM(**SMALL, epsilon=2, backend=name).fit(X) for name in (backend, "reference")]
    assert_allclose(fits[0].components_, fits[1].components_, atol=1e-6)
    assert_allclose(fits[0].score_samples(X), fits[1].score_samples(X), rtol=1e-4)


# -- attributes ---------------------------------------------------------------------------------------------------


def test_fitted_attributes(X):
    rbm = sr.SparseRBM(**SMALL, epsilon=2, image_shape=(8, 8)).fit(X)
    assert rbm.components_.shape == rbm.connections_.shape == (12, 64)
    assert rbm.connections_.format == "csr"
    assert_array_equal(rbm.components_, rbm.connections_.toarray())
    assert rbm.intercept_hidden_.shape == (12,)
    assert rbm.intercept_visible_.shape == (64,)
    assert rbm.n_features_in_ == 64
    assert isinstance(rbm.model_, sr.RBM)
    table = rbm.topology_
    assert table["n_connections"] == rbm.connections_.nnz == 2 * (64 + 12)
    assert table["density"] == pytest.approx(152 / 768)
    assert_array_equal(table["fan_out"], np.diff(rbm.connections_.tocsc().indptr))
    assert_array_equal(table["fan_in"], np.diff(rbm.connections_.indptr))
    assert table["dead_inputs"] == np.sum(table["fan_out"] == 0)
    assert len(rbm.history_["loss"]) == len(rbm.history_["epoch"]) == 3
    zone = rbm.run_.zone_mask
    assert table["zone"].centre_density == table["fan_out"][zone].mean()
    assert table["zone"].margin_density == table["fan_out"][~zone].mean()
    assert table["zone"].index == rbm.history_["learning_index"][-1]


def test_connections_of_weight_zero_stay(X):
    rbm = sr.SparseRBM(**SMALL, epsilon=2, l1=10.0).fit(X)
    assert rbm.connections_.nnz == 152
    assert np.count_nonzero(rbm.connections_.data) < 152


def test_no_zone_no_index(X):
    rbm = sr.SparseRBM(**SMALL, zone=None).fit(X)
    assert "zone" not in rbm.topology_
    assert "learning_index" not in rbm.history_


@pytest.mark.parametrize(("given", "computed"), [(np.float32, np.float32), (np.float64, np.float64), (int, np.float64)])
def test_number_type_is_that_of_the_data(X, given, computed):
    data = (X > 0.5).astype(given)
    rbm = sr.SparseRBM(**SMALL).fit(data)
    assert rbm.model_.backend.dtype == computed
    for out in (rbm.transform(data), rbm.reconstruct(data), rbm.gibbs(data), rbm.components_):
        assert out.dtype == computed


# -- wiring and evolution -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 64 * 12),  # epsilon=11 asks for 836 connections; there is room for 768
        ({"epsilon": 3}, 3 * 76),
        ({"density": 0.25}, 192),
        ({"density": 1.0}, 768),
        ({"wiring": "fixed_fan_in(5)"}, 60),
        ({"wiring": sr.Dense()}, 768),
    ],
)
def test_number_of_connections(X, given, count):
    assert sr.SparseRBM(**SMALL, **given).fit(X).connections_.nnz == count


def test_evolution(X):
    def replaced(**given):
        return sr.SparseRBM(**SMALL, epsilon=2, **given).fit(X).history_["dropped"][-1] / 152

    assert replaced(evolution=None) == replaced(evolution="none") == 0
    assert replaced() == pytest.approx(0.3, abs=0.01)
    assert replaced(zeta=0.1) == pytest.approx(0.1, abs=0.01)
    assert replaced(evolution="set(zeta=0.2)") == replaced(evolution=sr.SET(zeta=0.2)) == pytest.approx(0.2, abs=0.01)


def test_penalties_add_up(X):
    def size(**given):
        weights = sr.SparseRBM(**(SMALL | {"n_iter": 5}), evolution=None, **given).fit(X).components_
        return np.abs(weights).sum()

    assert size(l2=0.1) < size()
    assert size(l2=0.1, regularization="l1(1e-2)") < min(size(l2=0.1), size(regularization=sr.L1(1e-2)))
    assert size(l2=0.0, l1="constant(0)") == size()


# -- from and to features -----------------------------------------------------------------------------------------


def test_transform_is_the_conditional_probability(X):
    rbm = sr.SparseRBM(**SMALL).fit(X)
    hidden = 1 / (1 + np.exp(-(X @ rbm.components_.T + rbm.intercept_hidden_)))
    assert_allclose(rbm.transform(X), hidden, atol=1e-6)
    visible = 1 / (1 + np.exp(-(hidden @ rbm.components_ + rbm.intercept_visible_)))
    assert_allclose(rbm.reconstruct(X), visible, atol=1e-6)
    assert_allclose(rbm.inverse_transform(hidden), visible, atol=1e-6)
    energy = -X @ rbm.intercept_visible_ - np.logaddexp(0, X @ rbm.components_.T + rbm.intercept_hidden_).sum(axis=1)
    assert_allclose(rbm.free_energy(X), energy, rtol=1e-6)


def test_scores_depend_on_seed_and_sample_only(X):
    rbm = sr.SparseRBM(**SMALL).fit(X)
    scores = rbm.score_samples(X)
    assert scores.shape == (200,)
    assert np.all(scores < 0)
    assert_array_equal(rbm.score_samples(X), scores)
    assert_allclose(rbm.score_samples(X[::-1])[::-1], scores)
    assert_allclose(rbm.score_samples(X[5:6]), scores[5:6])


def test_score_is_the_pseudo_likelihood_on_average():
    data = _states(3, seed=1)
    rbm = sr.SparseRBM(4, density=1.0, random_state=0).fit(_states(100)).model_
    flipped = np.abs(data[:, None, :] - np.eye(6)).reshape(-1, 6)
    change = rbm.free_energy(flipped).reshape(3, 6) - rbm.free_energy(data)[:, None]
    terms = -6 * np.logaddexp(0, -change)  # (sample, flipped bit)
    drawn = np.array([sr.pseudo_likelihood(rbm, data, seed=seed) for seed in range(600)])
    assert_allclose(drawn.mean(axis=0), terms.mean(axis=1), atol=5 * terms.std(axis=1).max() / np.sqrt(600))
    found = [np.unique(np.round(drawn[:, row], 6)) for row in range(3)]
    assert all(np.isin(found[row], np.round(terms[row], 6)).all() for row in range(3))


def test_score_is_the_exact_log_likelihood_of_a_small_model():
    data = _states(50)
    rbm = sr.SparseRBM(4, density=1.0, random_state=0).fit(_states(100))
    assert rbm.score(data) == pytest.approx(sr.log_likelihood(rbm.model_, data).mean())
    assert rbm.score(data, y=np.zeros(50)) == rbm.score(data)
    everything = (np.arange(64)[:, None] >> np.arange(6)) & 1
    assert sum(np.exp(rbm.score(row[None])) for row in everything) == pytest.approx(1)


def test_score_estimates_log_z_once_until_the_model_changes(X, monkeypatch):
    calls = []

    def counted(model, **settings):
        calls.append(settings)
        return sr.partition_function(model, **settings | {"temperatures": 5, "chains": 3})

    monkeypatch.setattr("sparserbm.estimators.rbm.partition_function", counted)
    rbm = sr.SparseRBM(24, n_iter=1, random_state=0).fit(X)  # 64 features and 24 components
    first = rbm.score(X)
    assert rbm.score(X) == first
    assert rbm.score(X[:5]) != first
    assert [call["temperatures"] for call in calls] == [1000]
    assert pickle.loads(pickle.dumps(rbm)).score(X) == first
    assert len(calls) == 1
    rbm.partial_fit(X)
    rbm.score(X)
    assert len(calls) == 2
    rbm.fit(X)
    rbm.score(X)
    assert len(calls) == 3


def test_score_ranks_models_in_a_grid_search():
    data = _states(120)
    search = GridSearchCV(sr.SparseRBM(4, density=1.0, random_state=0), {"n_iter": [1, 40]}, cv=2).fit(data)
    assert search.best_params_ == {"n_iter": 40}
    assert search.best_score_ == pytest.approx(search.cv_results_["mean_test_score"].max())


def test_gibbs_draws_anew_and_repeats_after_fit(X):
    rbm = sr.SparseRBM(**SMALL).fit(X)
    first, second = rbm.gibbs(X), rbm.gibbs(X)
    assert first.shape == X.shape
    assert set(np.unique(first)) <= {0.0, 1.0}
    assert not np.array_equal(first, second)
    rbm.fit(X)
    assert_array_equal(rbm.gibbs(X), first)
    assert_array_equal(rbm.gibbs(X), second)


def test_gibbs_follows_the_conditional():
    rbm = sr.SparseRBM(4, density=1.0, random_state=0).fit(_states(100))
    start = np.tile(np.arange(6) % 2, (4000, 1)).astype(float)
    hidden = rbm.transform(start[:1])
    states = (np.arange(16)[:, None] >> np.arange(4)) & 1
    p = np.prod(np.where(states == 1, hidden, 1 - hidden), axis=1)
    assert_allclose(rbm.gibbs(start).mean(axis=0), p @ rbm.inverse_transform(states), atol=0.04)


def test_samples_come_from_the_model():
    rbm = sr.SparseRBM(4, density=1.0, n_iter=20, random_state=0).fit(_states(100))
    drawn = rbm.sample(2000, sweeps=50)
    assert drawn.shape == (2000, 6)
    assert_allclose(drawn.mean(axis=0), _model_mean(rbm), atol=0.05)
    assert not np.array_equal(rbm.sample(50, sweeps=5), rbm.sample(50, sweeps=5))
    assert_array_equal(rbm.sample(50, sweeps=5, random_state=3), rbm.sample(50, sweeps=5, random_state=3))


def test_scale_works_in_the_units_of_the_data(X):
    raw = 100 * X - 30
    unit = MinMaxScaler().fit_transform(X)
    scaled, plain = sr.SparseRBM(**SMALL, scale=True).fit(raw), sr.SparseRBM(**SMALL).fit(unit)
    assert_allclose(scaled.transform(raw), plain.transform(unit), atol=1e-6)
    reconstruction = scaled.reconstruct(raw)
    assert np.mean((reconstruction - raw) ** 2) < raw.var()
    low, high = raw.min(axis=0), raw.max(axis=0)
    for out in (reconstruction, scaled.gibbs(raw), scaled.sample(5, sweeps=2)):
        assert np.all((out >= low - 1e-9) & (out <= np.maximum(high, low + 1) + 1e-9))


def test_scale_keeps_the_range_of_the_first_batch():
    rng = np.random.default_rng(0)
    first = rng.random((20, 4))
    rbm = sr.SparseRBM(3, scale=True, random_state=0).partial_fit(first)
    rbm.partial_fit(first * 100)
    assert_array_equal(rbm.scaler_.data_max_, first.max(axis=0))
    assert_allclose(rbm.transform(first * 100 + 1), rbm.transform(np.tile(first.max(axis=0), (20, 1))))


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_values_outside_the_unit_interval(X, method):
    with pytest.raises(ValueError, match=r"values in \[0, 1\].* from 0 to 16.*scale=True in SparseRBM"):
        getattr(sr.SparseRBM(**SMALL), method)(16 * X)
    fitted = sr.SparseRBM(**SMALL).fit(X)
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        fitted.partial_fit(-X)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"epsilon": 5, "density": 0.1}, ValueError, r"epsilon=5 and density=0.1 contradict each other"),
        ({"epsilon": 5, "wiring": "dense"}, ValueError, r"epsilon=5 and wiring='dense' contradict"),
        ({"density": 1.0, "wiring": "dense"}, ValueError, r"density=1.0 and wiring='dense' contradict"),
        ({"epsilon": 50}, ValueError, r"epsilon=50 asks for 3,800 connections .* use epsilon <= 10.1"),
        ({"density": 1.5}, ValueError, r"density=1.5 is not possible"),
        ({"wiring": "small_world"}, ValueError, r"unknown wiring 'small_world'"),
        ({"evolution": "sett"}, ValueError, r"did you mean 'set'"),
        ({"evolution": 0.3}, TypeError, r"evolution=0.3 is not possible"),
        ({"zeta": 1.0}, ValueError, r"zeta=1 is out of range"),
        ({"l2": -1e-3}, ValueError, r"l2=-0.001 is out of range"),
        ({"n_components": 0}, ValueError, r"number of units must be an integer of at least 1"),
        ({"n_iter": 0}, ValueError, r"n_iter=0 is not possible"),
        ({"batch_size": 0}, ValueError, r"batch_size=0 is not possible"),
        ({"cd_steps": 0}, ValueError, r"k=0 is not possible"),
        ({"learning_rate": -0.1}, ValueError, r"learning_rate=-0.1 is out of range"),
        ({"image_shape": (7, 8)}, ValueError, r"image_shape=\(7, 8\) does not have the 64 pixels"),
        ({"backend": "torch"}, ValueError, r"unknown backend 'torch'"),
    ],
)
def test_bad_parameters(X, given, error, message):
    with pytest.raises(error, match=message):
        sr.SparseRBM(**(SMALL | given)).fit(X)


def test_inverse_transform_needs_all_hidden_units(X):
    with pytest.raises(ValueError, match="H has 3 columns, but there are 12 hidden units"):
        sr.SparseRBM(**SMALL).fit(X).inverse_transform(np.zeros((2, 3)))


# -- what watches a fit -------------------------------------------------------------------------------------------


def test_units_and_algorithm_of_all_kinds(X):
    """What the library can do, through the parameters of the estimator."""
    settings = {"n_components": 6, "n_iter": 3, "random_state": 0, "density": 0.5}
    rectified = sr.SparseRBM(hidden="truncated_gaussian", learning_rate=0.01, **settings)
    hidden = rectified.fit(X).transform(X)
    assert (hidden >= 0).all()
    assert len(np.unique(hidden)) > 100
    real = sr.SparseRBM(visible="gaussian(learned=True)", learning_rate=0.01, **settings).fit(3 * X - 1)
    assert real.model_.visible == sr.Gaussian(64, learned=True)
    assert np.isfinite(real.reconstruct(3 * X - 1)).all()
    rule = "cd(k=2, persistent=True, chains=5, centred=True, sparsity=sparsity(0.2))"
    same = [sr.SparseRBM(algorithm=given, **settings).fit(X) for given in (rule, sr.registry.parse("algorithm", rule))]
    assert np.array_equal(same[0].components_, same[1].components_)
    assert same[0].run_.carry["trainer"]["chains"].shape == (6, 5)
    groups = np.concatenate([np.round(X), 1 - np.round(X)], axis=1)[:, [0, X.shape[1]]]
    one_hot = sr.SparseRBM(visible="potts(states=2)", **settings).fit(groups)
    assert (one_hot.sample(20, sweeps=3, random_state=0).sum(axis=1) == 1).all()
    n = X.shape[1]
    mixed = sr.Mixed((sr.Bernoulli(n - 1), sr.Gaussian(1)))
    assert sr.SparseRBM(visible=mixed, **settings).fit(X).model_.visible == mixed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"algorithm": "cd(k=2)", "cd_steps": 3}, "says k and persistent itself; leave cd_steps=3"),
        ({"algorithm": "backprop"}, "does not train an RBM; give e.g. CD"),
        ({"hidden": sr.Bernoulli(3)}, "is not possible; give a text such as 'gaussian', or 6 units"),
        ({"visible": "relu"}, "ReLU units have no distribution"),
    ],
)
def test_units_and_algorithms_that_cannot_be(X, given, message):
    with pytest.raises(ValueError, match=message):
        sr.SparseRBM(6, **given).fit(X)


def test_early_stopping_restores_the_best(X):
    stopping = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 3}
    rbm = sr.SparseRBM(40, n_iter=80, batch_size=5, learning_rate=0.5, random_state=0, **stopping).fit(X)
    found = rbm.history_["pseudo_likelihood"][1:]
    assert rbm.n_iter_ == len(found) < 80
    assert rbm.model_.epoch == int(np.argmax(found)) + 1
    _, held = train_test_split(X, test_size=0.3, random_state=rbm.model_.seed)
    assert rbm.score_samples(held).mean() == pytest.approx(found.max())


def test_early_stopping_where_the_free_energy_gap_grows(X):
    rule = sr.EarlyStopping(2, "free_energy_gap", limit=1.0)
    rules = {"early_stopping": rule, "validation_fraction": 0.5, "random_state": 0}
    rbm = sr.SparseRBM(100, n_iter=80, batch_size=5, learning_rate=0.5, **rules).fit(X)
    gaps = rbm.history_["free_energy_gap"]
    assert rbm.n_iter_ < 80
    assert (gaps[-2:] > 1).all()
    assert gaps[rbm.model_.epoch] <= 1
    seen, held = train_test_split(X, test_size=0.5, random_state=rbm.model_.seed)
    assert rbm.free_energy(held).mean() - rbm.free_energy(seen).mean() == pytest.approx(gaps[rbm.model_.epoch])
    with pytest.raises(ValueError, match="give a limit in nats"):
        sr.SparseRBM(early_stopping="early_stopping(2, metric='free_energy_gap')").fit(X)


def test_early_stopping_of_real_features_watches_the_reconstruction(X):
    stopping = {"early_stopping": True, "n_iter_no_change": 2, "learning_rate": 1e-9, "evolution": None}
    rbm = sr.SparseRBM(5, visible="gaussian", n_iter=9, random_state=0, tol=10.0, **stopping).fit(3 * X - 1)
    assert rbm.n_iter_ == 3
    assert "pseudo_likelihood" not in rbm.history_


def test_callbacks_can_end_training(X):
    seen = []

    def stop_at_two(model, metrics):
        seen.append((metrics["epoch"], isinstance(model, sr.RBM)))
        return metrics["epoch"] == 2

    rbm = sr.SparseRBM(**(SMALL | {"n_iter": 5}), callbacks=[stop_at_two]).fit(X)
    assert seen == [(1, True), (2, True)]
    assert rbm.n_iter_ == 2


def test_verbose_speaks_on_standard_error(X, capsys):
    sr.SparseRBM(**SMALL, verbose=1).fit(X)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2" in err
    sr.SparseRBM(**SMALL).fit(X)
    assert capsys.readouterr() == ("", "")


def test_partial_fit_has_no_last_call(X):
    rbm = sr.SparseRBM(4, evolution="set(last='drop')", random_state=0)
    with pytest.raises(ValueError, match="last='drop' would end every call of partial_fit"):
        rbm.partial_fit(X)


def test_a_backend_object_brings_its_number_type(X):
    from sparserbm.backends import get_backend

    rbm = sr.SparseRBM(4, n_iter=1, backend=get_backend("reference", "float32"), random_state=0).fit(X.astype(float))
    assert rbm.components_.dtype == np.float32


# -- missing values -----------------------------------------------------------------------------------------------


def _with_gaps(X, share=0.3, seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


def test_gaps_are_filled_better_than_by_means():
    data = _states(300)
    gaps = _with_gaps(data)
    rbm = sr.SparseRBM(4, density=1.0, n_iter=40, random_state=0).fit(gaps)
    missing = np.isnan(gaps)
    filled = rbm.fill_missing(gaps)
    assert_array_equal(filled[~missing], gaps[~missing])
    means = np.broadcast_to(np.nanmean(gaps, axis=0), gaps.shape)
    off = [np.mean((each[missing] - data[missing]) ** 2) for each in (filled, means)]
    assert off[0] < 0.6 * off[1]
    assert_array_equal(filled, rbm.fill_missing(gaps))
    states = rbm.fill_missing(gaps, mean=False, random_state=3)
    assert set(np.unique(states)) == {0.0, 1.0}


def test_gaps_everywhere_a_row_may_have_them(backend):
    gaps = _with_gaps(_states(60))
    rbm = sr.SparseRBM(3, n_iter=2, random_state=0, backend=backend).fit(gaps).partial_fit(gaps)
    assert rbm.transform(gaps).shape == (60, 3)
    assert np.isfinite(rbm.transform(gaps)).all()
    assert np.isfinite(rbm.reconstruct(gaps)).all()
    assert np.isfinite(rbm.score_samples(gaps)).all()
    assert rbm.score(gaps) == pytest.approx(sr.log_likelihood(rbm.model_, gaps).mean())
    assert_allclose(-rbm.free_energy(gaps).mean() - sr.log_partition(rbm.model_), rbm.score(gaps))
    assert rbm.__sklearn_tags__().input_tags.allow_nan
    with pytest.raises(ValueError, match="infinity"):
        rbm.transform(np.where(np.isnan(gaps), np.inf, gaps))


def test_scaled_features_with_gaps():
    data = 10 + 5 * _states(60)
    gaps = _with_gaps(data)
    rbm = sr.SparseRBM(3, n_iter=2, random_state=0, scale=True).fit(gaps)
    filled = rbm.fill_missing(gaps)
    assert_array_equal(filled[~np.isnan(gaps)], gaps[~np.isnan(gaps)])
    assert (filled.min(), filled.max()) == (10, 15)
    clamp = np.full(6, np.nan)
    clamp[2] = 15
    drawn = rbm.sample(8, sweeps=2, clamp=clamp)
    assert_array_equal(drawn[:, 2], np.full(8, 15))
    assert drawn.shape == (8, 6)
    assert rbm.sample(1, sweeps=2, clamp=clamp).shape == (1, 6)
    assert rbm.sample(2, sweeps=2, clamp=np.tile(clamp, (2, 1))).shape == (2, 6)


def test_early_stopping_on_gaps():
    rule = sr.EarlyStopping(2, "pseudo_likelihood")
    rbm = sr.SparseRBM(3, n_iter=20, random_state=0, early_stopping=rule).fit(_with_gaps(_states(80)))
    assert "pseudo_likelihood" in rbm.history_
