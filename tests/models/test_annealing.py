"""Annealed importance sampling, against models whose log Z is known."""

import warnings

import numpy as np
import pytest
from enumerated import PAIRS, small, typical, written_out
from numpy.testing import assert_allclose, assert_array_equal
from problems import parameters, states, tiny_rbm
from scipy.special import expit

from sparserbm import (
    RBM,
    Bernoulli,
    Gaussian,
    LikelihoodWarning,
    Normal,
    Partition,
    TruncatedGaussian,
    partition_function,
)
from sparserbm.backends import get_backend
from sparserbm.models.annealing import PUBLISHED, base_biases, own_biases, schedule
from sparserbm.rng import Streams

pytestmark = pytest.mark.draws

TOGETHER = (Gaussian(1, sigma=1.2), TruncatedGaussian(2))  # no side can be enumerated; a grid can be integrated


def ais(rbm, data=None, **settings):
    """`partition_function` by AIS, deaf to its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LikelihoodWarning)
        return partition_function(rbm, data, method="ais", **settings)


# -- schedule ----------------------------------------------------------------------------------------------------------


def test_the_published_schedule():
    betas = schedule(PUBLISHED)
    assert len(betas) == 14_501
    assert (betas <= 0.5).sum() == 501
    assert ((betas > 0.5) & (betas <= 0.9)).sum() == 4000
    assert (betas > 0.9).sum() == 10_000
    assert_allclose(np.diff(betas)[[0, 600, -1]], [1e-3, 1e-4, 1e-5])


@pytest.mark.parametrize("n", [1, 2, 29, 1000])
def test_fewer_steps_in_the_same_proportions(n):
    betas = schedule(n)
    assert len(betas) == n + 1
    assert (betas[0], betas[-1]) == (0, 1)
    assert np.all(np.diff(betas) > 0)
    assert np.interp(betas, schedule(PUBLISHED), np.linspace(0, 1, PUBLISHED + 1)) == pytest.approx(
        np.linspace(0, 1, n + 1), abs=1e-12
    )


def test_a_schedule_of_ones_own():
    assert_array_equal(schedule([0, 0.3, 1]), [0, 0.3, 1])
    for wrong in ([0, 0.5], [0.1, 1], [0, 0.5, 0.5, 1], [[0, 1]], [0, 1, 0.5, 1], [0, np.nan, 1], "many"):
        with pytest.raises(ValueError, match=r"must be a number of steps, or inverse temperatures|could not convert"):
            schedule(wrong)
    with pytest.raises(ValueError, match="temperatures=0 is not possible; use at least 1"):
        schedule(0)


# -- estimates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_z_is_estimated_without_bias_from_both_sides(backend, pair, gates):
    """The mean weight of many chains of few temperatures is Z, and that of reverse chains 1 / Z."""
    rbm = small(pair, backend, gates=gates)
    log_z = written_out(rbm)[3]
    found = ais(rbm, typical(rbm), chains=1000, temperatures=[0, 0.3, 0.6, 1], reverse=True)
    assert found.samples == "exact samples"
    assert found.standard_error < 0.05
    assert abs(np.expm1(found.log_z - log_z)) < 4.5 * found.standard_error * np.exp(found.log_z - log_z)
    assert abs(np.expm1(log_z - found.upper)) < 4.5 * found.upper_error * np.exp(log_z - found.upper)


def test_a_model_that_has_no_side_to_enumerate(backend):
    rbm = small(TOGETHER, backend, scale=0.3)
    log_z = written_out(rbm)[3]
    data = np.random.default_rng(0).normal(0, 1.2, (300, 1))
    found = partition_function(rbm, data, chains=2000, temperatures=6, reverse=True, sweeps=30)
    assert found.method == "ais"
    assert found.samples == "30 Gibbs sweeps from data"
    assert abs(found.log_z - log_z) < 4.5 * found.standard_error
    assert abs(found.upper - log_z) < 4.5 * found.upper_error


def test_what_has_no_partition_function_diverges_loudly():
    rbm = small(TOGETHER, "reference", scale=0.3)
    rbm.matrix.weight[:] = 40.0
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="it has no finite partition function"):
        ais(rbm, chains=5, temperatures=400)


def test_the_standard_error_covers():
    rbm = tiny_rbm("auto", 5, 4, scale=1.0)
    log_z, data = written_out(rbm)[3], states(5)
    runs = [ais(rbm, data, chains=40, temperatures=6, seed=seed, reverse=True) for seed in range(150)]
    for value, error in (("log_z", "standard_error"), ("upper", "upper_error")):
        z = np.array([(getattr(run, value) - log_z) / getattr(run, error) for run in runs])
        assert 0.55 < (np.abs(z) < 1).mean() < 0.8  # of a normal distribution 0.68
        assert 0.88 < (np.abs(z) < 2).mean() < 0.99


def test_the_sandwich_holds_in_the_mean_and_closes():
    rbm = tiny_rbm("auto", 6, 5, scale=1.5)
    log_z, data = written_out(rbm)[3], states(6)
    widths = []
    for temperatures in (2, 8, 40):
        runs = [ais(rbm, data, chains=2, temperatures=temperatures, seed=seed, reverse=True) for seed in range(40)]
        lower, upper = (np.array([getattr(run, name) for run in runs]) for name in ("lower", "upper"))
        assert lower.mean() < log_z + 3 * lower.std() / 6
        assert upper.mean() > log_z - 3 * upper.std() / 6
        widths.append(np.mean([run.width for run in runs]))
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2] > 0


def test_hidden_units_without_connections_are_exact():
    """No chance is left where nothing interacts: in float32, 2,000,000 nats and 300 temperatures lose nothing."""
    rbm = RBM(Bernoulli(8), Bernoulli(1000), wiring="dense", weights="zero", backend="auto")
    bias = np.random.default_rng(0).normal(2000, 30, 1000).astype(np.float32)
    rbm.biases[1]["bias"] = bias
    found = ais(rbm, states(8), chains=3, temperatures=300)
    assert found.log_z == pytest.approx(bias.astype(float).sum() + 8 * np.log(2), abs=1e-5)
    assert found.standard_error < 1e-6
    assert found.ess == pytest.approx(3)


# -- what it depends on ------------------------------------------------------------------------------------------------


def test_the_same_chains_on_every_backend(backend):
    for pair in ("bernoulli, bernoulli", "gaussian, bernoulli", "mixed, bernoulli"):
        kinds, data = ("reference", backend), typical(small(pair, "reference"))
        found = [ais(small(pair, kind), data, chains=35, temperatures=10, reverse=True) for kind in kinds]
        for name in ("log_z", "standard_error", "ess", "upper", "upper_error"):
            assert getattr(found[0], name) == pytest.approx(getattr(found[1], name), rel=1e-9)


def test_the_same_bits_on_any_number_of_threads():
    pytest.importorskip("numba")
    data = np.random.default_rng(0).random((50, 120))
    found = []
    for threads in (1, 2):
        kind = {"backend": get_backend("numpy", threads=threads), "seed": 0}
        rbm = RBM(Bernoulli(120), Bernoulli(90), weights=Normal(0.3), **kind)
        found.append(ais(rbm, data, chains=300, temperatures=15, reverse=True, sweeps=5))
    assert found[0] == found[1]


def test_a_seed_is_a_run():
    rbm = tiny_rbm("reference", 6, 5)
    first, again, other = (ais(rbm, chains=10, temperatures=5, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.log_z != other.log_z
    assert (first.seed, other.seed) == (3, 4)


def test_the_model_stays_as_it_is(backend):
    rbm = small("bernoulli, bernoulli", backend, gates=True)
    before = [slots.to_numpy() for slots in (rbm.matrix.slots, *rbm.biases)]
    kept = [{name: array.copy() for name, array in slots.items()} for slots in before]
    ais(rbm, chains=5, temperatures=5, reverse=True)
    for slots, old in zip((rbm.matrix.slots, *rbm.biases), kept):
        for name, array in slots.to_numpy().items():
            assert_array_equal(array, old[name])


def test_base_rates_of_data():
    rbm = tiny_rbm("reference", 3, 2)
    data = np.array([[0, 1, 1], [0, 1, 0.0]] * 4)
    assert_allclose(expit(base_biases(rbm, data)), [1 / 10, 9 / 10, 5 / 10])  # as if (0, 0, 0) and (1, 1, 1) were there
    many = np.tile(data, (2000, 1))
    assert_allclose(expit(base_biases(rbm, many)), [1e-3, 1 - 1e-3, 0.5])
    real = small("gaussian, bernoulli", "reference")
    assert_allclose(base_biases(real, np.array([[1.0, 20.0], [3.0, 40.0]])), [2, 30])
    groups = small("potts, bernoulli", "reference")
    one_hot = np.array([[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1.0]])
    expected = (2 * one_hot.mean(axis=0) + 2 / 3) / 4
    assert_allclose(np.exp(base_biases(groups, one_hot)), expected)


def test_base_rates_of_the_model_itself(backend):
    rbm = tiny_rbm(backend, 4, 3, scale=0.7)
    visible, _, log_p, _ = written_out(rbm)
    mean = np.exp(log_p) @ visible
    found = expit(own_biases(rbm, 2000, Streams(0)))
    assert_allclose((2002 * found - 1) / 2000, mean, atol=0.05)


def test_data_make_the_base_and_give_better_weights():
    random = np.random.default_rng(0)
    rbm = tiny_rbm("reference", 12, 3, scale=0.2)
    rbm.biases[0]["bias"] = random.choice([-4.0, 4.0], 12)
    data = (random.random((400, 12)) < expit(parameters(rbm)[1])).astype(float)
    near = ais(rbm, data, temperatures=3, chains=200)
    far = ais(rbm, np.full((2, 12), 0.5), temperatures=3, chains=200)
    assert near.ess > 190 > 3 * far.ess


def test_given_samples_and_starts():
    rbm = tiny_rbm("reference", 6, 5)
    given = ais(rbm, chains=30, temperatures=5, reverse=True, samples=states(6)[:7])
    assert given.samples == "7 given samples"
    assert given.upper_ess <= 7
    many = ais(rbm, chains=30, temperatures=5, reverse=True, samples=states(6))
    assert many.samples == "30 given samples"
    big = RBM(Bernoulli(25), Bernoulli(24), weights=Normal(0.1), wiring="dense", backend="reference")
    free = partition_function(big, chains=10, temperatures=5, reverse=True, sweeps=3)
    assert free.samples == "3 Gibbs sweeps from draws of the base model"
    few = np.random.default_rng(0).random((4, 25))
    assert partition_function(big, few, chains=10, temperatures=5, reverse=True, sweeps=3).samples.endswith("from data")


def test_progress_counts_through_all_stages():
    big = RBM(Bernoulli(25), Bernoulli(24), weights=Normal(0.1), wiring="dense", backend="reference")
    seen = []
    settings = {"chains": 4, "temperatures": 7, "reverse": True, "sweeps": 5}
    quiet = partition_function(big, **settings)
    assert partition_function(big, progress=lambda *now: seen.append(now), **settings) == quiet
    assert seen == [(done, 19) for done in range(1, 20)]


# -- what it says ------------------------------------------------------------------------------------------------------


def test_exact_where_that_is_possible():
    rbm = tiny_rbm("reference", 6, 5)
    found = partition_function(rbm)
    assert found == Partition(found.log_z, upper=found.log_z, upper_error=0.0)
    assert found.log_z == found.lower == pytest.approx(written_out(rbm)[3])
    assert (found.method, found.width, found.interval()) == ("exact", 0, (found.log_z, found.log_z))


def test_interval():
    found = Partition(2.0, standard_error=0.1, method="ais")
    assert_allclose(np.exp(np.array(found.interval()) - 2), [0.7, 1.3])
    assert found.interval(10)[0] == -np.inf
    assert found.width is None
    assert found.as_dict()["lower"] == 2.0


def test_few_temperatures_are_warned_of():
    rbm = tiny_rbm("reference", 12, 10, scale=3.0)
    said = "the bounds of log Z lie .* nats apart and only .* of 100 chains count .*use more temperatures"
    with pytest.warns(LikelihoodWarning, match=said):
        partition_function(rbm, states(12), method="ais", temperatures=2, reverse=True)
    with pytest.warns(LikelihoodWarning, match=r"^only [\d.]+ of 100 chains count"):
        partition_function(rbm, states(12), method="ais", temperatures=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        easy = tiny_rbm("reference", 6, 5, scale=0.3)
        partition_function(easy, states(6), method="ais", temperatures=20, reverse=True)


def test_a_start_that_is_no_sample_shows():
    """The model finds them less probable than its samples, so they are relatively too probable under the base."""
    rbm = tiny_rbm("reference", 8, 4, scale=0.1)
    rbm.biases[0]["bias"] = np.full(8, 1.0)
    never = np.zeros((50, 8))  # each unit is on with a probability of 0.73
    with pytest.warns(
        LikelihoodWarning, match="upper bound lies .* nats below the lower one .*: no samples of the model"
    ):
        partition_function(rbm, np.full((9, 8), 0.5), method="ais", temperatures=1, reverse=True, samples=never)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"method": "guess"}, "method='guess' is not possible; use auto, exact or ais"),
        ({"chains": 1}, "chains=1 is not possible; use an integer of at least 2"),
        ({"chains": 2.5}, r"chains=2.5 is not possible"),
        ({"sweeps": 0}, "sweeps=0 is not possible"),
        ({"temperatures": -1}, "temperatures=-1 is not possible"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"data": np.zeros((3, 4))}, "X has 4 features, but the model has 6 inputs"),
        ({"data": np.full((3, 6), 2.0)}, r"Bernoulli units need values in \[0, 1\]"),
        ({"samples": np.zeros((3, 4)), "reverse": True}, "X has 4 features"),
    ],
)
def test_what_is_refused(settings, problem):
    rbm = tiny_rbm("reference", 6, 5)
    with pytest.raises(ValueError, match=problem):
        partition_function(rbm, **{"method": "ais", "temperatures": 3, **settings})


def test_weights_that_are_not_numbers():
    rbm = tiny_rbm("reference", 6, 5)
    rbm.matrix.weight[0] = np.nan
    with pytest.raises(FloatingPointError, match="weights are NaN or infinite"):
        ais(rbm, temperatures=3)
