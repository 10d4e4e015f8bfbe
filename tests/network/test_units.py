"""Units: each mean beside its derivative, each log-partition beside the sum over states that it stands for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import activity, finite_differences, host, hosted, wired

from sparserbm import (
    MLP,
    AllReLU,
    Bernoulli,
    Gaussian,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    SReLU,
    Tanh,
)
from sparserbm.backends import Workspace, get_backend
from sparserbm.network.slots import Slots
from sparserbm.network.units import Units, hidden_layers, units_from
from sparserbm.registry import parse, to_text
from sparserbm.rng import DrawKey

KEY = DrawKey(5, 6, 7, 8)
ELEMENTWISE = (Bernoulli(1), Gaussian(1), ReLU(1), LeakyReLU(1, slope=0.3), Sigmoid(1), Tanh(1), Identity(1))
Z = np.array([[-3.0, -1.2, -0.4, 0.3, 0.9, 2.5]])


def mean(backend, units, z):
    """The mean at total inputs z, through one connection of weight 1."""
    line = wired(backend, 1, 1, 1)
    line.slots["weight"] = np.ones(1)
    return hosted(line.backend).spmm(
        line, line.weight, z, np.empty_like(z), activation=units.activation, slope=units.slope
    )


def log_partition(library, units, z):
    return host(units.log_partition(library, library.asarray(z.copy()), library.empty(z.shape)))


@pytest.mark.parametrize("units", ELEMENTWISE, ids=lambda units: type(units).__name__)
def test_the_derivative_is_the_slope_of_the_mean(backend, units):
    step = 1e-6
    slope = (mean(backend, units, Z + step) - mean(backend, units, Z - step)) / (2 * step)
    gated = hosted(backend, "float64").gate(units.activation, mean(backend, units, Z), np.ones_like(Z), units.slope)
    assert_allclose(gated, slope, rtol=1e-6, atol=1e-9)


# -- on their own: activity and way back of one layer --------------------------------------------------------------------


def layer(backend, units, dtype="float64", n=400):
    """Slots of these units, with values of their own, and total inputs (n_units, n)."""
    library, random = get_backend(backend, dtype), np.random.default_rng(4)
    slots = Slots(library, units.n)
    slots["bias"] = np.zeros(units.n)
    for name in units.own:
        slots[name] = random.normal(0.3, 0.6, units.n)
    return library, slots, library.asarray(random.normal(size=(units.n, n)))


ALONE = [ReLU(7), Tanh(7), LeakyReLU(7, slope=0.2), AllReLU(7, slope=-0.6), SReLU(7)]
alone = pytest.mark.parametrize("units", ALONE, ids=lambda units: type(units).__name__)


@alone
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activities_are_those_of_the_definition(backend, units, dtype):
    library, slots, total = layer(backend, units, dtype)
    before, out = host(total).copy(), library.empty(total.shape)
    units.activate(library, slots, total, out, Workspace(library))
    exact = activity(units, {name: array[:, None].astype(float) for name, array in slots.to_numpy().items()}, before)
    assert_allclose(host(out), exact, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)
    assert np.array_equal(host(total), before)


@alone
def test_the_way_back_gives_the_slopes_of_the_activity(backend, units):
    library, slots, total = layer(backend, units)
    arrays, coefficients = Workspace(library), np.random.default_rng(5).normal(size=total.shape)
    factors = library.asarray(coefficients)

    def loss():  # the mean over the samples of a weighted sum of activities
        out = library.empty(total.shape)
        units.activate(library, slots, total, out, arrays)
        return float((host(out) * coefficients).sum() / total.shape[1])

    out, delta = library.empty(total.shape), factors.copy()
    units.activate(library, slots, total, out, arrays)
    gradients = units.back(library, slots, out if units.fused else total, delta, arrays)
    slopes = finite_differences(total.reshape(-1)[:300], loss)
    assert_allclose(host(delta).ravel()[:300] / total.shape[1], slopes, rtol=1e-5, atol=1e-9)
    assert set(gradients) == set(units.own)
    for name, gradient in gradients.items():
        assert_allclose(host(gradient), finite_differences(slots[name], loss), rtol=1e-5, atol=1e-9)


def test_srelu_units_begin_as_a_relu(backend):
    mlp = MLP(6, SReLU(5), Softmax(3), wiring="dense", backend=backend)
    twin = MLP(6, ReLU(5), Softmax(3), wiring="dense", backend=backend)
    assert {name: host(mlp.biases[0][name]).tolist() for name in mlp.biases[0]} == {
        "bias": [0.0] * 5,
        "t_left": [0.0] * 5,
        "a_left": [0.0] * 5,
        "t_right": [1.0] * 5,
        "a_right": [1.0] * 5,
    }
    X = np.random.default_rng(0).normal(size=(20, 6))
    assert_allclose(mlp.predict(X), twin.predict(X), rtol=1e-6)


def test_slopes_below_0_need_the_total_input():
    assert [LeakyReLU(3, slope=slope).fused for slope in (0.0, 0.5, 2.0, -0.1)] == [True, True, True, False]
    assert not SReLU(3).fused
    for units in (LeakyReLU(3, slope=-0.1), SReLU(3), "all_relu(3, slope=-0.6)"):
        with pytest.raises(ValueError, match=r"\(n=3.*\) can only be a hidden layer; use other units for the output"):
            MLP(4, units, backend="reference")
    for slope in (np.nan, np.inf):
        with pytest.raises(ValueError, match="is not possible for LeakyReLU; use a finite number"):
            LeakyReLU(3, slope=slope)


def test_units_by_text():
    assert parse("unit", "leaky_relu(5)") == LeakyReLU(5, slope=0.01)
    assert parse("unit", "all_relu(5, -0.75)") == AllReLU(5, slope=-0.75)
    for units in (LeakyReLU(5, slope=0.2), AllReLU(5, slope=-0.6), SReLU(5)):
        assert parse("unit", to_text(units)) == units
    assert units_from("gaussian(sigma=0.5)", 4) == Gaussian(4, sigma=0.5)
    assert units_from(" leaky_relu(0.2)", 4) == LeakyReLU(4, slope=0.2)


def test_slopes_of_all_relu_change_sign_from_layer_to_layer():
    assert hidden_layers("all_relu(0.6)", (9, 8, 7)) == [AllReLU(9, -0.6), AllReLU(8, 0.6), AllReLU(7, -0.6)]
    assert hidden_layers("all_relu", (9,)) == [AllReLU(9, -0.6)]
    assert hidden_layers("leaky_relu(0.6)", (9, 8)) == [LeakyReLU(9, 0.6), LeakyReLU(8, 0.6)]
    assert hidden_layers("tanh", (9, 8)) == [Tanh(9), Tanh(8)]


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


@pytest.mark.parametrize("kind", [ReLU, LeakyReLU, SReLU, Sigmoid, Tanh, Identity, Softmax])
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
