"""Units: each mean beside its derivative, each log-partition beside the sum over states that it stands for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import activity, finite_differences, host, hosted, wired
from scipy.integrate import quad
from scipy.special import expit, logsumexp, softmax
from scipy.stats import chisquare, kstest, truncnorm

from sparserbm import (
    MLP,
    AllReLU,
    Bernoulli,
    Gaussian,
    Identity,
    LeakyReLU,
    Mixed,
    Potts,
    ReLU,
    Sigmoid,
    Softmax,
    SReLU,
    Tanh,
    TruncatedGaussian,
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
    """As a function of z for units whose bias is 0."""
    return host(
        units.log_partition(library, unit_slots(library, units), library.asarray(z.copy()), library.empty(z.shape))
    )


def unit_slots(library, units, bias=None, **own):
    """Slots of these units with the given values, else the first ones."""
    slots = Slots(library, units.n)
    slots["bias"] = np.zeros(units.n) if bias is None else np.asarray(bias, dtype=float)
    for name, first in units.own.items():
        slots[name] = np.array(np.broadcast_to(own.get(name, first), (units.n,)), dtype=float)
    return slots


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
    assert units_from("potts(states=2)", 4) == Potts(4, states=2)
    assert units_from("potts", 4) == Potts(4, 4)
    assert units_from("truncated_gaussian", 4) == TruncatedGaussian(4)
    mixed = Mixed((Bernoulli(3), Potts(4, states=2), Gaussian(1, learned=True)))
    assert mixed.n == 8
    assert parse("unit", to_text(mixed)) == mixed
    assert units_from("mixed((bernoulli(3), potts(4, states=2), gaussian(1, learned=True)))", 8) == mixed
    with pytest.raises(ValueError, match="has 8 units, and 9 are needed; give each part its number of units"):
        units_from(to_text(mixed), 9)


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
    seen = units.statistic(library, unit_slots(library, units), library.asarray(mean(backend, units, Z)))
    assert_allclose((above - below) / (2 * step), host(seen), rtol=1e-6, atol=1e-9)


def test_the_log_partition_of_bernoulli_units_sums_two_states(backend):
    out = log_partition(get_backend(backend, "float64"), Bernoulli(1), Z)
    assert_allclose(out, np.log(np.exp(0 * Z) + np.exp(Z)), rtol=1e-14)


def test_the_log_partition_of_gaussian_units_is_an_integral(backend):
    """log of the integral over s of exp(-s**2 / (2 sigma**2) + s z / sigma**2)."""
    units, s = Gaussian(1, sigma=0.6), np.linspace(-12, 12, 40_001)
    out = log_partition(get_backend(backend, "float64"), units, Z)[0]
    integrand = np.exp((-(s[:, None] ** 2) / 2 + s[:, None] * Z) / 0.36)
    numeric = np.log(integrand.sum(axis=0) * (s[1] - s[0]))
    assert_allclose(out, numeric, rtol=1e-9)


def test_energies_of_states_alone(backend):
    library = get_backend(backend, "float64")
    state, bias = library.asarray([[1.0, 0.0], [1.0, 1.0]]), library.asarray([0.5, -2.0])
    slots = {"bias": bias, "log_variance": library.asarray(np.log([0.25, 4.0]))}
    assert host(Bernoulli(2).energy(library, slots, state)).tolist() == [1.5, 2.0]
    assert host(Potts(2).energy(library, slots, state)).tolist() == [1.5, 2.0]
    assert host(TruncatedGaussian(2).energy(library, slots, state)).tolist() == [2.5, 2.5]  # (1 + 1) / 2 + 1.5
    # ((1 - 0.5)**2 + (1 + 2)**2) / (2 * 0.25) and (0.25 + 9) / 0.5
    assert host(Gaussian(2, sigma=0.5).energy(library, slots, state)).tolist() == [18.5, 18.5]
    # 0.25 / (2 * 0.25) + 9 / (2 * 4)
    assert_allclose(host(Gaussian(2, learned=True).energy(library, slots, state)), [1.625, 1.625], rtol=1e-12)


def test_what_a_connection_sees(backend):
    library = get_backend(backend, "float64")
    state = library.asarray([[1.0, 3.0], [2.0, 5.0]])
    for units in (Bernoulli(2), Gaussian(2), Potts(2), TruncatedGaussian(2), Mixed((Bernoulli(1), Gaussian(1)))):
        assert units.statistic(library, unit_slots(library, units), state) is state
    half, learned = Gaussian(2, sigma=0.5), Gaussian(2, learned=True)
    assert host(half.statistic(library, unit_slots(library, half), state)).tolist() == [[4, 12], [8, 20]]
    slots = unit_slots(library, learned, log_variance=np.log([0.5, 4.0]))
    assert_allclose(host(learned.statistic(library, slots, state)), [[2, 6], [0.5, 1.25]], rtol=1e-12)
    mixed = Mixed((Bernoulli(1), Gaussian(1, sigma=0.5)))
    assert host(mixed.statistic(library, unit_slots(library, mixed), state)).tolist() == [[1, 3], [8, 20]]
    assert host(state).tolist() == [[1, 3], [2, 5]]


def test_draws_scatter_around_the_mean(backend):
    library = get_backend(backend, "float64")
    n = 40_000

    def given(units, z, **own):
        """Means and draws for these total inputs."""
        inputs, sample = library.asarray(np.repeat(np.array(z)[:, None], n, axis=1)), library.empty((len(z), n))
        slots = unit_slots(library, units, **own)
        assert units.conditional(library, slots, inputs, KEY, sample) is inputs
        return host(inputs), host(sample)

    means, binary = given(Bernoulli(2), [-1.4, 0.8])
    assert_allclose(means[:, 0], expit([-1.4, 0.8]), rtol=1e-6)
    assert_allclose(binary.mean(axis=1), means[:, 0], atol=0.01)
    for units, deviation in ((Gaussian(2, sigma=0.5), [0.5, 0.5]), (Gaussian(2, learned=True), [0.5, 3.0])):
        means, drawn = given(units, [0.2, 0.7], log_variance=2 * np.log(deviation))
        assert_allclose(means[:, 0], [0.2, 0.7])
        assert (np.abs(drawn.mean(axis=1) - [0.2, 0.7]) < 4 * np.array(deviation) / 200).all()
        assert_allclose(drawn.std(axis=1), deviation, rtol=4 / np.sqrt(2 * n))
    means, drawn = given(TruncatedGaussian(3), [-3.0, 0.2, 2.0])
    for z, row, exact in zip((-3.0, 0.2, 2.0), drawn, means[:, 0]):
        truncated = truncnorm(-z, np.inf, loc=z)
        assert exact == pytest.approx(truncated.mean(), rel=1e-9)
        assert 1e-3 < kstest(row, truncated.cdf).pvalue < 1 - 1e-3
    means, drawn = given(Potts(6, states=3), [0.0, 1.0, -2.0, 3.0, 3.0, 3.0])
    assert (drawn.reshape(2, 3, n).sum(axis=1) == 1).all()
    assert_allclose(means[:, 0].reshape(2, 3), softmax([[0.0, 1.0, -2.0], [3.0] * 3], axis=1), rtol=1e-9)
    assert_allclose(drawn.mean(axis=1), means[:, 0], atol=0.01)
    joint = np.bincount((drawn[:3].argmax(axis=0) * 3 + drawn[3:].argmax(axis=0)), minlength=9)
    assert 1e-3 < chisquare(joint, n * np.outer(means[:3, 0], means[3:, 0]).ravel()).pvalue < 1 - 1e-3


def test_parts_of_mixed_units_are_what_they_are_alone(backend):
    """Means, energies and log-partitions; draws of two parts do not hang together, though units have the same number."""
    library, random = get_backend(backend, "float64"), np.random.default_rng(3)
    parts = Bernoulli(2), Potts(4, states=2), Gaussian(2, sigma=0.5), Bernoulli(2), Gaussian(1, learned=True)
    units = Mixed(parts)
    z, bias = random.normal(size=(11, 5000)), random.normal(size=11)
    z[6:8] = z[:2]
    slots = unit_slots(library, units, bias, log_variance=0.3)
    means, sample = library.asarray(z.copy()), library.empty(z.shape)
    units.conditional(library, slots, means, KEY, sample)
    energy = np.zeros(5000)
    for part, rows in zip(parts, np.split(np.arange(11), [2, 6, 8, 10])):
        own = unit_slots(library, part, bias[rows], log_variance=0.3)
        alone = library.asarray(z[rows])
        part.conditional(library, own, alone)
        assert np.array_equal(host(alone), host(means)[rows])
        energy += host(part.energy(library, own, library.asarray(host(sample)[rows])))
        inputs = library.asarray(z[rows])
        assert np.array_equal(
            host(part.log_partition(library, own, inputs, library.empty(inputs.shape))),
            host(units.log_partition(library, slots, library.asarray(z), library.empty(z.shape)))[rows],
        )
    assert_allclose(host(units.energy(library, slots, sample)), energy, rtol=1e-12)
    noise = host(sample)[[0, 8]] - host(means)[[0, 8]]
    assert abs(np.corrcoef(noise)[0, 1]) < 4 / np.sqrt(5000)


def test_slots_for_the_data_give_their_means_and_variances(backend):
    wanted = np.array([0.001, 0.2, 0.5, 0.9])
    bias = Bernoulli(4).slots_for(wanted)["bias"]
    assert_allclose(mean(backend, Bernoulli(1), bias[None])[0], wanted, rtol=1e-12)
    extremes = Bernoulli(2).slots_for(np.array([0.0, 1.0]))["bias"]  # a pixel that is always off: not -infinity
    assert_allclose(mean(backend, Bernoulli(1), extremes[None])[0], [0.001, 0.999], rtol=1e-9)
    moments = np.array([-3.0, 7.0]), np.array([0.25, 4.0])
    assert Gaussian(2).slots_for(*moments)["bias"].tolist() == [-3.0, 7.0]
    learned = Gaussian(2, learned=True).slots_for(*moments)
    assert_allclose(learned["log_variance"], np.log([0.25, 4.0]))
    still = Gaussian(2, learned=True).slots_for(moments[0], np.array([0.0, 4.0]))
    assert_allclose(still["log_variance"], np.log([0.2, 4.0]))  # a tenth of the mean
    groups = np.array([0.2, 0.8, 0.0, 1.0])
    assert_allclose(
        softmax(Potts(4, states=2).slots_for(groups)["bias"].reshape(2, 2), axis=1).ravel(), groups, atol=1e-3
    )
    mixed = Mixed((Bernoulli(2), Gaussian(1, learned=True))).slots_for(np.array([0.2, 0.9, 5.0]), np.array([1, 1, 4.0]))
    assert_allclose(mixed["bias"], [*bias[[1, 3]], 5.0])
    assert_allclose(mixed["log_variance"], [0, 0, np.log(4)])


def test_learned_deviations_have_a_smallest_value(backend):
    library = get_backend(backend, "float64")
    for units in (Gaussian(2, learned=True, smallest=0.5), Mixed((Gaussian(2, learned=True, smallest=0.5),))):
        slots = unit_slots(library, units, log_variance=[-9.0, 1.0])
        state = library.asarray(np.ones((2, 1)))
        before = [host(units.statistic(library, slots, state)), host(units.energy(library, slots, state))]
        assert_allclose(before[0].ravel(), [4.0, np.exp(-1)])
        units.bound(library, slots)
        assert_allclose(host(slots["log_variance"]), [2 * np.log(0.5), 1.0])
        assert_allclose(host(units.energy(library, slots, state)), before[1])
    with pytest.raises(
        ValueError, match="smallest=2 is not possible for Gaussian units; use a number above 0, at most"
    ):
        Gaussian(2, learned=True, smallest=2)


@pytest.mark.parametrize("units", [TruncatedGaussian(1), Potts(1 + 1), Potts(4, states=2)])
def test_log_partitions_of_states_that_are_not_binary(backend, units):
    """The sum over one-hot states, the integral over h >= 0; its slope is the mean."""
    library, step = get_backend(backend, "float64"), 1e-5
    z = np.random.default_rng(2).normal(0, 2, (units.n, 9))
    found = log_partition(library, units, z).sum(axis=0)
    if isinstance(units, TruncatedGaussian):
        exact = [np.log(quad(lambda h, x: np.exp(-(h**2) / 2 + h * x), 0, 40, args=(x,))[0]) for x in z[0]]
    else:
        exact = logsumexp(z.reshape(units.groups, units.states, 9), axis=1).sum(axis=0)
    assert_allclose(found, exact, rtol=1e-8, atol=1e-8)
    means = library.asarray(z.copy())
    units.conditional(library, None, means)
    for row in range(units.n):
        above, below = z.copy(), z.copy()
        above[row] += step
        below[row] -= step
        slope = (log_partition(library, units, above) - log_partition(library, units, below)).sum(axis=0) / (2 * step)
        assert_allclose(slope, host(means)[row], rtol=1e-6, atol=1e-9)


def test_softmax_is_a_distribution_at_any_size(backend):
    library = get_backend(backend, "float64")
    z = np.array([[1.0, 1000.0, -1000.0], [2.0, 999.0, -1001.0], [0.5, 0.0, -3000.0]])
    out = host(library.softmax(library.asarray(z.copy())))
    assert_allclose(out.sum(axis=0), np.ones(3), rtol=1e-14)
    assert_allclose(out[:, 0], np.exp([1.0, 2.0, 0.5]) / np.exp([1.0, 2.0, 0.5]).sum(), rtol=1e-14)
    assert_allclose(out[:2, 1], out[:2, 2], rtol=1e-12)  # only differences count


def test_bernoulli_units_want_the_unit_interval():
    Bernoulli(2).check_data(np.array([[0.0, 1.0]]))
    Gaussian(2).check_data(np.array([[-1e9, 1e9]]))
    with pytest.raises(ValueError, match=r"values in \[0, 1\], but X has values from -0.5 to 255; scale the data"):
        Bernoulli(3).check_data(np.array([[-0.5, 0.0, 255.0]]))


def test_potts_units_want_one_value_of_each_group():
    units = Potts(4, states=2)
    units.check_data(np.array([[0, 1, 1, 0], [0.25, 0.75, 1, 0]]))
    for row, problem in (([0, 1, 1, 1], "2 as the sum of group 1 in row 1"), ([-1, 2, 1, 0], "a value of -1")):
        with pytest.raises(ValueError, match=f"groups of 2 values that are one-hot .* but X has {problem}"):
            units.check_data(np.array([[0, 1, 1, 0], row]))
    with pytest.raises(ValueError, match="0 as the sum of group 0 in row 0"):
        Mixed((Bernoulli(1), units)).check_data(np.array([[1, 0, 0, 1, 0]]))
    for n, states in ((5, 2), (4, 1), (4, 0), (4, 2.0), (1, None)):
        with pytest.raises(ValueError, match="must be a multiple of the states of a group, at least 2"):
            Potts(n, states=states)
    for parts in ((), (ReLU(3),), (Mixed((Bernoulli(2),)),)):
        with pytest.raises(ValueError, match="Mixed"):
            Mixed(parts)


@pytest.mark.parametrize("kind", [ReLU, LeakyReLU, SReLU, Sigmoid, Tanh, Identity, Softmax])
def test_units_without_a_distribution_say_so(backend, kind):
    units, library = kind(2), get_backend(backend, "float64")
    assert not units.stochastic
    for call in (
        lambda: units.conditional(library, None, Z, KEY, Z),
        lambda: units.log_partition(library, None, Z, Z),
        lambda: units.energy(library, None, Z),
        lambda: units.slots_for(Z),
    ):
        with pytest.raises(NotImplementedError, match=f"{kind.__name__} units have no distribution"):
            call()


@pytest.mark.parametrize("n", [0, -1, 2.0, "3", True])
def test_numbers_of_units_are_whole_and_positive(n):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        Bernoulli(n)
    assert isinstance(Bernoulli(np.int64(3)), Units)


@pytest.mark.parametrize("units", [TruncatedGaussian(3), Potts(3), Mixed((Bernoulli(3),))])
def test_units_that_an_mlp_cannot_have(units):
    mlp = MLP(4, units, Softmax(3), backend="reference")
    with pytest.raises(NotImplementedError, match=f"an MLP has no {type(units).__name__} units; use ReLU or Softmax"):
        mlp.predict(np.zeros((2, 4)))


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.inf, np.nan])
def test_sigma_is_positive(sigma):
    with pytest.raises(ValueError, match="is not possible for Gaussian units; use a number above 0"):
        Gaussian(3, sigma=sigma)
