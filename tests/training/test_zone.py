"""The active zone of a run, from rules, masks and data."""

import numpy as np
import pytest
from problems import stripes, tiny_rbm

from sparserbm import CD, Central, Columns, Deviation, Information, Rectangle, train
from sparserbm.training.zone import active_zone

IMAGES = np.zeros((10, 16))
IMAGES[::2, [5, 6, 9, 10]] = 1.0  # only the 2 x 2 pixels in the middle of 4 x 4 ever change


def test_rules_give_masks_and_texts():
    middle = [5, 6, 9, 10]
    assert active_zone(Central(2), IMAGES, (4, 4)) == {"rule": "central(side=2)", "inputs": middle}
    assert active_zone("central(2)", IMAGES, (4, 4))["inputs"] == middle
    rectangle = active_zone(Rectangle(0, 1, 2, 4), IMAGES, (4, 4))
    assert rectangle["inputs"] == [1, 2, 3, 5, 6, 7]
    assert active_zone(Deviation(), IMAGES, None) == {"rule": "deviation(threshold=None)", "inputs": middle}
    mask = np.arange(16) < 3
    assert active_zone(mask, IMAGES, None) == {"rule": "mask", "inputs": [0, 1, 2]}
    assert active_zone(None, IMAGES, None) is None


def test_inputs_that_tell_of_the_label():
    random = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 200)
    X = random.normal(size=(600, 6))
    X[:, 1] += y == "a"
    X[:, 4] += 4 * (y == "c")
    assert active_zone("information", X, None, y)["inputs"] == [1, 4]
    assert active_zone(Information(threshold=0.3), X, None, y)["inputs"] == [4]
    assert active_zone("information(0.3)", X, None, y)["rule"] == "information(threshold=0.3, bins=8)"
    with pytest.raises(ValueError, match=r"zone information.* needs labels: pass y, or use deviation\(\)"):
        active_zone("information", X, None)
    with pytest.raises(ValueError, match=r"needs one label for each of 600 samples, not y \(599,\)"):
        active_zone("information", X, None, y[1:])


def test_an_rbm_has_no_use_for_labels_but_its_zone_may(backend):
    X = stripes(60, side=3)
    y = X[:, 4]
    run = train(tiny_rbm(backend, 9, 5), X, CD(), y=y, epochs=1, zone="information(0.5)")
    assert 4 in np.flatnonzero(run.zone_mask)
    weight = np.r_[np.zeros(5), np.ones(55)]
    run = train(tiny_rbm(backend, 9, 5), X, CD(), y=y, sample_weight=weight, epochs=1, zone="information(0.5)")
    assert 4 in np.flatnonzero(run.zone_mask)


def test_columns_of_a_table():
    found = active_zone(Columns((3, 0)), IMAGES, None)
    assert found == {"rule": "columns(columns=(3, 0))", "inputs": [0, 3]}
    assert active_zone(found["rule"], IMAGES, None) == found
    assert active_zone("columns(2)", IMAGES, None)["inputs"] == [2]
    with pytest.raises(ValueError, match="inputs 3 to 16 do not exist; there are 0 to 15"):
        active_zone("columns((3, 16))", IMAGES, None)


def test_auto_takes_the_central_square_of_mnist_and_the_deviation_elsewhere():
    assert len(active_zone("auto", np.zeros((5, 784)), (28, 28))["inputs"]) == 400
    assert active_zone("auto", IMAGES, (4, 4))["inputs"] == [5, 6, 9, 10]
    assert active_zone("auto", np.ones((5, 16)), (4, 4)) is None  # nothing ever changes: no zone


@pytest.mark.parametrize(
    ("zone", "error", "message"),
    [
        ("central(4)", ValueError, r"zone central\(side=4\) covers all of 16 inputs; it must leave an active zone and"),
        (Deviation(9.0), ValueError, "covers none of 16 inputs"),
        (np.ones(15, bool), ValueError, r"a zone mask needs 16 booleans, not bool of shape \(15,\)"),
        (np.ones(16), ValueError, "not float64 of shape"),
        (3, TypeError, "zone=3 is not possible; give a mask, a rule such as"),
    ],
)
def test_zones_that_cannot_be(zone, error, message):
    with pytest.raises(error, match=message):
        active_zone(zone, IMAGES, (4, 4))
    if isinstance(zone, str):
        with pytest.raises(ValueError, match=r"needs images: pass image_shape=\(rows, columns\), or use deviation"):
            active_zone(zone, IMAGES, None)


def test_a_run_without_a_zone_has_no_index(backend):
    run = train(tiny_rbm(backend, 16, 6, density=0.5), stripes(20), CD(), epochs=1, zone=None)
    assert run.zone_mask is None
    assert "learning_index" not in run.history
