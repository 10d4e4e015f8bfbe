"""Where MNIST is looked for. No test reaches for the network: every fetch is replaced."""

import hashlib
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sparserbm.data import load_dataset
from sparserbm.data.mnist import cache_folder

REAL = os.environ.get("SPARSERBM_DATA")


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """No data folder, an empty cache and no network."""

    def refuse(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.delenv("SPARSERBM_DATA", raising=False)
    monkeypatch.setenv("SPARSERBM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sklearn.datasets.fetch_openml", refuse)


@pytest.fixture
def openml(monkeypatch):
    """An OpenML that answers: pixel 0 of sample i holds i % 256, labels are text. The list of requests."""
    requests = []

    def fetch(name, **options):
        requests.append((name, options))
        images = np.zeros((70_000, 784), dtype=np.uint8)
        images[:, 0] = np.arange(70_000) % 256
        return SimpleNamespace(data=images, target=(np.arange(70_000) % 10).astype(str).astype(object))

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    return requests


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("below", ["mnist", "."])
def test_found_in_folder(tmp_path, write_mnist, suffix, below):
    written = write_mnist(tmp_path / below, suffix)
    data = load_dataset("mnist", folder=tmp_path, scale="none")
    np.testing.assert_array_equal(data.X, written["X"])
    np.testing.assert_array_equal(data.X_test, written["X_test"])
    np.testing.assert_array_equal(data.y, written["labels"][:6])
    np.testing.assert_array_equal(data.y_test, written["labels"][6:])
    assert (data.name, data.image_shape) == ("mnist", (3, 2))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_found_in_the_folder_of_the_environment(tmp_path, monkeypatch, write_mnist, name):
    write_mnist(tmp_path / "mnist", shift=0)
    fashion = write_mnist(tmp_path / "fashion-mnist", shift=1)
    monkeypatch.setenv("SPARSERBM_DATA", str(tmp_path))
    data = load_dataset(name, scale="none")
    assert data.name == name
    assert np.array_equal(data.X, fashion["X"]) == (name == "fashion-mnist")


def test_argument_comes_before_environment_and_subfolder_before_folder(tmp_path, monkeypatch, write_mnist):
    write_mnist(tmp_path / "shared" / "mnist", shift=0)
    write_mnist(tmp_path / "own", shift=1)
    chosen = write_mnist(tmp_path / "own" / "mnist", shift=2)
    monkeypatch.setenv("SPARSERBM_DATA", str(tmp_path / "shared"))
    np.testing.assert_array_equal(load_dataset("mnist", folder=tmp_path / "own", scale="none").X, chosen["X"])


def test_folder_without_the_files_is_passed_over(tmp_path, monkeypatch, write_mnist):
    written = write_mnist(tmp_path / "mnist")
    monkeypatch.setenv("SPARSERBM_DATA", str(tmp_path))
    np.testing.assert_array_equal(load_dataset("mnist", folder=tmp_path / "nothing", scale="none").X, written["X"])


def test_loose_files_of_the_shared_folder_are_never_taken_for_fashion(tmp_path, monkeypatch, write_mnist):
    written = write_mnist(tmp_path)
    monkeypatch.setenv("SPARSERBM_DATA", str(tmp_path))
    np.testing.assert_array_equal(load_dataset("mnist", scale="none").X, written["X"])
    with pytest.raises(FileNotFoundError, match="cannot find fashion-mnist"):
        load_dataset("fashion-mnist")


def test_incomplete_folder_names_the_missing_files(tmp_path, write_mnist):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="lacks t10k-labels-idx1-ubyte"):
        load_dataset("mnist", folder=tmp_path)


def test_damaged_file_is_named(tmp_path, write_mnist):
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"cannot read .*t10k-images-idx3-ubyte\.gz as IDX"):
        load_dataset("mnist", folder=tmp_path)


