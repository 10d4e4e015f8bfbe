"""The active zone of a run, from rules, masks and data."""

import numpy as np
import pytest
from problems import stripes, tiny_rbm

from sparserbm import CD, Central, Deviation, Rectangle, train
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
