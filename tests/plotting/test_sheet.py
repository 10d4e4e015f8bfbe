"""The contact sheet: every pixel where it belongs."""

import numpy as np
import pytest
from matplotlib.image import imread

from sparserbm.plotting import contact_sheet


def test_a_picture_of_one_pixel_each(tmp_path):
    contact_sheet(np.eye(4), (2, 2), tmp_path / "s.png")
    sheet = imread(tmp_path / "s.png")[:, :, 0]
    times = len(sheet) // 7
    small = sheet[times // 2 :: times, times // 2 :: times]
    assert small.shape == (7, 7)
    assert np.argwhere(small == 1).tolist() == [[1, 1], [1, 5], [5, 1], [5, 5]]
    assert (small[[0, 3, 6]] == small[0, 0]).all()
    assert 0 < small[0, 0] < 1


@pytest.mark.parametrize("images", [np.zeros((2, 5)), np.zeros((0, 4)), np.zeros(4)])
def test_what_is_no_picture(tmp_path, images):
    with pytest.raises(ValueError, match="are no pictures of 2 x 2 pixels, one a row"):
        contact_sheet(images, (2, 2), tmp_path / "s.png")


def test_a_sheet_is_a_png(tmp_path):
    with pytest.raises(ValueError, match=r"cannot save a contact sheet as x.jpg; use a name that ends in .png"):
        contact_sheet(np.zeros((2, 4)), (2, 2), tmp_path / "x.jpg")
