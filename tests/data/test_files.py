import gzip
import sys

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat

from sparserbm.data import load_dataset

X = np.array([[0.0, 0.25, 1.0], [0.5, 0.75, 0.125]])
X_TEST = np.array([[1.0, 0.5, 0.0]])
Y = np.array([3, 1])


def test_npz_with_test_set(tmp_path):
    np.savez(tmp_path / "cells.npz", X=X, y=Y, X_test=X_TEST, y_test=[4], other=np.zeros(7))
    data = load_dataset(tmp_path / "cells.npz")
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.X_test, X_TEST)
    np.testing.assert_array_equal(data.y, Y)
    np.testing.assert_array_equal(data.y_test, [4])
    assert (data.name, data.n_features, data.image_shape) == ("cells.npz", 3, None)


def test_npy_holds_examples_only(tmp_path):
    np.save(tmp_path / "cells.npy", X)
    data = load_dataset(str(tmp_path / "cells.npy"))
    np.testing.assert_array_equal(data.X, X)
    assert (data.y, data.X_test, data.y_test) == (None, None, None)


def test_relative_path_starts_from_folder(tmp_path):
    np.save(tmp_path / "cells.npy", X)
    np.testing.assert_array_equal(load_dataset("cells.npy", folder=tmp_path).X, X)


def test_suffix_is_read_in_any_case(tmp_path):
    (tmp_path / "CELLS.CSV").write_text("0,1\n1,0\n")
    np.testing.assert_array_equal(load_dataset(tmp_path / "CELLS.CSV").X, [[0, 1], [1, 0]])


@pytest.mark.parametrize("labels", ["y", "Y"])
def test_mat_column_of_labels_becomes_one_dimension(tmp_path, labels):
    savemat(tmp_path / "cells.mat", {"X": X, labels: Y[:, None].astype(np.uint8)})
    data = load_dataset(tmp_path / "cells.mat")
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, Y)


def test_mat_with_a_sparse_matrix(tmp_path):
    savemat(tmp_path / "cells.mat", {"X": sparse.csc_matrix(X)})
    np.testing.assert_array_equal(load_dataset(tmp_path / "cells.mat").X, X)


def test_mat_of_version_7_3_is_read_transposed(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "cells.mat", "w", userblock_size=512) as stored:
        stored["X"], stored["y"] = X.T, Y[None, :]
    data = load_dataset(tmp_path / "cells.mat")
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, Y)


def test_mat_of_version_7_3_without_h5py_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "cells.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(ImportError, match=r"cells\.mat is a MATLAB v7\.3 file .* pip install h5py"):
        load_dataset(tmp_path / "cells.mat")


@pytest.mark.parametrize("name", ["label", "Target", "y", "CLASS"])
def test_csv_header_names_the_labels(tmp_path, name):
    (tmp_path / "cells.csv").write_text(f'a,"{name}",b\n0.5,3,1\n0.25,1,0\n')
    data = load_dataset(tmp_path / "cells.csv")
    np.testing.assert_array_equal(data.X, [[0.5, 1.0], [0.25, 0.0]])
    np.testing.assert_array_equal(data.y, Y)
    assert data.y.dtype == np.int64


@pytest.mark.parametrize(
    ("texts", "labels"),
    [(["ape", "bee", "ape"], ["ape", "bee", "ape"]), (["1.5", "2", "1.5"], [1.5, 2.0, 1.5])],
)
def test_csv_labels_may_be_text_or_fractions(tmp_path, texts, labels):
    lines = [f"{k / 4},{text}" for k, text in enumerate(texts)]
    (tmp_path / "cells.csv").write_text("\n".join(["a,class", *lines]), encoding="utf-8-sig")
    data = load_dataset(tmp_path / "cells.csv")
    assert data.y.tolist() == labels
    np.testing.assert_array_equal(data.X, [[0.0], [0.25], [0.5]])


