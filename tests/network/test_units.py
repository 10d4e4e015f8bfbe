"""Units: each mean beside its derivative, each log-partition beside the sum over states that it stands for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import host, hosted, wired

from sparserbm import Bernoulli, Gaussian, Identity, ReLU, Sigmoid, Softmax, Tanh
from sparserbm.backends import get_backend
from sparserbm.network.units import Units
from sparserbm.rng import DrawKey

KEY = DrawKey(5, 6, 7, 8)
ELEMENTWISE = (Bernoulli(1), Gaussian(1), ReLU(1), Sigmoid(1), Tanh(1), Identity(1))
Z = np.array([[-3.0, -1.2, -0.4, 0.3, 0.9, 2.5]])


def mean(backend, units, z):
    """The mean at total inputs z, through one connection of weight 1."""
    line = wired(backend, 1, 1, 1)
    line.slots["weight"] = np.ones(1)
    return hosted(line.backend).spmm(line, line.weight, z, np.empty_like(z), activation=units.activation)


def log_partition(library, units, z):
    return host(units.log_partition(library, library.asarray(z.copy()), library.empty(z.shape)))


@pytest.mark.parametrize("units", ELEMENTWISE, ids=lambda units: type(units).__name__)
def test_the_derivative_is_the_slope_of_the_mean(backend, units):
    step = 1e-6
    slope = (mean(backend, units, Z + step) - mean(backend, units, Z - step)) / (2 * step)
    gated = hosted(backend, "float64").gate(units.activation, mean(backend, units, Z), np.ones_like(Z))
    assert_allclose(gated, slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("units", [Bernoulli(1), Gaussian(1), Gaussian(1, sigma=0.6)])
def test_the_log_partition_has_the_mean_as_its_slope(backend, units):
    """What a connection sees of the mean, to be exact: the mean over sigma**2 for Gaussian units."""
    library, step = get_backend(backend, "float64"), 1e-5
    above, below = (log_partition(library, units, Z + side) for side in (step, -step))
    seen = units.statistic(library.asarray(mean(backend, units, Z)))
    assert_allclose((above - below) / (2 * step), host(seen), rtol=1e-6, atol=1e-9)


def test_the_log_partition_of_bernoulli_units_sums_two_states(backend):
    out = log_partition(get_backend(backend, "float64"), Bernoulli(1), Z)
    assert_allclose(out, np.log(np.exp(0 * Z) + np.exp(Z)), rtol=1e-14)


def test_the_log_partition_of_gaussian_units_is_an_integral(backend):
    """log of the integral over s of exp(-s**2 / (2 sigma**2) + s z / sigma**2), up to a constant."""
    units, s = Gaussian(1, sigma=0.6), np.linspace(-12, 12, 40_001)
    out = log_partition(get_backend(backend, "float64"), units, Z)[0]
    integrand = np.exp((-(s[:, None] ** 2) / 2 + s[:, None] * Z) / 0.36)
    numeric = np.log(integrand.sum(axis=0) * (s[1] - s[0]))
    assert_allclose(out - out[0], numeric - numeric[0], rtol=1e-9)


def test_energies_of_states_alone(backend):
    library = get_backend(backend, "float64")
    state, bias = library.asarray([[1.0, 0.0], [1.0, 1.0]]), library.asarray([0.5, -2.0])
    assert Bernoulli(2).energy(library, state, bias).tolist() == [1.5, 2.0]
    # ((1 - 0.5)**2 + (1 + 2)**2) / (2 * 0.25) and (0.25 + 9) / 0.5
    assert Gaussian(2, sigma=0.5).energy(library, state, bias).tolist() == [18.5, 18.5]


def test_what_a_connection_sees():
    state = np.array([[1.0, 3.0]])
    assert Bernoulli(1).statistic(state) is state
    assert Gaussian(1).statistic(state) is state
    assert Gaussian(1, sigma=0.5).statistic(state).tolist() == [[4.0, 12.0]]


def test_draws_scatter_around_the_mean(backend):
    library = get_backend(backend, "float64")
    means = library.asarray(np.repeat([[0.2], [0.7]], 40_000, axis=1))
    binary = host(Bernoulli(2).draw(library, means, KEY, library.empty(means.shape)))
    assert_allclose(binary.mean(axis=1), [0.2, 0.7], atol=0.01)
    drawn = host(Gaussian(2, sigma=0.5).draw(library, means, KEY, library.empty(means.shape)))
    assert_allclose(drawn.mean(axis=1), [0.2, 0.7], atol=4 * 0.5 / 200)
    assert_allclose(drawn.std(axis=1), [0.5, 0.5], atol=4 * 0.5 / np.sqrt(80_000))


def test_biases_for_a_mean_give_that_mean(backend):
    wanted = np.array([0.001, 0.2, 0.5, 0.9])
    bias = Bernoulli(4).bias_for(wanted)
    assert_allclose(mean(backend, Bernoulli(1), bias[None])[0], wanted, rtol=1e-12)
    extremes = Bernoulli(2).bias_for(np.array([0.0, 1.0]))  # a pixel that is always off must not get -infinity
    assert_allclose(mean(backend, Bernoulli(1), extremes[None])[0], [0.001, 0.999], rtol=1e-9)
    assert Gaussian(2).bias_for(np.array([-3.0, 7.0])).tolist() == [-3.0, 7.0]


def test_softmax_is_a_distribution_at_any_size(backend):
    library = get_backend(backend, "float64")
    z = np.array([[1.0, 1000.0, -1000.0], [2.0, 999.0, -1001.0], [0.5, 0.0, -3000.0]])
    out = host(library.softmax(library.asarray(z.copy())))
    assert_allclose(out.sum(axis=0), np.ones(3), rtol=1e-14)
    assert_allclose(out[:, 0], np.exp([1.0, 2.0, 0.5]) / np.exp([1.0, 2.0, 0.5]).sum(), rtol=1e-14)
    assert_allclose(out[:2, 1], out[:2, 2], rtol=1e-12)  # only differences count


def test_bernoulli_units_want_the_unit_interval():
    Bernoulli(3).check_data(0.0, 1.0)
    Gaussian(3).check_data(-1e9, 1e9)
    with pytest.raises(ValueError, match=r"values in \[0, 1\], but X has values from -0.5 to 255; scale the data"):
        Bernoulli(3).check_data(-0.5, 255.0)


@pytest.mark.parametrize("kind", [ReLU, Sigmoid, Tanh, Identity, Softmax])
def test_units_without_a_distribution_say_so(backend, kind):
    units, library = kind(2), get_backend(backend, "float64")
    assert not units.stochastic
    for call in (
        lambda: units.draw(library, Z, KEY, Z),
        lambda: units.log_partition(library, Z, Z),
        lambda: units.energy(library, Z, Z),
        lambda: units.bias_for(Z),
    ):
        with pytest.raises(NotImplementedError, match=f"{kind.__name__} units have no distribution"):
            call()


@pytest.mark.parametrize("n", [0, -1, 2.0, "3", True])
def test_numbers_of_units_are_whole_and_positive(n):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        Bernoulli(n)
    assert isinstance(Bernoulli(np.int64(3)), Units)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.inf, np.nan])
def test_sigma_is_positive(sigma):
    with pytest.raises(ValueError, match="is not possible for Gaussian units; use a number above 0"):
        Gaussian(3, sigma=sigma)
