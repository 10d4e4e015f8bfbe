import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sparserbm.data import Dataset, fingerprint, load_dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


X = np.zeros((3, 2))


def save(folder, **arrays):
    path = folder / "cells.npz"
    np.savez(path, **arrays)
    return path


def test_digits_have_the_layout_of_mnist(digits):
    assert digits.X.shape == (1438, 784)
    assert digits.X_test.shape == (359, 784)
    assert digits.X.dtype == digits.X_test.dtype == np.float32
    assert digits.X.flags.c_contiguous
    assert (digits.image_shape, digits.n_features, digits.scale) == ((28, 28), 784, "unit")
    assert digits.X.min() == 0.0
    assert digits.X.max() == 1.0


def test_digits_have_an_empty_margin_of_four_and_use_the_rest(digits):
    used = np.vstack([digits.X, digits.X_test]).any(axis=0).reshape(28, 28)
    middle = np.zeros((28, 28), dtype=bool)
    middle[4:24, 4:24] = True
    assert not used[~middle].any()
    assert used[middle].mean() > 0.9  # a few pixels at the left edge are blank in every original


def test_digits_are_the_originals_enlarged(digits):
    """Corners of the 20 x 20 square are corners of the 8 x 8 original; between them it interpolates."""
    originals = load_digits().data.reshape(-1, 8, 8) / 16
    pictures = np.vstack([digits.X, digits.X_test]).reshape(-1, 28, 28)[:, 4:24, 4:24]
    corners = pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    expected = originals[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert sorted(map(tuple, corners)) == sorted(map(tuple, expected.astype(np.float32)))
    at = np.linspace(0, 7, 20)  # bilinear: one axis after the other, by NumPy's own interpolation
    rows = np.array([[np.interp(at, range(8), row) for row in picture] for picture in originals[:5]])
    both = np.array([[np.interp(at, range(8), column) for column in picture.T] for picture in rows])
    for picture in both.transpose(0, 2, 1):
        assert np.abs(pictures - picture).max(axis=(1, 2)).min() < 1e-6


def test_digits_split_is_stratified_complete_and_fixed(digits):
    counts = np.bincount(load_digits().target)
    np.testing.assert_array_equal(np.bincount(digits.y) + np.bincount(digits.y_test), counts)
    np.testing.assert_array_equal(np.bincount(digits.y_test), np.round(counts / 5))
    again = load_dataset("digits", seed=5)
    np.testing.assert_array_equal(digits.X, again.X)
    np.testing.assert_array_equal(digits.y_test, again.y_test)
    assert digits.sha256 == again.sha256


def test_digits_can_be_learned(digits):
    """A nearest class mean reaches about 0.9: pictures and labels belong together."""
    means = np.array([digits.X[digits.y == label].mean(axis=0) for label in range(10)])
    distance = ((digits.X_test[:, None, :] - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == digits.y_test).mean() > 0.85


def test_scale_uses_the_training_set_and_leaves_the_fingerprint(tmp_path):
    path = save(tmp_path, X=np.array([[0.0, 4.0]]), X_test=np.array([[2.0, 8.0]]))
    unit, raw = load_dataset(path), load_dataset(path, scale="none")
    np.testing.assert_array_equal(unit.X, [[0.0, 1.0]])
    np.testing.assert_array_equal(unit.X_test, [[0.5, 1.0]])
    np.testing.assert_array_equal(raw.X_test, [[2.0, 8.0]])
    assert (unit.scale, raw.scale) == ("unit", "none")
    assert unit.sha256 == raw.sha256
    np.testing.assert_array_equal(load_dataset(path, scale="standard").X, [[-1.0, 1.0]])


def test_seed_decides_the_stochastic_draw(tmp_path):
    path = save(tmp_path, X=np.full((30, 40), 0.5), X_test=np.full((30, 40), 0.5))
    first, same, other = (load_dataset(path, scale="stochastic", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.X, same.X)
    np.testing.assert_array_equal(first.X_test, same.X_test)
    assert not np.array_equal(first.X, other.X)
    assert not np.array_equal(first.X, first.X_test)
    assert np.unique(first.X).tolist() == [0.0, 1.0]


def test_fingerprint_sees_bytes_shape_type_and_place():
    X = np.arange(6, dtype=np.int32)
    prints = [
        fingerprint(X),
        fingerprint(X[::-1]),
        fingerprint(X.reshape(2, 3)),
        fingerprint(X.reshape(3, 2)),
        fingerprint(X.view(np.uint32)),
        fingerprint(X, None),
        fingerprint(None, X),
        fingerprint(X[:3], X[3:]),
    ]
    assert len(set(prints)) == len(prints)


def test_fingerprint_sees_neither_memory_layout_nor_byte_order():
    X = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert fingerprint(X) == fingerprint(np.asfortranarray(X)) == fingerprint(X.astype(">i4"))


def test_fingerprint_is_the_documented_sum():
    """Stored runs carry it, so it must not change."""
    written = hashlib.sha256(b"<i4(2,);" + b"\1\0\0\0\2\0\0\0" + b"none;").hexdigest()
    assert fingerprint(np.array([1, 2], dtype=np.int32), None) == written


def test_image_shape_can_be_stated_and_is_checked(tmp_path):
    data = load_dataset(save(tmp_path, X=np.zeros((2, 6))))
    assert dataclasses.replace(data, image_shape=(2, 3)).image_shape == (2, 3)
    with pytest.raises(ValueError, match=r"image_shape=\(2, 4\) has 8 pixels, but cells\.npz has 6 features"):
        dataclasses.replace(data, image_shape=(2, 4))


def test_unknown_name_lists_the_names_and_the_suffixes():
    with pytest.raises(ValueError) as caught:
        load_dataset("mnits")
    message = str(caught.value)
    assert "unknown data set 'mnits' (did you mean 'mnist'?); known: digits, mnist, fashion-mnist" in message
    assert "or the path of a file with one of the suffixes .npz, .npy, .csv, .mat, .svm" in message


def test_unknown_suffix_lists_the_known_ones(tmp_path):
    (tmp_path / "cells.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"unknown suffix '\.xlsx' of .*cells\.xlsx; known: \.npz, .*\.gz \(IDX\)"):
        load_dataset(tmp_path / "cells.xlsx")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*cells\.csv"):
        load_dataset(tmp_path / "cells.csv")
    with pytest.raises(ValueError, match="is a folder; give a file"):
        load_dataset(tmp_path)


def test_unknown_scale_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="unknown scale 'zscore'; known: unit"):
        load_dataset("there/is/no/such.npz", scale="zscore")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.array([[0, np.nan], [np.inf, 1]])}, r"X of cells\.npz holds 2 NaN .* at row 0, column 1"),
        (
            {"X": X, "X_test": np.array([[0, -np.inf]])},
            r"X_test of cells\.npz holds 1 .*\(-inf\) at row 0, column 1",
        ),
        ({"X": np.zeros((0, 2))}, r"X of cells\.npz is empty"),
        ({"X": np.zeros((3, 2, 2))}, r"X of cells\.npz has shape \(3, 2, 2\); reshape it"),
        ({"X": np.zeros(3)}, r"X of cells\.npz has shape \(3,\)"),
        ({"X": np.array([["a", "b"]])}, r"X of cells\.npz has dtype <U1"),
        ({"X": X, "y": [1, 2]}, r"y of cells\.npz has 2 labels for 3 samples"),
        ({"X": X, "y": np.eye(3)}, r"y of cells\.npz has shape \(3, 3\)"),
        ({"X": X, "y": [0.0, np.nan, 1.0]}, r"y of cells\.npz holds 1 NaN .* at row 1"),
        ({"X": X, "X_test": X, "y_test": [1]}, r"y_test of cells\.npz has 1 labels for 3 samples"),
        ({"X": X, "y_test": [1]}, "has y_test but no X_test"),
        ({"X": X, "X_test": np.zeros((1, 5))}, r"X_test of cells\.npz has 5 features but X has 2"),
    ],
)
def test_arrays_that_cannot_be_trained_on(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(save(tmp_path, **arrays), scale="none")


def test_import_loads_nothing_heavier_than_numpy():
    code = "import sys, sparserbm.data; print([m for m in ('scipy', 'sklearn', 'h5py') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_held_out_samples_do_not_reach_the_statistics_of_the_scaling(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 4))
    np.save(tmp_path / "x.npy", X)
    data = load_dataset(tmp_path / "x.npy", scale="standard", hold_out=0.4)
    assert data.X.shape == (18, 4)
    assert data.X_test.shape == (12, 4)
    assert data.X.mean(dtype=float) == pytest.approx(0, abs=1e-6)
    assert data.X.std(dtype=float) == pytest.approx(1, abs=1e-6)
    again = load_dataset(tmp_path / "x.npy", scale="none", hold_out=0.4, seed=9)
    rows = [int(np.flatnonzero(np.all(np.isclose(X, row, atol=1e-6), axis=1))[0]) for row in again.X]
    assert rows == sorted(set(rows))


@pytest.mark.parametrize(
    ("share", "message"), [(1.0, "out of range"), (-0.1, "out of range"), (0.9, "too few to hold out")]
)
def test_too_much_cannot_be_held_out(tmp_path, share, message):
    np.save(tmp_path / "x.npy", np.eye(3))
    with pytest.raises(ValueError, match=message):
        load_dataset(tmp_path / "x.npy", hold_out=share)
