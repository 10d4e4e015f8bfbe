"""Zones and the learning index: hand-worked cases, published calibration, and chance itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserbm.topology import (
    central_square,
    concentric_trend,
    learning_index,
    rectangle,
    zone_by_deviation,
)


def test_central_square_of_28_by_28():
    mask = central_square((28, 28), 20)
    assert mask.shape == (784,)
    assert mask.dtype == bool
    assert mask.sum() == 400
    image = mask.reshape(28, 28)
    assert image[4:24, 4:24].all()
    assert np.array_equal(image, image[::-1, ::-1])


@pytest.mark.parametrize("side", [0, 19, 30])
def test_central_square_refuses_a_side_without_a_middle_place(side):
    with pytest.raises(ValueError, match=f"side {side} has no middle place.*an even side up to 28"):
        central_square((28, 28), side)


def test_central_square_of_an_image_without_any_middle():
    with pytest.raises(ValueError, match=r"use rectangle\(\)"):
        central_square((4, 5), 2)


def test_rectangle_excludes_bottom_and_right():
    assert rectangle((3, 4), 1, 0, 3, 2).reshape(3, 4).astype(int).tolist() == [
        [0, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
    ]
    with pytest.raises(ValueError, match="bottom <= 3 and 0 <= left < right <= 4"):
        rectangle((3, 4), 1, 0, 4, 2)
    with pytest.raises(ValueError, match="empty"):
        rectangle((3, 4), 1, 2, 2, 2)


def test_zone_by_deviation_takes_what_lies_above_the_threshold():
    assert zone_by_deviation(np.array([0.0, 0.1, 0.2]), 0.1).tolist() == [False, False, True]
    with pytest.raises(ValueError, match="threshold=-1"):
        zone_by_deviation(np.zeros(3), -1)
    with pytest.raises(ValueError, match="std must be"):
        zone_by_deviation(np.array([0.1, np.nan]), 0.1)


def test_concentric_trend_of_a_small_image():
    image = np.full((6, 6), 1)
    image[1:5, 1:5] = 2
    image[2:4, 2:4] = 10
    trend = concentric_trend(image.ravel(), (6, 6))
    assert trend.tolist() == [10.0, (4 * 10 + 12 * 2) / 16, (4 * 10 + 12 * 2 + 20) / 36]


@pytest.mark.parametrize("shape", [(28, 20), (27, 27), (0, 0)])
def test_concentric_trend_needs_an_even_square(shape):
    with pytest.raises(ValueError, match="square image of even side"):
        concentric_trend(np.zeros(shape[0] * shape[1]), shape)


@settings(deadline=None, max_examples=30)
@given(half=st.integers(1, 14), seed=st.integers(0, 1000))
def test_the_last_concentric_value_is_the_overall_mean(half, seed):
    degrees = np.random.default_rng(seed).integers(0, 50, (2 * half) ** 2)
    trend = concentric_trend(degrees, (2 * half, 2 * half))
    assert trend.shape == (half,)
    assert trend[-1] == pytest.approx(degrees.mean())


def test_learning_index_by_hand():
    # 4 inputs, 5 outputs: 20 places. 6 connections, 5 of them in the zone of 2 inputs (expected 3).
    found = learning_index(np.array([4, 1, 1, 0]), np.array([True, True, False, False]), 20)
    assert (found.centre_density, found.margin_density) == (2.5, 0.5)
    assert found.ratio == 5.0
    assert found.index == pytest.approx(math.log(5))
    assert found.z == pytest.approx((5 - 3) / math.sqrt(6 * 0.5 * 0.5 * 14 / 19))
    assert found.verdict == "none"


# Published final plots of an earlier regularization study: 784-512 with 14,256 connections; v[9] is the mean
# degree in the central 20 x 20, read off a figure to about 0.05 (0.35 in z). The z stated there has no factor
# (N - K) / (N - 1).
CALIBRATION = [
    (18.28, 0.6, "none"),
    (17.53, -4.4, "negative"),
    (17.36, -5.5, "negative"),
    (19.90, 11.5, "positive"),
    (19.02, 5.6, "positive"),
    (19.91, 11.6, "positive"),
    (18.46, 1.9, "none"),
    (19.34, 7.7, "positive"),
    (18.22, 0.2, "none"),
    (19.00, 5.5, "positive"),
    (16.22, -13.2, "negative"),
    (18.62, 2.9, "none"),
]


@pytest.mark.parametrize(("inside", "z", "verdict"), CALIBRATION)
def test_learning_index_against_the_published_calibration(inside, z, verdict):
    mask = central_square((28, 28), 20)
    degrees = np.where(mask, inside, (14256 - 400 * inside) / 384)
    found = learning_index(degrees, mask, 784 * 512)
    factor = math.sqrt((784 * 512 - 1) / (784 * 512 - 14256))
    assert factor == pytest.approx(1.018, abs=5e-4)
    assert found.z / factor == pytest.approx(z, abs=0.06)
    assert found.verdict == verdict
    assert found.centre_density == pytest.approx(inside)


@pytest.mark.parametrize("n_connections", [200, 1900])
def test_random_wirings_give_a_standard_normal_z(n_connections):
    random = np.random.default_rng(n_connections)
    mask = rectangle((8, 8), 2, 2, 6, 6)
    z = []
    for _ in range(600):
        places = random.choice(64 * 32, n_connections, replace=False)
        z.append(learning_index(np.bincount(places // 32, minlength=64), mask, 64 * 32).z)
    # standard errors at 600 draws: 0.041 for the mean, 0.029 for the standard deviation
    assert np.mean(z) == pytest.approx(0.0, abs=0.13)
    assert np.std(z) == pytest.approx(1.0, abs=0.10)


@pytest.mark.parametrize("covered", [np.zeros(4, bool), np.ones(4, bool)])
def test_a_zone_of_everything_or_nothing_is_refused(covered):
    with pytest.raises(ValueError, match=f"covers {covered.sum()} of 4 inputs"):
        learning_index(np.ones(4), covered, 20)


def test_impossible_degrees_are_refused():
    zone = np.array([True, False])
    with pytest.raises(ValueError, match=r"12 connections .* do not fit 10 places"):
        learning_index(np.array([6, 6]), zone, 10)
    with pytest.raises(ValueError, match="fewest per input -1"):
        learning_index(np.array([-1, 6]), zone, 10)
    with pytest.raises(ValueError, match="differ"):
        learning_index(np.ones(3), zone, 10)


def test_full_density_deviates_nowhere():
    found = learning_index(np.full(4, 5), np.array([True, False, False, False]), 20)
    assert (found.ratio, found.index, found.z, found.verdict) == (1.0, 0.0, 0.0, "none")


def test_without_connections_there_is_no_index():
    found = learning_index(np.zeros(4), np.array([True, False, False, False]), 20)
    assert math.isnan(found.index)
    assert math.isnan(found.ratio)
    assert (found.centre_density, found.margin_density, found.z, found.verdict) == (0.0, 0.0, 0.0, "none")


def test_an_empty_margin_and_an_empty_zone_are_infinite():
    zone = np.array([True, True, False, False])
    inside = learning_index(np.array([30, 30, 0, 0]), zone, 400)
    assert (inside.ratio, inside.index, inside.verdict) == (math.inf, math.inf, "positive")
    outside = learning_index(np.array([0, 0, 30, 30]), zone, 400)
    assert (outside.ratio, outside.index, outside.verdict) == (0.0, -math.inf, "negative")
