"""Degrees against hand-counted cases."""

import numpy as np
import pytest

from sparserbm.topology import dead_units, degree_image, dispersion, fan_in, fan_out, strength, survival


def test_fan_out_counts_the_units_without_connections_too():
    pre = np.array([0, 2, 2, 0, 2], dtype=np.int32)
    assert fan_out(pre, 5).tolist() == [2, 0, 3, 0, 0]
    assert fan_out(np.array([], dtype=np.int32), 3).tolist() == [0, 0, 0]


def test_fan_out_refuses_units_that_do_not_exist():
    with pytest.raises(ValueError, match="units 0 to 5, but n_pre=5; give n_pre=6"):
        fan_out(np.array([0, 5]), 5)


@pytest.mark.parametrize("measure", [strength, survival])
def test_strength_and_survival_refuse_units_that_do_not_exist(measure):
    for pre in ([5], [-1]):
        with pytest.raises(ValueError, match="but n_pre=3"):
            measure(pre, [1.0], 3)
    with pytest.raises(ValueError, match="whole numbers, not float64"):
        measure([0.9], [1.0], 3)


def test_fan_in_reads_the_row_pointer():
    assert fan_in(np.array([0, 2, 2, 5])).tolist() == [2, 0, 3]


def test_both_sides_count_every_connection_once():
    random = np.random.default_rng(3)
    wired = random.random((30, 20)) < 0.2
    post, pre = np.nonzero(wired.T)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(post, minlength=20))])
    assert fan_out(pre, 30).tolist() == wired.sum(axis=1).tolist()
    assert fan_in(indptr).tolist() == wired.sum(axis=0).tolist()


def test_degree_image_is_row_by_row():
    image = degree_image(np.arange(6), (2, 3))
    assert image.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match=r"\(6,\) do not fill an image of 2 x 2.*\(4,\)"):
        degree_image(np.arange(6), (2, 2))


def test_dispersion_of_known_degrees():
    assert dispersion(np.array([3, 3, 3])) == 0.0
    assert dispersion(np.array([0, 4])) == 2.0  # variance 4, mean 2
    assert np.isnan(dispersion(np.zeros(4)))
    assert np.isnan(dispersion(np.array([])))


def test_dispersion_of_a_random_wiring_is_one_minus_density():
    random = np.random.default_rng(0)
    degrees = (random.random((4000, 200)) < 0.1).sum(axis=1)
    assert dispersion(degrees) == pytest.approx(0.9, abs=0.06)


def test_dead_units():
    assert dead_units(np.array([0, 1, 0, 7])) == 2
    assert dead_units(np.array([1, 2])) == 0


def test_strength_and_survival_by_hand():
    pre = np.array([0, 2, 0, 2, 2])
    weight = np.array([0.5, -1.0, -0.25, 0.0, 2.0], dtype=np.float32)
    age = np.array([4, 1, 2, 3, 5], dtype=np.uint16)
    assert strength(pre, weight, 4).tolist() == [0.75, 0.0, 3.0, 0.0]
    assert survival(pre, age, 4).tolist() == [3.0, 0.0, 3.0, 0.0]
    assert strength([], [], 2).tolist() == survival([], [], 2).tolist() == [0.0, 0.0]
