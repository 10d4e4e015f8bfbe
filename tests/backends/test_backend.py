"""Choosing a backend, its number type and its threads; and that the number of threads changes no bit."""

import numpy as np
import pytest
from problems import wired

from sparserbm.backends import Backend, Gate, SignedPair, get_backend
from sparserbm.rng import DrawKey

KEY = DrawKey(1, 2, 3, 4)


def test_a_backend_is_found_by_its_name(backend):
    found = get_backend(backend, "float64")
    assert isinstance(found, Backend)
    assert (found.name, found.dtype) == (backend, np.float64)
    assert get_backend(found) is get_backend(found, "float64") is found
    with pytest.raises(
        ValueError, match="this backend computes in float64, not in float32; make it with dtype='float32'"
    ):
        get_backend(found, "float32")


def test_auto_takes_the_compiled_kernels():
    pytest.importorskip("numba")
    assert get_backend("auto").name == "numpy"
    assert get_backend().dtype == np.float32


def test_what_is_not_possible_is_said():
    with pytest.raises(ValueError, match="unknown backend 'torch'; known: auto, numpy, reference"):
        get_backend("torch")
    with pytest.raises(ValueError, match="dtype=int32 is not possible; use float32 or float64"):
        get_backend("reference", "int32")
    pytest.importorskip("numba")
    for threads in (0, 10_000):
        with pytest.raises(ValueError, match=rf"threads={threads} is not possible on this machine; use 1 to \d+"):
            get_backend("numpy", threads=threads)


def test_without_numba_the_reference_serves(monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert get_backend("auto").name == "reference"
    assert "numba is not installed" in caplog.text
    with pytest.raises(ValueError, match=r'backend="numpy" needs numba \(pip install numba\)'):
        get_backend("numpy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_get_the_type_of_the_backend_and_integers_keep_theirs(backend, dtype):
    library = get_backend(backend, dtype)
    assert library.asarray([[0.5]]).dtype == dtype
    assert library.asarray(np.ones(3, np.float16)).dtype == dtype
    assert library.asarray(np.arange(3, dtype=np.int32)).dtype == np.int32
    assert library.asarray(np.ones((4, 3)).T).flags.c_contiguous
    assert library.zeros(3).dtype == library.empty((3, 2)).dtype == dtype


# -- threads ---------------------------------------------------------------------------------------------------------


def results(threads, n_pre, n_post, count, n):
    """All kernels that may use several threads."""
    library = get_backend("numpy", "float32", threads=threads)
    connections = wired(library, n_pre, n_post, count, dtype="float32")
    random = np.random.default_rng(n)
    x, y = (random.normal(size=(units, n)).astype(np.float32) for units in (n_pre, n_post))
    bias, mean, drawn = np.ones(n_post, np.float32), np.empty_like(y), np.empty_like(y)
    fewer = [np.ascontiguousarray(array[:, : n // 2 + 1]) for array in (x, y)]
    pairs = [SignedPair(-1.0, x, y), SignedPair(0.5, x + 1, y), SignedPair(2.0, *fewer)]
    found = [mean, drawn]
    library.spmm(connections, connections.weight, x, mean, bias, "sigmoid", sample=drawn, key=KEY)
    gate = Gate("tanh", np.tanh(x))
    found.append(library.spmm_t(connections, connections.weight, y, np.empty_like(x), gate=gate))
    for chosen in (pairs[:1], pairs[:2], pairs):
        found.append(library.sddmm(connections, chosen, np.empty(count, np.float32)))
    return [array.tobytes() for array in found]


@pytest.mark.parametrize(
    ("size", "always"),
    [((400, 300, 40000, 128), False), ((37, 11, 150, 33), True), ((9, 2, 10, 1), True), ((5, 3, 0, 7), True)],
)
def test_the_number_of_threads_changes_no_bit(monkeypatch, size, always):
    numba = pytest.importorskip("numba")
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    from sparserbm.backends import numpy_backend

    if always:
        monkeypatch.setattr(numpy_backend, "PARALLEL_FROM", 0)
    assert size[2] * size[3] > numpy_backend.PARALLEL_FROM or size[2] == 0
    assert results(1, *size) == results(2, *size)


def test_an_error_in_a_worker_reaches_the_caller_after_all_ranges_are_done():
    from sparserbm.backends.threads import run_rows

    seen = []

    def kernel(start, stop, marker):
        if start == 1:
            raise ValueError(f"rows {start} to {stop} of {marker}")
        seen.append((start, stop))

    with pytest.raises(ValueError, match="rows 1 to 2 of a"):
        run_rows(kernel, [0, 1, 2, 3], ("a",))
    assert sorted(seen) == [(0, 1), (2, 3)]


def test_worker_threads_are_made_again_in_a_forked_child(monkeypatch):
    from sparserbm.backends import threads

    seen = []
    threads.run_rows(lambda start, stop: seen.append(start), [0, 1, 2], ())
    monkeypatch.setattr(threads, "_owner", -1)  # what a child finds: a list of workers that do not run here
    threads.run_rows(lambda start, stop: seen.append(start), [0, 1, 2], ())
    assert sorted(seen) == [0, 0, 1, 1]
    assert len(threads._workers) == 1