def test_nowhere_says_where_it_looked_and_what_to_set(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("mnist", folder=tmp_path / "own")
    message = str(caught.value)
    for part in (str(tmp_path / "own" / "mnist"), str(tmp_path / "cache"), "SPARSERBM_DATA is not set"):
        assert part in message
    assert "ConnectionError: no route to host" in message
    assert "train-images-idx3-ubyte.gz" in message


def test_fetched_once_then_read_from_the_checked_cache(tmp_path, openml):
    first = load_dataset("fashion-mnist", scale="none")
    again = load_dataset("fashion-mnist", scale="none")
    assert openml == [("Fashion-MNIST", {"version": 1, "as_frame": False, "parser": "liac-arff"})]
    assert first.X.shape == (60_000, 784)
    assert first.X_test.shape == (10_000, 784)
    assert first.X_test[0, 0] == 60_000 % 256
    assert first.y[:3].tolist() == [0, 1, 2]
    assert first.image_shape == (28, 28)
    np.testing.assert_array_equal(first.X_test, again.X_test)
    np.testing.assert_array_equal(first.y_test, again.y_test)
    assert first.sha256 == again.sha256  # of all raw arrays
    cached = np.load(tmp_path / "cache" / "fashion-mnist-images.npy")
    assert cached.dtype == np.uint8
    digest, name = (tmp_path / "cache" / "fashion-mnist-images.npy.sha256").read_text().split()
    assert name == "fashion-mnist-images.npy"
    assert digest == hashlib.sha256((tmp_path / "cache" / name).read_bytes()).hexdigest()
    assert not list((tmp_path / "cache").glob("*.tmp"))


def write_small_cache(folder: Path) -> None:
    folder.mkdir()
    for name, array in (("images", np.zeros((4, 784), np.uint8)), ("labels", np.zeros(4, np.uint8))):
        path = folder / f"mnist-{name}.npy"
        np.save(path, array)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        Path(f"{path}.sha256").write_text(f"{digest}  {path.name}\n")


def test_damaged_cache_is_refused(tmp_path):
    write_small_cache(tmp_path / "cache")
    path = tmp_path / "cache" / "mnist-labels.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"mnist-labels\.npy does not match the checksum .* delete both files"):
        load_dataset("mnist")


def test_cache_without_checksum_counts_as_missing(tmp_path):
    write_small_cache(tmp_path / "cache")
    (tmp_path / "cache" / "mnist-images.npy.sha256").unlink()
    with pytest.raises(FileNotFoundError, match="cannot find mnist"):
        load_dataset("mnist")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((9, 784)), r"shape \(9, 784\)"),
        (np.full((70_000, 784), 300, np.int16), "pixels beyond 0..255"),
    ],
)
def test_wrong_answer_is_refused_and_not_kept(tmp_path, monkeypatch, images, message):
    bunch = SimpleNamespace(data=images, target=np.zeros(len(images), dtype=object))
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: bunch)
    with pytest.raises(ValueError, match=message):
        load_dataset("mnist")
    assert not (tmp_path / "cache").exists()


def test_unwritable_cache_is_a_warning_only(tmp_path, monkeypatch, openml, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARSERBM_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING, logger="sparserbm"):
        assert load_dataset("mnist", scale="binary").X.shape == (60_000, 784)
    assert "set SPARSERBM_CACHE to a writable folder" in caplog.text


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("SPARSERBM_CACHE", "own")
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    assert cache_folder() == Path("own")
    monkeypatch.delenv("SPARSERBM_CACHE")
    assert cache_folder() == Path("xdg/sparserbm")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "sparserbm"


@pytest.mark.skipif(
    not (REAL and any((Path(REAL) / "mnist").glob("train-images-idx3-ubyte*"))),
    reason="needs the real MNIST: set SPARSERBM_DATA to the folder that holds mnist/",
)
def test_real_mnist():
    data = load_dataset("mnist", folder=REAL)
    assert (data.X.shape, data.X_test.shape) == ((60_000, 784), (10_000, 784))
    assert (data.y.shape, data.y_test.shape) == ((60_000,), (10_000,))
    assert data.image_shape == (28, 28)
    assert data.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.X.mean(dtype=np.float64) == pytest.approx(0.13066, abs=1e-4)
    assert data.X.std() == pytest.approx(0.30811, abs=1e-4)
