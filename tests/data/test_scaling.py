import numpy as np
import pytest

from sparserbm.data import scale_features


def test_unit_divides_bytes_by_255_whatever_their_range():
    X = np.array([[0, 51], [102, 204]], dtype=np.uint8)
    scaled = scale_features(X)
    assert scaled.dtype == np.float32
    assert scaled.flags.c_contiguous
    np.testing.assert_array_equal(scaled, np.array([[0.0, 0.2], [0.4, 0.8]], dtype=np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float64])
def test_unit_leaves_values_within_0_and_1(dtype):
    X = np.array([[0, 1, 0], [1, 1, 0]], dtype=dtype)
    np.testing.assert_array_equal(scale_features(X), [[0, 1, 0], [1, 1, 0]])


def test_unit_leaves_floats_that_do_not_fill_the_range():
    X = np.array([[0.25, 0.5]])
    np.testing.assert_array_equal(scale_features(X), [[0.25, 0.5]])


def test_unit_takes_one_range_for_all_features():
    X = np.array([[-2.0, 0.0], [2.0, 6.0]])
    np.testing.assert_array_equal(scale_features(X), [[0.0, 0.25], [0.5, 1.0]])


def test_test_set_has_the_range_of_the_training_set_and_is_clipped():
    train = np.array([[10, 20]])
    X = np.array([[5, 10], [15, 25]])
    np.testing.assert_array_equal(scale_features(X, reference=train), [[0.0, 0.0], [0.5, 1.0]])
    inside = np.array([[0.0, 1.0]])
    np.testing.assert_array_equal(scale_features(np.array([[0.5, 2.0]]), reference=inside), [[0.5, 1.0]])


def test_standard_has_one_mean_and_std_of_the_unit_training_set():
    train = np.array([[0, 255, 255, 0]], dtype=np.uint8)  # unit: mean 0.5, std 0.5
    X = np.array([[0, 51, 102, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(scale_features(train, "standard"), [[-1, 1, 1, -1]])
    expected = np.array([[-1.0, -0.6, -0.2, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(scale_features(X, "standard", reference=train), expected, rtol=1e-6)


def test_standard_equals_the_plain_formula_over_many_blocks():
    X = np.random.Generator(np.random.Philox(3)).normal(5.0, 2.0, (3000, 784))
    unit = (X - X.min()) / (X.max() - X.min())
    scaled = scale_features(X, "standard")
    np.testing.assert_allclose(scaled, (unit - unit.mean()) / unit.std(), rtol=1e-5, atol=1e-6)


def test_binary_is_strictly_above_one_half():
    X = np.array([[0.0, 0.5, 0.51, 1.0]])
    np.testing.assert_array_equal(scale_features(X, "binary"), [[0, 0, 1, 1]])
    np.testing.assert_array_equal(scale_features(np.array([[127, 128]], np.uint8), "binary"), [[0, 1]])


def test_stochastic_is_one_draw_of_the_philox_stream():
    X = np.linspace(0.0, 1.0, 2000 * 784).reshape(2000, 784)
    draws = np.random.Generator(np.random.Philox(11)).random(X.shape)
    np.testing.assert_array_equal(scale_features(X, "stochastic", seed=11), draws < X)


def test_stochastic_keeps_certain_values_and_means():
    X = np.repeat(np.array([[0.0, 0.3, 1.0]]), 20_000, axis=0)
    means = scale_features(X, "stochastic", seed=1).mean(axis=0)
    assert means[0] == 0.0
    assert means[2] == 1.0
    assert means[1] == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 20_000))


def test_stochastic_streams_differ_by_seed_and_between_training_and_test_set():
    X = np.full((50, 40), 0.5)
    train = scale_features(X, "stochastic", seed=0)
    test = scale_features(X, "stochastic", reference=X, seed=0)
    np.testing.assert_array_equal(train, scale_features(X, "stochastic", seed=0))
    # Independent fair bits agree in half of 2,000 places, give or take 22.
    assert (train == test).sum() == pytest.approx(1000, abs=110)
    assert (train == scale_features(X, "stochastic", seed=1)).sum() == pytest.approx(1000, abs=110)


def test_none_changes_the_type_only():
    X = np.array([[-3, 300]])
    scaled = scale_features(X, "none")
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, X)


@pytest.mark.parametrize("mode", ["unit", "none"])
def test_result_never_shares_memory_with_its_argument(mode):
    X = np.array([[0.0, 0.5]], dtype=np.float32)
    scaled = scale_features(X, mode)
    scaled[:] = 9.0
    np.testing.assert_array_equal(X, [[0.0, 0.5]])


def test_column_major_input_gives_row_major_output():
    X = np.asfortranarray(np.array([[0.1, 0.2], [0.3, 0.4]]))
    for mode in ("unit", "none"):
        scaled = scale_features(X, mode)
        assert scaled.flags.c_contiguous
        np.testing.assert_allclose(scaled, X, rtol=1e-6)


def test_unknown_mode_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown scale 'minmax'; known: unit, standard, binary, stochastic, none"):
        scale_features(np.zeros((1, 1)), "minmax")


def test_non_finite_values_are_counted_and_located():
    X = np.zeros((3, 4))
    X[1, 2], X[2, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"X holds 2 NaN or infinite values, the first \(nan\) at row 1, column 2"):
        scale_features(X)


def test_values_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"X as float32 holds 1 .*\(inf\) at row 0, column 1"):
        scale_features(np.array([[0.0, 1e300]]), "none")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(3), r"shape \(3,\); reshape it to two dimensions"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\); reshape"),
        (np.zeros((0, 4)), r"empty \(shape \(0, 4\)\)"),
        (np.array([["a"]]), "dtype <U1; give a dense array of real numbers"),
        (np.array([[1j]]), "dtype complex128"),
    ],
)
def test_arrays_of_wrong_kind_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        scale_features(X)


def test_reference_of_other_width_is_refused():
    with pytest.raises(ValueError, match="X has 2 features but the reference 3"):
        scale_features(np.zeros((1, 2)), reference=np.zeros((1, 3)))


def test_constant_training_set_has_no_range():
    with pytest.raises(ValueError, match="every training value is 7, so there is no range"):
        scale_features(np.full((2, 2), 7.0))
    with pytest.raises(ValueError, match="standard deviation is 0"):
        scale_features(np.full((2, 2), 0.5), "standard")