def test_csv_without_header_or_without_labels(tmp_path):
    (tmp_path / "a.csv").write_text("0,1\n1,0\n")
    (tmp_path / "b.csv").write_text("left,right\n0,1\n1,0\n")
    for name in ("a.csv", "b.csv"):
        data = load_dataset(tmp_path / name)
        np.testing.assert_array_equal(data.X, [[0, 1], [1, 0]])
        assert data.y is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with an empty line or holds no line of numbers"),
        ("a,b\n", "holds no line of numbers"),
        ("a,b\n1,2\n3\n", "columns changed from 2 to 1"),
        ("1,2\n3,\n", "could not convert"),
        ("1,2\n3,x\n", "could not convert string 'x'"),
        ("a,y\n1,2\n3,\n", "could not convert string ''"),
        ("y,a,class\n1,2,3\n", "several columns of labels: y, class"),
    ],
)
def test_csv_that_is_damaged(tmp_path, text, message):
    (tmp_path / "cells.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"cannot read .*cells\.csv as csv .*{message}"):
        load_dataset(tmp_path / "cells.csv")


@pytest.mark.parametrize("suffix", ["svm", "svmlight", "libsvm"])
def test_svmlight_is_made_dense(tmp_path, suffix):
    path = tmp_path / f"cells.{suffix}"
    path.write_text("+1 1:0.5 3:1\n-1 2:0.25\n")
    data = load_dataset(path)
    np.testing.assert_array_equal(data.X, [[0.5, 0, 1], [0, 0.25, 0]])
    np.testing.assert_array_equal(data.y, [1, -1])
    assert data.y.dtype == np.int64
    path.write_text("1.5 1:0.5\n2 1:1\n")
    assert load_dataset(path).y.tolist() == [1.5, 2.0]


def test_svmlight_too_wide_to_be_dense_stays_sparse(tmp_path):
    (tmp_path / "cells.svm").write_text("1 1:0.5 1500000000:1\n")
    data = load_dataset(tmp_path / "cells.svm")
    assert data.n_features == 1_500_000_000
    assert data.X.matrix.data.tolist() == [0.5, 1.0]
    assert data.X.matrix.indices.tolist() == [0, 1_499_999_999]
    assert data.X.nbytes < 1000


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_npz_of_scipy(tmp_path, kind):
    sparse.save_npz(tmp_path / "cells.npz", kind(X))
    data = load_dataset(tmp_path / "cells.npz")
    np.testing.assert_array_equal(data.X, X)
    assert data.y is None


def test_damaged_sparse_index_is_refused_before_it_is_used(tmp_path):
    matrix = sparse.csc_matrix(X)
    matrix.indices[0] = 1_000_000
    savemat(tmp_path / "cells.mat", {"X": matrix})
    with pytest.raises(ValueError, match=r"cannot read .*cells\.mat as sparse matrix"):
        load_dataset(tmp_path / "cells.mat")


@pytest.mark.parametrize("name", ["pictures.idx", "pictures-ubyte", "pictures.gz", "pictures.idx.gz"])
def test_idx_pictures_become_rows(tmp_path, write_idx, name):
    pictures = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / name, pictures)
    data = load_dataset(tmp_path / name, scale="none")
    np.testing.assert_array_equal(data.X, pictures.reshape(2, 12))
    assert (data.image_shape, data.y) == ((3, 4), None)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_number_types(tmp_path, write_idx, dtype):
    table = np.array([[1, 2, 3], [4, 5, 100]], dtype=dtype)
    write_idx(tmp_path / "table.idx", table)
    data = load_dataset(tmp_path / "table.idx", scale="none")
    np.testing.assert_array_equal(data.X, table)
    assert data.image_shape is None


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz"),
    ],
)
def test_idx_labels_are_found_beside_the_images(tmp_path, write_idx, images, labels):
    write_idx(tmp_path / images, np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    write_idx(tmp_path / labels, np.array([200, 7], dtype=np.uint8))
    data = load_dataset(tmp_path / images)
    assert data.y.tolist() == [200, 7]
    assert data.y.dtype == np.int64


def test_idx_file_of_labels_is_no_data_set(tmp_path, write_idx):
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(5, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"array of shape \(5,\); examples are 2-D or more"):
        load_dataset(tmp_path / "train-labels-idx1-ubyte")


def test_idx_longer_than_its_header_states(tmp_path, write_idx):
    write_idx(tmp_path / "table.idx", np.zeros((2, 3), dtype=np.uint8))
    with open(tmp_path / "table.idx", "ab") as stream:
        stream.write(b"!")
    with pytest.raises(ValueError, match=r"as IDX \(its header states \(2, 3\), 6 bytes, but 7 follow\)"):
        load_dataset(tmp_path / "table.idx")


@pytest.fixture
def good_files(tmp_path, write_idx):
    table = np.random.Generator(np.random.Philox(5)).random((20, 9))
    np.savez(tmp_path / "cells.npz", X=table)
    np.save(tmp_path / "cells.npy", table)
    savemat(tmp_path / "cells.mat", {"X": table})
    savemat(tmp_path / "packed.mat", {"X": table}, do_compression=True)
    write_idx(tmp_path / "cells.idx", table)
    write_idx(tmp_path / "cells-ubyte", table)
    write_idx(tmp_path / "cells.gz", table)
    (tmp_path / "cells.svm").write_text("1 1:0.5 2:0.25\n0 1:1 2:")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cells.npz", "npz"),
        ("cells.npy", "npy"),
        ("cells.mat", "MATLAB v5"),
        ("packed.mat", "MATLAB v5"),
        ("cells.idx", "IDX"),
        ("cells-ubyte", "IDX"),
        ("cells.gz", "IDX"),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_truncated_file_is_named_with_its_format(good_files, name, kind, share):
    path = good_files / name
    content = path.read_bytes()
    load_dataset(path)  # whole, it is fine
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=f"cannot read .*{name} as {kind} .* the file is damaged"):
        load_dataset(path)


def test_truncated_svmlight_is_named_with_its_format(good_files):
    with pytest.raises(ValueError, match=r"cannot read .*cells\.svm as svmlight"):
        load_dataset(good_files / "cells.svm")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.mat", "a.idx", "a-ubyte", "a.gz", "a.svm", "a.csv"])
def test_file_of_another_format_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"no data at all")[::-1] + b"\xff\xfe\xfd")
    with pytest.raises(ValueError, match=f"cannot read .*{name} as "):
        load_dataset(tmp_path / name)


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "cells.npz", X=np.array([[{}]], dtype=object))
    with pytest.raises(ValueError, match=r"cannot read .*cells\.npz as npz \(Object arrays cannot be loaded"):
        load_dataset(tmp_path / "cells.npz")


def test_container_without_X_lists_what_it_holds(tmp_path):
    np.savez(tmp_path / "cells.npz", data=X, y=Y)
    savemat(tmp_path / "cells.mat", {"fea": X})
    with pytest.raises(ValueError, match=r"cells\.npz has no array X; it holds: data, y"):
        load_dataset(tmp_path / "cells.npz")
    with pytest.raises(ValueError, match=r"cells\.mat has no array X; it holds: fea"):
        load_dataset(tmp_path / "cells.mat")
