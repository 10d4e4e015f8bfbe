"""Samples that are not one array in memory give what the array would, a few rows at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import host
from scipy import sparse

from sparserbm import BatchSource
from sparserbm.backends import get_backend
from sparserbm.data import fingerprint, sources
from sparserbm.data.scaling import check_features
from sparserbm.data.sources import ReadSource, SparseSource, as_samples, chunks, is_source, means, take, variances

X = np.round(np.random.default_rng(0).normal(size=(23, 7)), 2)
X[np.random.default_rng(1).random(X.shape) < 0.6] = 0.0


class Rows:
    """A source that gives few rows at a time, and checks what it is asked for."""

    def __init__(self, array, most=None):
        self.array, self.most, self.n_features, self.asked = array, most, array.shape[1], 0

    def __len__(self):
        return len(self.array)

    def rows(self, index):
        assert index.ndim == 1
        assert (np.diff(index) > 0).all()
        assert self.most is None or len(index) <= self.most
        self.asked += len(index)
        return self.array[index]


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


KINDS = [
    sparse.csr_matrix,
    sparse.csc_matrix,
    sparse.coo_matrix,
    sparse.csr_array,
    sparse.coo_array,
    sparse.lil_array,
    Rows,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [float, np.float32, np.int16, np.uint8, bool])
def test_a_source_gives_what_the_array_has(kind, dtype):
    dense = X.astype(dtype)
    source = as_samples(kind(dense))
    assert (source.shape, len(source), source.n_features, source.size) == ((23, 7), 23, 7, 161)
    assert source.dtype == dense.dtype
    assert np.array_equal(source[3:9], dense[3:9])
    assert np.array_equal(source.rows(np.array([2, 5, 22])), dense[[2, 5, 22]])
    assert (source.min(), source.max()) == (dense.min(), dense.max())
    assert check_features(source, n_features=7) is source
    assert np.array_equal(take(source, np.array([9, 0, 4]))[:], dense[[9, 0, 4]])
    assert np.array_equal(source.changed(lambda block: block * 2.0)[:], dense * 2.0)


def test_arrays_pass_and_maps_do_not(mapped):
    assert as_samples(X) is X
    assert as_samples(X.tolist()).tolist() == X.tolist()
    for view in (mapped, mapped[3:], mapped[:, ::2], np.asarray(mapped)):
        assert is_source(view)
        source = as_samples(view)
        assert isinstance(source, ReadSource)
        assert source.nbytes == 0
        assert np.array_equal(source[:], np.array(view))
    for held in (X, mapped + 1, mapped[[0, 3]], sparse.csr_array(X), X.tolist()):
        assert not is_source(held)
    assert isinstance(as_samples(sparse.csr_array(X)), SparseSource)
    assert isinstance(Rows(X), BatchSource)
    assert not isinstance(X, BatchSource)


@given(st.data())
def test_rows_come_to_the_device_in_any_order(data):
    order = np.array(data.draw(st.permutations(range(23)))[: data.draw(st.integers(1, 23))])
    chosen = np.array(data.draw(st.permutations(range(23))))
    backend = get_backend("reference", "float64")
    for kind in (sparse.csc_array, Rows):
        source = as_samples(kind(X))
        out = backend.empty((7, len(order)))
        assert np.array_equal(source.put(backend, order, out).T, X[order])
        assert np.array_equal(source.take(chosen).put(backend, order, out).T, X[chosen][order])
        again = source.take(chosen).take(order)
        assert np.array_equal(again[:], X[chosen][order])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_on_every_backend(backend, dtype, mapped):
    order, device = np.random.default_rng(2).permutation(23)[:17], get_backend(backend, dtype)
    held = device.gather(device.asarray(X), device.asarray(order), device.empty((7, 17)))
    for given_as in (mapped, sparse.coo_array(X), Rows(X)):
        out = device.empty((7, 17))
        as_samples(given_as).put(device, order, out)
        assert host(out).tobytes() == host(held).tobytes()


def test_statistics_have_the_bits_of_the_array(monkeypatch, mapped):
    monkeypatch.setattr(sources, "CHUNK", 30)  # 4 rows at a time
    assert [part.stop - part.start for part, _ in chunks(X)] == [4, 4, 4, 4, 4, 3]
    weight = np.random.default_rng(3).random(23)
    weight /= weight.mean()
    np.testing.assert_allclose(means(X), X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(means(X, weight), np.average(X, axis=0, weights=weight), rtol=1e-12)
    np.testing.assert_allclose(variances(X, means(X)), X.var(axis=0), rtol=1e-12)
    for kind in (sparse.csr_array(X), mapped, Rows(X, most=4), np.asfortranarray(X)):
        source = as_samples(kind)
        assert means(source).tobytes() == means(X).tobytes()
        assert means(source, weight).tobytes() == means(X, weight).tobytes()
        assert variances(source, means(X)).tobytes() == variances(X, means(X)).tobytes()


def test_fingerprints(monkeypatch, mapped):
    monkeypatch.setattr(sources, "CHUNK", 30)
    assert fingerprint(mapped) == fingerprint(Rows(X)) == fingerprint(X) == fingerprint(X.astype(">f8"))
    assert fingerprint(mapped[:22]) != fingerprint(X)
    found = {fingerprint(kind(X)) for kind in KINDS if kind is not Rows}
    assert len(found) == 1
    stored = sparse.csr_array(X)
    stored.data[0] = 0.0
    emptied = X.copy()
    emptied[tuple(place[0] for place in X.nonzero())] = 0.0
    assert fingerprint(stored) == fingerprint(sparse.csr_array(emptied)) not in found
    assert stored.nnz == np.count_nonzero(X)  # the user's matrix stays as it was


def test_entries_that_stand_twice_are_added_up():
    twice = sparse.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 3))
    unsorted = sparse.csr_array((np.array([3.0, 1.0, 2.0]), np.array([2, 0, 0]), np.array([0, 1, 3])), shape=(2, 3))
    assert as_samples(twice)[:].tolist() == [[0, 3, 0], [4, 0, 0]]
    assert as_samples(unsorted)[:].tolist() == [[0, 0, 3], [3, 0, 0]]
    assert unsorted.nnz == 3
    assert as_samples(sparse.csr_array((2, 3))).max() == 0


@pytest.mark.parametrize("kind", [np.array, sparse.csr_array, Rows])
def test_values_that_are_not_finite_are_found(kind, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 30)
    bad = X.copy()
    bad[9, 3], bad[20, 1] = np.inf, np.nan
    message = r"X holds 2 NaN or infinite values, the first \(inf\) at row 9, column 3 \(counted from 0\)"
    with pytest.raises(ValueError, match=message):
        check_features(kind(bad))


@pytest.mark.parametrize(
    ("given_as", "message"),
    [
        (sparse.csr_array((0, 4)), r"X is empty \(shape \(0, 4\)\)"),
        (sparse.csr_array(X), "X has 7 features, but the model has 4 inputs"),
        (sparse.csr_array(X * 1j), "X has dtype complex128"),
        (sparse.coo_array(X[0]), r"X has shape \(7,\); reshape it"),
        (Rows(X[:0]), r"X is empty"),
        (Rows(X), "X has 7 features"),
    ],
)
def test_what_cannot_be_trained_on(given_as, message):
    with pytest.raises(ValueError, match=message):
        check_features(given_as, n_features=4)


@pytest.mark.parametrize("wrong", [X[:, :6], X[0], X.astype(str), np.zeros((30, 7))])
def test_a_source_that_gives_other_rows_than_asked_for(wrong):
    class Wrong(Rows):
        def rows(self, index):
            return wrong

    with pytest.raises(
        ValueError, match=r"rows\(index\) of X gave .* for 1 samples; it must give real numbers, \(1, 7"
    ):
        as_samples(Wrong(X))


def test_a_damaged_index_is_refused():
    matrix = sparse.csr_array(X)
    matrix.indices[3] = 700
    with pytest.raises(ValueError, match="must be"):
        as_samples(matrix)
