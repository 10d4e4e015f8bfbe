"""Missing visible values: what is known stays, the rest is what the joint distribution says of it."""

import numpy as np
import pytest
from enumerated import NODES, PAIRS, WEIGHTS, small, typical, written_out
from numpy.testing import assert_allclose, assert_array_equal
from problems import parameters, states, stripes, tiny_rbm
from scipy import sparse
from scipy.special import logsumexp
from scipy.stats import chisquare

from sparserbm import (
    Bernoulli,
    Gaussian,
    Mixed,
    Potts,
    TruncatedGaussian,
    free_energy_gap,
    log_likelihood,
    mean_log_likelihood,
    pseudo_likelihood,
)
from sparserbm.data.scaling import check_features
from sparserbm.data.sources import SparseSource, as_samples, has_missing, means, variances
from sparserbm.models.missing import settled

pytestmark = pytest.mark.draws

NAN = np.nan


def _parts(units):
    return units.parts if isinstance(units, Mixed) else (units,)


def with_gaps(X, units, seed=0, share=0.4):
    """`X` with gaps at random: groups of Potts units as a whole, the first row nowhere, the last everywhere."""
    random, X, start = np.random.default_rng(seed), np.array(X, dtype=float), 0
    for part in _parts(units):
        width = part.states if isinstance(part, Potts) else 1
        mark = np.repeat(random.random((len(X), part.n // width)) < share, width, axis=1)
        mark[0], mark[-1] = False, True
        X[:, start : start + part.n][mark] = NAN
        start += part.n
    return X


def agreeing(states, row):
    """Which rows of `states` have the known values of `row`."""
    known = ~np.isnan(row)
    return (states[:, known] == row[known]).all(axis=1)


# -- exact -------------------------------------------------------------------------------------------------------------

ENUMERABLE = [name for name, (_, hidden) in PAIRS.items() if not isinstance(hidden, (Gaussian, TruncatedGaussian))]


@pytest.mark.parametrize("pair", ENUMERABLE)
@pytest.mark.parametrize("gates", [False, True])
def test_the_likelihood_of_what_is_known_sums_over_the_rest(backend, pair, gates):
    rbm = small(pair, backend, gates=gates)
    v, measure, log_p, log_z = written_out(rbm)
    X = with_gaps(typical(rbm, 12), rbm.visible)
    # Real units that are known stand on grid points, whose measure is not theirs.
    real = [part.real for part in _parts(rbm.visible) for _ in range(part.n)]
    for row, found in zip(X, log_likelihood(rbm, X)):
        match = agreeing(v, row)
        measures = np.log(14 * WEIGHTS[[np.argmin(np.abs(14 * NODES - value)) for value in row[real & ~np.isnan(row)]]])
        assert found == pytest.approx(logsumexp(log_p[match] + measure[match]) - measures.sum(), abs=1e-6)
    assert_allclose(-rbm.free_energy(X) - log_z, log_likelihood(rbm, X), rtol=1e-9, atol=1e-9)
    assert mean_log_likelihood(rbm, X).mean == pytest.approx(log_likelihood(rbm, X).mean())


def test_nothing_missing_and_nothing_known(backend):
    rbm = tiny_rbm(backend, 4, 3)
    X = np.vstack([states(4)[5], np.full(4, NAN)])
    assert_allclose(rbm.free_energy(X)[0], rbm.free_energy(X[:1])[0], rtol=1e-12)
    assert log_likelihood(rbm, X)[1] == pytest.approx(0, abs=1e-12)  # something happens
    assert free_energy_gap(rbm, X, X) == pytest.approx(0, abs=1e-12)


def test_hidden_units_that_cannot_be_written_out():
    rbm = tiny_rbm("reference", 3, 25)
    X = [[0.0, NAN, 1.0]]
    with pytest.raises(ValueError, match=r"missing values needs all states of the hidden units.*fill the gaps first"):
        log_likelihood(rbm, X, 0.0)
    with pytest.raises(ValueError, match="missing values needs all states"):
        rbm.free_energy(X)
    assert np.isfinite(pseudo_likelihood(rbm, X)).all()


# -- drawn -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair", ["bernoulli, bernoulli", "mixed, bernoulli", "bernoulli, potts", "bernoulli, gaussian"]
)
def test_clamped_samples_have_the_conditional_distribution(backend, pair):
    rbm = small(pair, backend, scale=0.8, density=1.0)
    v, measure, log_p, _ = written_out(rbm)
    clamp = typical(rbm, 1)[0].astype(float)
    clamp[1:] = NAN
    drawn = rbm.sample(3000, sweeps=12, seed=3, clamp=clamp)
    assert (drawn[:, 0] == clamp[0]).all()
    match = agreeing(v, clamp)
    chance = np.where(match, np.exp(log_p + measure), 0)
    counts = (drawn[:, None] == v[None]).all(axis=2).sum(axis=0)
    assert counts.sum() == 3000
    assert not counts[~match].any()
    assert chisquare(counts[match], 3000 * chance[match] / chance.sum()).pvalue > 1e-3


def test_a_row_of_clamps_for_each_sample(backend):
    rbm = tiny_rbm(backend, 4, 3)
    clamp = np.full((5, 4), NAN)
    clamp[:, 2] = [0, 1, 1, 0, 1]
    clamp[3] = [1, 0, 0, 1]
    drawn = rbm.sample(5, sweeps=3, seed=0, clamp=clamp)
    known = ~np.isnan(clamp)
    assert_array_equal(drawn[known], clamp[known])
    assert_array_equal(rbm.sample(5, sweeps=3, seed=0, clamp=np.full(4, NAN)), rbm.sample(5, sweeps=3, seed=0))


@pytest.mark.parametrize(
    ("clamp", "said"),
    [
        ([1.0, NAN], r"clamp has shape \(2,\); give one value \(NaN: free\) for each of the 4"),
        (np.full((3, 4), NAN), r"in one for each of the 2 samples"),
        ([2.0, NAN, NAN, NAN], r"values in \[0, 1\]"),
        ([np.inf, NAN, NAN, NAN], "holds 2 infinite values"),
    ],
)
def test_clamps_that_are_not_possible(clamp, said):
    with pytest.raises(ValueError, match=said):
        tiny_rbm("reference", 4, 3).sample(2, sweeps=1, clamp=clamp)


@pytest.mark.draws
@pytest.mark.parametrize(
    "pair", ["bernoulli, bernoulli", "gaussian, bernoulli", "mixed, bernoulli", "mixed with reals"]
)
def test_filled_means_are_those_given_what_is_known(backend, pair):
    rbm = small(pair, backend, scale=0.7, density=1.0)
    v, measure, log_p, _ = written_out(rbm)
    X = with_gaps(typical(rbm, 5), rbm.visible, seed=2)
    found = rbm.fill(X, sweeps=1500, seed=1)
    for row, whole in zip(X, found):
        chance = np.where(agreeing(v, row), np.exp(log_p + measure), 0)
        expected = chance @ v / chance.sum()
        gaps = np.isnan(row)
        assert_array_equal(whole[~gaps], row[~gaps])
        assert_allclose(whole[gaps], expected[gaps], atol=0.08)


def test_filled_states_are_draws(backend):
    rbm = tiny_rbm(backend, 3, 2, scale=1.0)
    X = np.tile([1.0, NAN, NAN], (2000, 1))
    found = rbm.fill(X, sweeps=8, seed=5, mean=False)
    v, _, log_p, _ = written_out(rbm)
    chance = np.exp(log_p[v[:, 0] == 1])
    counts = (found[:, None] == v[v[:, 0] == 1][None]).all(axis=2).sum(axis=0)
    assert chisquare(counts, 2000 * chance / chance.sum()).pvalue > 1e-3
    assert_array_equal(found, rbm.fill(X, sweeps=8, seed=5, mean=False))
    assert not np.array_equal(found, rbm.fill(X, sweeps=8, seed=6, mean=False))


def test_fill_leaves_known_values_and_their_type_alone(backend):
    rbm = tiny_rbm(backend, 4, 3, dtype="float32")
    X = np.array([[0.1, NAN, 0.3, 1.0], [0.2, 0.2, 0.7, 0.1]])
    before = X.copy()
    found = rbm.fill(X, sweeps=2)
    assert found.dtype == np.float64
    assert_array_equal(found[1], X[1])
    assert_array_equal(found[0, [0, 2, 3]], X[0, [0, 2, 3]])
    assert 0 < found[0, 1] < 1
    assert_array_equal(X, before)
    assert rbm.fill(X.astype(np.float32), sweeps=1).dtype == np.float32
    assert_array_equal(rbm.fill([[0, 1, 1, 0]], sweeps=1), [[0.0, 1.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match="sweeps=0 is not possible"):
        rbm.fill(X, sweeps=0)


# -- mean field --------------------------------------------------------------------------------------------------------


def test_means_of_hidden_units_are_a_fixed_point(backend):
    """v and h each have the mean given the other one, and rows do not depend on their company."""
    rbm = tiny_rbm(backend, 6, 4, scale=0.7)
    X = with_gaps(states(6)[::7], rbm.visible)
    h = rbm.transform(X)
    w, a, b = parameters(rbm)
    v = 1 / (1 + np.exp(-(a + h @ w.T)))
    whole = np.where(np.isnan(X), v, X)
    assert_allclose(1 / (1 + np.exp(-(b + whole @ w))), h, atol=1e-6)
    assert_allclose(rbm.transform(X[3:5]), h[3:5], rtol=1e-12)
    assert_allclose(rbm.reconstruct(X), v, atol=1e-6)


def test_weak_connections_make_mean_field_exact(backend):
    rbm = tiny_rbm(backend, 4, 3, scale=0.05)
    v, _, log_p, _ = written_out(rbm)
    row = np.array([1.0, NAN, 0.0, NAN])
    match = agreeing(v, row)
    chance = np.exp(log_p[match]) / np.exp(log_p[match]).sum()
    assert_allclose(rbm.transform(row[None])[0], chance @ rbm.transform(v[match]), atol=1e-4)


# -- pseudo-likelihood -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [Bernoulli(3), Potts(3)])
def test_pseudo_likelihood_of_known_units(backend, hidden):
    """Missing units stand at their means while known ones are flipped."""
    rbm = tiny_rbm(backend, units=(Bernoulli(5), hidden))
    X = with_gaps(states(5)[::5], rbm.visible)
    whole = rbm.backend.to_numpy(settled(rbm, rbm.backend.asarray(np.ascontiguousarray(X.T)))).T
    expected = np.zeros(len(X))
    for i in range(5):
        flipped = whole.copy()
        flipped[:, i] = 1 - flipped[:, i]
        known = ~np.isnan(X[:, i])
        expected -= known * np.logaddexp(0, rbm.free_energy(whole) - rbm.free_energy(flipped))
    assert_allclose(pseudo_likelihood(rbm, X, exact=True), expected, rtol=1e-8, atol=1e-9)
    drawn = np.mean([pseudo_likelihood(rbm, X, seed=seed) for seed in range(200)], axis=0)
    assert_allclose(drawn, expected, atol=1.0)
    assert_array_equal(pseudo_likelihood(rbm, X)[-1], 0)  # a row of gaps


def test_a_stochastic_score_flips_known_units_only(backend):
    rbm = tiny_rbm(backend, 4, 3)
    X = np.array([[NAN, NAN, 1.0, NAN]])
    scores = {pseudo_likelihood(rbm, X, seed=seed)[0] for seed in range(8)}
    assert len(scores) == 1
    assert scores.pop() == pytest.approx(pseudo_likelihood(rbm, X, exact=True)[0])


# -- data --------------------------------------------------------------------------------------------------------------


def test_potts_groups_are_missing_as_a_whole():
    rbm = tiny_rbm("reference", units=(Mixed((Bernoulli(2), Potts(6, states=3))), Bernoulli(2)))
    X = np.array([[0, 1, 1, 0, 0, NAN, NAN, NAN], [0, NAN, NAN, 0, 0, 0, 1, 0]])
    assert rbm.check_known(X[:1]) is not None
    with pytest.raises(ValueError, match="group 0 of Potts units is missing in part in row 1"):
        rbm.check_known(X)
    with pytest.raises(ValueError, match="3 NaN or infinite values"):
        rbm.check_data(X[:1])


@pytest.mark.parametrize("make", [np.array, sparse.csr_array, as_samples], ids=["array", "sparse", "source"])
def test_values_beyond_the_range_are_found_among_gaps(make, tmp_path):
    X = np.array([[0.0, NAN, 1.0], [NAN, 1.5, 0.0]])
    rbm = tiny_rbm("reference", 3, 2)
    with pytest.raises(ValueError, match=r"values in \[0, 1\], but X has values from 0 to 1.5"):
        rbm.check_known(make(X))
    found = rbm.check_known(make(np.where(X > 1, 1, X)))
    assert has_missing(found)
    X[1, 1] = np.inf
    with pytest.raises(ValueError, match=r"holds 1 infinite values, the first \(inf\) at row 1, column 1"):
        check_features(make(X), missing=True)
    with pytest.raises(ValueError, match=r"holds 3 NaN or infinite values, the first \(nan\) at row 0, column 1"):
        check_features(make(X))


def test_means_and_variances_of_what_is_known():
    X = stripes(40, seed=1)
    gaps = np.random.default_rng(0).random(X.shape) < 0.3
    X[gaps] = NAN
    X[:, 3] = NAN
    weight = np.random.default_rng(1).random(40)
    weight /= weight.mean()
    mean = means(X)
    assert np.isnan(mean[3])
    rest = np.arange(16) != 3
    assert_allclose(mean[rest], np.nanmean(X[:, rest], axis=0))
    assert_allclose(variances(X, mean)[rest], np.nanvar(X[:, rest], axis=0))
    expected = [np.average(x[~np.isnan(x)], weights=weight[~np.isnan(x)]) for x in X[:, rest].T]
    assert_allclose(means(X, weight)[rest], expected)
    survey = SparseSource(sparse.csr_array(X)).survey
    assert (survey.smallest, survey.largest, survey.n_missing) == (0, 1, np.isnan(X).sum())
